//! Q4_K: 256 nibbles in eight blocks of 32, each with a 6-bit scale and minimum.
//!
//! ```text
//! byte 0      2         4                     16                              144
//!      | d f16 | dmin f16 | sc, mn (scales6) | 4 chunks of 32 bytes: chunk c = |
//!                                            | blocks 2c (low), 2c+1 (high nibble)
//! x = d * sc * e - dmin * mn
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    scales6, search,
};

pub(super) struct Q4K;

impl Block for Q4K {
    const FORMAT: QuantFormat = QuantFormat::Q4_K;

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, dmin) = (bits::f16_at(block, 0), bits::f16_at(block, 2));
        let (sc, mn) = scales6::unpack(&block[4..16]);
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = (d * f32::from(sc[b]), dmin * f32::from(mn[b]));
            for (out, &byte) in out.iter_mut().zip(&block[16 + 32 * (b / 2)..]) {
                *out = scale * f32::from((byte >> (4 * (b % 2))) & 15) - min;
            }
        }
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let fit = search::affine_super(x, 32, 15, 63);
        bits::put_f16(block, 0, fit.d);
        bits::put_f16(block, 2, fit.dmin);
        scales6::pack(&fit.sc, &fit.mn, &mut block[4..16]);
        pack_nibbles(&fit.codes, &mut block[16..]);
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.supers[0][r] = bits::word(unit, 0);
        pack_scales(&unit[4..16], r, tile);
        pack_codes(&unit[16..144], r, tile);
    }
}

/// Low nibbles of 256 codes in chunk order.
pub(super) fn pack_nibbles(codes: &[u8; 256], bytes: &mut [u8]) {
    for (bytes, codes) in bytes.chunks_exact_mut(32).zip(codes.chunks_exact(64)) {
        for l in 0..32 {
            bytes[l] = (codes[l] & 15) | (codes[l + 32] << 4);
        }
    }
}

/// Scales plane of Q4_K and Q5_K.
pub(super) fn pack_scales(bytes: &[u8], r: usize, tile: &mut Tile) {
    let (sc, mn) = scales6::unpack(bytes);
    for b in 0..8 {
        tile.scales[b][r] = u32::from(sc[b]) | u32::from(mn[b]) << 8;
    }
}

/// Codes plane of Q4_K and Q5_K.
pub(super) fn pack_codes(bytes: &[u8], r: usize, tile: &mut Tile) {
    for b in 0..8 {
        let words = bits::gather_nibbles(&bytes[32 * (b / 2)..][..32], 4 * (b % 2));
        for (j, word) in words.into_iter().enumerate() {
            tile.codes[4 * b + j][r] = word;
        }
    }
}
