//! [`Simd`] in plain Rust.

use std::array::from_fn;

use half::f16;

use super::{Lanes, Simd};

/// Arrays; the compiler may vectorise them.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

#[inline(always)]
fn zip<A: Copy, B: Copy, C>(a: Lanes<A>, b: Lanes<B>, f: impl Fn(A, B) -> C) -> Lanes<C> {
    from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type F = Lanes<f32>;
    type I = Lanes<i32>;

    const BIAS8: i32 = 0;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; 16]
    }
    #[inline(always)]
    fn load(self, x: &Lanes<f32>) -> Self::F {
        *x
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut Lanes<f32>) {
        *to = x;
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::I {
        a.map(|a| a.round_ties_even() as i32)
    }
    #[inline(always)]
    fn float(self, a: Self::I) -> Self::F {
        a.map(|a| a as f32)
    }
    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::I {
        a.map(|a| a.to_bits() as i32)
    }
    #[inline(always)]
    fn from_bits(self, a: Self::I) -> Self::F {
        a.map(|a| f32::from_bits(a as u32))
    }
    #[inline(always)]
    fn half(self, a: Self::I) -> Self::F {
        a.map(|a| f16::from_bits(a as u16).to_f32())
    }
    #[inline(always)]
    fn store_half(self, a: Self::F, to: &mut Lanes<u16>) {
        *to = a.map(|a| f16::from_f32(a).to_bits());
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        [x; 16]
    }
    #[inline(always)]
    fn load_words(self, x: &Lanes<u32>) -> Self::I {
        x.map(|x| x as i32)
    }
    #[inline(always)]
    fn load_halves(self, x: &Lanes<u16>) -> Self::I {
        x.map(i32::from)
    }
    #[inline(always)]
    fn load_bytes(self, x: &Lanes<i8>) -> Self::I {
        x.map(i32::from)
    }
    #[inline(always)]
    fn store_bytes(self, a: Self::I, to: &mut Lanes<i8>) {
        *to = a.map(|a| a as i8);
    }
    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn sum_int(self, a: Self::I) -> i32 {
        a.into_iter().fold(0, i32::wrapping_add)
    }
    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn xor(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn shl<const BY: u32>(self, a: Self::I) -> Self::I {
        a.map(|a| a << BY)
    }
    #[inline(always)]
    fn shr<const BY: u32>(self, a: Self::I) -> Self::I {
        a.map(|a| (a as u32 >> BY) as i32)
    }
    #[inline(always)]
    fn sar<const BY: u32>(self, a: Self::I) -> Self::I {
        a.map(|a| a >> BY)
    }
    #[inline(always)]
    fn dot4(self, bits: u32, acc: Self::I, codes: [Self::I; 4], x: &[u32; 4]) -> Self::I {
        let mut acc = acc;
        for (codes, x) in codes.iter().zip(x) {
            for (acc, codes) in acc.iter_mut().zip(codes) {
                for (c, x) in codes.to_le_bytes().into_iter().zip(x.to_le_bytes()) {
                    let c = if bits == 8 {
                        i32::from(c as i8)
                    } else {
                        i32::from(c)
                    };
                    *acc = acc.wrapping_add(c * i32::from(x as i8));
                }
            }
        }
        acc
    }
}
