//! Q6_K: 256 codes of six bits around 32 in sixteen sub-blocks of 16, each with an i8 scale.
//!
//! ```text
//! byte 0                      128                   192          208     210
//!      | ql: 2 halves of 64    | qh: 2 halves of 32  | sc i8[16] | d f16 |
//!
//! half h, t = 0..4: block b = 4h + t; element l of it has
//!   low four bits  in ql[64h + 32 (t % 2) + l], nibble t / 2
//!   high two bits  in qh[32h + l] at bit 2t
//! x = d * sc[2b + l/16] * (e - 32)
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    search,
};

pub(super) struct Q6K;

/// `(first byte of ql, nibble shift, first byte of qh, pair shift)` of block `b`.
fn places(b: usize) -> (usize, usize, usize, usize) {
    let (h, t) = (b / 4, b % 4);
    (64 * h + 32 * (t % 2), 4 * (t / 2), 128 + 32 * h, 2 * t)
}

impl Block for Q6K {
    const FORMAT: QuantFormat = QuantFormat::Q6_K;

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = bits::f16_at(block, 208);
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let (ql, low, qh, high) = places(b);
            for (l, out) in out.iter_mut().enumerate() {
                let code = ((block[ql + l] >> low) & 15) | (((block[qh + l] >> high) & 3) << 4);
                let scale = d * f32::from(block[192 + 2 * b + l / 16] as i8);
                *out = scale * (f32::from(code) - 32.0);
            }
        }
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let fit = search::symmetric_super(x, 32, 128);
        block.fill(0);
        for b in 0..8 {
            let (ql, low, qh, high) = places(b);
            for l in 0..32 {
                let code = fit.codes[32 * b + l];
                block[ql + l] |= (code & 15) << low;
                block[qh + l] |= (code >> 4) << high;
            }
        }
        for (byte, sc) in block[192..208].iter_mut().zip(fit.sc) {
            *byte = sc as u8;
        }
        bits::put_f16(block, 208, fit.d);
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.supers[0][r] = bits::u16_at(unit, 208).into();
        for b in 0..8 {
            let (ql, low, qh, high) = places(b);
            tile.scales[b][r] = bits::u16_at(unit, 192 + 2 * b).into();
            for (j, word) in bits::gather_nibbles(&unit[ql..ql + 32], low).into_iter().enumerate() {
                tile.codes[4 * b + j][r] = word;
            }
            for (j, word) in bits::gather_pairs(&unit[qh..qh + 32], high).into_iter().enumerate() {
                tile.high[2 * b + j][r] = word;
            }
        }
    }
}
