// column_sums: out[c] (+)= sum_m x[m, c], in the order of the rows.
//
// x [M, C] f32 (rows strided), out [C] f32. Work: a thread per column.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) column_sums(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x;
  if (c >= p.c) return;
#ifdef ADD
  float sum = p.out[c];
#else
  float sum = 0.0f;
#endif
  for (u32 m = 0u; m < p.m; m++) sum += p.x[(u64)m * p.x_stride + c];
  p.out[c] = sum;
}
