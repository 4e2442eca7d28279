//! Functions and walks over slices that several kernels share.
//!
//! Tails go through the same vector code on padded copies, so a result does not depend on its place
//! in a row.

use super::{LANES, Lanes, Simd};

/// `e^x` within 2e-7 relative; arguments are held between -87.3 and 88.3, NaN gives NaN.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // The second operand is kept where one is NaN.
    let x = s.min(s.splat(88.3), s.max(s.splat(-87.3), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let f = s.float(n);
    // ln 2 in two parts, the first with few enough bits that `f` times it is exact (Cephes expf).
    let r = s.fma(f, s.splat(-0.693_359_4), x);
    let r = s.fma(f, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = s.fma(p, r, s.splat(c));
    }
    let p = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
    s.from_bits(s.add_int(s.bits(p), s.shl::<23>(n)))
}

/// `x / (1 + e^-y)`.
#[inline(always)]
pub fn times_sigmoid<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    let e = exp(s, s.sub(s.splat(0.0), y));
    s.div(x, s.add(s.splat(1.0), e))
}

/// The lanes of a vector, to look at one of them.
#[inline(always)]
pub fn lanes<S: Simd>(s: S, x: S::F) -> Lanes<f32> {
    let mut lanes = [0.0; LANES];
    s.store(x, &mut lanes);
    lanes
}

/// Loads up to sixteen elements, the rest zero.
#[inline(always)]
pub fn load<S: Simd>(s: S, x: &[f32]) -> S::F {
    load_or(s, x, 0.0)
}

/// Loads up to sixteen elements, the rest `fill`.
#[inline(always)]
pub fn load_or<S: Simd>(s: S, x: &[f32], fill: f32) -> S::F {
    if let Ok(x) = x.try_into() {
        return s.load(x);
    }
    let mut lanes = [fill; LANES];
    lanes[..x.len()].copy_from_slice(x);
    s.load(&lanes)
}

/// Stores as many lanes as `to` has room for, at most sixteen.
#[inline(always)]
pub fn store<S: Simd>(s: S, x: S::F, to: &mut [f32]) {
    match <&mut Lanes<f32>>::try_from(&mut *to) {
        Ok(to) => s.store(x, to),
        Err(_) => to.copy_from_slice(&lanes(s, x)[..to.len()]),
    }
}

/// Sum of squares: sixteen lanes times four accumulators, then folded.
#[inline(always)]
pub fn sum_of_squares<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut acc = [s.splat(0.0); 4];
    for x in x.chunks(4 * LANES) {
        for (acc, x) in acc.iter_mut().zip(x.chunks(LANES)) {
            let x = load(s, x);
            *acc = s.fma(x, x, *acc);
        }
    }
    s.sum(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3])))
}
