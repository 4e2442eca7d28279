//! [`Simd`] in AVX-512 with VNNI: one register is one vector.

#[allow(clippy::wildcard_imports, reason = "dozens of intrinsics under their vendor names")]
use std::arch::x86_64::*;

use super::{Kernel, Lanes, Simd};

/// Proof of AVX-512 F, BW, DQ, VL, VNNI and of F16C and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// The proof, if this processor and its system have it all.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }

    /// Runs a kernel with the features enabled.
    pub fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the processor has the features.
        unsafe { kernel.frame(self) }
    }
}

/// The frame in which a kernel runs. It is a method of the kernel and not of the instruction set, as
/// the compiler puts it beside the type it is a method of: otherwise all kernels would be one unit,
/// on which it spends minutes with one thread.
trait Frame: Kernel + Sized {
    /// # Safety
    /// The processor must have the features, as `simd` says.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c,fma")]
    unsafe fn frame(self, simd: Avx512) -> Self::Output {
        self.run(simd)
    }
}

impl<K: Kernel> Frame for K {}

/// One intrinsic, or a few, on a proven processor.
macro_rules! x86 {
    ($e:expr) => {
        // SAFETY: an `Avx512` is only made by `detect`, so the instructions exist; memory operands
        // are references to whole vectors and the instructions used ask for no alignment.
        unsafe { $e }
    };
}

impl Simd for Avx512 {
    type F = __m512;
    type I = __m512i;

    const BIAS8: i32 = 128;
    const TILE: usize = 16;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        self.enter(kernel)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        x86!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &Lanes<f32>) -> __m512 {
        x86!(_mm512_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn store(self, x: __m512, to: &mut Lanes<f32>) {
        x86!(_mm512_storeu_ps(to.as_mut_ptr(), x));
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        x86!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        x86!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        x86!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        x86!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn largest(self, a: __m512) -> f32 {
        x86!(_mm512_reduce_max_ps(a))
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        x86!({
            let a = _mm512_add_ps(a, _mm512_shuffle_f32x4::<0b11_10>(a, a));
            let a = _mm512_castps512_ps128(_mm512_add_ps(a, _mm512_shuffle_f32x4::<1>(a, a)));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        })
    }
    #[inline(always)]
    fn transpose(self, r: [__m512; 16]) -> [__m512; 16] {
        x86!({
            // `a[i]`, 128-bit part p: column 4p + i of rows 0..4; and so on.
            let a = zip4(r[0], r[1], r[2], r[3]);
            let b = zip4(r[4], r[5], r[6], r[7]);
            let c = zip4(r[8], r[9], r[10], r[11]);
            let d = zip4(r[12], r[13], r[14], r[15]);
            let mut out = r;
            for i in 0..4 {
                let (ab0, ab1) = (
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(a[i], b[i]),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(a[i], b[i]),
                );
                let (cd0, cd1) = (
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(c[i], d[i]),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(c[i], d[i]),
                );
                out[i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab0, cd0);
                out[4 + i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab1, cd1);
                out[8 + i] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab0, cd0);
                out[12 + i] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab1, cd1);
            }
            out
        })
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        x86!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        x86!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        x86!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512i {
        x86!(_mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn float(self, a: __m512i) -> __m512 {
        x86!(_mm512_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn bits(self, a: __m512) -> __m512i {
        x86!(_mm512_castps_si512(a))
    }
    #[inline(always)]
    fn from_bits(self, a: __m512i) -> __m512 {
        x86!(_mm512_castsi512_ps(a))
    }
    #[inline(always)]
    fn half(self, a: __m512i) -> __m512 {
        x86!(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)))
    }
    #[inline(always)]
    fn store_half(self, a: __m512, to: &mut Lanes<u16>) {
        x86!({
            let half = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), half);
        });
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> __m512i {
        x86!(_mm512_set1_epi32(x))
    }
    #[inline(always)]
    fn load_words(self, x: &Lanes<u32>) -> __m512i {
        x86!(_mm512_loadu_si512(x.as_ptr().cast()))
    }
    #[inline(always)]
    fn load_halves(self, x: &Lanes<u16>) -> __m512i {
        x86!(_mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn load_bytes(self, x: &Lanes<i8>) -> __m512i {
        x86!(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn store_bytes(self, a: __m512i, to: &mut Lanes<i8>) {
        x86!(_mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(a)));
    }
    #[inline(always)]
    fn add_int(self, a: __m512i, b: __m512i) -> __m512i {
        x86!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn sum_int(self, a: __m512i) -> i32 {
        x86!(_mm512_reduce_add_epi32(a))
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        x86!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        x86!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        x86!(_mm512_xor_si512(a, b))
    }
    #[inline(always)]
    fn shl<const BY: u32>(self, a: __m512i) -> __m512i {
        x86!(_mm512_slli_epi32::<BY>(a))
    }
    #[inline(always)]
    fn shr<const BY: u32>(self, a: __m512i) -> __m512i {
        x86!(_mm512_srli_epi32::<BY>(a))
    }
    #[inline(always)]
    fn sar<const BY: u32>(self, a: __m512i) -> __m512i {
        x86!(_mm512_srai_epi32::<BY>(a))
    }
    #[inline(always)]
    fn dot4<const R: usize>(
        self,
        _bits: u32,
        acc: [__m512i; R],
        codes: [__m512i; 4],
        x: [&[u32; 4]; R],
    ) -> [__m512i; R] {
        let mut acc = acc;
        for j in 0..4 {
            for r in 0..R {
                let x = x86!(_mm512_set1_epi32(x[r][j] as i32));
                acc[r] = x86!(_mm512_dpbusd_epi32(acc[r], codes[j], x));
            }
        }
        acc
    }
}

/// Four rows, each of four parts of four: part `p` of result `i` is column `4 p + i` of the rows.
///
/// # Safety
/// The processor has AVX-512 F.
#[inline(always)]
unsafe fn zip4(a: __m512, b: __m512, c: __m512, d: __m512) -> [__m512; 4] {
    // SAFETY: the caller's.
    unsafe {
        let (lo0, hi0) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (lo1, hi1) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        [
            _mm512_shuffle_ps::<0b01_00_01_00>(lo0, lo1),
            _mm512_shuffle_ps::<0b11_10_11_10>(lo0, lo1),
            _mm512_shuffle_ps::<0b01_00_01_00>(hi0, hi1),
            _mm512_shuffle_ps::<0b11_10_11_10>(hi0, hi1),
        ]
    }
}
