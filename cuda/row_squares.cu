// row_squares: out[m] = sum_c x[m, c]^2.
//
// x [M, C] f32, out [M, 1] f32 (rows strided).
// Work: a block per row; order of the sum as in rms_norm.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) row_squares(const Params p) {
  __shared__ float warps[8];
  const float* x = p.x + (u64)blockIdx.x * p.x_stride;
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < p.c; i += 256u) sum = fmaf(x[i], x[i], sum);
  sum = block_sum<8>(sum, warps);
  if (threadIdx.x == 0u) p.out[(u64)blockIdx.x * p.out_stride] = sum;
}
