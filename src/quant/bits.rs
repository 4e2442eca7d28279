//! Bit moves shared by the formats: words of four codes, one byte each.

use half::f16;

/// Word `i` of `bytes`, little endian.
pub(super) fn word(bytes: &[u8], i: usize) -> u32 {
    u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().expect("four bytes were sliced"))
}

/// The 16 bits at byte `at`, little endian.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes were sliced"))
}

/// The f16 at byte `at`, as f32 (exact).
pub(super) fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_bits(u16_at(bytes, at)).to_f32()
}

/// What an f16 field will hold of `value`: the nearest finite f16, since a fitted scale or offset may
/// lie beyond the largest.
pub(super) fn to_f16(value: f32) -> f16 {
    f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

/// Writes `value` as f16 at byte `at` and returns what a reader will see.
pub(super) fn put_f16(bytes: &mut [u8], at: usize, value: f32) -> f32 {
    let half = to_f16(value);
    bytes[at..at + 2].copy_from_slice(&half.to_le_bytes());
    half.to_f32()
}

/// Moves bit `4q + i` to bit `8i + q`: from file order to the high plane's quads.
pub(super) fn spread_high_bits(bits: u32) -> u32 {
    unshuffle(unshuffle(bits))
}

/// Even bits to the low half, odd bits to the high half, by swapping ever larger neighbours.
fn unshuffle(mut x: u32) -> u32 {
    for (shift, mask) in [(1, 0x2222_2222), (2, 0x0c0c_0c0c), (4, 0x00f0_00f0), (8, 0x0000_ff00)] {
        let t = (x ^ (x >> shift)) & mask;
        x = x ^ t ^ (t << shift);
    }
    x
}

/// High-plane word of block `b` from 32 bytes that hold bit `b` of each element (Q5_K, Q3_K).
pub(super) fn gather_high_bits(bytes: &[u8], b: usize) -> u32 {
    (0..8).fold(0, |acc, q| acc | (((word(bytes, q) >> b) & 0x0101_0101) << q))
}

/// Four codes words from 32 bytes that hold a nibble of each element at bit `shift`.
pub(super) fn gather_nibbles(bytes: &[u8], shift: usize) -> [u32; 4] {
    let quad = |q| (word(bytes, q) >> shift) & 0x0f0f_0f0f;
    std::array::from_fn(|j| quad(j) | (quad(j + 4) << 4))
}

/// Two words from 32 bytes that hold two bits of each element at bit `shift`.
pub(super) fn gather_pairs(bytes: &[u8], shift: usize) -> [u32; 2] {
    let quad = |q| (word(bytes, q) >> shift) & 0x0303_0303;
    std::array::from_fn(|j| (0..4).fold(0, |acc, m| acc | (quad(2 * m + j) << (2 * m))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_bits_move_to_their_quads() {
        for bit in 0..32 {
            let (q, i) = (bit / 4, bit % 4);
            assert_eq!(spread_high_bits(1 << bit), 1 << (8 * i + q), "bit {bit}");
        }
    }
}
