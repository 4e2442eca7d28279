// kv_commit: for i ascending, slot dst[i] of the pages becomes slot src[i]; a slot not below S skips.
//
// src, dst [M] u32; pages as words [S, words], their scales as halves [S, halves] (q8_0, else none).
// Work: a thread owns one word of every slot and makes all moves in order, so moves never race.
//
// v1.
#include "shared/base.cuh"

template <class T>
static __device__ void move(T* pages, u32 width, u32 at, const Params& p) {
  for (u32 i = 0; i < p.m; i++) {
    const u32 from = p.src[i * p.src_stride], to = p.dst[i * p.dst_stride];
    if (from < p.s && to < p.s) pages[(u64)to * width + at] = pages[(u64)from * width + at];
  }
}

extern "C" __global__ void __launch_bounds__(128) kv_commit(const Params p) {
  const u32 i = blockIdx.x * 128u + threadIdx.x;
  if (i < p.words) {
    move((u16*)p.k_pages, p.words, i, p);
    move((u16*)p.v_pages, p.words, i, p);
  }
#if KV == 2
  if (i < p.halves) {
    move(p.k_scale, p.halves, i, p);
    move(p.v_scale, p.halves, i, p);
  }
#endif
}
