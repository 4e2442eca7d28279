// qmatmul of f16 or bf16 weights: y[m, n] = unscale[m] sum_k w[n, k] (p0[m, k] + p1[m, k] ..) + bias[n].
//
// w [N, K] packed; parts [PARTS, M, K] u16 and unscale [M] f32 (split_rows); y [M, N] f32 (rows strided), bias [N] f32.
// Work: as in qmatmul_s8: weights are the 16-row side of the tensor-core tile, columns m its 8-column side; warp (g, s)
// of SLICES x GROUPS owns a group of 16 rows n, TILES tiles of 8 columns and the blocks of 32 along K that are s modulo
// SLICES.
// Order of a sum: within a block of 32 the small parts first, by the tensor cores; blocks along K within a slice, then
// the slices from 0 to SLICES - 1. A row m has the same bits for every M, TILES and GROUPS.
//
// v1: 16-byte asynchronous copies of the weights, two or three blocks ahead (not measured: no GPU).
#include "shared/base.cuh"
#include "shared/formats.cuh"

#define SLICES 4u
// Static shared memory holds no more beside the partial sums of two groups.
#define STAGES (GROUPS > 1u ? 3u : 4u)
// A block of 32 elements of 16 rows.
#define WORDS 256u
#if FORMAT == BF16
#define PARTS 3u
#define MMA mma_bf16
#else
#define PARTS 2u
#define MMA mma_f16
#endif

struct alignas(16) Weights {
  u32 words[WORDS];
};

static __device__ __forceinline__ void fetch(Weights& to, const u32* from, u32 lane) {
  for (u32 i = lane; i < WORDS / 4u; i += 32u) copy_async<16>(to.words + 4u * i, from + 4u * i);
}

extern "C" __global__ void __launch_bounds__(32 * SLICES * GROUPS) qmatmul_half(const Params p) {
  __shared__ float partial[GROUPS][SLICES - 1u][TILES][4][32];
#if HAS_COPY_ASYNC
  __shared__ Weights staged[GROUPS * SLICES][STAGES];
#endif
  const u32 lane = threadIdx.x & 31u, g = lane >> 2, q = lane & 3u;
  const u32 warp = threadIdx.x >> 5, slice = warp % SLICES, local = warp / SLICES;
  const u32 groups = ceil_div(p.n, 16u), group = blockIdx.x * GROUPS + local;
  const u32 first = blockIdx.y * (TILES * 8u);
  const u32 all = p.k / 32u, blocks = group < groups ? all : 0u;
  const u32* weights = (const u32*)(p.w + p.w_codes) + (u64)group * all * WORDS;
  const u64 plane = (u64)p.m * p.k / 2u;
  float sums[TILES][4];
  for (u32 t = 0; t < TILES; t++)
    for (u32 i = 0; i < 4u; i++) sums[t][i] = 0.0f;
#if HAS_COPY_ASYNC
  for (u32 ahead = 0; ahead < STAGES - 1u; ahead++) {
    const u32 b = slice + ahead * SLICES;
    if (b < blocks) fetch(staged[warp][ahead], weights + b * WORDS, lane);
    copy_async_commit();
  }
  u32 stage = 0;
#endif
  for (u32 b = slice; b < blocks; b += SLICES) {
    const u32* here = weights + b * WORDS;
#if HAS_COPY_ASYNC
    copy_async_wait<STAGES - 2>();
    // the pieces of all lanes have come, and all lanes are done with the stage before
    __syncwarp();
    const u32 ahead = b + (STAGES - 1u) * SLICES;
    if (ahead < blocks) fetch(staged[warp][(stage + STAGES - 1u) % STAGES], weights + ahead * WORDS, lane);
    copy_async_commit();
    here = staged[warp][stage].words;
    stage = (stage + 1u) % STAGES;
#endif
    // fragments of elements 0..15 and 16..31
    u32 a[2][4];
    for (u32 h = 0; h < 2u; h++) {
      for (u32 i = 0; i < 4u; i++) a[h][i] = here[(8u * h + 4u * (i >> 1) + q) * 16u + g + 8u * (i & 1u)];
    }
    for (u32 t = 0; t < TILES; t++) {
      // columns beyond M read column M - 1 and are never stored
      const u32 column = min(first + t * 8u + g, p.m - 1u);
      const u32* x = (const u32*)p.parts + ((u64)column * p.k + b * 32u) / 2u + q;
      float block[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      for (u32 part = PARTS; part-- > 0u;) {
        for (u32 h = 0; h < 2u; h++) {
          const u32* at = x + part * plane + 8u * h;
          const u32 fragment[2] = {at[0], at[4]};
          MMA(block, a[h], fragment);
        }
      }
      for (u32 i = 0; i < 4u; i++) sums[t][i] += block[i];
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
      sum = __fmul_rn(sum, p.unscale[m]);
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
