// rms_norm: y[m] = x[m] / sqrt(mean(x[m]^2) + eps) * weight.
//
// x [M, D] f32, weight [D] f32, y [M, D] f32 (rows strided).
// Work: a block of 256 threads per row; thread i owns elements i, i + 256, ...
// Order of the sum: along a thread's elements, butterflies within warps, warps from 0 to 7.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) rms_norm(const Params p) {
  __shared__ float warps[8];
  const float* x = p.x + (u64)blockIdx.x * p.x_stride;
  float* y = p.y + (u64)blockIdx.x * p.y_stride;
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < p.d; i += 256u) sum = fmaf(x[i], x[i], sum);
  sum = block_sum<8>(sum, warps);
  const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(sum, (float)p.d) + p.eps));
  for (u32 i = threadIdx.x; i < p.d; i += 256u) y[i] = x[i] * inverse * p.weight[i];
}
