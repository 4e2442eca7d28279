//! [`Simd`] in AVX2 with FMA, and optionally AVX-VNNI: two registers are one vector.

#[allow(clippy::wildcard_imports, reason = "dozens of intrinsics under their vendor names")]
use std::arch::x86_64::*;

use super::{Kernel, Lanes, Simd};

/// Proof of AVX2, FMA and F16C, and of AVX-VNNI for `VNNI`.
#[derive(Clone, Copy, Debug)]
pub struct Avx2<const VNNI: bool>(());

impl<const VNNI: bool> Avx2<VNNI> {
    /// The proof, if this processor and its system have it all.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && (!VNNI || is_x86_feature_detected!("avxvnni"));
        has.then_some(Self(()))
    }
}

impl Avx2<false> {
    /// Runs a kernel with the features enabled.
    pub fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the processor has the features.
        unsafe { kernel.frame(self) }
    }
}

impl Avx2<true> {
    /// As without AVX-VNNI, with it as well.
    pub fn enter_vnni<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the processor has the features.
        unsafe { kernel.frame_vnni(self) }
    }
}

/// The frames in which a kernel runs; methods of the kernel for the reason that AVX-512's is.
trait Frame: Kernel + Sized {
    /// # Safety
    /// The processor must have the features, as `simd` says.
    #[inline(never)]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn frame(self, simd: Avx2<false>) -> Self::Output {
        self.run(simd)
    }

    /// # Safety
    /// The processor must have the features, as `simd` says.
    #[inline(never)]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn frame_vnni(self, simd: Avx2<true>) -> Self::Output {
        self.run(simd)
    }
}

impl<K: Kernel> Frame for K {}

/// Intrinsics on a proven processor.
macro_rules! x86 {
    ($e:expr) => {
        // SAFETY: an `Avx2` is only made by `detect`, so the instructions exist; memory operands
        // are references to whole vectors and the instructions used ask for no alignment.
        unsafe { $e }
    };
}

/// Two-register forms of two-operand and one-operand instructions.
macro_rules! pairs {
    ($($name:ident($($arg:ident),+): $t:ty => $r:ty = $op:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $t),+) -> $r {
            x86!([$op($($arg[0]),+), $op($($arg[1]),+)])
        }
    )*};
}

type F = [__m256; 2];
type I = [__m256i; 2];

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F = F;
    type I = I;

    const BIAS8: i32 = if VNNI { 128 } else { 0 };
    const TILE: usize = 4;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        if VNNI { Avx2::<true>(()).enter_vnni(kernel) } else { Avx2::<false>(()).enter(kernel) }
    }

    pairs! {
        add(a, b): F => F = _mm256_add_ps;
        sub(a, b): F => F = _mm256_sub_ps;
        mul(a, b): F => F = _mm256_mul_ps;
        div(a, b): F => F = _mm256_div_ps;
        fma(a, b, c): F => F = _mm256_fmadd_ps;
        max(a, b): F => F = _mm256_max_ps;
        min(a, b): F => F = _mm256_min_ps;
        float(a): I => F = _mm256_cvtepi32_ps;
        bits(a): F => I = _mm256_castps_si256;
        from_bits(a): I => F = _mm256_castsi256_ps;
        add_int(a, b): I => I = _mm256_add_epi32;
        and(a, b): I => I = _mm256_and_si256;
        or(a, b): I => I = _mm256_or_si256;
        xor(a, b): I => I = _mm256_xor_si256;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        x86!([_mm256_set1_ps(x); 2])
    }
    #[inline(always)]
    fn load(self, x: &Lanes<f32>) -> F {
        x86!([_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x[8..].as_ptr())])
    }
    #[inline(always)]
    fn store(self, x: F, to: &mut Lanes<f32>) {
        x86!({
            _mm256_storeu_ps(to.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to[8..].as_mut_ptr(), x[1]);
        });
    }
    #[inline(always)]
    fn round(self, a: F) -> I {
        // The default rounding mode, which Rust never changes, is to nearest even.
        x86!([_mm256_cvtps_epi32(a[0]), _mm256_cvtps_epi32(a[1])])
    }
    #[inline(always)]
    fn half(self, a: I) -> F {
        x86!([half(a[0]), half(a[1])])
    }
    #[inline(always)]
    fn store_half(self, a: F, to: &mut Lanes<u16>) {
        const MODE: i32 = _MM_FROUND_TO_NEAREST_INT;
        x86!({
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_cvtps_ph::<MODE>(a[0]));
            _mm_storeu_si128(to[8..].as_mut_ptr().cast(), _mm256_cvtps_ph::<MODE>(a[1]));
        });
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> I {
        x86!([_mm256_set1_epi32(x); 2])
    }
    #[inline(always)]
    fn load_words(self, x: &Lanes<u32>) -> I {
        x86!([_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x[8..].as_ptr().cast()),])
    }
    #[inline(always)]
    fn load_halves(self, x: &Lanes<u16>) -> I {
        x86!([
            _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast())),
            _mm256_cvtepu16_epi32(_mm_loadu_si128(x[8..].as_ptr().cast())),
        ])
    }
    #[inline(always)]
    fn load_bytes(self, x: &Lanes<i8>) -> I {
        x86!({
            let all = _mm_loadu_si128(x.as_ptr().cast());
            [_mm256_cvtepi8_epi32(all), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(all))]
        })
    }
    #[inline(always)]
    fn store_bytes(self, a: I, to: &mut Lanes<i8>) {
        x86!({
            // Low byte of each lane to the front of its 128-bit half, then the four fronts together.
            let pick = _mm256_setr_epi8(
                0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, //
                0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
            );
            let (a, b) = (_mm256_shuffle_epi8(a[0], pick), _mm256_shuffle_epi8(a[1], pick));
            let a = _mm_unpacklo_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let b = _mm_unpacklo_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256::<1>(b));
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_unpacklo_epi64(a, b));
        });
    }
    #[inline(always)]
    fn largest(self, a: F) -> f32 {
        x86!({
            let a = _mm256_max_ps(a[0], a[1]);
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        })
    }
    #[inline(always)]
    fn sum(self, a: F) -> f32 {
        x86!({
            let a = _mm256_add_ps(a[0], a[1]);
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        })
    }
    #[inline(always)]
    fn sum_int(self, a: I) -> i32 {
        x86!({
            let a = _mm256_add_epi32(a[0], a[1]);
            let a = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let a = _mm_add_epi32(a, _mm_unpackhi_epi64(a, a));
            _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32::<1>(a)))
        })
    }
    #[inline(always)]
    fn shl<const BY: u32>(self, a: I) -> I {
        x86!({
            let by = _mm_cvtsi32_si128(BY as i32);
            [_mm256_sll_epi32(a[0], by), _mm256_sll_epi32(a[1], by)]
        })
    }
    #[inline(always)]
    fn shr<const BY: u32>(self, a: I) -> I {
        x86!({
            let by = _mm_cvtsi32_si128(BY as i32);
            [_mm256_srl_epi32(a[0], by), _mm256_srl_epi32(a[1], by)]
        })
    }
    #[inline(always)]
    fn sar<const BY: u32>(self, a: I) -> I {
        x86!({
            let by = _mm_cvtsi32_si128(BY as i32);
            [_mm256_sra_epi32(a[0], by), _mm256_sra_epi32(a[1], by)]
        })
    }

    #[inline(always)]
    fn dot4<const R: usize>(
        self,
        bits: u32,
        acc: [I; R],
        codes: [I; 4],
        x: [&[u32; 4]; R],
    ) -> [I; R] {
        let mut out = acc;
        for (out, x) in out.iter_mut().zip(x) {
            for (h, out) in out.iter_mut().enumerate() {
                let codes = [codes[0][h], codes[1][h], codes[2][h], codes[3][h]];
                *out = x86!(if VNNI {
                    dot_vnni(*out, codes, x)
                } else {
                    dot_maddubs(bits, *out, codes, x)
                });
            }
        }
        out
    }
}

/// # Safety
/// The processor has AVX2 and F16C.
#[inline(always)]
unsafe fn half(a: __m256i) -> __m256 {
    // SAFETY: the caller's.
    unsafe {
        let a = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
        let (low, high) = (_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
        _mm256_cvtph_ps(_mm_packus_epi32(low, high))
    }
}

/// # Safety
/// The processor has AVX-VNNI.
#[inline(always)]
unsafe fn dot_vnni(acc: __m256i, codes: [__m256i; 4], x: &[u32; 4]) -> __m256i {
    let mut acc = acc;
    for j in 0..4 {
        // SAFETY: the caller's.
        acc = unsafe { _mm256_dpbusd_avx_epi32(acc, codes[j], _mm256_set1_epi32(x[j] as i32)) };
    }
    acc
}

/// Sums of two products in 16 bits, widened before they can saturate: with `|x| <= 127`, codes of
/// up to 5 bits allow four quads (4 * 2 * 31 * 127 = 31496), 6 bits two (32004), 8 bits one (signs
/// moved to `x`: 2 * 128 * 127 = 32512).
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn dot_maddubs(bits: u32, acc: __m256i, codes: [__m256i; 4], x: &[u32; 4]) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut p = [_mm256_setzero_si256(); 4];
        for j in 0..4 {
            let x = _mm256_set1_epi32(x[j] as i32);
            p[j] = if bits == 8 {
                _mm256_maddubs_epi16(_mm256_abs_epi8(codes[j]), _mm256_sign_epi8(x, codes[j]))
            } else {
                _mm256_maddubs_epi16(codes[j], x)
            };
        }
        let (mut acc, mut j) = (acc, 0);
        let together = match bits {
            8 => 1,
            6 => 2,
            _ => 4,
        };
        while j < 4 {
            let mut pairs = p[j];
            for p in &p[j + 1..j + together] {
                pairs = _mm256_add_epi16(pairs, *p);
            }
            acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, ones));
            j += together;
        }
        acc
    }
}
