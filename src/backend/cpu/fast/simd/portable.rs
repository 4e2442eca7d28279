//! [`Simd`] in plain Rust.

use half::f16;

use super::{Kernel, LANES, Lanes, Simd};

/// Arrays; the compiler may vectorise them.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Lane by lane, without closures: the compiler pays for each of them.
macro_rules! lanes {
    ($($name:ident($($arg:ident),+): $t:ty => $r:ty = $e:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $t),+) -> $r {
            let mut out = <$r>::default();
            for i in 0..LANES {
                $(let $arg = $arg[i];)+
                out[i] = $e;
            }
            out
        }
    )*};
}

/// Runs a kernel in a frame of its own.
#[inline(never)]
pub(super) fn outlined<S: Simd, K: Kernel>(simd: S, kernel: K) -> K::Output {
    kernel.run(simd)
}

impl Simd for Portable {
    type F = Lanes<f32>;
    type I = Lanes<i32>;

    const BIAS8: i32 = 0;
    const TILE: usize = 1;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        outlined(self, kernel)
    }

    lanes! {
        add(a, b): Self::F => Self::F = a + b;
        sub(a, b): Self::F => Self::F = a - b;
        mul(a, b): Self::F => Self::F = a * b;
        div(a, b): Self::F => Self::F = a / b;
        fma(a, b, c): Self::F => Self::F = f32::mul_add(a, b, c);
        max(a, b): Self::F => Self::F = if a > b { a } else { b };
        min(a, b): Self::F => Self::F = if a < b { a } else { b };
        round(a): Self::F => Self::I = f32::round_ties_even(a) as i32;
        float(a): Self::I => Self::F = a as f32;
        bits(a): Self::F => Self::I = f32::to_bits(a) as i32;
        from_bits(a): Self::I => Self::F = f32::from_bits(a as u32);
        half(a): Self::I => Self::F = f16::from_bits(a as u16).to_f32();
        add_int(a, b): Self::I => Self::I = i32::wrapping_add(a, b);
        and(a, b): Self::I => Self::I = a & b;
        or(a, b): Self::I => Self::I = a | b;
        xor(a, b): Self::I => Self::I = a ^ b;
        load_words(x): &Lanes<u32> => Self::I = x as i32;
        load_halves(x): &Lanes<u16> => Self::I = i32::from(x);
        load_bytes(x): &Lanes<i8> => Self::I = i32::from(x);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
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
    fn store_half(self, a: Self::F, to: &mut Lanes<u16>) {
        for i in 0..LANES {
            to[i] = f16::from_f32(a[i]).to_bits();
        }
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        [x; LANES]
    }
    #[inline(always)]
    fn store_bytes(self, a: Self::I, to: &mut Lanes<i8>) {
        for i in 0..LANES {
            to[i] = a[i] as i8;
        }
    }
    #[inline(always)]
    fn sum_int(self, a: Self::I) -> i32 {
        let mut sum = 0i32;
        for x in a {
            sum = sum.wrapping_add(x);
        }
        sum
    }
    #[inline(always)]
    fn shl<const BY: u32>(self, a: Self::I) -> Self::I {
        let mut out = a;
        for x in &mut out {
            *x <<= BY;
        }
        out
    }
    #[inline(always)]
    fn shr<const BY: u32>(self, a: Self::I) -> Self::I {
        let mut out = a;
        for x in &mut out {
            *x = (*x as u32 >> BY) as i32;
        }
        out
    }
    #[inline(always)]
    fn sar<const BY: u32>(self, a: Self::I) -> Self::I {
        let mut out = a;
        for x in &mut out {
            *x >>= BY;
        }
        out
    }
    #[inline(always)]
    fn dot4<const R: usize>(
        self,
        bits: u32,
        acc: [Self::I; R],
        codes: [Self::I; 4],
        x: [&[u32; 4]; R],
    ) -> [Self::I; R] {
        let mut acc = acc;
        for (acc, x) in acc.iter_mut().zip(x) {
            *acc = dot4(bits, *acc, &codes, x);
        }
        acc
    }
}

/// [`Simd::dot4`]; a function of its own, for it needs no features and is long.
fn dot4(bits: u32, acc: Lanes<i32>, codes: &[Lanes<i32>; 4], x: &[u32; 4]) -> Lanes<i32> {
    let mut acc = acc;
    for (codes, x) in codes.iter().zip(x) {
        let x = x.to_le_bytes();
        for (acc, codes) in acc.iter_mut().zip(codes) {
            let codes = codes.to_le_bytes();
            for i in 0..4 {
                let c = if bits == 8 { i32::from(codes[i] as i8) } else { i32::from(codes[i]) };
                *acc = acc.wrapping_add(c * i32::from(x[i] as i8));
            }
        }
    }
    acc
}
