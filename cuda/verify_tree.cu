// verify_tree: path = 0, and from each kept node on a child that the rule accepts; bonus = the token chosen
// at the path's end.
//   RULE 0 (greedy)   the first child that holds the argmax at its parent
//   RULE 1 (seeded)   the first child that holds the id of the largest (l - max) / T + gumbel(seed, position
//                     + 1, id)
//   RULE 2 (typical)  p = softmax(l / T) at the parent, H its entropy: p(token) > min(eps, alpha exp(-H)); the
//                     longest path wins, then the larger sum of ln p, then the lower row
//
// logits [M, V] f32, stats [M, 4] u32, tokens, parents, positions, slots [M] u32, nodes [1] u32, params [4] u32;
// out [68] u32, report [M, 4] u32, src, dst [M] u32 (rows strided but for params and out).
// Work: one block walks from the root down. Of a row of logits a thread has elements (seeded: blocks of
// four) i, i + 256, ... Thread 0 alone keeps the book of nodes.
// Must not change: a draw is a maximum, so its order does not matter; elements are left out only where no
// noise could lift them to the best. Sums as in row_stats.
//
// v1.
#include "shared/base.cuh"
#include "shared/noise.cuh"

#define NODES 64u
#define NO_THRESHOLD 0x7fc00000u
#define LARGEST 3.4028234663852886e38f
// stands for ln 0
#define LN_ZERO (-1e30f)

enum Verdict { ROOT, ACCEPTED, REJECTED, BELOW, OUTRUN, UNREACHED, PADDING };

struct Book {
  // of each row: token, parent (SKIP for the root and for padding), chosen token, threshold, verdict
  u32 held[NODES], above[NODES], chosen[NODES], thresholds[NODES], verdicts[NODES], path[NODES];
  u32 kept, count, current;
  // of each row, for RULE 2: does it pass, has it children, nodes above it, sum of ln p along its path
  u32 passed[NODES], fertile[NODES], depths[NODES];
  float sums[NODES];
};

static __device__ __forceinline__ u32 stat(const Params& p, u32 row, u32 field) { return p.stats[row * p.stats_stride + field]; }
static __device__ __forceinline__ float stat_f(const Params& p, u32 row, u32 field) { return __int_as_float((int)stat(p, row, field)); }
static __device__ __forceinline__ float logit(const Params& p, u32 row, u32 token) { return p.logits[(u64)row * p.logits_stride + token]; }

// Thread 0: which rows are nodes. A row without a parent before it is none, nor is what hangs below it.
static __device__ void read_nodes(const Params& p, Book& b) {
  b.count = min(p.nodes[0], min(p.m, NODES));
  b.kept = 0u;
  b.current = b.count > 0u ? 0u : SKIP;
  for (u32 m = 0u; m < NODES; m++) {
    b.held[m] = m < p.m ? p.tokens[m * p.tokens_stride] : SKIP;
    b.chosen[m] = b.path[m] = b.above[m] = SKIP;
    b.thresholds[m] = NO_THRESHOLD;
    b.verdicts[m] = PADDING;
    b.passed[m] = m == 0u;
    b.fertile[m] = b.depths[m] = 0u;
    b.sums[m] = 0.0f;
    if (m >= b.count) continue;
    const u32 parent = p.parents[m * p.parents_stride];
    if (m == 0u) {
      b.verdicts[0] = ROOT;
    } else if (parent < m && b.verdicts[parent] != PADDING) {
      b.above[m] = parent;
      b.verdicts[m] = UNREACHED;
      b.fertile[parent] = 1u;
    }
  }
}

#if RULE == 2
// (ln sum exp(z), entropy) with z = (l - max) / T of the row; nothing to sum at T = 0 and T = 1.
static __device__ void law_of(const Params& p, u32 row, float temperature, float* warps, float& log_sum, float& entropy) {
  const float top = stat_f(p, row, 0u);
  float sum = 0.0f, weighted = 0.0f;
  const u32 limit = temperature == 0.0f || temperature == 1.0f ? 0u : p.v;
  for (u32 i = threadIdx.x; i < limit; i += 256u) {
    const float z = __fdiv_rn(logit(p, row, i) - top, temperature), e = expf(z);
    sum += e;
    // exp(z) z tends to 0 where z is minus infinity
    if (e > 0.0f) weighted = fmaf(e, z, weighted);
  }
  sum = fmaxf(block_sum<8>(sum, warps), 1.0f);
  weighted = block_sum<8>(weighted, warps);
  log_sum = logf(sum);
  entropy = log_sum - __fdiv_rn(weighted, sum);
}

static __device__ void examine(const Params& p, Book& b, u32 m, u32 row, float temperature, float log_sum, float entropy) {
  float ln_p = LN_ZERO;
  if (temperature == 1.0f) entropy = stat_f(p, row, 3u);
  if (temperature == 0.0f) entropy = 0.0f;
  if (b.held[m] < p.v) {
    const float l = logit(p, row, b.held[m]);
    if (temperature == 1.0f)
      ln_p = l - stat_f(p, row, 2u);
    else if (temperature != 0.0f)
      ln_p = __fdiv_rn(l - stat_f(p, row, 0u), temperature) - log_sum;
    else if (b.held[m] == stat(p, row, 1u))
      ln_p = 0.0f;
  }
  const float eps = __int_as_float((int)p.params[0]), alpha = __int_as_float((int)p.params[1]);
  const float threshold = fminf(eps, alpha * expf(-entropy));
  b.thresholds[m] = (u32)__float_as_int(threshold);
  b.passed[m] = expf(ln_p) > threshold;
  b.verdicts[m] = b.passed[m] ? OUTRUN : BELOW;
  b.depths[m] = b.depths[row] + 1u;
  b.sums[m] = b.sums[row] + ln_p;
}

static __device__ void walk(const Params& p, Book& b) {
  __shared__ float warps[8];
  const float temperature = __int_as_float((int)p.params[2]);
  for (u32 row = 0u; row < b.count; row++) {
    if (!b.passed[row] || !b.fertile[row]) continue;
    float log_sum, entropy;
    law_of(p, row, temperature, warps, log_sum, entropy);
    for (u32 m = row + 1u + threadIdx.x; m < b.count; m += 256u)
      if (b.above[m] == row) examine(p, b, m, row, temperature, log_sum, entropy);
    __syncthreads();
  }
  if (threadIdx.x != 0u || b.count == 0u) return;
  u32 best = 0u;
  for (u32 m = 1u; m < b.count; m++)
    if (b.passed[m] && (b.depths[m] > b.depths[best] || (b.depths[m] == b.depths[best] && b.sums[m] > b.sums[best]))) best = m;
  b.chosen[best] = stat(p, best, 1u);
  b.kept = b.depths[best] + 1u;
  for (u32 i = b.kept; i > 0u; i--) {
    b.path[i - 1u] = best;
    if (i > 1u) {
      b.verdicts[best] = ACCEPTED;
      best = b.above[best];
    }
  }
}
#else

#if RULE == 1
static __device__ u32 choose(const Params& p, u32 row) {
  __shared__ float scores[8];
  __shared__ u32 ids[8];
  const float temperature = __int_as_float((int)p.params[2]);
  const u32 argmax = stat(p, row, 1u);
  if (temperature == 0.0f) return argmax;
  const u32 at = p.positions[row * p.positions_stride] + 1u, carry = at == 0u ? 1u : 0u;
  const float top = fminf(stat_f(p, row, 0u), LARGEST);
  // the top first: most of a large vocabulary is then too low for any noise to lift it
  float floor = gumbel_of(philox(argmax / 4u, at, carry, 0u, p.params[0], p.params[1]).at[argmax % 4u]);
  float best = NEG_INF;
  u32 id = SKIP;
  for (u32 block = threadIdx.x; block < ceil_div(p.v, 4u); block += 256u) {
    float bases[4];
    bool alive[4], any = false;
    for (u32 j = 0u; j < 4u; j++) {
      alive[j] = false;
      if (block * 4u + j >= p.v) continue;
      const float l = logit(p, row, block * 4u + j), distance = fminf(l, LARGEST) - top;
      bases[j] = distance == 0.0f ? 0.0f : __fdiv_rn(distance, temperature);
      // a NaN is above nothing
      alive[j] = l > NEG_INF && bases[j] + GUMBEL_MAX >= floor;
      any = any || alive[j];
    }
    if (!any) continue;
    const Words words = philox(block, at, carry, 0u, p.params[0], p.params[1]);
    for (u32 j = 0u; j < 4u; j++) {
      if (!alive[j]) continue;
      const float score = bases[j] + gumbel_of(words.at[j]);
      if (score > best || (score == best && block * 4u + j < id)) {
        best = score;
        id = block * 4u + j;
      }
      floor = fmaxf(floor, score);
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
    scores[threadIdx.x >> 5] = best;
    ids[threadIdx.x >> 5] = id;
  }
  __syncthreads();
  best = scores[0];
  id = ids[0];
  for (u32 w = 1u; w < 8u; w++) {
    if (scores[w] > best || (scores[w] == best && ids[w] < id)) {
      best = scores[w];
      id = ids[w];
    }
  }
  return id == SKIP ? 0u : id;
}
#else
static __device__ u32 choose(const Params& p, u32 row) { return stat(p, row, 1u); }
#endif

static __device__ void walk(const Params& p, Book& b) {
  for (;;) {
    const u32 row = b.current;
    if (row == SKIP) return;
    const u32 token = choose(p, row);
    // everybody has read `current` and the scores before they change
    __syncthreads();
    if (threadIdx.x == 0u) {
      b.chosen[row] = token;
      b.path[b.kept++] = row;
      b.current = SKIP;
      for (u32 m = row + 1u; m < b.count; m++) {
        if (b.above[m] != row) continue;
        b.verdicts[m] = REJECTED;
        if (b.held[m] != token) continue;
        b.verdicts[m] = b.current == SKIP ? ACCEPTED : OUTRUN;
        if (b.current == SKIP) b.current = m;
      }
    }
    __syncthreads();
  }
}
#endif

// Probability of a row's token at its parent, at temperature 1.
static __device__ float probability(const Params& p, const Book& b, u32 m) {
  if (m == 0u) return b.count > 0u ? 1.0f : 0.0f;
  const u32 parent = b.above[m];
  if (parent == SKIP || b.held[m] >= p.v) return 0.0f;
  return expf(logit(p, parent, b.held[m]) - stat_f(p, parent, 2u));
}

extern "C" __global__ void __launch_bounds__(256) verify_tree(const Params p) {
  __shared__ Book b;
  if (threadIdx.x == 0u) read_nodes(p, b);
  __syncthreads();
  walk(p, b);
  __syncthreads();
  const u32 i = threadIdx.x;
  if (i < NODES) p.out[4u + i] = i < b.kept ? b.path[i] : SKIP;
  if (i == 0u) {
    const u32 last = b.kept > 0u ? b.path[b.kept - 1u] : SKIP;
    p.out[0] = b.kept;
    p.out[1] = last == SKIP ? SKIP : b.chosen[last];
    p.out[2] = last;
    p.out[3] = 0u;
  }
  if (i >= p.m) return;
  u32* report = p.report + i * p.report_stride;
  report[0] = (u32)__float_as_int(probability(p, b, i));
  report[1] = b.thresholds[i];
  report[2] = b.chosen[i];
  report[3] = b.verdicts[i];
  u32 from = SKIP, to = SKIP;
  if (i < b.kept) {
    from = p.slots[b.path[i] * p.slots_stride];
    to = p.slots[i * p.slots_stride];
    if (from == to) from = to = SKIP;
  }
  p.src[i * p.src_stride] = from;
  p.dst[i * p.dst_stride] = to;
}
