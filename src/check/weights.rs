//! Random packed weights with their exact values: a second implementation of the packed layout,
//! written from the table in [`crate::quant`] in the other direction.

use half::{bf16, f16};

use super::{case::Build, random::Random};
use crate::quant::{BLOCK, Layout, Plane, QuantFormat as F, ROW_GROUP, SUPER_BLOCK};

/// A packed weight and what its elements stand for.
#[derive(Clone, Debug)]
pub(super) struct TestWeight {
    pub layout: Layout,
    pub bytes: Vec<u8>,
    /// `[N, K]` exact values.
    pub values: Vec<f64>,
    /// `[N, K]` sum of the absolute terms of each value, such as `|d c| + |m|`.
    pub magnitudes: Vec<f64>,
}

impl TestWeight {
    /// A random weight; where results are not looked at, one whose groups of rows are all the same, and
    /// without values.
    pub(super) fn of(b: &mut Build, format: F, n: usize, k: usize) -> Self {
        if b.judged() {
            return Self::random(&mut b.random, format, n, k);
        }
        let small = Self::random(&mut b.random, format, ROW_GROUP, k);
        let layout = Layout::new(format, n, k).expect("cases use dimensions that suit the format");
        let mut bytes = vec![0; layout.bytes];
        for (from, to) in small.layout.planes().zip(layout.planes()) {
            let rows = &small.bytes[from.offset..][..from.group_bytes];
            for group in 0..layout.groups() {
                bytes[to.offset + group * to.group_bytes..][..to.group_bytes].copy_from_slice(rows);
            }
        }
        Self { layout, bytes, values: Vec::new(), magnitudes: Vec::new() }
    }

    /// A random weight; padding rows are zero.
    pub(super) fn random(random: &mut Random, format: F, n: usize, k: usize) -> Self {
        let layout = Layout::new(format, n, k).expect("cases use dimensions that suit the format");
        let mut weight = Self {
            layout,
            bytes: vec![0; layout.bytes],
            values: Vec::with_capacity(n * k),
            magnitudes: Vec::with_capacity(n * k),
        };
        for row in 0..n {
            let mut supers = (0.0, 0.0);
            for block in 0..k / BLOCK {
                if (block * BLOCK).is_multiple_of(SUPER_BLOCK) {
                    supers = weight.put_supers(random, row, block * BLOCK / SUPER_BLOCK);
                }
                weight.put_block(random, row, block, supers);
            }
        }
        weight
    }

    fn put_block(&mut self, random: &mut Random, row: usize, block: usize, supers: (f64, f64)) {
        let format = self.layout.format;
        let codes: [u32; BLOCK] = std::array::from_fn(|_| match format {
            F::Q8_0 => random.below(255) as i8 as u8 as u32,
            F::F32 => random.uniform(-1.0, 1.0).to_bits(),
            F::F16 => f16::from_f32(random.uniform(-1.0, 1.0)).to_bits().into(),
            F::BF16 => bf16::from_f32(random.uniform(-1.0, 1.0)).to_bits().into(),
            F::Q4_0 | F::Q4_1 | F::Q4_K => random.below(16) as u32,
            F::Q5_0 | F::Q5_1 | F::Q5_K => random.below(32) as u32,
            F::Q6_K => random.below(64) as u32,
            F::Q3_K => random.below(8) as u32,
            F::Q2_K => random.below(4) as u32,
        });
        for (i, &code) in codes.iter().enumerate() {
            self.put_code(row, block, i, code);
        }
        // per half block: factor on the code, offset of the code, and what is added
        let [low, high] = self.put_scales(random, row, block, supers);
        for (i, &code) in codes.iter().enumerate() {
            let (factor, offset, add) = if i < BLOCK / 2 { low } else { high };
            let code = match format {
                F::F32 => f32::from_bits(code).into(),
                F::F16 => f16::from_bits(code as u16).to_f64(),
                F::BF16 => bf16::from_bits(code as u16).to_f64(),
                F::Q8_0 => f64::from(code as u8 as i8),
                _ => f64::from(code),
            };
            self.values.push(factor * (code - offset) + add);
            self.magnitudes.push(factor.abs() * (code.abs() + offset) + add.abs());
        }
    }

    fn put_code(&mut self, row: usize, block: usize, i: usize, code: u32) {
        let (q, byte) = (i / 4, 8 * (i % 4));
        let (codes, high) = (self.layout.codes, self.layout.high);
        match self.layout.format {
            F::F32 => self.or_word(codes, row, block * BLOCK + i, code),
            F::F16 | F::BF16 => {
                self.or_word(codes, row, (block * BLOCK + i) / 2, code << (16 * (i % 2)));
            }
            F::Q8_0 => self.or_word(codes, row, 8 * block + q, code << byte),
            F::Q2_K | F::Q3_K => {
                self.or_word(codes, row, 2 * block + q % 2, (code & 3) << (byte + 2 * (q / 2)));
            }
            _ => self.or_word(codes, row, 4 * block + q % 4, (code & 15) << (byte + 4 * (q / 4))),
        }
        let Some(high) = high else { return };
        match self.layout.format {
            F::Q6_K => {
                self.or_word(high, row, 2 * block + q % 2, (code >> 4) << (byte + 2 * (q / 2)));
            }
            F::Q3_K => self.or_word(high, row, block, (code >> 2) << (byte + q)),
            _ => self.or_word(high, row, block, (code >> 4) << (byte + q)),
        }
    }

    /// Scales of a block: for each half the factor, the offset of codes, and the added term.
    fn put_scales(
        &mut self,
        random: &mut Random,
        row: usize,
        block: usize,
        (d, dmin): (f64, f64),
    ) -> [(f64, f64, f64); 2] {
        let Some(plane) = self.layout.scales else { return [(1.0, 0.0, 0.0); 2] };
        match self.layout.format {
            F::Q8_0 | F::Q4_0 | F::Q5_0 => {
                let (bits, d) = scale(random);
                self.put_half(plane, row, block, bits);
                let offset = match self.layout.format {
                    F::Q4_0 => 8.0,
                    F::Q5_0 => 16.0,
                    _ => 0.0,
                };
                [(d, offset, 0.0); 2]
            }
            F::Q4_1 | F::Q5_1 => {
                let ((d_bits, d), (m_bits, m)) = (scale(random), scale(random));
                self.or_word(plane, row, block, u32::from(d_bits) | u32::from(m_bits) << 16);
                [(d, 0.0, m); 2]
            }
            F::Q4_K | F::Q5_K => {
                let (sc, mn) = (random.below(64), random.below(64));
                self.put_half(plane, row, block, (sc | mn << 8) as u16);
                [(d * sc as f64, 0.0, -dmin * mn as f64); 2]
            }
            F::Q6_K | F::Q3_K => {
                let scales = [(); 2].map(|()| random.below(256) as u8);
                self.put_half(plane, row, block, u16::from_le_bytes(scales));
                let offset = if self.layout.format == F::Q6_K { 32.0 } else { 4.0 };
                scales.map(|sc| (d * f64::from(sc as i8), offset, 0.0))
            }
            F::Q2_K => {
                let scales = [(); 2].map(|()| random.below(256) as u8);
                self.put_half(plane, row, block, u16::from_le_bytes(scales));
                scales.map(|sc| (d * f64::from(sc & 15), 0.0, -dmin * f64::from(sc >> 4)))
            }
            F::F32 | F::F16 | F::BF16 => [(1.0, 0.0, 0.0); 2],
        }
    }

    /// Scale and minimum of a super-block.
    fn put_supers(&mut self, random: &mut Random, row: usize, index: usize) -> (f64, f64) {
        let Some(plane) = self.layout.supers else { return (0.0, 0.0) };
        let ((d_bits, d), (m_bits, m)) = (scale(random), scale(random));
        match self.layout.format {
            F::Q6_K | F::Q3_K => self.put_half(plane, row, index, d_bits),
            _ => self.or_word(plane, row, index, u32::from(d_bits) | u32::from(m_bits) << 16),
        }
        (d, m)
    }

    fn at(plane: Plane, row: usize, index: usize, size: usize) -> usize {
        let within = (index * ROW_GROUP + row % ROW_GROUP) * size;
        plane.offset + row / ROW_GROUP * plane.group_bytes + within
    }

    fn or_word(&mut self, plane: Plane, row: usize, index: usize, bits: u32) {
        let at = Self::at(plane, row, index, 4);
        for (byte, bits) in self.bytes[at..at + 4].iter_mut().zip(bits.to_le_bytes()) {
            *byte |= bits;
        }
    }

    fn put_half(&mut self, plane: Plane, row: usize, index: usize, bits: u16) {
        let at = Self::at(plane, row, index, 2);
        self.bytes[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    }
}

/// A scale of either sign, far from subnormal; its bits and its value.
fn scale(random: &mut Random) -> (u16, f64) {
    let sign = if random.below(4) == 0 { -1.0 } else { 1.0 };
    let d = f16::from_f32(sign * random.uniform(0.01, 0.1));
    (d.to_bits(), d.to_f64())
}
