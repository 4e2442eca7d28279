// peak_copy: dst = src in pieces of 16 bytes: what memory can do at most.
//
// src, dst: `quads` pieces. Work: neighbouring threads take neighbouring pieces, a grid's width at a time.
//
// v1.
#include "shared/base.cuh"

struct alignas(16) Quad {
  u32 words[4];
};

extern "C" __global__ void __launch_bounds__(256) peak_copy(const Params p) {
  for (u64 i = (u64)blockIdx.x * 256u + threadIdx.x; i < p.quads; i += (u64)gridDim.x * 256u)
    ((Quad*)p.dst)[i] = ((const Quad*)p.src)[i];
}
