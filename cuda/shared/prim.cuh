// The only file with inline PTX: each primitive beside its host twin, which tests run on the CPU.
#pragma once

#ifdef COPPICE_HOST

static inline float half_to_float(u16 h) {
  _Float16 x;
  memcpy(&x, &h, 2);
  return (float)x;
}

static inline u16 float_to_half(float f) {
  _Float16 x = (_Float16)f;
  u16 h;
  memcpy(&h, &x, 2);
  return h;
}

// d += a b for a 16 x 32 tile of weights, 8 columns and 32-bit sums.
//   a0: row g, elements 4q..4q+3     a1: row g + 8     a2, a3: the same rows, elements 16 + 4q..
//   b0: elements 4q..4q+3 of column g                  b1: elements 16 + 4q..
//   d0, d1: row g, columns 2q, 2q+1                    d2, d3: row g + 8
// with g = lane / 4 and q = lane % 4.
static inline void mma_s8(int d[4], const u32 a[4], const u32 b[2]) {
  struct Fragment {
    u32 a[4], b[2];
  } mine;
  memcpy(mine.a, a, 16);
  memcpy(mine.b, b, 8);
  auto all = host::exchange(~0u, mine);
  const u32 lane = host::lane(), g = lane >> 2, q = lane & 3u;
  for (u32 i = 0; i < 4; i++) {
    const u32 row = g + (i >> 1) * 8u, column = q * 2u + (i & 1u);
    int sum = d[i];
    for (u32 k = 0; k < 32; k++) {
      const Fragment ra = host::value<Fragment>(all, (row & 7u) * 4u + (k & 15u) / 4u);
      const Fragment rb = host::value<Fragment>(all, column * 4u + (k & 15u) / 4u);
      const u32 wa = ra.a[(row >> 3) + (k >> 4) * 2u], wb = rb.b[k >> 4];
      sum += (int)(i8)(wa >> 8u * (k & 3u)) * (int)(i8)(wb >> 8u * (k & 3u));
    }
    d[i] = sum;
  }
}

// The lower half of the above: 16 elements, a0, a1 and b0 only.
static inline void mma_s8_half(int d[4], const u32 a[2], u32 b) {
  const u32 whole_a[4] = {a[0], a[1], 0u, 0u};
  const u32 whole_b[2] = {b, 0u};
  mma_s8(d, whole_a, whole_b);
}

#else

static __device__ __forceinline__ float half_to_float(u16 h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}

static __device__ __forceinline__ u16 float_to_half(float f) {
  u16 h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}

#if __CUDA_ARCH__ >= 800
static __device__ __forceinline__ void mma_s8(int d[4], const u32 a[4], const u32 b[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ void mma_s8_half(int d[4], const u32 a[2], u32 b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b));
}

#else
// Turing has 8 x 8 x 16 tiles of bytes: eight columns of b are shared by two 8-row halves of a.
static __device__ __forceinline__ void mma_8816(int& d0, int& d1, u32 a, u32 b) {
  asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1},{%2},{%3},{%0,%1};"
               : "+r"(d0), "+r"(d1)
               : "r"(a), "r"(b));
}

static __device__ __forceinline__ void mma_s8_half(int d[4], const u32 a[2], u32 b) {
  mma_8816(d[0], d[1], a[0], b);
  mma_8816(d[2], d[3], a[1], b);
}

static __device__ __forceinline__ void mma_s8(int d[4], const u32 a[4], const u32 b[2]) {
  mma_s8_half(d, a, b[0]);
  mma_s8_half(d, a + 2, b[1]);
}

#endif

#endif

static __device__ __forceinline__ float bfloat_to_float(u16 h) { return __int_as_float((int)((u32)h << 16)); }
