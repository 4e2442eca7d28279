// tree_attention: out[m, h] = sum_p softmax_p(scale q[m, h] . k[p, g]) v[p, g], g = h G / H, over the
// positions that row m sees; zeros if it sees none.
//
// q [M, H, D] f32, out [M, H, D] f32 (rows strided); pages [S, G, D] in KV format; table [B, TG, T],
// seq [M], prefix [M, PG], path [M], path_slots [M, L], all u32 (src/ops/attention.rs).
// Work: a warp per row m, KV head and block of HEADS query heads that share it; four neighbouring rows to
// a thread block, so that common keys come from its cache. With SPLIT each warp does one span of 256
// positions and leaves maximum, sum and weighted values for merge_attention; else it does all spans.
// Order: positions in chunks of 64 and spans of 256 by *absolute position*; scores along D; values by
// position. It depends on neither M, nor the prefix, nor the context bucket, nor SPLIT: a node of a
// tree gets the bits of plain decoding of its path.
//
// v1: keys a position a lane, values an element pair a lane, all through the cache.
#include "shared/base.cuh"
#include "shared/pages.cuh"
#include "shared/softmax.cuh"

#define PAIRS ((D + 63u) / 64u)

struct Sums {
  float max[HEADS], total[HEADS], values[HEADS][PAIRS][2];
};

static __device__ __forceinline__ void clear(Sums& sums) {
  for (u32 h = 0; h < HEADS; h++) {
    sums.max[h] = NEG_INF;
    sums.total[h] = 0.0f;
    for (u32 j = 0; j < PAIRS; j++) sums.values[h][j][0] = sums.values[h][j][1] = 0.0f;
  }
}

extern "C" __global__ void __launch_bounds__(128, D > 128u ? 2 : 4) tree_attention(const Params p) {
  __shared__ u32 slots[4][CHUNK];
  __shared__ float weights[4][HEADS][CHUNK];
  __shared__ float queries[4][HEADS][D];
  const u32 warp = threadIdx.x >> 5, lane = threadIdx.x & 31u;
  const u32 m = blockIdx.x * 4u + warp;
  const u32 per_group = p.h / p.g, blocks = ceil_div(per_group, HEADS);
  const u32 g = blockIdx.y / blocks, first_head = g * per_group + (blockIdx.y % blocks) * HEADS;
  const u32 heads = min(HEADS, (g + 1u) * per_group - first_head);
  if (m >= p.m) return;
  const u32 prefix = p.prefix[m * p.prefix_heads + min(g, p.prefix_heads - 1u)];
  const u32 seen = prefix + p.path[m * p.path_stride];
  const u32 start = p.window > 0u && seen > p.window ? seen - p.window : 0u;
  const u32* table = p.table + (p.seq[m * p.seq_stride] * p.table_heads + min(g, p.table_heads - 1u)) * p.pages;

  for (u32 h = 0; h < HEADS; h++)
    for (u32 i = lane; i < D; i += 32u)
      queries[warp][h][i] = h < heads ? p.scale * p.q[(u64)m * p.q_stride + (first_head + h) * D + i] : 0.0f;
  __syncwarp();

  Sums all;
  clear(all);
#ifdef SPLIT
  const u32 first_span = blockIdx.z, spans = first_span + 1u;
#else
  const u32 first_span = start / SPAN, spans = ceil_div(seen, SPAN);
#endif
  for (u32 span = first_span; span < spans; span++) {
    const u32 from = max(start, span * SPAN), to = min(seen, (span + 1u) * SPAN);
    if (from >= to) continue;
    Sums sums;
    clear(sums);
    for (u32 chunk = from / CHUNK; chunk * CHUNK < to; chunk++) {
      for (u32 i = lane; i < CHUNK; i += 32u) {
        const u32 position = chunk * CHUNK + i;
        u32 slot = SKIP;
        if (position >= from && position < to)
          slot = position < prefix ? table[position / p.page] * p.page + position % p.page : p.path_slots[m * p.longest + position - prefix];
        slots[warp][i] = slot;
      }
      __syncwarp();
      float scores[HEADS][2];
      for (u32 half = 0; half < 2u; half++) {
        const u32 slot = slots[warp][lane + 32u * half];
        for (u32 h = 0; h < HEADS; h++) scores[h][half] = slot == SKIP ? NEG_INF : 0.0f;
        if (slot == SKIP) continue;
        const u64 row = (u64)slot * p.g + g;
#pragma unroll 4
        for (u32 i = 0; i < D; i += 2u) {
          float a, b;
          two_of(p.k_pages, K_SCALES, row, i, a, b);
          for (u32 h = 0; h < HEADS; h++) {
            scores[h][half] = fmaf(queries[warp][h][i], a, scores[h][half]);
            scores[h][half] = fmaf(queries[warp][h][i + 1u], b, scores[h][half]);
          }
        }
      }
      for (u32 h = 0; h < HEADS; h++) {
        const float max = fmaxf(sums.max[h], warp_max(fmaxf(scores[h][0], scores[h][1])));
        const float factor = sums.max[h] == NEG_INF ? 0.0f : rise(sums.max[h], max);
        const float low = expf(scores[h][0] - max), high = expf(scores[h][1] - max);
        weights[warp][h][lane] = low;
        weights[warp][h][lane + 32u] = high;
        sums.total[h] = fmaf(sums.total[h], factor, warp_sum(low + high));
        sums.max[h] = max;
        for (u32 j = 0; j < PAIRS; j++) {
          sums.values[h][j][0] *= factor;
          sums.values[h][j][1] *= factor;
        }
      }
      __syncwarp();
#pragma unroll 2
      for (u32 i = 0; i < CHUNK; i++) {
        const u32 slot = slots[warp][i];
        if (slot == SKIP) continue;
        const u64 row = (u64)slot * p.g + g;
        for (u32 j = 0; j < PAIRS; j++) {
          const u32 at = 64u * j + 2u * lane;
          if (at >= D) continue;
          float a, b;
          two_of(p.v_pages, V_SCALES, row, at, a, b);
          for (u32 h = 0; h < HEADS; h++) {
            sums.values[h][j][0] = fmaf(weights[warp][h][i], a, sums.values[h][j][0]);
            sums.values[h][j][1] = fmaf(weights[warp][h][i], b, sums.values[h][j][1]);
          }
        }
      }
      __syncwarp();
    }
#ifdef SPLIT
    for (u32 h = 0; h < heads; h++) {
      const u64 part = ((u64)m * p.h + first_head + h) * p.spans + span;
      if (lane == 0u) {
        p.maxima[part] = sums.max[h];
        p.totals[part] = sums.total[h];
      }
      for (u32 j = 0; j < PAIRS; j++) {
        const u32 at = 64u * j + 2u * lane;
        if (at >= D) continue;
        p.parts[part * D + at] = sums.values[h][j][0];
        p.parts[part * D + at + 1u] = sums.values[h][j][1];
      }
    }
#else
    for (u32 h = 0; h < HEADS; h++) {
      const float max = fmaxf(all.max[h], sums.max[h]);
      const float old = all.max[h] == NEG_INF ? 0.0f : rise(all.max[h], max), fresh = rise(sums.max[h], max);
      all.max[h] = max;
      all.total[h] = fmaf(all.total[h], old, __fmul_rn(sums.total[h], fresh));
      for (u32 j = 0; j < PAIRS; j++)
        for (u32 i = 0; i < 2u; i++) all.values[h][j][i] = fmaf(all.values[h][j][i], old, __fmul_rn(sums.values[h][j][i], fresh));
    }
#endif
  }
#ifndef SPLIT
  for (u32 h = 0; h < heads; h++) {
    float* out = p.out + (u64)m * p.out_stride + (first_head + h) * D;
    for (u32 j = 0; j < PAIRS; j++) {
      const u32 at = 64u * j + 2u * lane;
      if (at >= D) continue;
      out[at] = seen == 0u ? 0.0f : __fdiv_rn(all.values[h][j][0], all.total[h]);
      out[at + 1u] = seen == 0u ? 0.0f : __fdiv_rn(all.values[h][j][1], all.total[h]);
    }
  }
#endif
}
