// softmax_grad: in place, dp[m, n] = scale probs[m, n] (dp[m, n] - sum_j probs[m, j] dp[m, j]).
//
// probs, dp [M, N] f32 (rows strided).
// Work: a block of 256 threads per row; order of the sum as in rms_norm.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) softmax_grad(const Params p) {
  __shared__ float warps[8];
  const float* probs = p.probs + (u64)blockIdx.x * p.probs_stride;
  float* dp = p.dp + (u64)blockIdx.x * p.dp_stride;
  float mean = 0.0f;
  for (u32 i = threadIdx.x; i < p.n; i += 256u) mean = fmaf(probs[i], dp[i], mean);
  mean = block_sum<8>(mean, warps);
  for (u32 i = threadIdx.x; i < p.n; i += 256u) dp[i] = p.scale * probs[i] * (dp[i] - mean);
}
