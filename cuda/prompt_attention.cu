// prompt_attention: what tree_attention computes, bit for bit, for hundreds of rows over f16 pages.
//
// Operands as there.
// Work: a block per ROWS neighbouring rows m, KV head and block of HEADS query heads; a warp per row. Keys, then values, of
// a chunk of 64 positions come into shared memory once for all rows by asynchronous copies, if the rows find the chunk's
// positions in the same slots, as rows of one prompt do; else each warp reads its own.
// Order: that of tree_attention: chunks of 64 and spans of 256 by absolute position, scores along D, values by position.
//
// v1: one tile for keys and values in turn, multiply-adds in f32 (not measured: no GPU).
#include "shared/base.cuh"
#include "shared/pages.cuh"
#include "shared/softmax.cuh"

#define ROWS 8u
#define THREADS (32u * ROWS)
#define PAIRS ((D + 63u) / 64u)
// 16-byte pieces of a position's head, and of a tile's row: padded, so that neighbouring positions lie in other banks.
#define PIECES (D / 8u)
#define PITCH (PIECES + 1u)

struct alignas(16) Piece {
  u32 words[4];
};

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

static __device__ __forceinline__ void fetch(Piece* tile, const u32* slots, const u16* pages, u32 groups, u32 g) {
  for (u32 i = threadIdx.x; i < CHUNK * PIECES; i += THREADS) {
    const u32 position = i / PIECES, piece = i % PIECES, slot = slots[position];
    if (slot == SKIP) continue;
    copy_async<16>(tile + position * PITCH + piece, pages + ((u64)slot * groups + g) * D + piece * 8u);
  }
  copy_async_commit();
}

extern "C" __global__ void __launch_bounds__(256, 2) prompt_attention(const Params p) {
  __shared__ Piece tile[CHUNK * PITCH];
  __shared__ u32 slots[ROWS][CHUNK];
  __shared__ u32 common[CHUNK];
  __shared__ u32 apart;
  __shared__ u32 ends[ROWS][2];
  __shared__ float weights[ROWS][HEADS][CHUNK];
  __shared__ float queries[ROWS][HEADS][D];
  const u32 warp = threadIdx.x >> 5, lane = threadIdx.x & 31u;
  const u32 m = blockIdx.x * ROWS + warp;
  const u32 per_group = p.h / p.g, blocks = ceil_div(per_group, HEADS);
  const u32 g = blockIdx.y / blocks, first_head = g * per_group + (blockIdx.y % blocks) * HEADS;
  const u32 heads = min(HEADS, (g + 1u) * per_group - first_head);
  // rows beyond M see nothing, but their warps help with the tiles
  const bool real = m < p.m;
  const u32 row_m = real ? m : p.m - 1u;
  const u32 prefix = p.prefix[row_m * p.prefix_heads + min(g, p.prefix_heads - 1u)];
  const u32 seen = real ? prefix + p.path[row_m * p.path_stride] : 0u;
  const u32 start = p.window > 0u && seen > p.window ? seen - p.window : 0u;
  const u32* table = p.table + (p.seq[row_m * p.seq_stride] * p.table_heads + min(g, p.table_heads - 1u)) * p.pages;
  if (lane == 0u) {
    // an empty range begins behind every other
    ends[warp][0] = start < seen ? start : 0xffffffffu;
    ends[warp][1] = seen;
  }
  for (u32 h = 0; h < HEADS; h++)
    for (u32 i = lane; i < D; i += 32u)
      queries[warp][h][i] = real && h < heads ? p.scale * p.q[(u64)m * p.q_stride + (first_head + h) * D + i] : 0.0f;
  __syncthreads();
  u32 least = 0xffffffffu, most = 0u;
  for (u32 r = 0; r < ROWS; r++) {
    least = min(least, ends[r][0]);
    most = max(most, ends[r][1]);
  }

  Sums all;
  clear(all);
  const u32 first_span = least == 0xffffffffu ? 0u : least / SPAN;
  for (u32 span = first_span; span < ceil_div(most, SPAN); span++) {
    const u32 from = max(start, span * SPAN), to = min(seen, (span + 1u) * SPAN);
    Sums sums;
    clear(sums);
    for (u32 chunk = span * (SPAN / CHUNK); chunk < (span + 1u) * (SPAN / CHUNK); chunk++) {
      if (chunk * CHUNK >= most || (chunk + 1u) * CHUNK <= least) continue;
      const bool mine = from < to && chunk * CHUNK < to && (chunk + 1u) * CHUNK > from;
      for (u32 i = lane; i < CHUNK; i += 32u) {
        const u32 position = chunk * CHUNK + i;
        u32 slot = SKIP;
        if (mine && position >= from && position < to)
          slot = position < prefix ? table[position / p.page] * p.page + position % p.page : p.path_slots[row_m * p.longest + position - prefix];
        slots[warp][i] = slot;
      }
      if (threadIdx.x == 0u) apart = 0u;
      __syncthreads();
      if (threadIdx.x < CHUNK) {
        u32 slot = SKIP;
        for (u32 r = 0; r < ROWS; r++) {
          const u32 other = slots[r][threadIdx.x];
          if (other == SKIP) continue;
          if (slot != SKIP && slot != other) apart = 1u;
          slot = other;
        }
        common[threadIdx.x] = slot;
      }
      __syncthreads();
      const bool shared_tile = apart == 0u;
      if (shared_tile) {
        fetch(tile, common, p.k_pages, p.g, g);
        copy_async_wait<0>();
        __syncthreads();
      }
      float scores[HEADS][2];
      if (mine) {
        for (u32 half = 0; half < 2u; half++) {
          const u32 position = lane + 32u * half, slot = slots[warp][position];
          for (u32 h = 0; h < HEADS; h++) scores[h][half] = slot == SKIP ? NEG_INF : 0.0f;
          if (slot == SKIP) continue;
          const Piece* key = shared_tile ? tile + position * PITCH : (const Piece*)(p.k_pages + ((u64)slot * p.g + g) * D);
#pragma unroll 2
          for (u32 piece = 0; piece < PIECES; piece++) {
            const Piece now = key[piece];
            for (u32 j = 0; j < 4u; j++) {
              const float a = half_to_float((u16)now.words[j]), b = half_to_float((u16)(now.words[j] >> 16));
              for (u32 h = 0; h < HEADS; h++) {
                scores[h][half] = fmaf(queries[warp][h][8u * piece + 2u * j], a, scores[h][half]);
                scores[h][half] = fmaf(queries[warp][h][8u * piece + 2u * j + 1u], b, scores[h][half]);
              }
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
      }
      // all warps are done with the keys, and this one's weights are there
      __syncthreads();
      if (shared_tile) {
        fetch(tile, common, p.v_pages, p.g, g);
        copy_async_wait<0>();
        __syncthreads();
      }
      if (mine) {
#pragma unroll 4
        for (u32 i = 0; i < CHUNK; i++) {
          const u32 slot = slots[warp][i];
          if (slot == SKIP) continue;
          const u32* value = shared_tile ? tile[i * PITCH].words : (const u32*)(p.v_pages + ((u64)slot * p.g + g) * D);
          for (u32 j = 0; j < PAIRS; j++) {
            const u32 at = 64u * j + 2u * lane;
            if (at >= D) continue;
            const u32 both = value[at / 2u];
            const float a = half_to_float((u16)both), b = half_to_float((u16)(both >> 16));
            for (u32 h = 0; h < HEADS; h++) {
              sums.values[h][j][0] = fmaf(weights[warp][h][i], a, sums.values[h][j][0]);
              sums.values[h][j][1] = fmaf(weights[warp][h][i], b, sums.values[h][j][1]);
            }
          }
        }
      }
      // all warps are done with the values and the slots
      __syncthreads();
    }
    if (from >= to) continue;
    for (u32 h = 0; h < HEADS; h++) {
      const float max = fmaxf(all.max[h], sums.max[h]);
      const float old = all.max[h] == NEG_INF ? 0.0f : rise(all.max[h], max), fresh = rise(sums.max[h], max);
      all.max[h] = max;
      all.total[h] = fmaf(all.total[h], old, __fmul_rn(sums.total[h], fresh));
      for (u32 j = 0; j < PAIRS; j++)
        for (u32 i = 0; i < 2u; i++) all.values[h][j][i] = fmaf(all.values[h][j][i], old, __fmul_rn(sums.values[h][j][i], fresh));
    }
  }
  if (!real) return;
  for (u32 h = 0; h < heads; h++) {
    float* out = p.out + (u64)m * p.out_stride + (first_head + h) * D;
    for (u32 j = 0; j < PAIRS; j++) {
      const u32 at = 64u * j + 2u * lane;
      if (at >= D) continue;
      out[at] = seen == 0u ? 0.0f : __fdiv_rn(all.values[h][j][0], all.total[h]);
      out[at + 1u] = seen == 0u ? 0.0f : __fdiv_rn(all.values[h][j][1], all.total[h]);
    }
  }
}
