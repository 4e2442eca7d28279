// fill: all words of dst [M, C] (rows strided) become `bits`, or with RANDOM `bits | (word & keep)`, where
// element i = m C + c has word i % 4 of Philox for block i / 4 and stream "fill" (src/ops/pointwise.rs).
// Work: a thread per element.
//
// v1.
#include "shared/base.cuh"
#ifdef RANDOM
#include "shared/noise.cuh"
#endif

extern "C" __global__ void __launch_bounds__(256) fill(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x;
  if (c >= p.c) return;
  u32 value = p.bits;
#ifdef RANDOM
  const u32 i = blockIdx.y * p.c + c;
  const Words words = philox(i / 4u, 0u, 0u, 0x66696c6cu, p.seed_low, p.seed_high);
  // an index that varies would put the words in memory
  const u32 low = i & 1u ? words.at[1] : words.at[0], high = i & 1u ? words.at[3] : words.at[2];
  value |= (i & 2u ? high : low) & p.keep;
#endif
  ((u32*)p.dst)[(u64)blockIdx.y * p.dst_stride + c] = value;
}
