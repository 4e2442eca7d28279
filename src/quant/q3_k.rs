//! Q3_K: 256 codes of three bits around 4 in sixteen sub-blocks of 16, each with a 6-bit signed scale.
//!
//! ```text
//! byte 0                   32                  96              108     110
//!      | hmask: bit b of    | qs: 2 halves of   | scales, 12 B  | d f16 |
//!      | byte l = top bit of| 32 bytes          |
//!      | element l, block b |
//!
//! half h, row t = 0..4: block b = 4h + t; element l has its low two bits in qs[32h + l] at bit 2t
//! scale j (of 16), stored + 32: low four bits in byte j % 8, nibble j / 8; top two in byte 8 + j % 4 at bit 2 (j / 4)
//! x = d * (scale[2b + l/16] - 32) * (e - 4)
//! ```

use super::{
    QuantFormat, bits,
    block::{Block, Tile},
    search,
};

pub(super) struct Q3K;

/// The sixteen scales, -32..32.
fn unpack_scales(s: &[u8]) -> [i8; 16] {
    std::array::from_fn(|j| {
        let low = (s[j % 8] >> (4 * (j / 8))) & 15;
        let top = (s[8 + j % 4] >> (2 * (j / 4))) & 3;
        (low | (top << 4)) as i8 - 32
    })
}

/// Inverse of [`unpack_scales`] into zeroed bytes.
fn pack_scales(sc: &[i8; 16], s: &mut [u8]) {
    for (j, &sc) in sc.iter().enumerate() {
        let sc = (sc + 32) as u8;
        s[j % 8] |= (sc & 15) << (4 * (j / 8));
        s[8 + j % 4] |= (sc >> 4) << (2 * (j / 4));
    }
}

impl Block for Q3K {
    const FORMAT: QuantFormat = QuantFormat::Q3_K;

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = bits::f16_at(block, 108);
        let sc = unpack_scales(&block[96..108]);
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let low = &block[32 + 32 * (b / 4)..];
            for (l, out) in out.iter_mut().enumerate() {
                let code = ((low[l] >> (2 * (b % 4))) & 3) | (((block[l] >> b) & 1) << 2);
                let scale = d * f32::from(sc[2 * b + l / 16]);
                *out = scale * (f32::from(code) - 4.0);
            }
        }
    }

    fn encode(x: &[f32], block: &mut [u8]) {
        let fit = search::symmetric_super(x, 4, 32);
        block.fill(0);
        for (k, &code) in fit.codes.iter().enumerate() {
            let (b, l) = (k / 32, k % 32);
            block[l] |= (code >> 2) << b;
            block[32 + 32 * (b / 4) + l] |= (code & 3) << (2 * (b % 4));
        }
        pack_scales(&fit.sc, &mut block[96..108]);
        bits::put_f16(block, 108, fit.d);
    }

    fn pack(unit: &[u8], r: usize, tile: &mut Tile) {
        tile.supers[0][r] = bits::u16_at(unit, 108).into();
        let sc = unpack_scales(&unit[96..108]);
        for b in 0..8 {
            let pair = [sc[2 * b] as u8, sc[2 * b + 1] as u8];
            tile.scales[b][r] = u16::from_le_bytes(pair).into();
            tile.high[b][r] = bits::gather_high_bits(&unit[..32], b);
            let low = &unit[32 + 32 * (b / 4)..][..32];
            for (j, word) in bits::gather_pairs(low, 2 * (b % 4)).into_iter().enumerate() {
                tile.codes[2 * b + j][r] = word;
            }
        }
    }
}
