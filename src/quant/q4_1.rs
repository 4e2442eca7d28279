//! Q4_1: 32 nibbles with a scale and an offset.
//!
//! ```text
//! byte 0      2      4                                20
//!      | d f16 | m f16 | e16 e0 | e17 e1 | ...  | e31 e15 |     x = d * e + m
//!                        hi  lo nibble
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    search,
};

pub(super) struct Q4_1;

impl Block for Q4_1 {
    const FORMAT: QuantFormat = QuantFormat::Q4_1;

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, m) = (bits::f16_at(block, 0), bits::f16_at(block, 2));
        let (low, high) = out.split_at_mut(16);
        for (j, &byte) in block[4..].iter().enumerate() {
            low[j] = d * f32::from(byte & 15) + m;
            high[j] = d * f32::from(byte >> 4) + m;
        }
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let (d, m) = search::affine(x, 15, false);
        let (d, m) = (bits::put_f16(block, 0, d), bits::put_f16(block, 2, m));
        for j in 0..16 {
            let code = |x| search::code(x - m, d, 0, 15) as u8;
            block[4 + j] = code(x[j]) | (code(x[j + 16]) << 4);
        }
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.scales[0][r] = bits::word(unit, 0);
        for j in 0..4 {
            tile.codes[j][r] = bits::word(&unit[4..20], j);
        }
    }
}
