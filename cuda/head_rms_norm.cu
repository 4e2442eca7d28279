// head_rms_norm: in place, x[m, h] = x[m, h] / sqrt(mean(x[m, h]^2) + eps) * weight.
//
// x [M, H, d] f32 (rows strided), weight [d] f32.
// Work: a warp per head; lane i owns elements i, i + 32, ...
// Order of the sum: along a lane's elements, then butterflies.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(32) head_rms_norm(const Params p) {
  float* x = p.x + (u64)blockIdx.y * p.x_stride + blockIdx.x * p.d;
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < p.d; i += 32u) sum = fmaf(x[i], x[i], sum);
  sum = warp_sum(sum);
  const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(sum, (float)p.d) + p.eps));
  for (u32 i = threadIdx.x; i < p.d; i += 32u) x[i] = x[i] * inverse * p.weight[i];
}
