// add_rms_norm: x[m] += r[m], then y[m] = x[m] / sqrt(mean(x[m]^2) + eps) * weight.
//
// r [M, D] f32, x [M, D] f32 in place, weight [D] f32, y [M, D] f32 (rows strided).
// Work and order of the sum: as rms_norm. A thread reads back only elements that it wrote.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) add_rms_norm(const Params p) {
  __shared__ float warps[8];
  const float* r = p.r + (u64)blockIdx.x * p.r_stride;
  float* x = p.x + (u64)blockIdx.x * p.x_stride;
  float* y = p.y + (u64)blockIdx.x * p.y_stride;
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < p.d; i += 256u) {
    const float v = x[i] + r[i];
    x[i] = v;
    sum = fmaf(v, v, sum);
  }
  sum = block_sum<8>(sum, warps);
  const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(sum, (float)p.d) + p.eps));
  for (u32 i = threadIdx.x; i < p.d; i += 256u) y[i] = x[i] * inverse * p.weight[i];
}
