// qmatmul with rows of 8-bit or (WIDE) 12-bit codes: y[m, n] = sum_b (a d sum_i c_i x_i + (o - a CENTRE) d sum_i x_i) + bias[n],
// over blocks b of 32 with integer sums that are exact.
//
// w [N, K] packed, codes [M, K] i8 (WIDE: high bytes, lows [M, K] the low ones), scales [M, K / 32] f32, products [M, K / 32, 2] f32 (quantize_rows);
// y [M, N] f32 (rows strided), bias [N] f32.
// Work: weights are the 16-row side of the tensor-core tile, columns m its 8-column side. A block has
// SLICES x GROUPS warps; warp (g, s) owns one group of 16 rows n, TILES tiles of 8 columns, and the
// blocks of K that are s modulo SLICES.
// Order of a sum: along K within a slice, then the slices from 0 to SLICES - 1. SLICES is one
// constant and columns never meet, so a row m has the same bits for every M, TILES and GROUPS.
//
// v1: fragments straight from global memory; the packed layout is the fragment's.
#include "shared/base.cuh"
#include "shared/formats.cuh"

#define SLICES 4u

extern "C" __global__ void __launch_bounds__(32 * SLICES * GROUPS) qmatmul_s8(const Params p) {
  __shared__ float partial[GROUPS][SLICES - 1u][TILES][4][32];
  const u32 lane = threadIdx.x & 31u, g = lane >> 2, q = lane & 3u;
  const u32 slice = (threadIdx.x >> 5) % SLICES, local = (threadIdx.x >> 5) / SLICES;
  const u32 groups = ceil_div(p.n, 16u), group = blockIdx.x * GROUPS + local;
  const u32 first = blockIdx.y * (TILES * 8u);
  const Planes w = PLANES(p.w);
  float sums[TILES][4];
  for (u32 t = 0; t < TILES; t++)
    for (u32 i = 0; i < 4u; i++) sums[t][i] = 0.0f;
  for (u32 b = slice; group < groups && b < w.blocks; b += SLICES) {
    u32 a[4];
    quad_pair(w, group, b, g, q, a[0], a[2]);
    quad_pair(w, group, b, g + 8u, q, a[1], a[3]);
    // rows g and g + 8, first and second half of the block
    float scale[2][2], offset[2][2];
    for (u32 r = 0; r < 2u; r++) {
      scale_of(w, group, b, g + 8u * r, 0u, scale[r][0], offset[r][0]);
      offset[r][0] -= scale[r][0] * (float)CENTRE;
#if HALF_SCALES
      scale_of(w, group, b, g + 8u * r, 1u, scale[r][1], offset[r][1]);
      offset[r][1] -= scale[r][1] * (float)CENTRE;
#endif
    }
    for (u32 t = 0; t < TILES; t++) {
      // columns beyond M read column M - 1 and are never stored
      const u32 column = min(first + t * 8u + g, p.m - 1u);
      const u32* x = (const u32*)(p.codes + ((u64)column * w.blocks + b) * 32u);
      const u32 fragment[2] = {x[q], x[q + 4u]};
      int whole[4] = {0, 0, 0, 0};
#if HALF_SCALES
      int second[4] = {0, 0, 0, 0};
      mma_s8_half(whole, a, fragment[0]);
      mma_s8_half(second, a + 2, fragment[1]);
#else
      mma_s8(whole, a, fragment);
#endif
#ifdef WIDE
      // the low bytes on top of 16 times the high ones: no sum of 32 products leaves 32 bits
      const u32* y = (const u32*)(p.lows + ((u64)column * w.blocks + b) * 32u);
      const u32 lows[2] = {y[q], y[q + 4u]};
      for (u32 i = 0; i < 4u; i++) whole[i] *= 16;
#if HALF_SCALES
      for (u32 i = 0; i < 4u; i++) second[i] *= 16;
      mma_s8_half(whole, a, lows[0]);
      mma_s8_half(second, a + 2, lows[1]);
#else
      mma_s8(whole, a, lows);
#endif
#endif
      for (u32 i = 0; i < 4u; i++) {
        const u32 r = i >> 1, at = min(first + t * 8u + 2u * q + (i & 1u), p.m - 1u) * w.blocks + b;
        const float d = p.scales[at];
        float sum = fmaf((float)whole[i], scale[r][0] * d, sums[t][i]);
#if HALF_SCALES
        sum = fmaf((float)second[i], scale[r][1] * d, sum);
        sum = fmaf(offset[r][0], p.products[at * 2u], sum);
        sum = fmaf(offset[r][1], p.products[at * 2u + 1u], sum);
#elif HAS_MIN || CENTRE != 0
        sum = fmaf(offset[r][0], p.products[at * 2u] + p.products[at * 2u + 1u], sum);
#endif
        sums[t][i] = sum;
      }
    }
  }
  if (slice > 0u) {
    for (u32 t = 0; t < TILES; t++)
      for (u32 i = 0; i < 4u; i++) partial[local][slice - 1u][t][i][lane] = sums[t][i];
  }
  __syncthreads();
  if (slice > 0u || group >= groups) return;
  for (u32 t = 0; t < TILES; t++) {
    for (u32 i = 0; i < 4u; i++) {
      const u32 n = group * 16u + g + 8u * (i >> 1), m = first + t * 8u + 2u * q + (i & 1u);
      if (n >= p.n || m >= p.m) continue;
      float sum = sums[t][i];
      for (u32 s = 0; s < SLICES - 1u; s++) sum += partial[local][s][t][i][lane];
#ifdef BIAS
      sum += p.bias[n];
#endif
      float* y = p.y + (u64)m * p.y_stride + n;
#ifdef ADD
      *y += sum;
#else
      *y = sum;
#endif
    }
  }
}
