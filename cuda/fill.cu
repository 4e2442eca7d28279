// fill: all words of dst [M, C] (rows strided) become `bits`. Work: a thread per element.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) fill(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x;
  if (c < p.c) ((u32*)p.dst)[(u64)blockIdx.y * p.dst_stride + c] = p.bits;
}
