// rms_norm_grad: dx[m, h] (+)= r g - x[m, h] r^3 / d sum(x[m, h] g), with r = 1 / sqrt(mean(x[m, h]^2) + eps)
// and g = weight dy[m, h].
//
// x, dy, dx [M, H, d] f32 (rows strided), weight [d] f32.
// Work: a warp per head; lane i owns elements i, i + 32, ...
// Order of the sums: along a lane's elements, then butterflies.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(32) rms_norm_grad(const Params p) {
  const float* x = p.x + (u64)blockIdx.y * p.x_stride + blockIdx.x * p.d;
  const float* dy = p.dy + (u64)blockIdx.y * p.dy_stride + blockIdx.x * p.d;
  float* dx = p.dx + (u64)blockIdx.y * p.dx_stride + blockIdx.x * p.d;
  float squares = 0.0f, along = 0.0f;
  for (u32 i = threadIdx.x; i < p.d; i += 32u) {
    squares = fmaf(x[i], x[i], squares);
    along = fmaf(x[i], p.weight[i] * dy[i], along);
  }
  squares = warp_sum(squares);
  along = warp_sum(along);
  const float r = __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(squares, (float)p.d) + p.eps));
  const float back = __fdiv_rn(r * along, (float)p.d) * r * r;
  for (u32 i = threadIdx.x; i < p.d; i += 32u) {
    const float value = fmaf(-back, x[i], r * (p.weight[i] * dy[i]));
#ifdef ADD
    dx[i] += value;
#else
    dx[i] = value;
#endif
  }
}
