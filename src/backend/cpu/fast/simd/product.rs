//! Packed weights times f32 rows, and what all products share.
//!
//! A *tile* is one group of 16 outputs times one panel of rows. Its weights are unpacked once per
//! block and meet each row of the panel while they are in registers. Here a sum runs in four
//! accumulators per output, whatever the panel's width:
//!
//! ```text
//! acc[k % 4] = fma(w[k], x[k], acc[k % 4]);  (acc[0] + acc[1]) + (acc[2] + acc[3])
//! ```
//!
//! Products with coded rows are in [`super::coded`].

use super::{
    Isa, Kernel, LANES, Lanes, Simd,
    decode::{self, Decode, Group},
    math,
    panels::Panel,
    tensor::Tensor,
};
use crate::{
    ops::Then,
    quant::{BLOCK, Layout, QuantFormat},
};

/// Rows of the widest panel of f32 rows, with four accumulators each.
pub const WIDEST_F32: usize = 4;

/// What happens to a product's sums.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// `[M, N]`.
    pub y: Tensor<f32>,
    /// `[N]`, dense.
    pub bias: Option<Tensor<f32>>,
    /// Store or add.
    pub then: Then,
}

impl Finish {
    /// Asks for the memory of group `g` for row `m`, which another core may have.
    #[inline(always)]
    pub(super) fn prefetch(&self, m: usize, g: usize) {
        decode::prefetch_to_write(self.y.place(m, g * LANES));
    }

    /// Sums of group `g` for row `m`.
    #[inline(always)]
    pub(super) fn store<S: Simd>(&self, s: S, m: usize, g: usize, acc: S::F) {
        let first = g * LANES;
        let count = LANES.min(self.y.width() - first);
        // SAFETY: this unit alone owns the group's columns; nobody writes the bias.
        let (y, bias) = unsafe {
            let bias = self.bias.map(|b| &b.dense()[first..][..count]);
            (self.y.part_mut(m, first, count), bias)
        };
        let mut acc = acc;
        if let Some(bias) = bias {
            acc = s.add(acc, math::load(s, bias));
        }
        if self.then == Then::Add {
            acc = s.add(math::load(s, y), acc);
        }
        math::store(s, acc, y);
    }
}

/// How a format's values are read as f32, four consecutive elements at a time.
pub trait Values: Copy + Send + Sync + 'static {
    /// What is kept of a block.
    type Block<S: Simd>: Copy;

    /// Reads block `b`.
    fn block<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Self::Block<S>;

    /// Quad `q` of a block.
    fn quad<S: Simd>(s: S, g: &Group<'_>, block: &Self::Block<S>, b: usize, q: usize) -> [S::F; 4];
}

/// The codes and scales of a quantised format as values.
#[derive(Clone, Copy)]
pub struct Unpacked<S: Simd> {
    quads: [S::I; 8],
    scales: decode::Scales<S::F>,
}

impl<D: Decode> Values for D {
    type Block<S: Simd> = Unpacked<S>;

    #[inline(always)]
    fn block<S: Simd>(s: S, g: &Group<'_>, b: usize) -> Unpacked<S> {
        Unpacked { quads: D::quads(s, g, b), scales: D::scales(s, g, b) }
    }

    #[inline(always)]
    fn quad<S: Simd>(s: S, _: &Group<'_>, u: &Unpacked<S>, _: usize, q: usize) -> [S::F; 4] {
        let w = u.quads[q];
        let codes = if D::BITS == 8 {
            [
                s.sar::<24>(s.shl::<24>(w)),
                s.sar::<24>(s.shl::<16>(w)),
                s.sar::<24>(s.shl::<8>(w)),
                s.sar::<24>(w),
            ]
        } else {
            let byte = s.splat_int(0xff);
            [
                s.and(w, byte),
                s.and(s.shr::<8>(w), byte),
                s.and(s.shr::<16>(w), byte),
                s.shr::<24>(w),
            ]
        };
        let (a, m) = (u.scales.a[q / 4], u.scales.m[q / 4]);
        map!(4, c in codes => {
            let c = s.float(s.add_int(c, s.splat_int(-D::OFFSET)));
            let value = s.mul(a, c);
            if D::MINIMA { s.add(value, m) } else { value }
        })
    }
}

/// Values stored as they are.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident $quad:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Values for $name {
            type Block<S: Simd> = ();

            #[inline(always)]
            fn block<S: Simd>(_: S, _: &Group<'_>, _: usize) {}

            #[inline(always)]
            fn quad<S: Simd>(s: S, g: &Group<'_>, (): &(), b: usize, q: usize) -> [S::F; 4] {
                $quad(s, g.codes(), 8 * b + q)
            }
        }
    )*};
}

plain! {
    /// f32 values.
    F32 f32_quad;
    /// f16 values, two a word.
    F16 f16_quad;
    /// bfloat16 values, two a word.
    BF16 bf16_quad;
}

#[inline(always)]
fn f32_quad<S: Simd>(s: S, words: &[Lanes<u32>], quad: usize) -> [S::F; 4] {
    let w: &[Lanes<u32>; 4] = words[4 * quad..][..4].try_into().expect("sliced to 4");
    map!(4, w in w => s.from_bits(s.load_words(&w)))
}

#[inline(always)]
fn f16_quad<S: Simd>(s: S, words: &[Lanes<u32>], quad: usize) -> [S::F; 4] {
    let [v, w] = map!(2, i in [0, 1] => s.load_words(&words[2 * quad + i]));
    [s.half(v), s.half(s.shr::<16>(v)), s.half(w), s.half(s.shr::<16>(w))]
}

#[inline(always)]
fn bf16_quad<S: Simd>(s: S, words: &[Lanes<u32>], quad: usize) -> [S::F; 4] {
    let [v, w] = map!(2, i in [0, 1] => s.load_words(&words[2 * quad + i]));
    let high = s.splat_int(0xffff_0000_u32 as i32);
    let bits = [s.shl::<16>(v), s.and(v, high), s.shl::<16>(w), s.and(w, high)];
    map!(4, x in bits => s.from_bits(x))
}

/// Some groups of a product with f32 rows.
#[derive(Clone, Copy)]
pub struct ProductF32<'a> {
    /// Layout of the weight.
    pub layout: &'a Layout,
    /// The packed weight.
    pub weight: &'a [u8],
    /// All panels' elements, a panel's from element `K * at`.
    pub x: &'a [f32],
    /// How rows are cut.
    pub panels: &'a [Panel],
    /// Groups to do.
    pub groups: (usize, usize),
    /// Where the sums go.
    pub finish: Finish,
}

/// One format of [`ProductF32`].
pub struct TypedF32<'a, V>(pub ProductF32<'a>, pub V);

impl<V: Values> Kernel for TypedF32<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = &self.0;
        for panel in p.panels {
            let x = &p.x[panel.at * p.layout.k..][..panel.width * p.layout.k];
            match panel.width {
                4 if S::TILE >= 4 => p.panel::<S, V, 4>(s, panel, x),
                width => {
                    debug_assert_eq!(width, 1, "panels are cut for the instruction set");
                    p.panel::<S, V, 1>(s, panel, x);
                }
            }
        }
    }
}

impl ProductF32<'_> {
    #[inline(always)]
    fn panel<S: Simd, V: Values, const T: usize>(&self, s: S, panel: &Panel, x: &[f32]) {
        let (x, _) = x.as_chunks::<T>();
        for g in self.groups.0..self.groups.1 {
            let acc = tile_f32::<S, V, T>(s, &Group::new(self.layout, self.weight, g), x);
            for (t, acc) in acc.into_iter().enumerate().take(panel.rows) {
                self.finish.store(s, panel.first + t, g, acc);
            }
        }
    }
}

#[inline(always)]
fn tile_f32<S: Simd, V: Values, const T: usize>(s: S, g: &Group<'_>, x: &[[f32; T]]) -> [S::F; T] {
    let mut acc = [[s.splat(0.0); 4]; T];
    for (b, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
        let block = V::block(s, g, b);
        for (q, x) in x.as_chunks::<4>().0.iter().enumerate() {
            let w = V::quad(s, g, &block, b, q);
            for (acc, t) in acc.iter_mut().zip(0..T) {
                for i in 0..4 {
                    acc[i] = s.fma(w[i], s.splat(x[i][t]), acc[i]);
                }
            }
        }
    }
    let mut out = [s.splat(0.0); T];
    for (out, [a, b, c, d]) in out.iter_mut().zip(acc) {
        *out = s.add(s.add(a, b), s.add(c, d));
    }
    out
}

/// Runs `$body` with `$d` bound to the decoder of a quantised format, or returns what `$plain` says.
macro_rules! with_decoder {
    ($format:expr, $d:ident => $body:expr, $($plain:pat => $other:expr),+) => {{
        use $crate::backend::cpu::fast::simd::decode;
        match $format {
            QuantFormat::Q8_0 => { let $d = decode::Q8_0; $body }
            QuantFormat::Q4_0 => { let $d = decode::Q4_0; $body }
            QuantFormat::Q4_1 => { let $d = decode::Q4_1; $body }
            QuantFormat::Q5_0 => { let $d = decode::Q5_0; $body }
            QuantFormat::Q5_1 => { let $d = decode::Q5_1; $body }
            QuantFormat::Q2_K => { let $d = decode::Q2_K; $body }
            QuantFormat::Q3_K => { let $d = decode::Q3_K; $body }
            QuantFormat::Q4_K => { let $d = decode::Q4_K; $body }
            QuantFormat::Q5_K => { let $d = decode::Q5_K; $body }
            QuantFormat::Q6_K => { let $d = decode::Q6_K; $body }
            $($plain => $other,)+
        }
    }};
}
pub(super) use with_decoder;

/// Runs a product of f32 rows.
pub fn product_f32(isa: Isa, p: ProductF32<'_>) {
    with_decoder!(p.layout.format, d => isa.run(TypedF32(p, d)),
        QuantFormat::F32 => isa.run(TypedF32(p, F32)),
        QuantFormat::F16 => isa.run(TypedF32(p, F16)),
        QuantFormat::BF16 => isa.run(TypedF32(p, BF16)));
}
