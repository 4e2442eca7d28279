// The packed layout of weights (src/quant/mod.rs), for the one FORMAT that a unit is compiled for.
//
// A quad is four consecutive elements as the bytes of a word; quad q of block b of row n holds
// elements 32 b + 4 q ... The value of an element with code c is `a c + o`; formats with scales for
// half blocks have one pair for quads 0..3 and one for quads 4..7.
#pragma once

#define F32 0
#define F16 1
#define BF16 2
#define Q8_0 3
#define Q4_0 4
#define Q4_1 5
#define Q5_0 6
#define Q5_1 7
#define Q2_K 8
#define Q3_K 9
#define Q4_K 10
#define Q5_K 11
#define Q6_K 12

#define IS_FLOAT (FORMAT <= BF16)
// Codes are signed bytes as they are.
#define IS_SIGNED (FORMAT == Q8_0)
// Two scales a block.
#define HALF_SCALES (FORMAT == Q2_K || FORMAT == Q3_K || FORMAT == Q6_K)
// Values have an offset that is no multiple of the scale.
#define HAS_MIN (FORMAT == Q4_1 || FORMAT == Q5_1 || FORMAT == Q2_K || FORMAT == Q4_K || FORMAT == Q5_K)
// Subtracted from a code before it is scaled.
#if FORMAT == Q4_0
#define CENTRE 8
#elif FORMAT == Q5_0
#define CENTRE 16
#elif FORMAT == Q6_K
#define CENTRE 32
#elif FORMAT == Q3_K
#define CENTRE 4
#else
#define CENTRE 0
#endif

struct Planes {
  const u8* codes;
  const u8* high;
  const u8* scales;
  const u8* supers;
  u32 blocks;  // of 32 along K
};

#define PLANES(w) \
  { (w) + p.w_codes, (w) + p.w_high, (w) + p.w_scales, (w) + p.w_supers, p.k / 32u }

#if !IS_FLOAT

// Words of the codes plane for one row and block, as loaded.
#if FORMAT == Q8_0
#define CODE_WORDS 8u
#elif FORMAT == Q2_K || FORMAT == Q3_K
#define CODE_WORDS 2u
#else
#define CODE_WORDS 4u
#endif

// Bytes of a block of 16 rows in each plane.
#define CODE_BYTES (CODE_WORDS * 64u)
#if FORMAT == Q5_0 || FORMAT == Q5_1 || FORMAT == Q5_K || FORMAT == Q3_K
#define HIGH_BYTES 64u
#elif FORMAT == Q6_K
#define HIGH_BYTES 128u
#else
#define HIGH_BYTES 0u
#endif
#if FORMAT == Q4_1 || FORMAT == Q5_1
#define SCALE_BYTES 64u
#else
#define SCALE_BYTES 32u
#endif
#if FORMAT == Q6_K || FORMAT == Q3_K
#define SUPER_BYTES 32u
#else
#define SUPER_BYTES 64u
#endif

// A block of 32 elements of 16 rows, in global or in shared memory.
struct Block {
  const u8* codes;
  const u8* high;
  const u8* scales;
  const u8* supers;
};

static __device__ __forceinline__ Block block_of(const Planes& w, u32 group, u32 b) {
  const u64 block = (u64)group * w.blocks + b;
  const u64 super = (u64)group * (w.blocks / 8u) + b / 8u;
  return {w.codes + block * CODE_BYTES, w.high + block * HIGH_BYTES, w.scales + block * SCALE_BYTES,
          w.supers + super * SUPER_BYTES};
}

// Quads q and q + 4 of a block, q < 4: bytes 0..15 and 16..31 of what an mma fragment wants.
static __device__ __forceinline__ void quad_pair(const Block& block, u32 row, u32 q, u32& low, u32& up) {
  const u32* codes = (const u32*)block.codes + row;
#if FORMAT == Q8_0
  low = codes[q * 16u];
  up = codes[(q + 4u) * 16u];
#elif CODE_WORDS == 2u
  const u32 word = codes[(q & 1u) * 16u] >> (2u * (q >> 1));
  low = word & 0x03030303u;
  up = (word >> 4) & 0x03030303u;
#else
  const u32 word = codes[q * 16u];
  low = word & 0x0f0f0f0fu;
  up = (word >> 4) & 0x0f0f0f0fu;
#endif
#if FORMAT == Q5_0 || FORMAT == Q5_1 || FORMAT == Q5_K
  const u32 high = ((const u32*)block.high)[row] >> q;
  low |= (high & 0x01010101u) << 4;
  up |= ((high >> 4) & 0x01010101u) << 4;
#elif FORMAT == Q3_K
  const u32 high = ((const u32*)block.high)[row] >> q;
  low |= (high & 0x01010101u) << 2;
  up |= ((high >> 4) & 0x01010101u) << 2;
#elif FORMAT == Q6_K
  const u32 high = ((const u32*)block.high)[(q & 1u) * 16u + row] >> (2u * (q >> 1));
  low |= (high & 0x03030303u) << 4;
  up |= ((high >> 4) & 0x03030303u) << 4;
#endif
}

// Scale and minimum of half h of a block: value = a (c - CENTRE) + o.
static __device__ __forceinline__ void scale_of(const Block& block, u32 row, u32 h, float& a, float& o) {
#if FORMAT == Q8_0 || FORMAT == Q4_0 || FORMAT == Q5_0
  a = half_to_float(((const u16*)block.scales)[row]);
  o = 0.0f;
#elif FORMAT == Q4_1 || FORMAT == Q5_1
  const u32 both = ((const u32*)block.scales)[row];
  a = half_to_float((u16)both);
  o = half_to_float((u16)(both >> 16));
#else
  const u32 pair = ((const u16*)block.scales)[row];
#if FORMAT == Q6_K || FORMAT == Q3_K
  const float d = half_to_float(((const u16*)block.supers)[row]);
  a = d * (float)(i8)(pair >> (8u * h));
  o = 0.0f;
#else
  const u32 both = ((const u32*)block.supers)[row];
  const float d = half_to_float((u16)both), min = half_to_float((u16)(both >> 16));
#if FORMAT == Q2_K
  const u32 byte = pair >> (8u * h);
  a = d * (float)(byte & 15u);
  o = -(min * (float)((byte >> 4) & 15u));
#else
  a = d * (float)(pair & 255u);
  o = -(min * (float)((pair >> 8) & 255u));
#endif
#endif
#endif
}

static __device__ __forceinline__ int code_of(u32 quad, u32 i) {
#if IS_SIGNED
  return (int)(i8)(quad >> (8u * i));
#else
  return (int)((quad >> (8u * i)) & 255u) - CENTRE;
#endif
}

#endif

// The eight values of quads q and q + 4 of a block: elements 4q.. and 16 + 4q...
static __device__ __forceinline__ void values_of(const Planes& w, u32 group, u32 b, u32 row, u32 q, float low[4], float up[4]) {
#if FORMAT == F32
  const float* v = (const float*)w.codes + ((u64)group * w.blocks + b) * 512u + row;
  for (u32 i = 0; i < 4u; i++) {
    low[i] = v[(4u * q + i) * 16u];
    up[i] = v[(16u + 4u * q + i) * 16u];
  }
#elif IS_FLOAT
  const u32* v = (const u32*)w.codes + ((u64)group * w.blocks + b) * 256u + row;
  for (u32 i = 0; i < 2u; i++) {
    const u32 a = v[(2u * q + i) * 16u], c = v[(8u + 2u * q + i) * 16u];
#if FORMAT == F16
    low[2u * i] = half_to_float((u16)a);
    low[2u * i + 1u] = half_to_float((u16)(a >> 16));
    up[2u * i] = half_to_float((u16)c);
    up[2u * i + 1u] = half_to_float((u16)(c >> 16));
#else
    low[2u * i] = bfloat_to_float((u16)a);
    low[2u * i + 1u] = bfloat_to_float((u16)(a >> 16));
    up[2u * i] = bfloat_to_float((u16)c);
    up[2u * i + 1u] = bfloat_to_float((u16)(c >> 16));
#endif
  }
#else
  const Block block = block_of(w, group, b);
  u32 first, second;
  quad_pair(block, row, q, first, second);
  float a, o;
  scale_of(block, row, 0u, a, o);
  for (u32 i = 0; i < 4u; i++) low[i] = fmaf(a, (float)code_of(first, i), o);
#if HALF_SCALES
  scale_of(block, row, 1u, a, o);
#endif
  for (u32 i = 0; i < 4u; i++) up[i] = fmaf(a, (float)code_of(second, i), o);
#endif
}
