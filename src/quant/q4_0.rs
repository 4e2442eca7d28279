//! Q4_0: 32 nibbles around 8 under one scale.
//!
//! ```text
//! byte 0      2                                18
//!      | d f16 | e16 e0 | e17 e1 | ...  | e31 e15 |     x = d * (e - 8)
//!                hi  lo nibble
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    search,
};

pub(super) struct Q4_0;

impl Block for Q4_0 {
    const FORMAT: QuantFormat = QuantFormat::Q4_0;

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = bits::f16_at(block, 0);
        let (low, high) = out.split_at_mut(16);
        for (j, &byte) in block[2..].iter().enumerate() {
            low[j] = d * (f32::from(byte & 15) - 8.0);
            high[j] = d * (f32::from(byte >> 4) - 8.0);
        }
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let d = bits::put_f16(block, 0, search::symmetric(x, -8, 7));
        for j in 0..16 {
            let code = |x| (search::code(x, d, -8, 7) + 8) as u8;
            block[2 + j] = code(x[j]) | (code(x[j + 16]) << 4);
        }
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.scales[0][r] = bits::u16_at(unit, 0).into();
        for j in 0..4 {
            tile.codes[j][r] = bits::word(&unit[2..18], j);
        }
    }
}
