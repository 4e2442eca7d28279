//! Scales that minimise the squared error of a block, by trying steps around the obvious one and
//! refining each by least squares.

use super::bits::to_f16;

/// Steps tried on either side of the obvious scale.
const STEPS: i32 = 9;
/// Change of the code range between two steps.
const STEP: f32 = 0.1;

/// Nearest code of `x` under scale `d`, within `lo..=hi`.
pub(super) fn code(x: f32, d: f32, lo: i32, hi: i32) -> i32 {
    if d == 0.0 { 0i32.clamp(lo, hi) } else { ((x / d).round() as i32).clamp(lo, hi) }
}

/// Scale `d` (of either sign) such that `x ~ d * code`, codes in `lo..=hi` with `-lo >= hi > 0`.
pub(super) fn symmetric(x: &[f32], lo: i32, hi: i32) -> f32 {
    let peak = x.iter().fold(0f32, |peak, &x| if x.abs() > peak.abs() { x } else { peak });
    if peak == 0.0 {
        return 0.0;
    }
    let (low, high) = (lo as f32, hi as f32);
    let (mut best, mut best_gain) = (peak / low, f32::NEG_INFINITY);
    for step in -STEPS..=STEPS {
        let inverse = (low + STEP * step as f32) / peak;
        let (mut xq, mut qq) = (0f32, 0f32);
        for &x in x {
            let q = (x * inverse).round_ties_even().clamp(low, high);
            xq += x * q;
            qq += q * q;
        }
        // with d = xq / qq the squared error is sum(x * x) - xq * xq / qq
        let gain = xq * xq / qq;
        if gain > best_gain {
            (best, best_gain) = (xq / qq, gain);
        }
    }
    best
}

/// `(d, m)` such that `x ~ d * code + m`, codes in `0..=max`; `m <= 0` if `below_zero`.
pub(super) fn affine(x: &[f32], max: i32, below_zero: bool) -> (f32, f32) {
    let (mut low, mut high) =
        x.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
    if below_zero {
        (low, high) = (low.min(0.0), high.max(0.0));
    }
    let range = high - low;
    let obvious = (range / max as f32, low);
    if obvious.0 == 0.0 {
        return (0.0, low);
    }
    let n = x.len() as f32;
    let sum: f32 = x.iter().sum();
    let (mut best, mut best_error) = (obvious, f32::INFINITY);
    for step in -STEPS..=STEPS {
        let inverse = (max as f32 + STEP * step as f32) / range;
        let (mut q1, mut q2, mut xq) = (0f32, 0f32, 0f32);
        for &x in x {
            let q = ((x - low) * inverse).round_ties_even().clamp(0.0, max as f32);
            q1 += q;
            q2 += q * q;
            xq += x * q;
        }
        let determinant = n * q2 - q1 * q1;
        if determinant <= 0.0 {
            continue;
        }
        let (mut d, mut m) =
            ((n * xq - q1 * sum) / determinant, (q2 * sum - q1 * xq) / determinant);
        if below_zero && m > 0.0 {
            (d, m) = (xq / q2, 0.0);
        }
        let error = x.iter().fold(0f32, |error, &x| {
            let q = ((x - m) / d).round_ties_even().clamp(0.0, max as f32);
            error + (d * q + m - x).powi(2)
        });
        if error < best_error {
            (best, best_error) = ((d, m), error);
        }
    }
    best
}

/// A fitted super-block with scales and minima: `x ~ d * sc * code - dmin * mn`.
pub(super) struct AffineSuper {
    pub d: f32,
    pub dmin: f32,
    pub sc: [u8; 16],
    pub mn: [u8; 16],
    pub codes: [u8; 256],
}

/// Fits 256 values in sub-blocks of `sub`; codes up to `max`, scales and minima up to `scale_max`.
pub(super) fn affine_super(x: &[f32], sub: usize, max: i32, scale_max: i32) -> AffineSuper {
    let mut fit = AffineSuper { d: 0.0, dmin: 0.0, sc: [0; 16], mn: [0; 16], codes: [0; 256] };
    let mut fits = [(0f32, 0f32); 16];
    for (fit, x) in fits.iter_mut().zip(x.chunks_exact(sub)) {
        *fit = affine(x, max, true);
    }
    let (most, least) = fits.iter().fold((0f32, 0f32), |(d, m), fit| (d.max(fit.0), m.max(-fit.1)));
    fit.d = to_f16(most / scale_max as f32).to_f32();
    fit.dmin = to_f16(least / scale_max as f32).to_f32();
    for (j, x) in x.chunks_exact(sub).enumerate() {
        fit.sc[j] = code(fits[j].0, fit.d, 0, scale_max) as u8;
        fit.mn[j] = code(-fits[j].1, fit.dmin, 0, scale_max) as u8;
        let (scale, min) = (fit.d * f32::from(fit.sc[j]), fit.dmin * f32::from(fit.mn[j]));
        for (code_out, &x) in fit.codes[j * sub..].iter_mut().zip(x) {
            *code_out = code(x + min, scale, 0, max) as u8;
        }
    }
    fit
}

/// A fitted super-block with signed scales: `x ~ d * sc * (code - half)`.
pub(super) struct SymmetricSuper {
    pub d: f32,
    pub sc: [i8; 16],
    pub codes: [u8; 256],
}

/// Fits 256 values in sub-blocks of 16; codes are `0..2 * half`, scales `-scale_half..scale_half`.
pub(super) fn symmetric_super(x: &[f32], half: i32, scale_half: i32) -> SymmetricSuper {
    let mut fit = SymmetricSuper { d: 0.0, sc: [0; 16], codes: [0; 256] };
    let mut scales = [0f32; 16];
    for (scale, x) in scales.iter_mut().zip(x.chunks_exact(16)) {
        *scale = symmetric(x, -half, half - 1);
    }
    let peak = scales.iter().fold(0f32, |peak, &s| if s.abs() > peak.abs() { s } else { peak });
    fit.d = to_f16(peak / -scale_half as f32).to_f32();
    for (j, x) in x.chunks_exact(16).enumerate() {
        fit.sc[j] = code(scales[j], fit.d, -scale_half, scale_half - 1) as i8;
        let scale = fit.d * f32::from(fit.sc[j]);
        for (code_out, &x) in fit.codes[16 * j..].iter_mut().zip(x) {
            *code_out = (code(x, scale, -half, half - 1) + half) as u8;
        }
    }
    fit
}
