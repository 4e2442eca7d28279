//! Reading single rows of a packed weight: the oracle for kernels, written straight from the table.

use half::bf16;

use super::{BLOCK, Layout, Plane, QuantFormat as F, ROW_GROUP, SUPER_BLOCK, bits};
use crate::{Error, Result};

/// A packed weight in memory.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    layout: Layout,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Views `bytes` as a weight of `layout`.
    ///
    /// # Errors
    /// If `bytes` is shorter than the layout.
    pub fn new(layout: Layout, bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() < layout.bytes {
            let Layout { format, n, k, .. } = layout;
            return Err(Error::invalid(format!(
                "packed {format} weight [{n}, {k}] takes {} bytes, not {}",
                layout.bytes,
                bytes.len()
            )));
        }
        Ok(Self { layout, bytes })
    }

    /// Its layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes of one plane, without padding.
    pub fn plane(&self, plane: Plane) -> &'a [u8] {
        &self.bytes[plane.offset..][..plane.bytes]
    }

    /// Row `n` as f32: products first, scale times code last, each operation rounded once.
    ///
    /// # Panics
    /// If `n` is not a (padded) row or `out` is not `K` long.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        assert!(n < self.layout.padded_rows(), "row {n} of {}", self.layout.n);
        assert_eq!(out.len(), self.layout.k, "a row has K values");
        for (b, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            self.block(n, b, out);
        }
    }

    /// Code of element `k` of row `n`: unsigned as in the planes (signed for Q8_0), the bits of the
    /// value for unquantised formats.
    pub fn code(&self, n: usize, k: usize) -> i32 {
        let codes = Some(self.layout.codes);
        let (b, q, i) = (k / BLOCK, k % BLOCK / 4, k % 4);
        let byte = |word: u32, shift: usize, mask: u32| (word >> (shift + 8 * i)) & mask;
        let nibble = || byte(self.word(codes, n, 4 * b + q % 4), 4 * (q / 4), 15);
        let pair = || byte(self.word(codes, n, 2 * b + q % 2), 2 * (q / 2), 3);
        let top = || byte(self.word(self.layout.high, n, b), q, 1);
        let top_pair = || byte(self.word(self.layout.high, n, 2 * b + q % 2), 2 * (q / 2), 3);
        let code = match self.layout.format {
            F::F32 => self.word(codes, n, k),
            F::F16 | F::BF16 => (self.word(codes, n, k / 2) >> (16 * (k % 2))) & 0xffff,
            F::Q8_0 => return i32::from(byte(self.word(codes, n, 8 * b + q), 0, 255) as u8 as i8),
            F::Q4_0 | F::Q4_1 | F::Q4_K => nibble(),
            F::Q5_0 | F::Q5_1 | F::Q5_K => nibble() | (top() << 4),
            F::Q6_K => nibble() | (top_pair() << 4),
            F::Q3_K => pair() | (top() << 2),
            F::Q2_K => pair(),
        };
        code as i32
    }

    /// Block `b` of row `n`; fields are read once a block, since whole models go through here.
    fn block(&self, n: usize, b: usize, out: &mut [f32]) {
        let Layout { format, codes, .. } = self.layout;
        match format {
            F::F32 => {
                for (i, out) in out.iter_mut().enumerate() {
                    *out = f32::from_bits(self.word(Some(codes), n, b * BLOCK + i));
                }
                return;
            }
            F::F16 | F::BF16 => {
                for (i, out) in out.iter_mut().enumerate() {
                    let word = self.word(Some(codes), n, (b * BLOCK + i) / 2);
                    let half = (word >> (16 * (i % 2))) as u16;
                    *out =
                        if format == F::F16 { f16(half) } else { bf16::from_bits(half).to_f32() };
                }
                return;
            }
            _ => {}
        }
        let halves = self.scales(n, b);
        for (q, out) in out.chunks_exact_mut(4).enumerate() {
            let Scale { factor, offset, min } = halves[q / 4];
            for (out, byte) in out.iter_mut().zip(self.quad(n, b, q).to_le_bytes()) {
                let code = if format == F::Q8_0 { f32::from(byte as i8) } else { f32::from(byte) };
                *out = factor * (code - offset) - min;
            }
        }
    }

    /// Codes of quad `q` of a block, a byte each, as the table puts them together.
    fn quad(&self, n: usize, b: usize, q: usize) -> u32 {
        let Layout { format, codes, high, .. } = self.layout;
        let codes = Some(codes);
        let nibbles = || (self.word(codes, n, 4 * b + q % 4) >> (4 * (q / 4))) & 0x0f0f_0f0f;
        let pairs = || (self.word(codes, n, 2 * b + q % 2) >> (2 * (q / 2))) & 0x0303_0303;
        let top = || (self.word(high, n, b) >> q) & 0x0101_0101;
        let top_pairs = || (self.word(high, n, 2 * b + q % 2) >> (2 * (q / 2))) & 0x0303_0303;
        match format {
            F::Q8_0 => self.word(codes, n, 8 * b + q),
            F::Q4_0 | F::Q4_1 | F::Q4_K => nibbles(),
            F::Q5_0 | F::Q5_1 | F::Q5_K => nibbles() | (top() << 4),
            F::Q6_K => nibbles() | (top_pairs() << 4),
            F::Q3_K => pairs() | (top() << 2),
            F::Q2_K => pairs(),
            F::F32 | F::F16 | F::BF16 => unreachable!("only block formats have quads"),
        }
    }

    /// What turns the codes of each half of a block into values.
    fn scales(&self, n: usize, b: usize) -> [Scale; 2] {
        let Layout { format, scales, supers, .. } = self.layout;
        let s = b * BLOCK / SUPER_BLOCK;
        let d16 = |plane, index| f16(self.half(plane, n, index));
        let pair = |plane, index| {
            let word = self.word(plane, n, index);
            (f16(word as u16), f16((word >> 16) as u16))
        };
        let bytes = || self.half(scales, n, b).to_le_bytes();
        let plain = |factor, offset| [Scale { factor, offset, min: 0.0 }; 2];
        match format {
            F::Q8_0 => plain(d16(scales, b), 0.0),
            F::Q4_0 => plain(d16(scales, b), 8.0),
            F::Q5_0 => plain(d16(scales, b), 16.0),
            F::Q4_1 | F::Q5_1 => {
                let (d, m) = pair(scales, b);
                [Scale { factor: d, offset: 0.0, min: -m }; 2]
            }
            F::Q4_K | F::Q5_K => {
                let ((d, dmin), [sc, mn]) = (pair(supers, s), bytes());
                let (factor, min) = (d * f32::from(sc), dmin * f32::from(mn));
                [Scale { factor, offset: 0.0, min }; 2]
            }
            F::Q6_K | F::Q3_K => {
                let d = d16(supers, s);
                let offset = if format == F::Q6_K { 32.0 } else { 4.0 };
                bytes().map(|sc| Scale { factor: d * f32::from(sc as i8), offset, min: 0.0 })
            }
            F::Q2_K => {
                let (d, dmin) = pair(supers, s);
                bytes().map(|sc| Scale {
                    factor: d * f32::from(sc & 15),
                    offset: 0.0,
                    min: dmin * f32::from(sc >> 4),
                })
            }
            F::F32 | F::F16 | F::BF16 => unreachable!("only block formats have scales"),
        }
    }

    /// Bytes of row `n`'s group in a plane that the format has.
    fn group(&self, plane: Option<Plane>, n: usize) -> &'a [u8] {
        let plane = plane.expect("the format's table has this plane");
        &self.plane(plane)[n / ROW_GROUP * plane.group_bytes..][..plane.group_bytes]
    }

    /// 32-bit element `[index][r]` of row `n`'s group.
    fn word(&self, plane: Option<Plane>, n: usize, index: usize) -> u32 {
        bits::word(self.group(plane, n), index * ROW_GROUP + n % ROW_GROUP)
    }

    /// 16-bit element `[index][r]` of row `n`'s group.
    fn half(&self, plane: Option<Plane>, n: usize, index: usize) -> u16 {
        bits::u16_at(self.group(plane, n), 2 * (index * ROW_GROUP + n % ROW_GROUP))
    }
}

/// `factor * (code - offset) - min`.
#[derive(Clone, Copy)]
struct Scale {
    factor: f32,
    offset: f32,
    min: f32,
}

fn f16(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}
