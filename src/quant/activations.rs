//! Activations as integer codes: the one definition that every backend follows.
//!
//! A row `x [K]` is cut in blocks of 32. For a block with `max = max |x|`:
//!
//! ```text
//! d       = max / TOP                              TOP = 127 (q8) or 2032 (q12)
//! inverse = TOP / max
//! code    = round_half_to_even(x * inverse)        -TOP..=TOP
//! sum     = sum of the 32 codes                    i32
//! ```
//!
//! all in f32 with one rounding an operation. A block with `max <` [`TINY`] has `d = 0` and zero
//! codes, so that neither overflow of `inverse` nor flushed subnormals can tell devices apart.
//! Rows are independent of each other: the same row gives the same codes at every batch width.
//!
//! A 12-bit code is two signed bytes, `16 high + low` with `high` in `-127..=127` and `low` in
//! `-8..=7`: processors that multiply bytes take two passes over weights that are unpacked once, and
//! no byte is the -128 that some of their instructions cannot negate. Four low bits, not seven: a
//! 4-bit weight times 16 is still a byte, so matrix units do both passes in one (`high` times
//! `16 w` plus `low` times `w`), and twelve bits lose nothing that can be measured in a model.

use super::BLOCK;

/// Blocks whose largest magnitude is below this (2^-100) count as zero.
pub const TINY: f32 = f32::from_bits((127 - 100) << 23);

/// Bits of the low byte of a 12-bit code.
pub const LOW_BITS: u32 = 4;

/// An integer that stands for an activation: `i8` for q8, `i16` for q12.
pub trait Code: Copy + Default + Into<i32> {
    /// Code of a block's largest magnitude.
    const TOP: f32;

    /// Half to even; 0 for NaN.
    fn round(x: f32) -> Self;
}

impl Code for i8 {
    const TOP: f32 = 127.0;

    fn round(x: f32) -> Self {
        x.round_ties_even() as Self
    }
}

impl Code for i16 {
    const TOP: f32 = (127 << LOW_BITS) as f32;

    fn round(x: f32) -> Self {
        x.round_ties_even() as Self
    }
}

/// Quantises a row `x [K]` to `codes [K]`, `d [K/32]` and `sums [K/32]`.
///
/// A NaN does not count towards `max` and has code 0; an infinity makes `d` infinite.
///
/// # Panics
/// If `K` is not a multiple of 32 or a length does not fit.
pub fn quantize_row<C: Code>(x: &[f32], codes: &mut [C], d: &mut [f32], sums: &mut [i32]) {
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
            codes.fill(C::default());
            (*d, *sum) = (0.0, 0);
            continue;
        }
        let inverse = C::TOP / max;
        *d = max / C::TOP;
        *sum = 0;
        for (code, &x) in codes.iter_mut().zip(x) {
            *code = C::round(x * inverse);
            *sum += (*code).into();
        }
    }
}

/// The numbers that the codes of a row `x [K]` stand for: `code * d`, exact in f64.
///
/// # Panics
/// If `K` is not a multiple of 32.
pub fn coded_values<C: Code>(x: &[f32]) -> Vec<f64> {
    let (mut codes, blocks) = (vec![C::default(); x.len()], x.len() / BLOCK);
    let (mut d, mut sums) = (vec![0.0; blocks], vec![0; blocks]);
    quantize_row(x, &mut codes, &mut d, &mut sums);
    let value = |(k, code): (usize, C)| f64::from(code.into()) * f64::from(d[k / BLOCK]);
    codes.into_iter().enumerate().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantize<C: Code>(x: &[f32; BLOCK]) -> ([C; BLOCK], f32, i32) {
        let (mut codes, mut d, mut sum) = ([C::default(); BLOCK], [f32::NAN], [-1]);
        quantize_row(x, &mut codes, &mut d, &mut sum);
        (codes, d[0], sum[0])
    }

    #[test]
    fn codes_round_half_to_even_and_add_up() {
        let mut x = [0.0; BLOCK];
        x[..6].copy_from_slice(&[-127.0, 0.5, 1.5, 2.5, -0.5, -1.5]);
        let (codes, d, sum) = quantize::<i8>(&x);
        assert_eq!(codes[..6], [-127, 0, 2, 2, 0, -2]);
        assert_eq!((d, sum), (1.0, -125));

        x[..6].copy_from_slice(&[2032.0, 0.5, -1.5, -2.5, 300.25, f32::NAN]);
        let (codes, d, sum) = quantize::<i16>(&x);
        assert_eq!(codes[..6], [2032, 0, -2, -2, 300, 0]);
        assert_eq!((d, sum), (1.0, 2328));
    }

    fn half_a_step<C: Code>() {
        for scale in [1e-20f32, 1e-3, 1.0, 1e30] {
            let x = std::array::from_fn(|i| scale * (i as f32 * 1.7).sin());
            let (codes, d, sum) = quantize::<C>(&x);
            let step = f64::from(d);
            for ((x, code), value) in x.iter().zip(codes).zip(coded_values::<C>(&x)) {
                let code: i32 = code.into();
                assert_eq!(value, step * f64::from(code));
                // The quotients' own roundings move a code of TOP by a few millionths of itself.
                let slack = 0.5 + 4e-7 * f64::from(C::TOP);
                assert!((f64::from(*x) - value).abs() <= step * slack, "{x} as {code} times {d}");
            }
            assert_eq!(sum, codes.iter().map(|&c| c.into()).sum::<i32>());
        }
    }

    #[test]
    fn each_code_is_within_half_a_step() {
        half_a_step::<i8>();
        half_a_step::<i16>();
    }

    #[test]
    fn tiny_blocks_are_zero() {
        for tiny in [0.0, f32::from_bits(1), -f32::MIN_POSITIVE, TINY * 0.999] {
            assert_eq!(quantize::<i8>(&[tiny; BLOCK]), ([0; BLOCK], 0.0, 0), "{tiny}");
            assert_eq!(quantize::<i16>(&[tiny; BLOCK]), ([0; BLOCK], 0.0, 0), "{tiny}");
        }
        assert_eq!(quantize::<i8>(&[TINY; BLOCK]).0, [127; BLOCK]);
        assert_eq!(quantize::<i16>(&[TINY; BLOCK]).0, [2032; BLOCK]);
    }
}
