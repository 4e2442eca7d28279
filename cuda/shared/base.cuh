// Types, intrinsics and block reductions that every kernel uses. No CUDA header is included, so that
// the driver and NVRTC alone are enough; the few PTX instructions live in prim.cuh.
#pragma once

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#include "shared/prim.cuh"

#define SKIP 0xffffffffu
#define FULL_WARP 0xffffffffu
#define NEG_INF (-__int_as_float(0x7f800000))

static __device__ __forceinline__ u32 ceil_div(u32 a, u32 b) { return (a + b - 1u) / b; }

// Butterfly sum of a warp: every lane gets the same bits, in an order that never changes.
static __device__ __forceinline__ float warp_sum(float v) {
  for (int d = 16; d > 0; d >>= 1) v += __shfl_xor_sync(FULL_WARP, v, d);
  return v;
}

static __device__ __forceinline__ float warp_max(float v) {
  for (int d = 16; d > 0; d >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, d));
  return v;
}

// Sum over a block of WARPS warps; `shared` holds WARPS floats. Ends with a barrier, so that it can
// be used again at once.
template <int WARPS>
static __device__ __forceinline__ float block_sum(float v, float* shared) {
  v = warp_sum(v);
  const u32 lane = threadIdx.x & 31u, warp = threadIdx.x >> 5;
  if (lane == 0u) shared[warp] = v;
  __syncthreads();
  float total = 0.0f;
  for (int i = 0; i < WARPS; i++) total += shared[i];
  __syncthreads();
  return total;
}

template <int WARPS>
static __device__ __forceinline__ float block_max(float v, float* shared) {
  v = warp_max(v);
  const u32 lane = threadIdx.x & 31u, warp = threadIdx.x >> 5;
  if (lane == 0u) shared[warp] = v;
  __syncthreads();
  float best = shared[0];
  for (int i = 1; i < WARPS; i++) best = fmaxf(best, shared[i]);
  __syncthreads();
  return best;
}
