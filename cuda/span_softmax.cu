// span_softmax: in place, x[m, n] = exp(scale x[m, n]) / sum over spans[m, 0] <= n < spans[m, 1], 0 outside.
//
// x [M, N] f32, spans [M, 2] u32 (rows strided).
// Work: a block of 256 threads per row; thread i owns elements i, i + 256, ... from the row's start.
// Order of the sum: along a thread's elements, butterflies within warps, warps from 0 to 7.
// Must not change: both ends of a span are compared with N.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) span_softmax(const Params p) {
  __shared__ float warps[8];
  float* x = p.x + (u64)blockIdx.x * p.x_stride;
  const u32* span = p.spans + (u64)blockIdx.x * p.spans_stride;
  const u32 first = min(span[0], p.n), end = min(span[1], p.n);
  float most = NEG_INF;
  for (u32 i = threadIdx.x; i < end; i += 256u)
    if (i >= first) most = fmaxf(most, p.scale * x[i]);
  most = block_max<8>(most, warps);
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < end; i += 256u)
    if (i >= first) sum += expf(p.scale * x[i] - most);
  sum = block_sum<8>(sum, warps);
  for (u32 i = threadIdx.x; i < p.n; i += 256u)
    x[i] = i >= first && i < end ? __fdiv_rn(expf(p.scale * x[i] - most), sum) : 0.0f;
}
