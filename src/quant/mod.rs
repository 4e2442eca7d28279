//! Weight formats: the blocks found in files and the one packed layout that all backends read.
//!
//! Files hold a weight `w [N, K]` row by row in blocks (GGML's formats). Such blocks are 18, 22, 34 or
//! 210 bytes long, which no GPU can load well, so [`repack`] turns each format, at load, into
//! *planes* in which **16 consecutive rows are interleaved**. The same bytes serve every backend:
//! a CPU vector register holds one word of 16 rows, 16 GPU lanes own one row each and read
//! consecutive words, and a 16-row tile is the M side of a tensor-core instruction.
//!
//! # The packed layout
//!
//! `N` is padded to a multiple of 16 with zero rows; `K` is a multiple of 32 (256 for K-quants).
//! Row `n = 16 g + r`; block `b = k / 32`; `KB = K / 32`; super-block `s = k / 256`; `SB = K / 256`.
//! The 32 codes of a block form eight *quads* of four consecutive elements: quad `q` is elements
//! `4q .. 4q+4`, and element `4q + i` always sits in **byte `i`** of a word, so that shifting and
//! masking a whole word yields one quad as four bytes.
//!
//! | plane | formats | index order and element | meaning |
//! |---|---|---|---|
//! | codes | F32 | `[g][k][r]` f32 | the value |
//! | codes | F16, BF16 | `[g][k/2][r]` u32 | element `k` even in the low half |
//! | codes | Q8_0 | `[g][b][8][r]` u32 | word `j` = quad `j`, bytes are i8 |
//! | codes | Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K | `[g][b][4][r]` u32 | quad `q` = `(word[q % 4] >> 4*(q/4)) & 0x0f0f0f0f` |
//! | codes | Q2_K, Q3_K | `[g][b][2][r]` u32 | quad `q` = `(word[q % 2] >> 2*(q/2)) & 0x03030303` |
//! | high | Q5_0, Q5_1, Q5_K, Q3_K | `[g][b][r]` u32 | quad `q`'s top bit = `(word >> q) & 0x01010101` |
//! | high | Q6_K | `[g][b][2][r]` u32 | quad `q`'s top two bits = `(word[q % 2] >> 2*(q/2)) & 0x03030303` |
//! | scales | Q8_0, Q4_0, Q5_0 | `[g][b][r]` f16 | `d` |
//! | scales | Q4_1, Q5_1 | `[g][b][r]` u32 | `d` f16 in the low half, `m` f16 in the high half |
//! | scales | Q4_K, Q5_K | `[g][b][r]` u16 | `sc` (6 bits) in the low byte, `mn` (6 bits) in the high byte |
//! | scales | Q6_K, Q3_K | `[g][b][r]` u16 | two i8: `sc` of elements 0..16 (low byte) and 16..32 |
//! | scales | Q2_K | `[g][b][r]` u16 | two bytes, each `sc` in the low nibble and `mn` in the high nibble |
//! | supers | Q4_K, Q5_K, Q2_K | `[g][s][r]` u32 | `d` f16 low half, `dmin` f16 high half |
//! | supers | Q6_K, Q3_K | `[g][s][r]` f16 | `d` |
//!
//! | format | value of an element with code `c` |
//! |---|---|
//! | Q8_0 | `d * c` |
//! | Q4_0 / Q5_0 | `d * (c - 8)` / `d * (c - 16)` |
//! | Q4_1 / Q5_1 | `d * c + m` |
//! | Q4_K / Q5_K | `d * sc * c - dmin * mn` |
//! | Q6_K / Q3_K | `d * sc * (c - 32)` / `d * sc * (c - 4)` (a file's Q3_K high bit set means "no -4") |
//! | Q2_K | `d * sc * c - dmin * mn` |
//!
//! Each plane starts at a multiple of [`PLANE_ALIGN`] bytes within the packed weight, in the order
//! codes, high, scales, supers.

use std::{fmt, str::FromStr};

use rayon::prelude::*;

use crate::{Error, Result};

pub mod activations;
mod bits;
mod block;
mod float;
mod layout;
mod packed;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod repack;
mod scales6;
mod search;
#[cfg(test)]
mod tests;

pub use activations::coded_values;
pub use layout::{Layout, Plane, PlaneRole};
pub use packed::Packed;
pub use repack::{repack, repack_rows};

// files and shaders are little endian, and planes are written as they lie in memory
const _: () = assert!(cfg!(target_endian = "little"), "Coppice needs a little-endian machine");

/// Rows interleaved in the packed layout.
pub const ROW_GROUP: usize = 16;
/// Elements of a basic block.
pub const BLOCK: usize = 32;
/// Elements of a K-quant super-block.
pub const SUPER_BLOCK: usize = 256;
/// Alignment of each plane in bytes: the strictest storage-binding offset WebGPU can ask for.
pub const PLANE_ALIGN: usize = 256;

/// Format of a weight matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, non_camel_case_types, reason = "the field's own names")]
pub enum QuantFormat {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl QuantFormat {
    /// All formats.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// Lower-case name, as in `--quant q4_1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q2_K => "q2_k",
            Self::Q3_K => "q3_k",
            Self::Q4_K => "q4_k",
            Self::Q5_K => "q5_k",
            Self::Q6_K => "q6_k",
        }
    }

    /// Elements of one block in a file.
    pub const fn block_elements(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 => BLOCK,
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K => SUPER_BLOCK,
        }
    }

    /// Bytes of one block in a file (GGML's layout).
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q2_K => 84,
            Self::Q3_K => 110,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    /// `K` must be a multiple of this for a packed weight.
    pub const fn k_multiple(self) -> usize {
        if self.block_elements() == SUPER_BLOCK { SUPER_BLOCK } else { BLOCK }
    }

    /// Bytes of a row of `k` elements in a file; `None` if `k` is not a whole number of blocks or
    /// the size overflows.
    pub fn row_bytes(self, k: usize) -> Option<usize> {
        if !k.is_multiple_of(self.block_elements()) {
            return None;
        }
        (k / self.block_elements()).checked_mul(self.block_bytes())
    }

    /// Dequantises file blocks: `src` is whole blocks, `out` has their elements.
    ///
    /// # Errors
    /// If the lengths do not belong together.
    pub fn dequantize(self, src: &[u8], out: &mut [f32]) -> Result<()> {
        if self.row_bytes(out.len()) != Some(src.len()) {
            return Err(Error::invalid(format!(
                "cannot dequantise {} bytes of {self} to {} values: {} values take {} bytes",
                src.len(),
                out.len(),
                self.block_elements(),
                self.block_bytes()
            )));
        }
        (block::Codec::of(self).decode)(src, out);
        Ok(())
    }

    /// Quantises whole blocks and appends them to `out` as they would lie in a file.
    ///
    /// Each block depends on its own values only, so the result is the same however rows are cut.
    ///
    /// # Errors
    /// If `src` is not whole blocks, or a value is not finite or too large for the format's f16 scales.
    pub fn quantize(self, src: &[f32], out: &mut Vec<u8>) -> Result<()> {
        let bytes = self.row_bytes(src.len()).ok_or_else(|| {
            Error::invalid(format!(
                "cannot quantise {} values to {self}: not a multiple of {}",
                src.len(),
                self.block_elements()
            ))
        })?;
        let limit = match self {
            Self::F32 | Self::BF16 => f32::MAX,
            _ => half::f16::MAX.to_f32(),
        };
        if let Some(at) = src.iter().position(|x| x.is_nan() || x.abs() > limit) {
            return Err(Error::invalid(format!(
                "cannot quantise to {self}: value {at} is {}, not within -{limit:e}..={limit:e}",
                src[at]
            )));
        }
        let start = out.len();
        out.resize(start + bytes, 0);
        let blocks = ENCODE_ELEMENTS / self.block_elements();
        out[start..]
            .par_chunks_mut(blocks * self.block_bytes())
            .zip(src.par_chunks(ENCODE_ELEMENTS))
            .for_each(|(out, src)| (block::Codec::of(self).encode)(src, out));
        Ok(())
    }
}

/// Elements that one task quantises: a multiple of every block.
const ENCODE_ELEMENTS: usize = 16 * SUPER_BLOCK;

impl fmt::Display for QuantFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for QuantFormat {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let lower = s.to_ascii_lowercase();
        Self::ALL.into_iter().find(|f| f.name() == lower).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|f| f.name()).collect();
            format!("unknown weight format `{s}`; one of {}", names.join(", "))
        })
    }
}
