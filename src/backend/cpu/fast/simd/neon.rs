//! [`Simd`] in NEON, which every 64-bit Arm has: four registers are one vector.

#[allow(clippy::wildcard_imports, reason = "dozens of intrinsics under their vendor names")]
use std::arch::aarch64::*;

use super::{Kernel, Lanes, Simd, portable::outlined};

/// Baseline NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon;

/// NEON is part of the target, so its intrinsics may be used everywhere.
macro_rules! arm {
    ($e:expr) => {
        // SAFETY: NEON is part of the aarch64 targets; memory operands are references to whole
        // vectors and the instructions used ask for no alignment.
        unsafe { $e }
    };
}

/// Four-register forms of instructions.
macro_rules! quads {
    ($($name:ident($($arg:ident),+): $t:ty => $r:ty = $op:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $t),+) -> $r {
            arm!([0, 1, 2, 3].map(|q| $op($($arg[q]),+)))
        }
    )*};
}

type F = [float32x4_t; 4];
type I = [int32x4_t; 4];

impl Simd for Neon {
    type F = F;
    type I = I;

    const BIAS8: i32 = 0;
    const TILE: usize = 4;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        outlined(self, kernel)
    }

    quads! {
        add(a, b): F => F = vaddq_f32;
        sub(a, b): F => F = vsubq_f32;
        mul(a, b): F => F = vmulq_f32;
        div(a, b): F => F = vdivq_f32;
        round(a): F => I = vcvtnq_s32_f32;
        float(a): I => F = vcvtq_f32_s32;
        bits(a): F => I = vreinterpretq_s32_f32;
        from_bits(a): I => F = vreinterpretq_f32_s32;
        add_int(a, b): I => I = vaddq_s32;
        and(a, b): I => I = vandq_s32;
        or(a, b): I => I = vorrq_s32;
        xor(a, b): I => I = veorq_s32;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        arm!([vdupq_n_f32(x); 4])
    }
    #[inline(always)]
    fn load(self, x: &Lanes<f32>) -> F {
        arm!([0, 4, 8, 12].map(|i| vld1q_f32(x[i..].as_ptr())))
    }
    #[inline(always)]
    fn store(self, x: F, to: &mut Lanes<f32>) {
        for (x, to) in x.into_iter().zip(to.chunks_exact_mut(4)) {
            arm!(vst1q_f32(to.as_mut_ptr(), x));
        }
    }
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        arm!([0, 1, 2, 3].map(|q| vfmaq_f32(c[q], a[q], b[q])))
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        arm!([0, 1, 2, 3].map(|q| vbslq_f32(vcgtq_f32(a[q], b[q]), a[q], b[q])))
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        arm!([0, 1, 2, 3].map(|q| vbslq_f32(vcltq_f32(a[q], b[q]), a[q], b[q])))
    }
    #[inline(always)]
    fn half(self, a: I) -> F {
        // Exponent and fraction moved into place and rescaled by 2^112: exact for all finite values.
        arm!(a.map(|a| {
            let magnitude = vshlq_n_s32::<13>(vandq_s32(a, vdupq_n_s32(0x7fff)));
            let sign = vshlq_n_s32::<16>(vandq_s32(a, vdupq_n_s32(0x8000)));
            let scale = vdupq_n_f32(f32::from_bits((127 + 112) << 23));
            let value = vmulq_f32(vreinterpretq_f32_s32(magnitude), scale);
            let special = vcgeq_s32(magnitude, vdupq_n_s32(0x7c00 << 13));
            let wide = vorrq_s32(magnitude, vdupq_n_s32(0x7f80_0000));
            let bits = vbslq_s32(special, wide, vreinterpretq_s32_f32(value));
            vreinterpretq_f32_s32(vorrq_s32(bits, sign))
        }))
    }
    #[inline(always)]
    fn store_half(self, a: F, to: &mut Lanes<u16>) {
        let mut lanes = [0.0; 16];
        self.store(a, &mut lanes);
        *to = lanes.map(|x| half::f16::from_f32(x).to_bits());
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> I {
        arm!([vdupq_n_s32(x); 4])
    }
    #[inline(always)]
    fn load_words(self, x: &Lanes<u32>) -> I {
        arm!([0, 4, 8, 12].map(|i| vreinterpretq_s32_u32(vld1q_u32(x[i..].as_ptr()))))
    }
    #[inline(always)]
    fn load_halves(self, x: &Lanes<u16>) -> I {
        arm!([0, 4, 8, 12].map(|i| vreinterpretq_s32_u32(vmovl_u16(vld1_u16(x[i..].as_ptr())))))
    }
    #[inline(always)]
    fn load_bytes(self, x: &Lanes<i8>) -> I {
        arm!({
            let all = vld1q_s8(x.as_ptr());
            let (low, high) = (vmovl_s8(vget_low_s8(all)), vmovl_s8(vget_high_s8(all)));
            [
                vmovl_s16(vget_low_s16(low)),
                vmovl_s16(vget_high_s16(low)),
                vmovl_s16(vget_low_s16(high)),
                vmovl_s16(vget_high_s16(high)),
            ]
        })
    }
    #[inline(always)]
    fn store_bytes(self, a: I, to: &mut Lanes<i8>) {
        arm!({
            let low = vcombine_s16(vmovn_s32(a[0]), vmovn_s32(a[1]));
            let high = vcombine_s16(vmovn_s32(a[2]), vmovn_s32(a[3]));
            vst1q_s8(to.as_mut_ptr(), vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
        });
    }
    #[inline(always)]
    fn sum_int(self, a: I) -> i32 {
        arm!(vaddvq_s32(vaddq_s32(vaddq_s32(a[0], a[1]), vaddq_s32(a[2], a[3]))))
    }
    #[inline(always)]
    fn shl<const BY: u32>(self, a: I) -> I {
        arm!(a.map(|a| vshlq_s32(a, vdupq_n_s32(BY as i32))))
    }
    #[inline(always)]
    fn shr<const BY: u32>(self, a: I) -> I {
        arm!(a.map(|a| {
            let shifted = vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-(BY as i32)));
            vreinterpretq_s32_u32(shifted)
        }))
    }
    #[inline(always)]
    fn sar<const BY: u32>(self, a: I) -> I {
        arm!(a.map(|a| vshlq_s32(a, vdupq_n_s32(-(BY as i32)))))
    }

    /// Products of two bytes in 16 bits, added in pairs to the 32-bit sums. (`sdot` would do it in
    /// one, but its intrinsic is not stable.)
    #[inline(always)]
    fn dot4<const R: usize>(
        self,
        _bits: u32,
        acc: [I; R],
        codes: [I; 4],
        x: [&[u32; 4]; R],
    ) -> [I; R] {
        let mut acc = acc;
        for (acc, x) in acc.iter_mut().zip(x) {
            for j in 0..4 {
                arm!({
                    let x = vreinterpretq_s8_u32(vdupq_n_u32(x[j]));
                    for q in 0..4 {
                        let c = vreinterpretq_s8_s32(codes[j][q]);
                        let low = vmull_s8(vget_low_s8(c), vget_low_s8(x));
                        let high = vmull_high_s8(c, x);
                        acc[q] = vaddq_s32(acc[q], vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
                    }
                });
            }
        }
        acc
    }
}
