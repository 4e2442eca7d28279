// softmax_xent: loss[m] = sum_j w[m, j] (logsumexp(l[m]) - l[m, t[m, j]]), and in place of the logits
// (sum_j w[m, j]) softmax(l[m]) minus w[m, j] at t[m, j]. A target not below V counts as weight 0.
//
// logits [M, V] f32 in place, targets [M, J] u32, weights [M, J] f32, loss [M, 1] f32 (rows strided).
// Work: a block per row; order of the sums as in row_stats.
// Must not change: the loss reads logits before the gradient replaces them.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) softmax_xent(const Params p) {
  __shared__ float warps[8];
  __shared__ float total;
  float* logits = p.logits + (u64)blockIdx.x * p.logits_stride;
  const u32* targets = p.targets + (u64)blockIdx.x * p.targets_stride;
  const float* weights = p.weights + (u64)blockIdx.x * p.weights_stride;
  float most = NEG_INF;
  for (u32 i = threadIdx.x; i < p.v; i += 256u) most = fmaxf(most, logits[i]);
  most = block_max<8>(most, warps);
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < p.v; i += 256u) sum += expf(logits[i] - most);
  sum = block_sum<8>(sum, warps);
  const float log_sum = logf(sum);
  if (threadIdx.x == 0u) {
    float loss = 0.0f, all = 0.0f;
    for (u32 j = 0u; j < p.j; j++) {
      if (targets[j] >= p.v) continue;
      loss = fmaf(weights[j], (most - logits[targets[j]]) + log_sum, loss);
      all += weights[j];
    }
    p.loss[(u64)blockIdx.x * p.loss_stride] = loss;
    total = all;
  }
  __syncthreads();
  for (u32 i = threadIdx.x; i < p.v; i += 256u) {
    float gradient = total * __fdiv_rn(expf(logits[i] - most), sum);
    for (u32 j = 0u; j < p.j; j++)
      if (targets[j] == i) gradient -= weights[j];
    logits[i] = gradient;
  }
}
