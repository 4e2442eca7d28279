//! Q8_0: 32 signed bytes under one scale.
//!
//! ```text
//! byte 0      2                                34
//!      | d f16 | q0 | q1 | ...            | q31 |     x = d * q
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
};

pub(super) struct Q8_0;

impl Block for Q8_0 {
    const FORMAT: QuantFormat = QuantFormat::Q8_0;

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = bits::f16_at(block, 0);
        for (out, &q) in out.iter_mut().zip(&block[2..]) {
            *out = d * f32::from(q as i8);
        }
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let max = x.iter().fold(0f32, |max, x| max.max(x.abs()));
        let d = bits::put_f16(block, 0, max / 127.0);
        for (q, &x) in block[2..].iter_mut().zip(x) {
            *q = if d == 0.0 { 0 } else { (x / d).round().clamp(-127.0, 127.0) as i8 as u8 };
        }
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.scales[0][r] = bits::u16_at(unit, 0).into();
        for j in 0..8 {
            tile.codes[j][r] = bits::word(&unit[2..34], j);
        }
    }
}
