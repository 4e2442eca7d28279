// merge_slices: y[m, n] = sum_s partials[s, m, n] + bias[n], stored or added: the end of a qmatmul_tile with SPLIT.
//
// partials [4, M, N] f32; y [M, N] f32 (rows strided), bias [N] f32.
// Work: a thread per element.
// Order: slices from 0 to 3, as in qmatmul_s8.
//
// v1.
#include "shared/base.cuh"

#define SLICES 4u

extern "C" __global__ void __launch_bounds__(256) merge_slices(const Params p) {
  const u32 n = blockIdx.x * 256u + threadIdx.x, m = blockIdx.y;
  if (n >= p.n) return;
  const u64 plane = (u64)p.m * p.n;
  const float* from = p.partials + (u64)m * p.n + n;
  float sum = from[0];
  for (u32 s = 1; s < SLICES; s++) sum += from[s * plane];
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
