// grow_tree: row 0 is the root; row m the candidate of the largest sums[parent] + logprobs[depth(parent),
// rank], rank being the first not taken below its parent; ties to the smaller depth, then the lower parent.
//
// ids [R, k] u32, logprobs [R, k] f32, map [V'] u32, root, prefix, nodes [1] u32, slots [M] u32; tokens,
// parents, positions, path [M] u32, draft_logprobs [M] f32, path_slots [M, L] u32 (rows strided).
// Work: one block; thread i has node i. Each round takes the best candidate below all nodes.
// Must not change: sums are taken in f32 from the root down, one addition a node, so that the tree is
// the same on every device.
//
// v1.
#include "shared/base.cuh"

#define NODES 64u

extern "C" __global__ void __launch_bounds__(64) grow_tree(const Params p) {
  // of each node: confidence, depth, parent, rank of the next guess below it
  __shared__ float sums[NODES];
  __shared__ u32 depths[NODES], above[NODES], ranks[NODES];
  __shared__ float best_sums[2];
  __shared__ u32 best_orders[2];
  __shared__ u32 grown;
  const u32 i = threadIdx.x, wanted = min(p.nodes[0], min(p.m, NODES));
  if (i == 0u) {
    grown = min(wanted, 1u);
    sums[0] = 0.0f;
    depths[0] = ranks[0] = 0u;
    above[0] = SKIP;
    if (wanted > 0u) {
      p.tokens[0] = p.root[0];
      p.draft_logprobs[0] = 0.0f;
    }
  }
  __syncthreads();
  for (u32 m = 1u; m < wanted; m++) {
    // the candidate below this thread's node; `order` sorts by depth, then by parent
    float sum = NEG_INF;
    u32 order = SKIP;
    if (i < m && depths[i] < p.r && ranks[i] < p.k) {
      const float confidence = sums[i] + p.logprobs[depths[i] * p.logprobs_stride + ranks[i]];
      if (confidence > NEG_INF) {
        sum = confidence;
        order = depths[i] * NODES + i;
      }
    }
    for (int d = 16; d > 0; d >>= 1) {
      const float other = __shfl_xor_sync(FULL_WARP, sum, d);
      const u32 other_order = __shfl_xor_sync(FULL_WARP, order, d);
      if (other > sum || (other == sum && other_order < order)) {
        sum = other;
        order = other_order;
      }
    }
    if ((i & 31u) == 0u) {
      best_sums[i >> 5] = sum;
      best_orders[i >> 5] = order;
    }
    __syncthreads();
    if (i == 0u) {
      const bool second = best_sums[1] > best_sums[0] || (best_sums[1] == best_sums[0] && best_orders[1] < best_orders[0]);
      order = best_orders[second ? 1 : 0];
      if (order != SKIP) {
        const u32 parent = order % NODES, depth = depths[parent], rank = ranks[parent];
        const float logprob = p.logprobs[depth * p.logprobs_stride + rank];
        u32 token = p.ids[depth * p.ids_stride + rank];
#ifdef MAP
        token = token < p.map_len ? p.map[token] : SKIP;
#endif
        p.tokens[m * p.tokens_stride] = token;
        p.draft_logprobs[m * p.draft_logprobs_stride] = logprob;
        sums[m] = sums[parent] + logprob;
        depths[m] = depth + 1u;
        above[m] = parent;
        ranks[m] = 0u;
        ranks[parent] = rank + 1u;
        grown = m + 1u;
      }
    }
    __syncthreads();
    if (grown != m + 1u) break;
  }
  const u32 count = grown;
  if (i >= p.m) return;
  u32 parent = SKIP, position = 0u, steps = 0u;
  u32* line = p.path_slots + i * p.path_slots_stride;
  for (u32 j = 0u; j < p.l; j++) line[j] = 0u;
  if (i < count) {
    parent = above[i];
    position = p.prefix[0] + depths[i];
    steps = depths[i] + 1u;
    u32 node = i;
    for (u32 j = steps; j > 0u; j--) {
      line[j - 1u] = p.slots[node * p.slots_stride];
      node = above[node];
    }
  } else {
    p.tokens[i * p.tokens_stride] = SKIP;
    p.draft_logprobs[i * p.draft_logprobs_stride] = 0.0f;
  }
  p.parents[i * p.parents_stride] = parent;
  p.positions[i * p.positions_stride] = position;
  p.path[i * p.path_stride] = steps;
}
