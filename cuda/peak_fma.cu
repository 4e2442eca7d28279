// peak_fma: eight chains of f32 multiply-adds a thread, four steps each an iteration: what multiply-adds can do
// at most.
//
// dst: one f32 a thread, so that the chains have to be computed.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) peak_fma(const Params p) {
  float chains[8];
  for (u32 c = 0; c < 8u; c++) chains[c] = (float)(threadIdx.x + c);
  for (u32 i = 0; i < p.iterations; i++) {
    for (u32 step = 0; step < 4u; step++)
      for (u32 c = 0; c < 8u; c++) chains[c] = fmaf(chains[c], p.factor, 0.001f);
  }
  float all = 0.0f;
  for (u32 c = 0; c < 8u; c++) all += chains[c];
  ((float*)p.dst)[(u64)blockIdx.x * 256u + threadIdx.x] = all;
}
