// primitives: what each primitive of shared/prim.cuh makes of given bits, so that the twins on the processor can be
// compared with a device.
//
// in [32, 16] u32: lane l's words; out [32, 32] u32: what it gets. Words 0..3 of `in` are the a of every tile, 4 and 5
// its b, 6..9 its sums as integers, 10..13 as floats, 14 a float and 15 a half.
// out: 0..3 mma_s8, 4..7 mma_s8_half, 8..11 mma_f16, 12..15 mma_bf16, 16 float_to_half, 17 half_to_float,
// 18 float_to_bfloat, 19 bfloat_to_float, 20..23 the a of lane 31 - l by 16-byte copies, 24, 25 by 8-byte ones, 26 by
// 4-byte ones.
// Work: one warp.
//
// v1.
#include "shared/base.cuh"

struct alignas(16) Quad {
  u32 words[4];
};

struct alignas(8) Pair {
  u32 words[2];
};

extern "C" __global__ void __launch_bounds__(32) primitives(const Params p) {
  __shared__ Quad sixteens[32];
  __shared__ Pair eights[32];
  __shared__ u32 fours[32];
  const u32 lane = threadIdx.x;
  const u32* in = p.in + lane * 16u;
  u32* out = p.out + lane * 32u;
  const u32 a[4] = {in[0], in[1], in[2], in[3]}, b[2] = {in[4], in[5]};
  int sums[4], halves[4];
  float f16[4], bf16[4];
  for (u32 i = 0; i < 4u; i++) {
    sums[i] = halves[i] = (int)in[6u + i];
    f16[i] = bf16[i] = __int_as_float((int)in[10u + i]);
  }
  mma_s8(sums, a, b);
  mma_s8_half(halves, a, b[0]);
  mma_f16(f16, a, b);
  mma_bf16(bf16, a, b);
  for (u32 i = 0; i < 4u; i++) {
    out[i] = (u32)sums[i];
    out[4u + i] = (u32)halves[i];
    out[8u + i] = (u32)__float_as_int(f16[i]);
    out[12u + i] = (u32)__float_as_int(bf16[i]);
  }
  out[16] = float_to_half(__int_as_float((int)in[14]));
  out[17] = (u32)__float_as_int(half_to_float((u16)in[15]));
  out[18] = float_to_bfloat(__int_as_float((int)in[14]));
  out[19] = (u32)__float_as_int(bfloat_to_float((u16)in[15]));
  copy_async<16>(&sixteens[lane], in);
  copy_async_commit();
  copy_async<8>(&eights[lane], in);
  copy_async<4>(&fours[lane], in);
  copy_async_commit();
  copy_async_wait<1>();
  __syncwarp();
  for (u32 i = 0; i < 4u; i++) out[20u + i] = sixteens[31u - lane].words[i];
  copy_async_wait<0>();
  __syncwarp();
  for (u32 i = 0; i < 2u; i++) out[24u + i] = eights[31u - lane].words[i];
  out[26] = fours[31u - lane];
}
