// The only file with inline PTX: each primitive beside its host twin, which tests run on the CPU.
#pragma once

// Whether copies into shared memory can be left to the device.
#if defined(COPPICE_HOST)
#define HAS_COPY_ASYNC 1
#elif __CUDA_ARCH__ >= 800
#define HAS_COPY_ASYNC 1
#else
#define HAS_COPY_ASYNC 0
#endif

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

// d += a b for a 16 x 16 tile of 16-bit floats, 8 columns and f32 sums.
//   a0: row g, elements 2q, 2q+1     a1: row g + 8     a2, a3: the same rows, elements 8 + 2q..
//   b0: elements 2q, 2q+1 of column g                  b1: elements 8 + 2q..
//   d as above
// The device adds the products in an order and with a rounding of its own; the twin adds them one by one.
template <class Value>
static inline void mma_16(float d[4], const u32 a[4], const u32 b[2], Value value) {
  struct Fragment {
    u32 a[4], b[2];
  } mine;
  memcpy(mine.a, a, 16);
  memcpy(mine.b, b, 8);
  auto all = host::exchange(~0u, mine);
  const u32 lane = host::lane(), g = lane >> 2, q = lane & 3u;
  for (u32 i = 0; i < 4; i++) {
    const u32 row = g + (i >> 1) * 8u, column = q * 2u + (i & 1u);
    float sum = d[i];
    for (u32 k = 0; k < 16; k++) {
      const Fragment ra = host::value<Fragment>(all, (row & 7u) * 4u + (k & 7u) / 2u);
      const Fragment rb = host::value<Fragment>(all, column * 4u + (k & 7u) / 2u);
      const u32 wa = ra.a[(row >> 3) + (k >> 3) * 2u], wb = rb.b[k >> 3];
      sum += value((u16)(wa >> 16u * (k & 1u))) * value((u16)(wb >> 16u * (k & 1u)));
    }
    d[i] = sum;
  }
}

static inline void mma_f16(float d[4], const u32 a[4], const u32 b[2]) { mma_16(d, a, b, half_to_float); }

static inline void mma_bf16(float d[4], const u32 a[4], const u32 b[2]) {
  mma_16(d, a, b, [](u16 h) { return __int_as_float((int)((u32)h << 16)); });
}

// A copy of 4, 8 or 16 bytes from global to shared memory that the thread does not wait for. The twin
// copies as late as the thread's own wait allows, so that a missing wait or barrier is seen.
template <int BYTES>
static inline void copy_async(void* to, const void* from) {
  if ((size_t)to % BYTES || (size_t)from % BYTES) host::fail("an asynchronous copy is not aligned");
  host::later(to, from, BYTES);
}

// Ends a group of copies of this thread.
static inline void copy_async_commit() { host::later_commit(); }

// Waits for all but the last LEFT groups of this thread.
template <int LEFT>
static inline void copy_async_wait() {
  host::later_wait(LEFT);
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

static __device__ __forceinline__ void mma_f16(float d[4], const u32 a[4], const u32 b[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ void mma_bf16(float d[4], const u32 a[4], const u32 b[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <int BYTES>
static __device__ __forceinline__ void copy_async(void* to, const void* from) {
  u32 at;
  asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(at) : "l"(to));
  if (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(at), "l"(from), "n"(BYTES) : "memory");
}

static __device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int LEFT>
static __device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
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

static __device__ __forceinline__ void mma_f16_half(float d[4], const u32 a[2], u32 b) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b));
}

static __device__ __forceinline__ void mma_f16(float d[4], const u32 a[4], const u32 b[2]) {
  mma_f16_half(d, a, b[0]);
  mma_f16_half(d, a + 2, b[1]);
}

// Turing has no units for bf16: each lane gathers what its four sums need.
static __device__ __forceinline__ void mma_bf16(float d[4], const u32 a[4], const u32 b[2]) {
  const u32 lane = threadIdx.x & 31u, g = lane >> 2, q = lane & 3u;
  for (u32 i = 0; i < 4u; i++) {
    for (u32 k = 0; k < 16u; k += 2u) {
      const u32 wa = __shfl_sync(0xffffffffu, a[(i >> 1) + (k >> 3) * 2u], g * 4u + ((k & 7u) >> 1));
      const u32 wb = __shfl_sync(0xffffffffu, b[k >> 3], (q * 2u + (i & 1u)) * 4u + ((k & 7u) >> 1));
      d[i] = fmaf(__int_as_float((int)(wa << 16)), __int_as_float((int)(wb << 16)), d[i]);
      d[i] = fmaf(__int_as_float((int)(wa & 0xffff0000u)), __int_as_float((int)(wb & 0xffff0000u)), d[i]);
    }
  }
}

// Nor has it asynchronous copies.
template <int BYTES>
static __device__ __forceinline__ void copy_async(void* to, const void* from) {
  for (int i = 0; i < BYTES / 4; i++) ((u32*)to)[i] = ((const u32*)from)[i];
}

static __device__ __forceinline__ void copy_async_commit() {}

template <int LEFT>
static __device__ __forceinline__ void copy_async_wait() {}

#endif

#endif

static __device__ __forceinline__ float bfloat_to_float(u16 h) { return __int_as_float((int)((u32)h << 16)); }

// The nearest bf16, ties to even; NaN stays NaN.
static __device__ __forceinline__ u16 float_to_bfloat(float f) {
  const u32 bits = (u32)__float_as_int(f);
  if (f != f) return (u16)(bits >> 16 | 0x40u);
  return (u16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
