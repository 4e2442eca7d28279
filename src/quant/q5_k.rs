//! Q5_K: 256 codes of five bits in eight blocks of 32, each with a 6-bit scale and minimum.
//!
//! ```text
//! byte 0      2         4                  16                   48                     176
//!      | d f16 | dmin f16 | sc, mn (scales6) | qh: bit b of byte l = | nibbles as in Q4_K |
//!                                            | top bit of element l  |
//!                                            | of block b            |
//! x = d * sc * e - dmin * mn
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    q4_k, scales6, search,
};

pub(super) struct Q5K;

impl Block for Q5K {
    const FORMAT: QuantFormat = QuantFormat::Q5_K;

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, dmin) = (bits::f16_at(block, 0), bits::f16_at(block, 2));
        let (sc, mn) = scales6::unpack(&block[4..16]);
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = (d * f32::from(sc[b]), dmin * f32::from(mn[b]));
            let bytes = block[48 + 32 * (b / 2)..].iter().zip(&block[16..48]);
            for (out, (&low, &high)) in out.iter_mut().zip(bytes) {
                let code = ((low >> (4 * (b % 2))) & 15) | (((high >> b) & 1) << 4);
                *out = scale * f32::from(code) - min;
            }
        }
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let fit = search::affine_super(x, 32, 31, 63);
        bits::put_f16(block, 0, fit.d);
        bits::put_f16(block, 2, fit.dmin);
        scales6::pack(&fit.sc, &fit.mn, &mut block[4..16]);
        for l in 0..32 {
            block[16 + l] = (0..8).fold(0, |acc, b| acc | ((fit.codes[32 * b + l] >> 4) << b));
        }
        q4_k::pack_nibbles(&fit.codes, &mut block[48..]);
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.supers[0][r] = bits::word(unit, 0);
        q4_k::pack_scales(&unit[4..16], r, tile);
        for b in 0..8 {
            tile.high[b][r] = bits::gather_high_bits(&unit[16..48], b);
        }
        q4_k::pack_codes(&unit[48..176], r, tile);
    }
}
