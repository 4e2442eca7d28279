// Reading pages of keys and values, for the one KV format (0 f32, 1 f16, 2 q8_0) and head size D of a unit.
#pragma once

#if KV == 0
typedef float Element;
#elif KV == 1
typedef u16 Element;
#else
typedef i8 Element;
#endif

// Elements i and i + 1 of the head at `row`, an index of [S, G]; i is even.
static __device__ __forceinline__ void two_of(const Element* pages, const u16* scales, u64 row, u32 i, float& a, float& b) {
  const Element* at = pages + row * D + i;
#if KV == 0
  a = at[0];
  b = at[1];
#elif KV == 1
  const u32 both = *(const u32*)at;
  a = half_to_float((u16)both);
  b = half_to_float((u16)(both >> 16));
#else
  const u32 both = *(const u16*)at;
  const float d = half_to_float(scales[row * (D / 32u) + i / 32u]);
  a = d * (float)(i8)both;
  b = d * (float)(i8)(both >> 8);
#endif
}
