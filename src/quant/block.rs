//! What each format file provides, and the one table that maps a [`QuantFormat`] to it.

use super::{BLOCK, QuantFormat, ROW_GROUP};
use super::{float, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0, repack};

/// A file's block format.
pub(super) trait Block {
    /// Its name; sizes come from there.
    const FORMAT: QuantFormat;
    /// Elements handed to [`Block::pack`] at once: one block, but 32 for unquantised formats.
    const UNIT: usize =
        if Self::FORMAT.block_elements() > BLOCK { Self::FORMAT.block_elements() } else { BLOCK };

    /// Dequantises one block.
    fn decode(block: &[u8], out: &mut [f32]);

    /// Quantises one block of finite values within f16's range.
    fn encode(x: &[f32], block: &mut [u8]);

    /// Moves [`Block::UNIT`] elements of row `r` of a group into the tile.
    fn pack(unit: &[u8], r: usize, tile: &mut Tile);
}

/// One unit of 16 rows on its way into the planes: `[element][row]`, 16-bit elements in the low half.
pub(super) struct Tile {
    pub codes: [[u32; ROW_GROUP]; 32],
    pub high: [[u32; ROW_GROUP]; 16],
    pub scales: [[u32; ROW_GROUP]; 8],
    pub supers: [[u32; ROW_GROUP]; 1],
}

impl Tile {
    pub(super) const ZERO: Self = Self {
        codes: [[0; ROW_GROUP]; 32],
        high: [[0; ROW_GROUP]; 16],
        scales: [[0; ROW_GROUP]; 8],
        supers: [[0; ROW_GROUP]; 1],
    };
}

/// The functions of a format, each compiled for it.
pub(super) struct Codec {
    pub decode: fn(&[u8], &mut [f32]),
    pub encode: fn(&[f32], &mut [u8]),
    pub pack_group: fn(&[u8], usize, repack::GroupMut<'_>),
}

impl Codec {
    pub(super) fn of(format: QuantFormat) -> Self {
        match format {
            QuantFormat::F32 => Self::new::<float::F32>(),
            QuantFormat::F16 => Self::new::<float::F16>(),
            QuantFormat::BF16 => Self::new::<float::BF16>(),
            QuantFormat::Q8_0 => Self::new::<q8_0::Q8_0>(),
            QuantFormat::Q4_0 => Self::new::<q4_0::Q4_0>(),
            QuantFormat::Q4_1 => Self::new::<q4_1::Q4_1>(),
            QuantFormat::Q5_0 => Self::new::<q5_0::Q5_0>(),
            QuantFormat::Q5_1 => Self::new::<q5_1::Q5_1>(),
            QuantFormat::Q2_K => Self::new::<q2_k::Q2K>(),
            QuantFormat::Q3_K => Self::new::<q3_k::Q3K>(),
            QuantFormat::Q4_K => Self::new::<q4_k::Q4K>(),
            QuantFormat::Q5_K => Self::new::<q5_k::Q5K>(),
            QuantFormat::Q6_K => Self::new::<q6_k::Q6K>(),
        }
    }

    fn new<B: Block>() -> Self {
        Self {
            decode: decode_all::<B>,
            encode: encode_all::<B>,
            pack_group: repack::pack_group::<B>,
        }
    }
}

fn decode_all<B: Block>(src: &[u8], out: &mut [f32]) {
    let blocks = src.chunks_exact(B::FORMAT.block_bytes());
    for (block, out) in blocks.zip(out.chunks_exact_mut(B::FORMAT.block_elements())) {
        B::decode(block, out);
    }
}

fn encode_all<B: Block>(src: &[f32], out: &mut [u8]) {
    let blocks = out.chunks_exact_mut(B::FORMAT.block_bytes());
    for (x, block) in src.chunks_exact(B::FORMAT.block_elements()).zip(blocks) {
        B::encode(x, block);
    }
}
