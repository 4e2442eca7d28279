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
    assert!(
        x.len().is_multiple_of(BLOCK),
        "activations of {} elements are not blocks of 32",
        x.len()
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize(x: &[f32; BLOCK]) -> ([i8; BLOCK], f32, i32) {
        let (mut codes, mut d, mut sum) = ([99; BLOCK], [f32::NAN], [-1]);
        quantize_row_q8(x, &mut codes, &mut d, &mut sum);
        (codes, d[0], sum[0])
    }

    #[test]
    fn codes_round_half_to_even_and_add_up() {
        let mut x = [0.0; BLOCK];
        x[..6].copy_from_slice(&[-127.0, 0.5, 1.5, 2.5, -0.5, -1.5]);
        let (codes, d, sum) = quantize(&x);
        assert_eq!(codes[..6], [-127, 0, 2, 2, 0, -2]);
        assert_eq!((d, sum), (1.0, -125));
    }

    #[test]
    fn each_code_is_within_half_a_step() {
        for scale in [1e-20f32, 1e-3, 1.0, 1e30] {
            let x = std::array::from_fn(|i| scale * (i as f32 * 1.7).sin());
            let (codes, d, sum) = quantize(&x);
            for (x, code) in x.iter().zip(codes) {
                assert!((x - d * f32::from(code)).abs() <= d * 0.50002, "{x} as {code} times {d}");
            }
            assert_eq!(sum, codes.iter().map(|&c| i32::from(c)).sum::<i32>());
        }
    }

    #[test]
    fn tiny_blocks_are_zero() {
        for tiny in [0.0, f32::from_bits(1), -f32::MIN_POSITIVE, TINY * 0.999] {
            assert_eq!(quantize(&[tiny; BLOCK]), ([0; BLOCK], 0.0, 0), "{tiny}");
        }
        assert_eq!(quantize(&[TINY; BLOCK]).0, [127; BLOCK]);
    }
}
