// quantize_rows: activations in blocks of 32 as signed codes (src/quant/activations.rs), the first half of a
// qmatmul with 8-bit or (WIDE) 12-bit activations. A 12-bit code is 16 high + low.
//
// x [M, K] f32 (rows strided); codes [M, K] i8 (WIDE: of the high bytes, lows the low ones), scales
// [M, K / 32] f32 and products d * sum [M, K / 32, 2] f32, of the first and second 16 elements.
// Work: a warp per block of 32, a lane per element.
// Must not change: max, d, inverse and code exactly as defined there, one rounding an operation.
//
// v1: one warp a block.
#include "shared/base.cuh"

#ifdef WIDE
#define TOP 2032.0f
#else
#define TOP 127.0f
#endif

// 2^-100: blocks below count as zero.
#define TINY 7.888609052210118e-31f

extern "C" __global__ void __launch_bounds__(128) quantize_rows(const Params p) {
  const u32 blocks = p.k / 32u;
  const u32 block = blockIdx.x * 4u + (threadIdx.x >> 5), lane = threadIdx.x & 31u, m = blockIdx.y;
  if (block >= blocks) return;
  const float x = p.x[(u64)m * p.x_stride + 32u * block + lane];
  // fmaxf drops a NaN, as the definition asks.
  const float max = warp_max(fabsf(x));
  int code = 0;
  float d = 0.0f;
  if (!(max < TINY)) {
    const float inverse = __fdiv_rn(TOP, max);
    d = __fdiv_rn(max, TOP);
    code = x == x ? __float2int_rn(x * inverse) : 0;
  }
  int sum = code;
  for (int s = 8; s > 0; s >>= 1) sum += __shfl_xor_sync(FULL_WARP, sum, s);
  const u64 at = (u64)m * blocks + block;
#ifdef WIDE
  const int high = (code + 8) >> 4;
  p.codes[at * 32u + lane] = (i8)high;
  p.lows[at * 32u + lane] = (i8)(code - 16 * high);
#else
  p.codes[at * 32u + lane] = (i8)code;
#endif
  if (lane == 0u) p.scales[at] = d;
  if ((lane & 15u) == 0u) p.products[at * 2u + (lane >> 4)] = d * (float)sum;
}
