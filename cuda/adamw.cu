// adamw: g = grad min(1, max_norm / sqrt(norm2)), m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
// w -= lr (c1 m / (sqrt(c2 v) + eps) + decay w). Nothing changes if norm2 is not finite.
//
// params, mean, square [M, C] f32 in place, grads [M, C] f32 (rows strided), norm2 [1] f32, hyper [8] f32: lr,
// b1, b2, eps, decay, c1, c2, max_norm.
// Work: a thread per element.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) adamw(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x, m = blockIdx.y;
  const float norm2 = p.norm2[0];
  if (c >= p.c || !(norm2 < -NEG_INF)) return;
  const float lr = p.hyper[0], b1 = p.hyper[1], b2 = p.hyper[2], eps = p.hyper[3];
  const float decay = p.hyper[4], c1 = p.hyper[5], c2 = p.hyper[6], limit = p.hyper[7];
  const float norm = __fsqrt_rn(norm2);
  const float clip = norm > limit ? __fdiv_rn(limit, norm) : 1.0f;
  float* w = p.params + (u64)m * p.params_stride + c;
  float* mean = p.mean + (u64)m * p.mean_stride + c;
  float* square = p.square + (u64)m * p.square_stride + c;
  const float g = p.grads[(u64)m * p.grads_stride + c] * clip;
  *mean = fmaf(b1, *mean, (1.0f - b1) * g);
  *square = fmaf(b2, *square, (1.0f - b2) * g * g);
  *w -= lr * (__fdiv_rn(c1 * *mean, __fsqrt_rn(c2 * *square) + eps) + decay * *w);
}
