//! Q5_0: 32 codes of five bits around 16 under one scale.
//!
//! ```text
//! byte 0      2                  6                               22
//!      | d f16 | qh: bit j = top | e16 e0 | e17 e1 | ... | e31 e15 |     x = d * (e - 16)
//!      |       | bit of element j| hi  lo nibble: the low four bits
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    search,
};

pub(super) struct Q5_0;

impl Block for Q5_0 {
    const FORMAT: QuantFormat = QuantFormat::Q5_0;

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = bits::f16_at(block, 0);
        decode_codes(&block[2..], |j, code| out[j] = d * (f32::from(code) - 16.0));
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let d = bits::put_f16(block, 0, search::symmetric(x, -16, 15));
        encode_codes(&mut block[2..], |j| (search::code(x[j], d, -16, 15) + 16) as u8);
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.scales[0][r] = bits::u16_at(unit, 0).into();
        pack_codes(&unit[2..22], r, tile);
    }
}

/// Calls `put(element, code)` for the high word and nibbles that Q5_0 and Q5_1 share.
pub(super) fn decode_codes(bytes: &[u8], mut put: impl FnMut(usize, u8)) {
    let high = bits::word(bytes, 0);
    for (j, &byte) in bytes[4..].iter().enumerate() {
        put(j, (byte & 15) | (((high >> j) & 1) << 4) as u8);
        put(j + 16, (byte >> 4) | (((high >> (j + 16)) & 1) << 4) as u8);
    }
}

/// Inverse of [`decode_codes`].
pub(super) fn encode_codes(bytes: &mut [u8], code: impl Fn(usize) -> u8) {
    let mut high = 0u32;
    for j in 0..16 {
        let (a, b) = (code(j), code(j + 16));
        high |= u32::from(a >> 4) << j | u32::from(b >> 4) << (j + 16);
        bytes[4 + j] = (a & 15) | (b << 4);
    }
    bytes[..4].copy_from_slice(&high.to_le_bytes());
}

/// Packs the high word and nibbles that Q5_0 and Q5_1 share.
pub(super) fn pack_codes(bytes: &[u8], r: usize, tile: &mut Tile) {
    tile.high[0][r] = bits::spread_high_bits(bits::word(bytes, 0));
    for j in 0..4 {
        tile.codes[j][r] = bits::word(&bytes[4..20], j);
    }
}
