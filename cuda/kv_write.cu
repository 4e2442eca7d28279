// kv_write: pages[slots[m]] = (k[m], v[m]); a slot not below S skips the row.
//
// k, v [M, G, d] f32 (rows strided), slots [M] u32, pages [S, G, d] in KV format (0 f32, 1 f16, 2 q8_0),
// q8_0 scales [S, G, d / 32] f16.
// Work: f32, f16: a thread per element; q8_0: a warp per block of 32.
// Must not change: f16 rounds to nearest even; a q8_0 block is scaled by the *rounded* scale.
//
// v1.
#include "shared/base.cuh"

#if KV == 2
static __device__ void write_block(const float* x, i8* codes, u16* scale, u32 lane) {
  const float v = x[lane];
  const u16 rounded = float_to_half(__fdiv_rn(warp_max(fabsf(v)), 127.0f));
  const float d = half_to_float(rounded);
  const int code = d == 0.0f ? 0 : __float2int_rn(__fdiv_rn(v, d));
  codes[lane] = (i8)max(-127, min(127, code));
  if (lane == 0u) *scale = rounded;
}
#endif

extern "C" __global__ void __launch_bounds__(128) kv_write(const Params p) {
  const u32 m = blockIdx.y, slot = p.slots[m * p.slots_stride], width = p.g * p.d;
  if (slot >= p.s) return;
  const float* k = p.k + (u64)m * p.k_stride;
  const float* v = p.v + (u64)m * p.v_stride;
#if KV == 2
  const u32 block = blockIdx.x * 4u + (threadIdx.x >> 5), lane = threadIdx.x & 31u;
  if (block >= width / 32u) return;
  const u64 at = (u64)slot * (width / 32u) + block;
  write_block(k + 32u * block, p.k_pages + 32u * at, p.k_scale + at, lane);
  write_block(v + 32u * block, p.v_pages + 32u * at, p.v_scale + at, lane);
#else
  const u32 i = blockIdx.x * 128u + threadIdx.x;
  if (i >= width) return;
  const u64 at = (u64)slot * width + i;
#if KV == 1
  p.k_pages[at] = float_to_half(k[i]);
  p.v_pages[at] = float_to_half(v[i]);
#else
  p.k_pages[at] = k[i];
  p.v_pages[at] = v[i];
#endif
#endif
}
