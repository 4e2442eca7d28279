// qmatmul with coded rows for large trees and prompts: what qmatmul_s8 computes, bit for bit, with columns that come to
// a multiprocessor once for 128 rows of the weight.
//
// Operands as there; with SPLIT, partials [SLICES, M, N] f32 in place of y.
// Work: a block owns 16 GROUPS rows n and 8 TILES columns m, a warp one group of 16 rows and all the columns. Weights and
// codes of a block of 32 along K come into shared memory by asynchronous copies, STAGES - 1 blocks ahead, once for all
// warps. With SPLIT a block does one slice of K, and merge_slices adds them.
// Order of a sum: that of qmatmul_s8. Its slices, blocks s modulo SLICES, come one after the other here, and each slice's
// sum is added to the slices' before.
//
// v1: one block of K a step (not measured: no GPU).
#include "shared/base.cuh"
#include "shared/coded.cuh"

#define SLICES 4u
#define STAGES 4u
#define COLUMNS (TILES * 8u)
#define PIECES ((CODE_BYTES + HIGH_BYTES + SCALE_BYTES) / 16u)
// Words of a column's codes, padded so that eight columns lie in different banks.
#define COLUMN_WORDS 12u
#ifdef WIDE
#define HALVES 2u
#else
#define HALVES 1u
#endif

struct alignas(16) Piece {
  u8 bytes[16];
};

struct alignas(16) Stage {
  Piece weights[GROUPS][PIECES];
  u32 x[HALVES][COLUMNS][COLUMN_WORDS];
  float scales[COLUMNS];
  float products[COLUMNS][2];
};

// The blocks of K in the order of the sums.
struct Walk {
  u32 b, slice;
};

static __device__ __forceinline__ void advance(Walk& at, u32 blocks) {
  at.b += SLICES;
#ifndef SPLIT
  if (at.b >= blocks) at.b = ++at.slice;
#endif
}

static __device__ __forceinline__ void fetch(Stage& to, const Params& p, const Planes& w, u32 b) {
  const u32 groups = ceil_div(p.n, 16u), first = blockIdx.y * COLUMNS;
  for (u32 i = threadIdx.x; i < GROUPS * PIECES; i += 32u * GROUPS) {
    const u32 local = i / PIECES, piece = i % PIECES;
    // rows beyond N read the last group and are never stored
    const Block block = block_of(w, min(blockIdx.x * GROUPS + local, groups - 1u), b);
    const u8* from = block.codes + piece * 16u;
    if (piece >= CODE_BYTES / 16u) from = block.high + (piece * 16u - CODE_BYTES);
    if (piece >= (CODE_BYTES + HIGH_BYTES) / 16u) from = block.scales + (piece * 16u - CODE_BYTES - HIGH_BYTES);
    copy_async<16>(&to.weights[local][piece], from);
  }
  for (u32 i = threadIdx.x; i < HALVES * COLUMNS * 2u; i += 32u * GROUPS) {
    const u32 half = i / (COLUMNS * 2u), column = i / 2u % COLUMNS, part = i % 2u;
    const u64 at = ((u64)min(first + column, p.m - 1u) * w.blocks + b) * 32u + part * 16u;
    const i8* from = p.codes + at;
#ifdef WIDE
    if (half == 1u) from = p.lows + at;
#endif
    copy_async<16>(&to.x[half][column][part * 4u], from);
  }
  for (u32 column = threadIdx.x; column < COLUMNS; column += 32u * GROUPS) {
    const u64 at = (u64)min(first + column, p.m - 1u) * w.blocks + b;
    copy_async<4>(&to.scales[column], p.scales + at);
    copy_async<8>(&to.products[column], p.products + at * 2u);
  }
}

extern "C" __global__ void __launch_bounds__(32 * GROUPS, 2) qmatmul_tile(const Params p) {
  __shared__ Stage stages[STAGES];
  const u32 lane = threadIdx.x & 31u, g = lane >> 2, q = lane & 3u, local = threadIdx.x >> 5;
  const u32 groups = ceil_div(p.n, 16u), group = blockIdx.x * GROUPS + local;
  const u32 first = blockIdx.y * COLUMNS;
  const Planes w = PLANES(p.w);
#ifdef SPLIT
  const u32 first_slice = blockIdx.z, end_slice = first_slice + 1u;
#else
  const u32 first_slice = 0u, end_slice = SLICES;
  float totals[TILES][4];
#endif
  Walk ahead = {first_slice, first_slice};
  for (u32 i = 0; i < STAGES - 1u; i++) {
    if (ahead.b < w.blocks && ahead.slice < SLICES) {
      fetch(stages[i], p, w, ahead.b);
      advance(ahead, w.blocks);
    }
    copy_async_commit();
  }
  u32 stage = 0;
  for (u32 slice = first_slice; slice < end_slice; slice++) {
    float sums[TILES][4];
    for (u32 t = 0; t < TILES; t++)
      for (u32 i = 0; i < 4u; i++) sums[t][i] = 0.0f;
    for (u32 b = slice; b < w.blocks; b += SLICES) {
      copy_async_wait<STAGES - 2>();
      // the pieces of all threads have come, and all are done with the stage before
      __syncthreads();
      if (ahead.b < w.blocks && ahead.slice < SLICES) {
        fetch(stages[(stage + STAGES - 1u) % STAGES], p, w, ahead.b);
        advance(ahead, w.blocks);
      }
      copy_async_commit();
      const Stage& now = stages[stage];
      stage = (stage + 1u) % STAGES;
      const u8* here = now.weights[local][0].bytes;
      const u8* supers = block_of(w, min(group, groups - 1u), b).supers;
      const CodedRows rows = coded_rows({here, here + CODE_BYTES, here + CODE_BYTES + HIGH_BYTES, supers}, g, q);
#pragma unroll
      for (u32 t = 0; t < TILES; t++) {
        const u32 own = t * 8u + g, pair = t * 8u + 2u * q;
        CodedColumns columns;
        columns.x[0] = now.x[0][own][q];
        columns.x[1] = now.x[0][own][q + 4u];
#ifdef WIDE
        columns.low[0] = now.x[1][own][q];
        columns.low[1] = now.x[1][own][q + 4u];
#endif
        for (u32 c = 0; c < 2u; c++) {
          columns.d[c] = now.scales[pair + c];
          columns.first[c] = now.products[pair + c][0];
          columns.second[c] = now.products[pair + c][1];
        }
        add_products(sums[t], rows, columns);
      }
    }
#ifdef SPLIT
    if (group >= groups) return;
    for (u32 t = 0; t < TILES; t++) {
      for (u32 i = 0; i < 4u; i++) {
        const u32 n = group * 16u + g + 8u * (i >> 1), m = first + t * 8u + 2u * q + (i & 1u);
        if (n < p.n && m < p.m) p.partials[((u64)slice * p.m + m) * p.n + n] = sums[t][i];
      }
    }
#else
    for (u32 t = 0; t < TILES; t++)
      for (u32 i = 0; i < 4u; i++) totals[t][i] = slice == 0u ? sums[t][i] : totals[t][i] + sums[t][i];
#endif
  }
#ifndef SPLIT
  if (group >= groups) return;
  for (u32 t = 0; t < TILES; t++) {
    for (u32 i = 0; i < 4u; i++) {
      const u32 n = group * 16u + g + 8u * (i >> 1), m = first + t * 8u + 2u * q + (i & 1u);
      if (n >= p.n || m >= p.m) continue;
      float sum = totals[t][i];
#ifdef BIAS
      sum += p.bias[n];
#endif
      float* y = p.y + (u64)m * p.y_stride + n;
#ifdef ADD
      *y += sum;
#else
      *y = sum;
#endif
    }
  }
#endif
}
