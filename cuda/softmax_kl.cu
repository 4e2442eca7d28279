// softmax_kl: loss[m] = w[m] sum_v q[v] (ln q[v] - ln p[v]) and, in place of the logits, w[m] (p[v] - q[v]),
// with p = softmax(logits[m]) and q = softmax(teacher[m]).
//
// logits [M, V] f32 in place, teacher [M, V] f32, weights and loss [M, 1] f32 (rows strided).
// Work: a block per row; order of the sums as in row_stats.
// Must not change: logarithms are differences, so that equal logits give exactly 0.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) softmax_kl(const Params p) {
  __shared__ float warps[8];
  float* logits = p.logits + (u64)blockIdx.x * p.logits_stride;
  const float* teacher = p.teacher + (u64)blockIdx.x * p.teacher_stride;
  const float weight = p.weights[(u64)blockIdx.x * p.weights_stride];
  float most = NEG_INF, teacher_most = NEG_INF;
  for (u32 i = threadIdx.x; i < p.v; i += 256u) {
    most = fmaxf(most, logits[i]);
    teacher_most = fmaxf(teacher_most, teacher[i]);
  }
  most = block_max<8>(most, warps);
  teacher_most = block_max<8>(teacher_most, warps);
  float sum = 0.0f, teacher_sum = 0.0f;
  for (u32 i = threadIdx.x; i < p.v; i += 256u) {
    sum += expf(logits[i] - most);
    teacher_sum += expf(teacher[i] - teacher_most);
  }
  const float log_sum = logf(block_sum<8>(sum, warps));
  const float teacher_log_sum = logf(block_sum<8>(teacher_sum, warps));
  float total = 0.0f;
  for (u32 i = threadIdx.x; i < p.v; i += 256u) {
    const float ln_p = (logits[i] - most) - log_sum;
    const float ln_q = (teacher[i] - teacher_most) - teacher_log_sum;
    const float q = expf(ln_q);
    // q ln q tends to 0 where ln q is minus infinity
    if (q > 0.0f) total = fmaf(q, ln_q - ln_p, total);
    logits[i] = weight * (expf(ln_p) - q);
  }
  total = block_sum<8>(total, warps);
  if (threadIdx.x == 0u) p.loss[(u64)blockIdx.x * p.loss_stride] = weight * total;
}
