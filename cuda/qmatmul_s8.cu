// qmatmul with rows of 8-bit or (WIDE) 12-bit codes: y[m, n] = sum_b (a d sum_i c_i x_i + (o - a CENTRE) d sum_i x_i) + bias[n],
// over blocks b of 32 with integer sums that are exact.
//
// w [N, K] packed, codes [M, K] i8 (WIDE: high bytes, lows [M, K] the low ones), scales [M, K / 32] f32, products [M, K / 32, 2] f32 (quantize_rows);
// y [M, N] f32 (rows strided), bias [N] f32.
// Work: weights are the 16-row side of the tensor-core tile, columns m its 8-column side. A block has
// SLICES x GROUPS warps; warp (g, s) owns one group of 16 rows n, TILES tiles of 8 columns, and the
// blocks of K that are s modulo SLICES. It streams its weights through shared memory of its own.
// Order of a sum: along K within a slice, then the slices from 0 to SLICES - 1. SLICES is one
// constant and columns never meet, so a row m has the same bits for every M, TILES and GROUPS, and in
// qmatmul_tile.
//
// v1: fragments straight from global memory; the packed layout is the fragment's.
// v2: 16-byte asynchronous copies, seven blocks ahead (not measured: no GPU; Turing stays with v1).
#include "shared/base.cuh"
#include "shared/coded.cuh"

#define SLICES 4u
#define STAGES 8u
// 16-byte pieces of a block: codes, high bits, scales. Super-block scales are read through the cache.
#define PIECES ((CODE_BYTES + HIGH_BYTES + SCALE_BYTES) / 16u)

struct alignas(16) Piece {
  u8 bytes[16];
};

static __device__ __forceinline__ void fetch(Piece* to, const Block& block, u32 lane) {
  for (u32 i = lane; i < PIECES; i += 32u) {
    const u8* from = block.codes + i * 16u;
    if (i >= CODE_BYTES / 16u) from = block.high + (i * 16u - CODE_BYTES);
    if (i >= (CODE_BYTES + HIGH_BYTES) / 16u) from = block.scales + (i * 16u - CODE_BYTES - HIGH_BYTES);
    copy_async<16>(to + i, from);
  }
}

extern "C" __global__ void __launch_bounds__(32 * SLICES * GROUPS) qmatmul_s8(const Params p) {
  __shared__ float partial[GROUPS][SLICES - 1u][TILES][4][32];
#if HAS_COPY_ASYNC
  __shared__ Piece staged[GROUPS * SLICES][STAGES][PIECES];
#endif
  const u32 lane = threadIdx.x & 31u, g = lane >> 2, q = lane & 3u;
  const u32 warp = threadIdx.x >> 5, slice = warp % SLICES, local = warp / SLICES;
  const u32 groups = ceil_div(p.n, 16u), group = blockIdx.x * GROUPS + local;
  const u32 first = blockIdx.y * (TILES * 8u);
  const Planes w = PLANES(p.w);
  const u32 blocks = group < groups ? w.blocks : 0u;
  float sums[TILES][4];
  for (u32 t = 0; t < TILES; t++)
    for (u32 i = 0; i < 4u; i++) sums[t][i] = 0.0f;
#if HAS_COPY_ASYNC
  for (u32 ahead = 0; ahead < STAGES - 1u; ahead++) {
    const u32 b = slice + ahead * SLICES;
    if (b < blocks) fetch(staged[warp][ahead], block_of(w, group, b), lane);
    copy_async_commit();
  }
  u32 stage = 0;
#endif
  for (u32 b = slice; b < blocks; b += SLICES) {
    Block block = block_of(w, group, b);
#if HAS_COPY_ASYNC
    copy_async_wait<STAGES - 2>();
    // the pieces of all lanes have come, and all lanes are done with the stage before
    __syncwarp();
    const u32 ahead = b + (STAGES - 1u) * SLICES;
    if (ahead < blocks) fetch(staged[warp][(stage + STAGES - 1u) % STAGES], block_of(w, group, ahead), lane);
    copy_async_commit();
    const u8* here = staged[warp][stage][0].bytes;
    block = {here, here + CODE_BYTES, here + CODE_BYTES + HIGH_BYTES, block.supers};
    stage = (stage + 1u) % STAGES;
#endif
    const CodedRows rows = coded_rows(block, g, q);
    for (u32 t = 0; t < TILES; t++) {
      // columns beyond M read column M - 1 and are never stored
      const u64 own = (u64)min(first + t * 8u + g, p.m - 1u) * w.blocks + b;
      CodedColumns columns;
      const u32* x = (const u32*)(p.codes + own * 32u);
      columns.x[0] = x[q];
      columns.x[1] = x[q + 4u];
#ifdef WIDE
      const u32* low = (const u32*)(p.lows + own * 32u);
      columns.low[0] = low[q];
      columns.low[1] = low[q + 4u];
#endif
      for (u32 c = 0; c < 2u; c++) {
        const u64 at = (u64)min(first + t * 8u + 2u * q + c, p.m - 1u) * w.blocks + b;
        columns.d[c] = p.scales[at];
        columns.first[c] = p.products[at * 2u];
        columns.second[c] = p.products[at * 2u + 1u];
      }
      add_products(sums[t], rows, columns);
    }
  }
  if (slice > 0u) {
    for (u32 t = 0; t < TILES; t++)
      for (u32 i = 0; i < 4u; i++) partial[local][slice - 1u][t][i][lane] = sums[t][i];
  }
  __syncthreads();
  if (slice > 0u || group >= groups) return;
  for (u32 t = 0; t < TILES; t++) {
    for (u32 i = 0; i < 4u; i++) {
      const u32 n = group * 16u + g + 8u * (i >> 1), m = first + t * 8u + 2u * q + (i & 1u);
      if (n >= p.n || m >= p.m) continue;
      float sum = sums[t][i];
      for (u32 s = 0; s < SLICES - 1u; s++) sum += partial[local][s][t][i][lane];
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
}
