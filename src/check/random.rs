//! Seeded inputs.

use half::f16;

use crate::quant::{BLOCK, activations::Code};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough for inputs of tests.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n as u64) as usize
    }

    /// A number between `low` and `high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.word() >> 40) as f32 / (1u64 << 24) as f32)
    }

    /// Numbers between -1 and 1.
    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.uniform(-1.0, 1.0)).collect()
    }

    /// Numbers whose codes in blocks of 32 no rounding of a division can change: multiples of
    /// an f16 scale by a code plus at most 0.4, with one code of TOP in each block. WGSL allows a
    /// division to be off by 2.5 ULP, which must not decide a test.
    pub fn codable<C: Code>(&mut self, len: usize) -> Vec<f32> {
        let codes = 2 * C::TOP as usize - 1;
        let mut all = Vec::with_capacity(len);
        while all.len() < len {
            let scale = f16::from_f32(self.uniform(0.004, 0.016)).to_f32() * (127.0 / C::TOP);
            let peak = self.below(BLOCK.min(len - all.len()));
            for i in 0..BLOCK.min(len - all.len()) {
                let code = self.below(codes) as f32 - (C::TOP - 1.0) + self.uniform(-0.4, 0.4);
                let sign = if self.below(2) == 0 { 1.0 } else { -1.0 };
                all.push(scale * if i == peak { C::TOP * sign } else { code });
            }
        }
        all
    }

    /// `0 .. n` in random order.
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut all: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            all.swap(i, self.below(i + 1));
        }
        all
    }
}
