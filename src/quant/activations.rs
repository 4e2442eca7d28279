//! 8-bit activations: the one definition that every backend follows.
//!
//! A row `x [K]` is cut in blocks of 32. For a block with `max = max |x|`:
//!
//! ```text
//! d       = max / 127
//! inverse = 127 / max
//! code    = round_half_to_even(x * inverse)        i8, -127..=127
//! sum     = sum of the 32 codes                    i32
//! ```
//!
//! all in f32 with one rounding an operation. A block with `max <` [`TINY`] has `d = 0` and zero
//! codes, so that neither overflow of `inverse` nor flushed subnormals can tell devices apart.
//! Rows are independent of each other: the same row gives the same codes at every batch width.

use super::BLOCK;

/// Blocks whose largest magnitude is below this (2^-100) count as zero.
pub const TINY: f32 = f32::from_bits((127 - 100) << 23);

/// Quantises a row `x [K]` to `codes [K]`, `d [K/32]` and `sums [K/32]`.
///
/// A NaN does not count towards `max` and has code 0; an infinity makes `d` infinite.
///
/// # Panics
/// If `K` is not a multiple of 32 or a length does not fit.
pub fn quantize_row_q8(x: &[f32], codes: &mut [i8], d: &mut [f32], sums: &mut [i32]) {
    assert!(x.len().is_multiple_of(BLOCK), "activations of {} elements are not blocks of 32", x.len());
    assert_eq!(codes.len(), x.len(), "one code an element");
    assert_eq!(d.len(), x.len() / BLOCK, "one scale a block");
    assert_eq!(sums.len(), x.len() / BLOCK, "one sum a block");
    let blocks = x.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK));
    for ((x, codes), (d, sum)) in blocks.zip(d.iter_mut().zip(sums)) {
        let max = x.iter().fold(0f32, |max, x| max.max(x.abs()));
        if max < TINY {
            codes.fill(0);
            (*d, *sum) = (0.0, 0);
            continue;
        }
        let inverse = 127.0 / max;
        *d = max / 127.0;
        *sum = 0;
        for (code, &x) in codes.iter_mut().zip(x) {
            *code = (x * inverse).round_ties_even() as i8;
            *sum += i32::from(*code);
        }
    }
}
