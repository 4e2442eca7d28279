// copy: dst = src, words of four bytes. src, dst [M, C] (rows strided). Work: a thread per element.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) copy(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x;
  if (c >= p.c) return;
  ((u32*)p.dst)[(u64)blockIdx.y * p.dst_stride + c] = ((const u32*)p.src)[(u64)blockIdx.y * p.src_stride + c];
}
