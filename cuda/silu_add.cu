// silu_add: x += y / (1 + exp(-y)).
//
// y [M, D] f32, x [M, D] f32 in place (rows strided).
// Work: a thread per element.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) silu_add(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x;
  if (c >= p.d) return;
  const float y = p.y[(u64)blockIdx.y * p.y_stride + c];
  p.x[(u64)blockIdx.y * p.x_stride + c] += __fdiv_rn(y, 1.0f + expf(-y));
}
