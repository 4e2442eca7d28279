// build_tree: for m with (row, rank) = template[m] inside [R, k]: tokens[m] = map[ids[row, rank]] (without
// a map the id itself), draft_logprobs[m] = logprobs[row, rank]. An id not below V' leaves the node.
//
// ids [R, k] u32, logprobs [R, k] f32, template [M, 2] u32, tokens [M] u32, draft_logprobs [M] f32 (rows
// strided), map [V'] u32.
// Work: a thread per node; bits are moved.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(64) build_tree(const Params p) {
  const u32 m = threadIdx.x;
  if (m >= p.m) return;
  const u32 row = p.rows[m * p.rows_stride], rank = p.rows[m * p.rows_stride + 1u];
  if (row >= p.r || rank >= p.k) return;
  u32 token = p.ids[row * p.ids_stride + rank];
#ifdef MAP
  if (token >= p.map_len) return;
  token = p.map[token];
#endif
  p.tokens[m * p.tokens_stride] = token;
  p.draft_logprobs[m * p.draft_logprobs_stride] = p.logprobs[row * p.logprobs_stride + rank];
}
