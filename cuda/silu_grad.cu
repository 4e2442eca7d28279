// silu_grad: dz = dy s (1 + z (1 - s)) with s = 1 / (1 + exp(-z)).
//
// z, dy, dz [M, D] f32 (rows strided). Work: a thread per element.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) silu_grad(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x;
  if (c >= p.d) return;
  const float z = p.z[(u64)blockIdx.y * p.z_stride + c], dy = p.dy[(u64)blockIdx.y * p.dy_stride + c];
  const float s = __fdiv_rn(1.0f, 1.0f + expf(-z));
  // 1 - s without cancellation
  const float rest = __fdiv_rn(1.0f, 1.0f + expf(z));
  p.dz[(u64)blockIdx.y * p.dz_stride + c] = dy * s * fmaf(z, rest, 1.0f);
}
