//! Unquantised weights: F32, F16, BF16. A "block" is one little-endian element.

use half::{bf16, f16};

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
};

/// IEEE binary32.
pub(super) struct F32;
/// IEEE binary16.
pub(super) struct F16;
/// The upper half of a binary32.
pub(super) struct BF16;

impl Block for F32 {
    const FORMAT: QuantFormat = QuantFormat::F32;

    fn decode(block: &[u8], out: &mut [f32]) {
        out[0] = f32::from_bits(bits::word(block, 0));
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        block.copy_from_slice(&x[0].to_le_bytes());
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        for (k, codes) in tile.codes.iter_mut().enumerate() {
            codes[r] = bits::word(unit, k);
        }
    }
}

impl Block for F16 {
    const FORMAT: QuantFormat = QuantFormat::F16;

    fn decode(block: &[u8], out: &mut [f32]) {
        out[0] = bits::f16_at(block, 0);
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        block.copy_from_slice(&f16::from_f32(x[0]).to_le_bytes());
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        pack_halves(unit, r, tile);
    }
}

impl Block for BF16 {
    const FORMAT: QuantFormat = QuantFormat::BF16;

    fn decode(block: &[u8], out: &mut [f32]) {
        out[0] = bf16::from_bits(bits::u16_at(block, 0)).to_f32();
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        block.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes());
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        pack_halves(unit, r, tile);
    }
}

/// A file's pair of 16-bit elements is already the packed word.
fn pack_halves(unit: &[u8], r: usize, tile: &mut Tile) {
    for (pair, codes) in tile.codes[..16].iter_mut().enumerate() {
        codes[r] = bits::word(unit, pair);
    }
}
