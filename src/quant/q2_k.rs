//! Q2_K: 256 codes of two bits in sixteen sub-blocks of 16, each with a 4-bit scale and minimum.
//!
//! ```text
//! byte 0                    16                   80      82         84
//!      | scales: sc low,     | qs: 2 halves of    | d f16 | dmin f16 |
//!      | mn high nibble [16] | 32 bytes           |
//!
//! half h, row t = 0..4: block b = 4h + t; element l is in qs[32h + l] at bit 2t
//! x = d * sc[2b + l/16] * e - dmin * mn[2b + l/16]
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    search,
};

pub(super) struct Q2K;

impl Block for Q2K {
    const FORMAT: QuantFormat = QuantFormat::Q2_K;

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, dmin) = (bits::f16_at(block, 80), bits::f16_at(block, 82));
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let low = &block[16 + 32 * (b / 4)..];
            for (l, out) in out.iter_mut().enumerate() {
                let sc = block[2 * b + l / 16];
                let (scale, min) = (d * f32::from(sc & 15), dmin * f32::from(sc >> 4));
                *out = scale * f32::from((low[l] >> (2 * (b % 4))) & 3) - min;
            }
        }
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let fit = search::affine_super(x, 16, 3, 15);
        block.fill(0);
        for (j, byte) in block[..16].iter_mut().enumerate() {
            *byte = fit.sc[j] | (fit.mn[j] << 4);
        }
        for (k, &code) in fit.codes.iter().enumerate() {
            let (b, l) = (k / 32, k % 32);
            block[16 + 32 * (b / 4) + l] |= code << (2 * (b % 4));
        }
        bits::put_f16(block, 80, fit.d);
        bits::put_f16(block, 82, fit.dmin);
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.supers[0][r] = bits::word(&unit[80..84], 0);
        for b in 0..8 {
            tile.scales[b][r] = bits::u16_at(unit, 2 * b).into();
            let low = &unit[16 + 32 * (b / 4)..][..32];
            for (j, word) in bits::gather_pairs(low, 2 * (b % 4)).into_iter().enumerate() {
                tile.codes[2 * b + j][r] = word;
            }
        }
    }
}
