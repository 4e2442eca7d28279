// add: y += x. x, y [M, C] f32 (rows strided). Work: a thread per element.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) add(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x;
  if (c < p.c) p.y[(u64)blockIdx.y * p.y_stride + c] += p.x[(u64)blockIdx.y * p.x_stride + c];
}
