//! Q5_1: 32 codes of five bits with a scale and an offset.
//!
//! ```text
//! byte 0      2      4                  8                               24
//!      | d f16 | m f16 | qh: bit j = top | e16 e0 | e17 e1 | ... | e31 e15 |     x = d * e + m
//!      |       |       | bit of element j| hi  lo nibble: the low four bits
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    q5_0, search,
};

pub(super) struct Q5_1;

impl Block for Q5_1 {
    const FORMAT: QuantFormat = QuantFormat::Q5_1;

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, m) = (bits::f16_at(block, 0), bits::f16_at(block, 2));
        q5_0::decode_codes(&block[4..], |j, code| out[j] = d * f32::from(code) + m);
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let (d, m) = search::affine(x, 31, false);
        let (d, m) = (bits::put_f16(block, 0, d), bits::put_f16(block, 2, m));
        q5_0::encode_codes(&mut block[4..], |j| search::code(x[j] - m, d, 0, 31) as u8);
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.scales[0][r] = bits::word(unit, 0);
        q5_0::pack_codes(&unit[4..24], r, tile);
    }
}
