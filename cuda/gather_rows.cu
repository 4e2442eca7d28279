// gather_rows: dst[m] = src[rows[m]]; an index not below R gives zeros.
//
// src [R, C] f32, rows [M] u32, dst [M, C] f32 (rows strided). Work: a thread per element.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) gather_rows(const Params p) {
  const u32 c = blockIdx.x * 256u + threadIdx.x;
  if (c >= p.c) return;
  const u32 row = p.rows[blockIdx.y * p.rows_stride];
  p.dst[(u64)blockIdx.y * p.dst_stride + c] = row < p.r ? p.src[(u64)row * p.src_stride + c] : 0.0f;
}
