// Products of a block of 32 of 16 coded rows with coded columns, for qmatmul_s8 and qmatmul_tile, which must
// give the same bits: sums of codes are exact integers, and the float arithmetic on them is here alone.
#pragma once

#include "shared/formats.cuh"

// A lane's share of a block of weights: the mma fragment, and scales and offsets of rows g and g + 8 for the
// first and the second half of the block.
struct CodedRows {
  u32 a[4];
  float scale[2][2], offset[2][2];
};

// A lane's share of 8 columns: the fragment of column g, and what columns 2q and 2q + 1 are scaled with.
struct CodedColumns {
  u32 x[2];
#ifdef WIDE
  u32 low[2];
#endif
  float d[2];
  // d times the sum of the codes of each half
  float first[2], second[2];
};

static __device__ __forceinline__ CodedRows coded_rows(const Block& block, u32 g, u32 q) {
  CodedRows rows;
  quad_pair(block, g, q, rows.a[0], rows.a[2]);
  quad_pair(block, g + 8u, q, rows.a[1], rows.a[3]);
  for (u32 r = 0; r < 2u; r++) {
    scale_of(block, g + 8u * r, 0u, rows.scale[r][0], rows.offset[r][0]);
    rows.offset[r][0] -= rows.scale[r][0] * (float)CENTRE;
#if HALF_SCALES
    scale_of(block, g + 8u * r, 1u, rows.scale[r][1], rows.offset[r][1]);
    rows.offset[r][1] -= rows.scale[r][1] * (float)CENTRE;
#endif
  }
  return rows;
}

// sums[0], sums[1]: row g, columns 2q and 2q + 1; sums[2], sums[3]: row g + 8.
static __device__ __forceinline__ void add_products(float sums[4], const CodedRows& rows, const CodedColumns& columns) {
  int whole[4] = {0, 0, 0, 0};
#if HALF_SCALES
  int second[4] = {0, 0, 0, 0};
  mma_s8_half(whole, rows.a, columns.x[0]);
  mma_s8_half(second, rows.a + 2, columns.x[1]);
#else
  mma_s8(whole, rows.a, columns.x);
#endif
#ifdef WIDE
  // the low bytes on top of 16 times the high ones: no sum of 32 products leaves 32 bits
  for (u32 i = 0; i < 4u; i++) whole[i] *= 16;
#if HALF_SCALES
  for (u32 i = 0; i < 4u; i++) second[i] *= 16;
  mma_s8_half(whole, rows.a, columns.low[0]);
  mma_s8_half(second, rows.a + 2, columns.low[1]);
#else
  mma_s8(whole, rows.a, columns.low);
#endif
#endif
  for (u32 i = 0; i < 4u; i++) {
    const u32 r = i >> 1, c = i & 1u;
    float sum = fmaf((float)whole[i], __fmul_rn(rows.scale[r][0], columns.d[c]), sums[i]);
#if HALF_SCALES
    sum = fmaf((float)second[i], __fmul_rn(rows.scale[r][1], columns.d[c]), sum);
    sum = fmaf(rows.offset[r][0], columns.first[c], sum);
    sum = fmaf(rows.offset[r][1], columns.second[c], sum);
#elif HAS_MIN || CENTRE != 0
    sum = fmaf(rows.offset[r][0], __fadd_rn(columns.first[c], columns.second[c]), sum);
#endif
    sums[i] = sum;
  }
}
