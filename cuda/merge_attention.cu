// merge_attention: joins the spans that tree_attention has left with SPLIT.
//
// maxima, totals [M, H, spans] f32, parts [M, H, spans, D] f32; prefix, path as there; out [M, H, D] f32
// (rows strided).
// Work: a block per row and head, a thread per element.
// Order: spans from first to last, with the arithmetic of tree_attention without SPLIT.
//
// v1.
#include "shared/base.cuh"
#include "shared/softmax.cuh"

extern "C" __global__ void __launch_bounds__(128) merge_attention(const Params p) {
  const u32 h = blockIdx.x, m = blockIdx.y, g = h / (p.h / p.g);
  const u32 prefix = p.prefix[m * p.prefix_heads + min(g, p.prefix_heads - 1u)];
  const u32 seen = prefix + p.path[m * p.path_stride];
  const u32 start = p.window > 0u && seen > p.window ? seen - p.window : 0u;
  for (u32 i = threadIdx.x; i < p.d; i += 128u) {
    float max_all = NEG_INF, total = 0.0f, value = 0.0f;
    for (u32 span = start / SPAN; span < ceil_div(seen, SPAN); span++) {
      const u64 part = ((u64)m * p.h + h) * p.spans + span;
      const float max = fmaxf(max_all, p.maxima[part]);
      const float old = max_all == NEG_INF ? 0.0f : rise(max_all, max), fresh = rise(p.maxima[part], max);
      max_all = max;
      total = fmaf(total, old, __fmul_rn(p.totals[part], fresh));
      value = fmaf(value, old, __fmul_rn(p.parts[part * p.d + i], fresh));
    }
    p.out[(u64)m * p.out_stride + h * p.d + i] = seen == 0u ? 0.0f : __fdiv_rn(value, total);
  }
}
