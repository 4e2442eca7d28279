// The keyed noise of src/sample/rng.rs: Philox4x32-10 and the Gumbel noise of a word.
#pragma once

struct Words {
  u32 at[4];
};

static __device__ Words philox(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
  for (int round = 0; round < 10; round++) {
    if (round > 0) {
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const u64 a = (u64)0xD2511F53u * c0, b = (u64)0xCD9E8D57u * c2;
    const u32 n0 = (u32)(b >> 32) ^ c1 ^ k0, n2 = (u32)(a >> 32) ^ c3 ^ k1;
    c1 = (u32)b;
    c3 = (u32)a;
    c0 = n0;
    c2 = n2;
  }
  return {{c0, c1, c2, c3}};
}

// No noise exceeds this.
#define GUMBEL_MAX 16.636f

static __device__ float gumbel_of(u32 word) {
  const u32 m = (word >> 8) | 1u;
  const float v = (float)((1u << 24) - m) * 5.9604644775390625e-8f;
  float exponential;
  if (v < 0.015625f)
    exponential = v * (1.0f + v * (0.5f + v * (1.0f / 3.0f + v * 0.25f)));
  else
    exponential = -logf((float)m * 5.9604644775390625e-8f);
  return -logf(exponential);
}
