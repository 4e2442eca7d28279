// qmatmul with f32 rows: y[m, n] = sum_k w[n, k] x[m, k] + bias[n], stored or added.
//
// w [N, K] packed, x [M, K] f32, y [M, N] f32, bias [N] f32 (rows of x and y strided).
// Work: a block owns 16 rows n (one group of the layout) and COLUMNS rows m. Lane r + 16 h of warp v
// owns row r and the blocks of 32 that are 2 v + h modulo 8; it decodes a block once for all columns.
// Order of a sum: along K within the eight slices, then the slices from 0 to 7. It depends on K
// alone; columns never meet, so a row m has the same bits in every M.
//
// v1: weights straight to registers; x through the cache, 16 lanes at one address.
#include "shared/base.cuh"
#include "shared/formats.cuh"

#define SLICES 8u

extern "C" __global__ void __launch_bounds__(128) qmatmul_f32(const Params p) {
  __shared__ float partial[SLICES][COLUMNS][16];
  const u32 group = blockIdx.x, first = blockIdx.y * COLUMNS;
  const u32 lane = threadIdx.x & 31u, row = lane & 15u;
  const u32 slice = (threadIdx.x >> 5) * 2u + (lane >> 4);
  const Planes w = PLANES(p.w);
  float sums[COLUMNS];
  for (u32 c = 0; c < COLUMNS; c++) sums[c] = 0.0f;
  for (u32 b = slice; b < w.blocks; b += SLICES) {
    for (u32 q = 0; q < 4u; q++) {
      float low[4], up[4];
      values_of(w, group, b, row, q, low, up);
      for (u32 c = 0; c < COLUMNS; c++) {
        if (first + c >= p.m) break;
        const float* x = p.x + (u64)(first + c) * p.x_stride + 32u * b + 4u * q;
        for (u32 i = 0; i < 4u; i++) {
          sums[c] = fmaf(low[i], x[i], sums[c]);
          sums[c] = fmaf(up[i], x[16u + i], sums[c]);
        }
      }
    }
  }
  for (u32 c = 0; c < COLUMNS; c++) partial[slice][c][row] = sums[c];
  __syncthreads();
  for (u32 i = threadIdx.x; i < COLUMNS * 16u; i += 128u) {
    const u32 c = i / 16u, n = group * 16u + i % 16u, m = first + c;
    if (m >= p.m || n >= p.n) continue;
    float sum = 0.0f;
    for (u32 s = 0; s < SLICES; s++) sum += partial[s][c][i % 16u];
#ifdef BIAS
    sum += p.bias[n];
#endif
    float* y = p.y + (u64)m * p.y_stride + n;
#ifdef ADD
    *y += sum;
#else
    *y = sum;
#endif
  }
}
