//! One vector type, sixteen lanes wide, in four instruction sets; and the kernels written over it.
//!
//! Sixteen lanes are the sixteen interleaved rows of a packed weight ([`crate::quant`]), so every
//! kernel is written once, generic over [`Simd`], and the instruction set only says how sixteen
//! lanes are held (one 512-bit register, two of 256, four of 128, an array). All operations used
//! are correctly rounded and all sums have one stated order, therefore **every instruction set
//! gives the same bits**, and the tests compare them exactly.
//!
//! A kernel is a [`Kernel`]; [`Isa::run`] enters it once with the right target features enabled,
//! and everything below is `#[inline(always)]` into that frame, **without closures around SIMD**: a
//! closure does not inherit target features. This is how `pulp` does it; a crate
//! was decided against because none offers four-byte integer dot products.

/// An array of 2, 4 or 8 results, spelt out: `map!(4, x in array => expression)`. A closure would not
/// have the caller's target features, and the intrinsics in it would become calls.
macro_rules! map {
    (@at $a:ident $x:ident $e:expr; $($i:literal)+) => { [$({ let $x = $a[$i]; $e }),+] };
    (2, $x:ident in $a:expr => $e:expr) => {{ let a = $a; map!(@at a $x $e; 0 1) }};
    (4, $x:ident in $a:expr => $e:expr) => {{ let a = $a; map!(@at a $x $e; 0 1 2 3) }};
    (8, $x:ident in $a:expr => $e:expr) => {{ let a = $a; map!(@at a $x $e; 0 1 2 3 4 5 6 7) }};
}

mod isa;
pub mod math;
mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub mod attention;
pub mod coded;
pub mod decode;
pub mod dense;
pub mod embed;
pub mod grad;
pub mod kv;
pub mod matmul;
pub mod norm;
pub mod panels;
pub mod pointwise;
pub mod product;
pub mod stage;
pub mod stats;
pub mod tensor;
pub mod tiles;
pub mod train;
pub mod tree;

#[cfg(test)]
mod tests;

pub use isa::{Isa, Kernel};
pub use portable::Portable;

/// Lanes of a vector.
pub const LANES: usize = crate::quant::ROW_GROUP;

/// Elements of one vector in memory.
pub type Lanes<T> = [T; LANES];

/// Sixteen lanes of f32 and of i32 in one instruction set.
///
/// A value of an implementing type is the proof that the processor has its instructions, so the
/// methods are safe. Floating-point operations are IEEE with one rounding each; [`Simd::fma`] has
/// one for both. Unless said otherwise lanes are independent.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen 32-bit integers; as four bytes a lane also sixteen quads of codes.
    type I: Copy;

    /// What must be added to signed 8-bit codes before [`Simd::dot4`] takes them: 128 where the
    /// instruction wants unsigned codes, else 0.
    const BIAS8: i32;

    /// Accumulators that fit the registers beside a block's codes, at least 1: wider tiles are not
    /// even compiled.
    const TILE: usize;

    /// Runs a kernel in a frame of its own, so that it is compiled once and not at each place.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;

    /// `x` in all lanes.
    fn splat(self, x: f32) -> Self::F;
    /// Loads sixteen f32.
    fn load(self, x: &Lanes<f32>) -> Self::F;
    /// Stores sixteen f32.
    fn store(self, x: Self::F, to: &mut Lanes<f32>);
    /// `a + b`.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// Largest lane; NaN lanes may or may not count.
    #[inline(always)]
    fn largest(self, a: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(a, &mut lanes);
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    /// Sum of all lanes, in the one order of halves folded onto each other.
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(a, &mut lanes);
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }
    /// Rows become columns.
    #[inline(always)]
    fn transpose(self, rows: [Self::F; LANES]) -> [Self::F; LANES] {
        let mut from = [[0.0; LANES]; LANES];
        for i in 0..LANES {
            self.store(rows[i], &mut from[i]);
        }
        let mut out = rows;
        for i in 0..LANES {
            let mut column = [0.0; LANES];
            for j in 0..LANES {
                column[j] = from[j][i];
            }
            out[i] = self.load(&column);
        }
        out
    }
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger; `b` if either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller; `b` if either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// The integer nearest to `a`, even on ties. The low halfword is 0 for NaN and out of range.
    fn round(self, a: Self::F) -> Self::I;
    /// Exact below 2^24.
    fn float(self, a: Self::I) -> Self::F;
    /// The lanes' bits.
    fn bits(self, a: Self::F) -> Self::I;
    /// The lanes' bits as f32.
    #[expect(clippy::wrong_self_convention, reason = "self is the instruction set")]
    fn from_bits(self, a: Self::I) -> Self::F;
    /// The low 16 bits of each lane as f16; the high ones do not matter.
    fn half(self, a: Self::I) -> Self::F;
    /// Rounded to f16, nearest even.
    fn store_half(self, a: Self::F, to: &mut Lanes<u16>);

    /// `x` in all lanes.
    fn splat_int(self, x: i32) -> Self::I;
    /// Loads sixteen words.
    fn load_words(self, x: &Lanes<u32>) -> Self::I;
    /// Loads sixteen halfwords, zero-extended.
    fn load_halves(self, x: &Lanes<u16>) -> Self::I;
    /// Loads sixteen signed bytes.
    fn load_bytes(self, x: &Lanes<i8>) -> Self::I;
    /// Stores the low byte of each lane.
    fn store_bytes(self, a: Self::I, to: &mut Lanes<i8>);
    /// `a + b`, wrapping.
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// Sum of all lanes, wrapping.
    fn sum_int(self, a: Self::I) -> i32;
    /// `a & b`.
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a | b`.
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a ^ b`.
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a << BY`.
    fn shl<const BY: u32>(self, a: Self::I) -> Self::I;
    /// `a >> BY`, zeros shifted in.
    fn shr<const BY: u32>(self, a: Self::I) -> Self::I;
    /// `a >> BY`, signs shifted in.
    fn sar<const BY: u32>(self, a: Self::I) -> Self::I;

    /// `acc[r] + sum_{j < 4, i < 4} codes[j].byte[i] * x[r][j].byte[i]`: four quads of codes of
    /// sixteen rows of weights times the same sixteen signed bytes (none of them -128) of each of
    /// `R` rows. Codes are unsigned with `bits` bits, or for `bits == 8` signed ones plus
    /// [`Simd::BIAS8`].
    fn dot4<const R: usize>(
        self,
        bits: u32,
        acc: [Self::I; R],
        codes: [Self::I; 4],
        x: [&[u32; 4]; R],
    ) -> [Self::I; R];
}
