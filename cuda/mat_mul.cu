// mat_mul: y[m, n] (+)= sum_k a[m, k] b[k, n] (+ bias[n]); a and b may be stored transposed.
//
// a, b, y f32 (rows strided), bias [N] f32. A_TRANSPOSED and B_TRANSPOSED say how a and b are stored.
// Work: a block per tile of 64 x 64 of y, in steps of 16 along K through shared memory; a thread owns 4 x 4.
// Order of a sum: along K. It depends on neither M nor N.
//
// v1: one buffer, element loads.
#include "shared/base.cuh"

#define TILE 64u
#define STEP 16u

extern "C" __global__ void __launch_bounds__(256) mat_mul(const Params p) {
  __shared__ float left[STEP][TILE + 1u], right[STEP][TILE + 1u];
  const u32 row = blockIdx.y * TILE, column = blockIdx.x * TILE;
  const u32 x = threadIdx.x % 16u, y = threadIdx.x / 16u;
  float sums[4][4];
  for (u32 i = 0; i < 4u; i++)
    for (u32 j = 0; j < 4u; j++) sums[i][j] = 0.0f;
  for (u32 k = 0; k < p.k; k += STEP) {
    for (u32 e = threadIdx.x; e < STEP * TILE; e += 256u) {
      // neighbouring threads read neighbouring elements of memory
#ifdef A_TRANSPOSED
      const u32 am = e % TILE, ak = e / TILE;
      const u64 a_at = (u64)(k + ak) * p.a_stride + row + am;
#else
      const u32 ak = e % STEP, am = e / STEP;
      const u64 a_at = (u64)(row + am) * p.a_stride + k + ak;
#endif
      left[ak][am] = row + am < p.m && k + ak < p.k ? p.a[a_at] : 0.0f;
#ifdef B_TRANSPOSED
      const u32 bk = e % STEP, bn = e / STEP;
      const u64 b_at = (u64)(column + bn) * p.b_stride + k + bk;
#else
      const u32 bn = e % TILE, bk = e / TILE;
      const u64 b_at = (u64)(k + bk) * p.b_stride + column + bn;
#endif
      right[bk][bn] = column + bn < p.n && k + bk < p.k ? p.b[b_at] : 0.0f;
    }
    __syncthreads();
    for (u32 s = 0; s < STEP; s++) {
      float a[4], b[4];
      for (u32 i = 0; i < 4u; i++) {
        a[i] = left[s][4u * y + i];
        b[i] = right[s][x + 16u * i];
      }
      for (u32 i = 0; i < 4u; i++)
        for (u32 j = 0; j < 4u; j++) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
    }
    __syncthreads();
  }
  for (u32 i = 0; i < 4u; i++) {
    for (u32 j = 0; j < 4u; j++) {
      const u32 m = row + 4u * y + i, n = column + x + 16u * j;
      if (m >= p.m || n >= p.n) continue;
      float sum = sums[i][j];
#ifdef BIAS
      sum += p.bias[n];
#endif
      float* to = p.y + (u64)m * p.y_stride + n;
#ifdef ADD
      *to += sum;
#else
      *to = sum;
#endif
    }
  }
}
