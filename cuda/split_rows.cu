// split_rows: f32 rows as sums of 16-bit floats, the first half of a qmatmul of f16 or bf16 weights.
//
// x [M, K] f32 (rows strided); parts [PARTS, M, K] u16, unscale [M] f32. With f16, x s = p0 + p1 to 22 bits
// where s is the power of two that takes the row's largest magnitude to 2^14 .. 2^15, and unscale = 1 / s; with BF16
// x = p0 + p1 + p2 to 24 bits and unscale is 1.
// Work: a block per row.
// Must not change: a row's parts depend on that row alone.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) split_rows(const Params p) {
  const u32 m = blockIdx.x;
  const float* x = p.x + (u64)m * p.x_stride;
  u16* parts = p.parts + (u64)m * p.k;
  const u64 plane = (u64)p.m * p.k;
#ifdef BF16_PARTS
  for (u32 k = threadIdx.x; k < p.k; k += 256u) {
    float left = x[k];
    for (u32 i = 0; i < 3u; i++) {
      const u16 part = float_to_bfloat(left);
      parts[i * plane + k] = part;
      // what is infinite or no number is so in the first part alone
      left = fabsf(left) <= 3.4e38f ? left - bfloat_to_float(part) : 0.0f;
    }
  }
  if (threadIdx.x == 0u) p.unscale[m] = 1.0f;
#else
  __shared__ float shared[8];
  float most = 0.0f;
  // fmaxf drops what is no number
  for (u32 k = threadIdx.x; k < p.k; k += 256u) most = fmaxf(most, fabsf(x[k]));
  most = block_max<8>(most, shared);
  // the exponents of `most` and of the scale; rows of zeros, subnormals and infinities stay as they are
  const int exponent = (__float_as_int(most) >> 23) - 127;
  const int up = exponent == -127 || exponent == 128 ? 0 : min(14 - exponent, 126);
  const float scale = __int_as_float((up + 127) << 23);
  for (u32 k = threadIdx.x; k < p.k; k += 256u) {
    const float value = x[k] * scale;
    const u16 high = float_to_half(value);
    parts[k] = high;
    parts[plane + k] = fabsf(value) <= 65504.0f ? float_to_half(value - half_to_float(high)) : (u16)0;
  }
  if (threadIdx.x == 0u) p.unscale[m] = __int_as_float((127 - up) << 23);
#endif
}
