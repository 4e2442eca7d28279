// rope: in place, for pair i of each head (a, b) = (a c - b s, a s + b c) with c, s at positions[m].
//
// x [M, H, d] f32 (rows strided), positions [M] u32, cos and sin [T, rot / 2] f32.
// Work: a block per row; thread i owns pairs i, i + 128, ... of all heads.
// Must not change: two products and one rounding each side; a position not below T leaves the row.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(128) rope(const Params p) {
  const u32 position = p.positions[blockIdx.x * p.positions_stride];
  if (position >= p.t) return;
  float* row = p.x + (u64)blockIdx.x * p.x_stride;
  for (u32 i = threadIdx.x; i < p.h * p.half; i += 128u) {
    const u32 pair = i % p.half;
    float* x = row + (i / p.half) * p.d;
#ifdef INTERLEAVED
    const u32 first = 2u * pair, second = first + 1u;
#else
    const u32 first = pair, second = pair + p.half;
#endif
    const float c = p.cosines[(u64)position * p.half + pair], s = p.sines[(u64)position * p.half + pair];
    const float a = x[first], b = x[second];
    x[first] = __fsub_rn(__fmul_rn(a, c), __fmul_rn(b, s));
    x[second] = __fadd_rn(__fmul_rn(a, s), __fmul_rn(b, c));
  }
}
