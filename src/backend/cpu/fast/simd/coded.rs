//! Packed weights times coded rows: the kernels that decide the speed of everything.
//!
//! A *tile* is one group of 16 outputs times one panel of rows. Its codes are unpacked once per block
//! and meet each row of the panel while they are in registers, both bytes of a row's 12-bit codes
//! if it has them. A sum runs over blocks in order, in one f32 accumulator per output, whatever the
//! panel's width:
//!
//! ```text
//! acc = fma(f32(sum of the block's integer products) * d_x, a, acc)
//! acc = fma(d_x * sum of codes, m, acc)                              formats with minima
//! ```
//!
//! The integer sum is below 2^24, so it is exact as f32 too. Where a processor has matrix units,
//! [`super::tiles`] computes the same integers with them.

use super::{
    Isa, Kernel, Simd,
    decode::{self, Decode, Group},
    panels::{Codes, Panel, Quad, Rows, Scale},
    product::{Finish, with_decoder},
    tiles::TypedTiles,
};
use crate::quant::{BLOCK, Layout, QuantFormat, activations::LOW_BITS};

/// Some groups of a product with rows in codes of `P` bytes.
#[derive(Clone, Copy)]
pub struct ProductCoded<'a, const P: usize> {
    /// Layout of the weight.
    pub layout: &'a Layout,
    /// The packed weight.
    pub weight: &'a [u8],
    /// All panels' [`Rows`], a panel's from row `at` times the quads of a row.
    pub x: &'a [Quad],
    /// How rows are cut.
    pub panels: &'a [Panel],
    /// Groups to do.
    pub groups: (usize, usize),
    /// Where the sums go.
    pub finish: Finish,
}

/// One format of [`ProductCoded`].
pub struct TypedCoded<'a, D, const P: usize>(pub ProductCoded<'a, P>, pub D);

impl<D: Decode, const P: usize> Kernel for TypedCoded<'_, D, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = &self.0;
        for panel in p.panels {
            p.panel::<S, D>(s, panel);
        }
    }
}

impl<const P: usize> ProductCoded<'_, P> {
    /// All groups for one panel.
    #[inline(always)]
    pub(super) fn panel<S: Simd, D: Decode>(&self, s: S, panel: &Panel) {
        match panel.width {
            16 if S::TILE >= 16 => self.groups::<S, D, 16>(s, panel),
            8 if S::TILE >= 8 => self.groups::<S, D, 8>(s, panel),
            4 if S::TILE >= 4 => self.groups::<S, D, 4>(s, panel),
            width => {
                debug_assert_eq!(width, 1, "panels are cut for the instruction set");
                self.groups::<S, D, 1>(s, panel);
            }
        }
    }

    /// Blocks of a panel of `T` rows.
    #[inline(always)]
    pub(super) fn rows<const T: usize>(&self, panel: &Panel) -> &[Rows<P, T>] {
        debug_assert_eq!(panel.width, T);
        let quads = self.layout.k / BLOCK * Rows::<P, 1>::QUADS;
        bytemuck::cast_slice(&self.x[panel.at * quads..][..T * quads])
    }

    /// Group `g`.
    #[inline(always)]
    pub(super) fn group(&self, g: usize) -> Group<'_> {
        Group::new(self.layout, self.weight, g)
    }

    #[inline(always)]
    fn groups<S: Simd, D: Decode, const T: usize>(&self, s: S, panel: &Panel) {
        let x = self.rows::<T>(panel);
        for g in self.groups.0..self.groups.1 {
            let acc = tile::<S, D, P, T>(s, &self.group(g), x);
            self.store(s, panel, g, acc);
        }
    }

    /// Stores the sums of group `g`, but for padding rows.
    #[inline(always)]
    pub(super) fn store<S: Simd, const T: usize>(
        &self,
        s: S,
        panel: &Panel,
        g: usize,
        acc: [S::F; T],
    ) {
        for (t, acc) in acc.into_iter().enumerate().take(panel.rows) {
            self.finish.store(s, panel.first + t, g, acc);
        }
    }
}

#[inline(always)]
fn tile<S: Simd, D: Decode, const P: usize, const T: usize>(
    s: S,
    g: &Group<'_>,
    x: &[Rows<P, T>],
) -> [S::F; T] {
    let mut acc = [s.splat(0.0); T];
    for (b, x) in x.iter().enumerate() {
        g.prefetch_next::<D>(b);
        let w = Unpacked { quads: unsigned::<S, D>(s, g, b), scales: D::scales(s, g, b) };
        // Spelt out: a loop of sixteen is not unrolled and would keep its accumulators in memory.
        macro_rules! rows {
            ($($t:literal)+) => {$(
                if $t < T && T % 4 == 0 {
                    let (codes, _) = x.codes[$t..].as_chunks::<4>();
                    let (scales, _) = x.scales[$t..].as_chunks::<4>();
                    let four = [acc[$t], acc[$t + 1], acc[$t + 2], acc[$t + 3]];
                    let four = add_block::<S, D, P, 4>(s, &w, &codes[0], &scales[0], four);
                    [acc[$t], acc[$t + 1], acc[$t + 2], acc[$t + 3]] = four;
                }
            )+};
        }
        rows!(0 4 8 12);
        if T == 1 {
            [acc[0]] = add_block::<S, D, P, 1>(s, &w, &[x.codes[0]], &[x.scales[0]], [acc[0]]);
        }
    }
    acc
}

/// The eight quads of block `b` as bytes without a sign.
#[inline(always)]
pub(super) fn unsigned<S: Simd, D: Decode>(s: S, g: &Group<'_>, b: usize) -> [S::I; 8] {
    let q = D::quads(s, g, b);
    if D::BITS == 8 && S::BIAS8 != 0 {
        // Adding 128 to a signed byte flips its top bit.
        map!(8, q in q => s.xor(q, s.splat_int(0x8080_8080_u32 as i32)))
    } else {
        q
    }
}

/// A block of sixteen rows of weights, in registers.
struct Unpacked<S: Simd> {
    quads: [S::I; 8],
    scales: decode::Scales<S::F>,
}

/// `acc` plus one block's products with `R` rows, side by side: the instructions of one row depend on
/// each other, and a processor looks only so far ahead for others.
#[inline(always)]
fn add_block<S: Simd, D: Decode, const P: usize, const R: usize>(
    s: S,
    w: &Unpacked<S>,
    codes: &[Codes<P>; R],
    scales: &[Scale; R],
    acc: [S::F; R],
) -> [S::F; R] {
    let mut acc = acc;
    if D::HALVES {
        let low = integers::<S, D, P, R>(s, w, codes, scales, 0, 1);
        acc = add_scaled(s, low, w.scales.a[0], scales, acc);
        let high = integers::<S, D, P, R>(s, w, codes, scales, 1, 2);
        acc = add_scaled(s, high, w.scales.a[1], scales, acc);
    } else {
        let all = integers::<S, D, P, R>(s, w, codes, scales, 0, 2);
        acc = add_scaled(s, all, w.scales.a[0], scales, acc);
    }
    if D::MINIMA {
        for r in 0..R {
            let sum = s.splat(f32::from_bits(scales[r].fold[0]));
            acc[r] = s.fma(sum, w.scales.m[0], acc[r]);
        }
    }
    if D::MINIMA && D::HALVES {
        for r in 0..R {
            let sum = s.splat(f32::from_bits(scales[r].fold[1]));
            acc[r] = s.fma(sum, w.scales.m[1], acc[r]);
        }
    }
    acc
}

/// Sums of integer products over halves `from .. to` of a block.
#[expect(clippy::needless_range_loop, reason = "p counts bytes of codes, of every row")]
#[inline(always)]
fn integers<S: Simd, D: Decode, const P: usize, const R: usize>(
    s: S,
    w: &Unpacked<S>,
    x: &[Codes<P>; R],
    scales: &[Scale; R],
    from: usize,
    to: usize,
) -> [S::I; R] {
    let q = &w.quads;
    let mut sums = [s.splat_int(0); R];
    for p in 0..P {
        for r in 0..R {
            if p > 0 {
                sums[r] = s.shl::<LOW_BITS>(sums[r]);
            }
            if p + 1 == P && !D::MINIMA {
                sums[r] = s.add_int(sums[r], s.splat_int(scales[r].fold[from] as i32));
            }
        }
        for half in from..to {
            let quads = [q[4 * half], q[4 * half + 1], q[4 * half + 2], q[4 * half + 3]];
            let mut codes = [&[0; 4]; R];
            for r in 0..R {
                codes[r] = &x[r][p][half];
            }
            sums = s.dot4(D::BITS, sums, quads, codes);
        }
    }
    sums
}

/// `acc + (sums * d) * a`.
#[inline(always)]
fn add_scaled<S: Simd, const R: usize>(
    s: S,
    sums: [S::I; R],
    a: S::F,
    scales: &[Scale; R],
    acc: [S::F; R],
) -> [S::F; R] {
    let mut acc = acc;
    for r in 0..R {
        acc[r] = s.fma(s.mul(s.float(sums[r]), s.splat(scales[r].d)), a, acc[r]);
    }
    acc
}

/// Runs a product of coded rows; unquantised weights have none.
pub fn product_coded<const P: usize>(isa: Isa, p: ProductCoded<'_, P>) {
    with_decoder!(p.layout.format, d => isa.run_tiled(|tiles| TypedTiles(p, d, tiles), TypedCoded(p, d)),
        format @ (QuantFormat::F32 | QuantFormat::F16 | QuantFormat::BF16) =>
            unreachable!("{format} weights see f32 rows"));
}
