// top_k: ids of the k largest logits of each row, largest first, lowest id first on ties, and their
// log-probabilities l - logsumexp.
//
// logits [M, V] f32 (rows strided), ids [M, k] u32 and logprobs [M, k] f32 (rows strided).
// Work: two launches of this text. STAGE 1: a block per row and segment of V finds the segment's k
// best and its sum of exponentials. STAGE 2: a block per row finds the k best of those.
// The best one *behind the last pick* is searched k times, so nothing is marked or moved.
// Order of the sum: along a thread's elements, butterflies, warps; then segments from first to last.
//
// v1.
#include "shared/base.cuh"

// Logit and id behind which the next pick lies, in the order of the result.
struct Pick {
  float value;
  u32 id;
};

// A NaN ranks with -inf; adding zero makes -0 and 0 tie.
static __device__ __forceinline__ float rank_of(float l) { return l == l ? l + 0.0f : NEG_INF; }

static __device__ __forceinline__ bool before(float a, u32 a_id, float b, u32 b_id) { return a > b || (a == b && a_id < b_id); }

static __device__ Pick best_of_block(Pick mine, float* values, u32* ids) {
  for (int d = 16; d > 0; d >>= 1) {
    const float value = __shfl_xor_sync(FULL_WARP, mine.value, d);
    const u32 id = __shfl_xor_sync(FULL_WARP, mine.id, d);
    if (before(value, id, mine.value, mine.id)) mine = {value, id};
  }
  if ((threadIdx.x & 31u) == 0u) {
    values[threadIdx.x >> 5] = mine.value;
    ids[threadIdx.x >> 5] = mine.id;
  }
  __syncthreads();
  Pick best = {values[0], ids[0]};
  for (u32 w = 1; w < 8u; w++)
    if (before(values[w], ids[w], best.value, best.id)) best = {values[w], ids[w]};
  __syncthreads();
  return best;
}

extern "C" __global__ void __launch_bounds__(256) top_k(const Params p) {
  __shared__ float values[8];
  __shared__ u32 best_ids[8];
  const u32 m = blockIdx.y;
  const float* logits = p.logits + (u64)m * p.logits_stride;
#if STAGE == 1
  __shared__ float warps[8];
  const u32 segment = blockIdx.x, first = segment * p.segment, last = min(first + p.segment, p.v);
  float* best_values = p.values + ((u64)m * p.segments + segment) * p.count;
  u32* best = p.picks + ((u64)m * p.segments + segment) * p.count;
  float most = NEG_INF;
  for (u32 i = first + threadIdx.x; i < last; i += 256u) most = fmaxf(most, logits[i]);
  most = block_max<8>(most, warps);
  float sum = 0.0f;
  for (u32 i = first + threadIdx.x; i < last; i += 256u) sum += expf(logits[i] - most);
  sum = block_sum<8>(sum, warps);
  if (threadIdx.x == 0u) {
    p.sums[((u64)m * p.segments + segment) * 2u] = most;
    p.sums[((u64)m * p.segments + segment) * 2u + 1u] = most == NEG_INF ? 0.0f : sum;
  }
#define VALUE(i) rank_of(logits[i])
#define ID(i) (i)
#else
  const u32 first = 0u, last = p.segments * p.count;
  const float* candidates = p.values + (u64)m * last;
  const u32* candidate_ids = p.picks + (u64)m * last;
  u32* best = p.ids + (u64)m * p.ids_stride;
  float* logprobs = p.logprobs + (u64)m * p.logprobs_stride;
  const float* sums = p.sums + (u64)m * p.segments * 2u;
  float most = NEG_INF, total = 0.0f;
  for (u32 s = 0; s < p.segments; s++) most = fmaxf(most, sums[2u * s]);
  for (u32 s = 0; s < p.segments; s++) total = fmaf(sums[2u * s + 1u], expf(sums[2u * s] - most), total);
  const float log_sum_exp = most + logf(total);
#define VALUE(i) candidates[i]
#define ID(i) candidate_ids[i]
#endif
  Pick pick = {0.0f, SKIP};
  for (u32 n = 0; n < p.count; n++) {
    Pick mine = {NEG_INF, SKIP};
    for (u32 i = first + threadIdx.x; i < last; i += 256u) {
      const float value = VALUE(i);
      const u32 id = ID(i);
      const bool left = id != SKIP && (n == 0u || before(pick.value, pick.id, value, id));
      if (left && before(value, id, mine.value, mine.id)) mine = {value, id};
    }
    pick = best_of_block(mine, values, best_ids);
    if (threadIdx.x == 0u) {
      best[n] = pick.id;
#if STAGE == 1
      best_values[n] = pick.value;
#else
      logprobs[n] = logits[pick.id] - log_sum_exp;
#endif
    }
  }
}
