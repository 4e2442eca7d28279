// row_stats: out[m] = {max, argmax (lowest on ties), ln sum exp(l), entropy in nats}.
//
// logits [M, V] f32 (rows strided), out [M, 4] u32 (rows strided).
// Work: a block of 512 threads per row; thread i owns elements i, i + 512, ...
// Order of the sums: along a thread's elements, butterflies within warps, warps from 0 to 15. With
// e = exp(l - max): logsumexp = max + ln sum e, entropy = ln sum e - sum e (l - max) / sum e.
// A NaN is never the maximum, and makes logsumexp and entropy NaN.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(512) row_stats(const Params p) {
  __shared__ float warps[16];
  __shared__ float best_values[16];
  __shared__ u32 best_ids[16];
  const float* logits = p.logits + (u64)blockIdx.x * p.logits_stride;
  float best = NEG_INF;
  u32 id = SKIP;
  for (u32 i = threadIdx.x; i < p.v; i += 512u) {
    const float l = logits[i];
    if (l > best || (id == SKIP && !(l < best))) {
      // the first element stands in where nothing is above -inf
      best = l > best ? l : best;
      id = i;
    }
  }
  for (int d = 16; d > 0; d >>= 1) {
    const float other = __shfl_xor_sync(FULL_WARP, best, d);
    const u32 other_id = __shfl_xor_sync(FULL_WARP, id, d);
    if (other > best || (other == best && other_id < id)) {
      best = other;
      id = other_id;
    }
  }
  if ((threadIdx.x & 31u) == 0u) {
    best_values[threadIdx.x >> 5] = best;
    best_ids[threadIdx.x >> 5] = id;
  }
  __syncthreads();
  best = best_values[0];
  id = best_ids[0];
  for (u32 w = 1; w < 16u; w++) {
    if (best_values[w] > best || (best_values[w] == best && best_ids[w] < id)) {
      best = best_values[w];
      id = best_ids[w];
    }
  }
  float sum = 0.0f, weighted = 0.0f;
  for (u32 i = threadIdx.x; i < p.v; i += 512u) {
    const float distance = logits[i] - best, e = expf(distance);
    sum += e;
    if (e != 0.0f) weighted = fmaf(e, distance, weighted);
  }
  sum = block_sum<16>(sum, warps);
  weighted = block_sum<16>(weighted, warps);
  if (threadIdx.x == 0u) {
    u32* out = p.out + (u64)blockIdx.x * p.out_stride;
    const float log_sum = logf(sum);
    out[0] = (u32)__float_as_int(logits[id]);
    out[1] = id;
    out[2] = (u32)__float_as_int(best == NEG_INF ? best : best + log_sum);
    out[3] = (u32)__float_as_int(log_sum - __fdiv_rn(weighted, sum));
  }
}
