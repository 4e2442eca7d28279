// embed: out[m] = scale * table[ids[m]]; an id not below N gives zeros.
//
// ids [M] u32, table [N, K] packed, out [M, K] f32 (rows strided).
// Work: a block per row m; a thread owns pairs of quads (q, q + 4) of the blocks of 32 along K.
// Must not change: each value is one fma of its code, then one multiplication by `scale`.
//
// v1: one thread a pair of quads.
#include "shared/base.cuh"
#include "shared/formats.cuh"

extern "C" __global__ void __launch_bounds__(128) embed(const Params p) {
  const u32 m = blockIdx.x, id = p.ids[m * p.ids_stride];
  float* out = p.out + (u64)m * p.out_stride;
  const Planes w = PLANES(p.w);
  for (u32 i = threadIdx.x; i < p.k / 8u; i += 128u) {
    const u32 b = i / 4u, q = i % 4u;
    float low[4] = {0.0f, 0.0f, 0.0f, 0.0f}, up[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (id < p.n) values_of(w, id / 16u, b, id % 16u, q, low, up);
    for (u32 j = 0; j < 4u; j++) {
      out[32u * b + 4u * q + j] = low[j] * p.scale;
      out[32u * b + 16u + 4u * q + j] = up[j] * p.scale;
    }
  }
}
