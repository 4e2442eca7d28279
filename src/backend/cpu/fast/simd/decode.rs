//! From packed words to codes and scales: one type per quantised format.
//!
//! Every format is brought to `w = a (c - OFFSET) + m` with `a` and `m` per block of 32, or per half
//! of one; see the tables of [`crate::quant`]. Products of a format's own scales are exact in f32.

use super::{Lanes, Simd};
use crate::quant::{BLOCK, Layout};

/// Blocks of a super-block.
const SUPER_BLOCKS: usize = 8;

/// Sixteen rows of a packed weight.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    codes: &'a [Lanes<u32>],
    high: &'a [Lanes<u32>],
    scale_halves: &'a [Lanes<u16>],
    scale_words: &'a [Lanes<u32>],
    super_halves: &'a [Lanes<u16>],
    super_words: &'a [Lanes<u32>],
    /// Of `scale_halves` that a block has, and of `super_halves` that a super-block has.
    halves: [usize; 2],
}

impl<'a> Group<'a> {
    /// Group `g` of a packed weight.
    #[inline(always)]
    pub fn new(layout: &Layout, bytes: &'a [u8], g: usize) -> Self {
        let plane = |plane: Option<crate::quant::Plane>| -> &'a [u8] {
            plane.map_or(&[], |p| &bytes[p.offset + g * p.group_bytes..][..p.group_bytes])
        };
        let words = |bytes| bytemuck::try_cast_slice(bytes).unwrap_or_default();
        let halves = |bytes| bytemuck::try_cast_slice(bytes).unwrap_or_default();
        let (scales, supers) = (plane(layout.scales), plane(layout.supers));
        let [codes, high] =
            [Some(layout.codes), layout.high].map(|p| -> &[Lanes<u32>] { words(plane(p)) });
        let (scale_halves, super_halves): (&[Lanes<u16>], &[Lanes<u16>]) =
            (halves(scales), halves(supers));
        let several = |halves: &[Lanes<u16>], count| if halves.len() > count { 2 } else { 1 };
        let blocks = layout.k / BLOCK;
        Self {
            codes,
            high,
            halves: [several(scale_halves, blocks), several(super_halves, blocks / SUPER_BLOCKS)],
            scale_halves,
            scale_words: words(scales),
            super_halves,
            super_words: words(supers),
        }
    }

    /// Asks for block `b` of the next group to be brought to the first-level cache; in each plane it
    /// lies right behind this group. Hardware stops prefetching at each page of 4 KiB, which is less
    /// than a group. Behind the last group this asks for something else, which does no harm.
    #[inline(always)]
    pub fn prefetch_next<D: Decode>(&self, b: usize) {
        let [codes, high] = words_of_block(D::BITS);
        prefetch_behind(self.codes, codes, b);
        prefetch_behind(self.high, high, b);
        prefetch_behind(self.scale_halves, 1, b * self.halves[0]);
        if !self.super_halves.is_empty() && b.is_multiple_of(SUPER_BLOCKS) {
            prefetch_behind(self.super_halves, 1, b / SUPER_BLOCKS * self.halves[1]);
        }
    }

    /// Words of the codes plane.
    #[inline(always)]
    pub fn codes(&self) -> &'a [Lanes<u32>] {
        self.codes
    }
}

/// Bytes of codes that [`prefetch_group`] asks for: with what belongs to them, as many lines as arrive in
/// half a microsecond.
const FIRST_BYTES: usize = 4 << 10;

/// Asks for the first blocks of group `g` of a packed weight.
pub fn prefetch_group(layout: &Layout, weight: *const u8, g: usize) {
    const LINE: usize = 64;
    let codes = layout.codes;
    for plane in [Some(codes), layout.high, layout.scales, layout.supers].into_iter().flatten() {
        let first = plane.offset + g * plane.group_bytes;
        let count = plane.group_bytes * FIRST_BYTES.min(codes.group_bytes) / codes.group_bytes;
        for line in (first..first + count).step_by(LINE) {
            prefetch(weight.wrapping_add(line));
        }
    }
}

/// Words of a block in the planes of codes and of high bits, for codes of so many bits.
const fn words_of_block(bits: u32) -> [usize; 2] {
    match bits {
        2 => [2, 0],
        3 => [2, 1],
        4 => [4, 0],
        5 => [4, 1],
        6 => [4, 2],
        _ => [8, 0],
    }
}

/// Asks for `count` elements that lie as far behind a slice as `place`, `count` at a time.
#[inline(always)]
fn prefetch_behind<T>(slice: &[T], count: usize, place: usize) {
    for i in 0..count {
        prefetch(slice.as_ptr_range().end.wrapping_add(place * count + i));
    }
}

/// Asks for a cache line, wherever that is.
#[inline(always)]
pub(super) fn prefetch<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing, faults nowhere and is part of every x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Asks for a cache line that will be written: other cores give up theirs.
#[inline(always)]
pub(super) fn prefetch_to_write<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `prefetch`.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_ET0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Factors and minima of a block's two halves; equal unless [`Decode::HALVES`].
#[derive(Clone, Copy)]
pub struct Scales<F> {
    /// `a`.
    pub a: [F; 2],
    /// `m`; zero unless [`Decode::MINIMA`].
    pub m: [F; 2],
}

/// How a format's words become codes and scales.
pub trait Decode: Copy + Send + Sync + 'static {
    /// Bits of a code; 8 means signed.
    const BITS: u32;
    /// Subtracted from each code.
    const OFFSET: i32 = 0;
    /// Scales per 16 elements.
    const HALVES: bool = false;
    /// There is a term `m`.
    const MINIMA: bool = false;

    /// The eight quads of block `b`, codes as in the planes.
    fn quads<S: Simd>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8];

    /// Scales of block `b`.
    fn scales<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Scales<S::F>;
}

/// Implements [`Decode`] from a list of constants, the codes and the scales.
macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident { $($const:ident = $value:expr),+ } $quads:ident $scales:ident;)*) => {$(
        $(#[$doc])*
        #[allow(non_camel_case_types, reason = "the field's own names")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Decode for $name {
            $(const $const: formats!(@type $const) = $value;)+

            #[inline(always)]
            fn quads<S: Simd>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8] {
                $quads(s, g, b)
            }

            #[inline(always)]
            fn scales<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Scales<S::F> {
                $scales(s, g, b)
            }
        }
    )*};
    (@type BITS) => { u32 };
    (@type OFFSET) => { i32 };
    (@type HALVES) => { bool };
    (@type MINIMA) => { bool };
}

formats! {
    /// Signed bytes.
    Q8_0 { BITS = 8 } bytes scale;
    /// Nibbles around 8.
    Q4_0 { BITS = 4, OFFSET = 8 } nibbles scale;
    /// Nibbles with a minimum.
    Q4_1 { BITS = 4, MINIMA = true } nibbles scale_and_min;
    /// Five bits around 16.
    Q5_0 { BITS = 5, OFFSET = 16 } five_bits scale;
    /// Five bits with a minimum.
    Q5_1 { BITS = 5, MINIMA = true } five_bits scale_and_min;
    /// Nibbles in super-blocks, with minima.
    Q4_K { BITS = 4, MINIMA = true } nibbles super_scale_and_min;
    /// Five bits in super-blocks, with minima.
    Q5_K { BITS = 5, MINIMA = true } five_bits super_scale_and_min;
    /// Six bits around 32 in super-blocks of halves.
    Q6_K { BITS = 6, OFFSET = 32, HALVES = true } six_bits signed_half_scales;
    /// Three bits around 4 in super-blocks of halves.
    Q3_K { BITS = 3, OFFSET = 4, HALVES = true } three_bits signed_half_scales;
    /// Two bits in super-blocks of halves, with minima.
    Q2_K { BITS = 2, HALVES = true, MINIMA = true } two_bits half_scales_and_mins;
}

/// `N` words of block `b`.
#[inline(always)]
fn words<S: Simd, const N: usize>(s: S, plane: &[Lanes<u32>], b: usize) -> [S::I; N] {
    let words: &[Lanes<u32>; N] = plane[N * b..][..N].try_into().expect("sliced to N");
    let mut out = [s.splat_int(0); N];
    for i in 0..N {
        out[i] = s.load_words(&words[i]);
    }
    out
}

#[inline(always)]
fn bytes<S: Simd>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8] {
    words(s, g.codes, b)
}

#[inline(always)]
fn nibbles<S: Simd>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8] {
    let w: [S::I; 4] = words(s, g.codes, b);
    let mask = s.splat_int(0x0f0f_0f0f);
    let [l0, l1, l2, l3] = map!(4, w in w => s.and(w, mask));
    let [h0, h1, h2, h3] = map!(4, w in w => s.and(s.shr::<4>(w), mask));
    [l0, l1, l2, l3, h0, h1, h2, h3]
}

#[inline(always)]
fn two_bits<S: Simd>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8] {
    let w: [S::I; 2] = words(s, g.codes, b);
    let mask = s.splat_int(0x0303_0303);
    let [a0, a1] = map!(2, w in w => s.and(w, mask));
    let [b0, b1] = map!(2, w in w => s.and(s.shr::<2>(w), mask));
    let [c0, c1] = map!(2, w in w => s.and(s.shr::<4>(w), mask));
    let [d0, d1] = map!(2, w in w => s.and(s.shr::<6>(w), mask));
    [a0, a1, b0, b1, c0, c1, d0, d1]
}

#[inline(always)]
fn five_bits<S: Simd>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8] {
    let [h]: [S::I; 1] = words(s, g.high, b);
    // Bit `q` of each byte moved to bit 4.
    let tops = [
        s.shl::<4>(h),
        s.shl::<3>(h),
        s.shl::<2>(h),
        s.shl::<1>(h),
        h,
        s.shr::<1>(h),
        s.shr::<2>(h),
        s.shr::<3>(h),
    ];
    join(s, nibbles(s, g, b), tops, 0x1010_1010)
}

#[inline(always)]
fn three_bits<S: Simd>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8] {
    let [h]: [S::I; 1] = words(s, g.high, b);
    // Bit `q` of each byte moved to bit 2.
    let tops = [
        s.shl::<2>(h),
        s.shl::<1>(h),
        h,
        s.shr::<1>(h),
        s.shr::<2>(h),
        s.shr::<3>(h),
        s.shr::<4>(h),
        s.shr::<5>(h),
    ];
    join(s, two_bits(s, g, b), tops, 0x0404_0404)
}

#[inline(always)]
fn six_bits<S: Simd>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8] {
    let [v, w]: [S::I; 2] = words(s, g.high, b);
    // Bits `2 (q / 2)` and the next moved to bits 4 and 5.
    let tops = [
        s.shl::<4>(v),
        s.shl::<4>(w),
        s.shl::<2>(v),
        s.shl::<2>(w),
        v,
        w,
        s.shr::<2>(v),
        s.shr::<2>(w),
    ];
    join(s, nibbles(s, g, b), tops, 0x3030_3030)
}

#[inline(always)]
fn join<S: Simd>(s: S, low: [S::I; 8], tops: [S::I; 8], mask: i32) -> [S::I; 8] {
    let mask = s.splat_int(mask);
    let mut out = low;
    for (out, top) in out.iter_mut().zip(tops) {
        *out = s.or(*out, s.and(top, mask));
    }
    out
}

#[inline(always)]
fn whole<F: Copy>(a: F, m: F) -> Scales<F> {
    Scales { a: [a; 2], m: [m; 2] }
}

#[inline(always)]
fn scale<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Scales<S::F> {
    whole(s.half(s.load_halves(&g.scale_halves[b])), s.splat(0.0))
}

#[inline(always)]
fn scale_and_min<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Scales<S::F> {
    let w = s.load_words(&g.scale_words[b]);
    whole(s.half(w), s.half(s.shr::<16>(w)))
}

/// `d` and `-dmin` of the super-block that block `b` is in.
#[inline(always)]
fn supers<S: Simd>(s: S, g: &Group<'_>, b: usize) -> (S::F, S::F) {
    let w = s.load_words(&g.super_words[b / SUPER_BLOCKS]);
    let sign = s.splat_int(i32::MIN);
    (s.half(w), s.from_bits(s.xor(s.bits(s.half(s.shr::<16>(w))), sign)))
}

#[inline(always)]
fn super_scale_and_min<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Scales<S::F> {
    let (d, minus_dmin) = supers(s, g, b);
    let w = s.load_halves(&g.scale_halves[b]);
    let sc = s.float(s.and(w, s.splat_int(0xff)));
    let mn = s.float(s.shr::<8>(w));
    whole(s.mul(d, sc), s.mul(minus_dmin, mn))
}

#[inline(always)]
fn signed_half_scales<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Scales<S::F> {
    let d = s.half(s.load_halves(&g.super_halves[b / SUPER_BLOCKS]));
    let w = s.load_halves(&g.scale_halves[b]);
    let low = s.float(s.sar::<24>(s.shl::<24>(w)));
    let high = s.float(s.sar::<24>(s.shl::<16>(w)));
    Scales { a: [s.mul(d, low), s.mul(d, high)], m: [s.splat(0.0); 2] }
}

#[inline(always)]
fn half_scales_and_mins<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Scales<S::F> {
    let (d, minus_dmin) = supers(s, g, b);
    let w = s.load_halves(&g.scale_halves[b]);
    let nibble = s.splat_int(15);
    Scales {
        a: map!(2, x in [w, s.shr::<8>(w)] => s.mul(d, s.float(s.and(x, nibble)))),
        m: map!(2, x in [s.shr::<4>(w), s.shr::<12>(w)] => {
            s.mul(minus_dmin, s.float(s.and(x, nibble)))
        }),
    }
}
