//! Input rows of a matrix product, in the order in which the kernels read them.
//!
//! Rows are cut into *panels* of 1, 4, 8 or 16, and a panel holds its rows block by block, so that a
//! kernel reads one stream at constant displacements. How rows are cut depends on M, but a
//! row's own numbers and the order of its sum do not.

use std::ops::Range;

use super::{Isa, Kernel, LANES, Simd, tensor::Tensor};
use crate::quant::{
    BLOCK,
    activations::{Code as _, LOW_BITS, TINY},
};

/// Some rows of a product's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panel {
    /// First row.
    pub first: usize,
    /// Rows that exist.
    pub rows: usize,
    /// Rows with padding: 1, 4, 8 or 16, at most the widest tile.
    pub width: usize,
    /// Rows of earlier panels, with their padding.
    pub at: usize,
}

impl Panel {
    /// Cuts `m` rows into panels of at most `widest` rows. A panel is padded where at most a quarter
    /// of it is padding, or half of one of four, since a pass over the weights costs more than that; with
    /// `tiles`, whose time depends little on how many of their rows are in use, wide ones where nearly
    /// half is.
    pub fn cut(m: usize, widest: usize, tiles: bool) -> Vec<Self> {
        let mut panels = vec![];
        let (mut first, mut at) = (0, 0);
        while first < m {
            let left = m - first;
            let fits = |width: &usize| {
                let enough = match width {
                    4 => 2,
                    width if tiles => width / 2 + 1,
                    width => width - width / 4,
                };
                *width <= widest && left >= enough
            };
            let width = [16, 8, 4].into_iter().find(fits).unwrap_or(1);
            let rows = left.min(width);
            panels.push(Self { first, rows, width, at });
            first += rows;
            at += width;
        }
        panels
    }
}

/// Sixteen signed bytes: the unit in which packed rows are counted.
pub type Quad = [u32; 4];

/// 32 activations of one row in codes of `P` bytes, 1 for q8 and 2 for q12: high bytes first, each by
/// halves of the block.
pub type Codes<const P: usize> = [[Quad; 2]; P];

/// What belongs to the codes of one block of one row.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Scale {
    /// `d`.
    pub d: f32,
    /// Of each half: what the weight format needs of the codes' sum; see [`Fold`]. Formats with
    /// one scale a block use the first for all of it.
    pub fold: [u32; 2],
    /// Nothing; fills a quad.
    pub padding: u32,
}

/// One block of the `T` rows of a panel. Codes come first and without gaps, for matrix units load them
/// as a tile, row by row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Rows<const P: usize, const T: usize> {
    /// Of each row.
    pub codes: [Codes<P>; T],
    /// Of each row.
    pub scales: [Scale; T],
}

impl<const P: usize, const T: usize> Rows<P, T> {
    /// Size in quads.
    pub const QUADS: usize = T * (2 * P + 1);
}

// SAFETY: zeros are valid numbers.
unsafe impl<const P: usize, const T: usize> bytemuck::Zeroable for Rows<P, T> {}
// SAFETY: all fields are plain numbers of four bytes, so nothing is padding.
unsafe impl<const P: usize, const T: usize> bytemuck::Pod for Rows<P, T> {}

/// What is precomputed from the sums of a block's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// `-offset * sum` as i32: where the integer dot product starts.
    Offset(i32),
    /// `d * sum` as f32: the factor of the minimum.
    Scaled,
}

/// Quantises some blocks of some rows of one panel, exactly as [`crate::quant::activations`] says.
///
/// Rows of a block lie side by side, and other units may be at other rows meanwhile.
pub struct PackCoded<const P: usize> {
    /// `[M, K]` f32.
    pub x: Tensor<f32>,
    /// Of which rows.
    pub panel: Panel,
    /// Which of them, padding included.
    pub rows: Range<usize>,
    /// Which blocks.
    pub blocks: Range<usize>,
    /// What to precompute.
    pub fold: Fold,
    /// Two scales a block.
    pub halves: bool,
    /// `[blocks]` of [`Rows`], from the first of `blocks` on.
    pub out: *mut Quad,
}

impl<const P: usize> PackCoded<P> {
    /// Codes of row `t` in a block, and its scale.
    ///
    /// # Safety
    /// `out` has all rows of the block, and row `t` of it is this unit's own.
    #[inline(always)]
    unsafe fn place<'a>(&self, block: usize, t: usize) -> (&'a mut Codes<P>, &'a mut Scale) {
        let width = self.panel.width;
        // SAFETY: the caller's; both types are plain data without a larger alignment than a quad's, and
        // a row's codes and scale lie apart from each other and from those of other rows.
        unsafe {
            let rows = self.out.add(block * width * Rows::<P, 1>::QUADS);
            (&mut *rows.add(t * 2 * P).cast(), &mut *rows.add(width * 2 * P + t).cast())
        }
    }

    /// Packs.
    ///
    /// # Safety
    /// `out` has all rows of the blocks, and nobody else touches these rows of them or writes `x`.
    pub unsafe fn run(self, isa: Isa) {
        struct Checked<const P: usize>(PackCoded<P>);

        impl<const P: usize> Kernel for Checked<P> {
            type Output = ();

            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                let p = &self.0;
                for t in p.rows.clone() {
                    // SAFETY: `PackCoded::run` was told so, and nobody else makes one of these.
                    unsafe { p.row(s, t) };
                }
            }
        }

        isa.run(Checked(self));
    }

    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn row<S: Simd>(&self, s: S, t: usize) {
        if t >= self.panel.rows {
            for b in 0..self.blocks.len() {
                // SAFETY: the caller's.
                let (codes, scale) = unsafe { self.place(b, t) };
                (*codes, *scale) = ([[[0; 4]; 2]; P], bytemuck::Zeroable::zeroed());
            }
            return;
        }
        // SAFETY: the caller's.
        let x = unsafe { self.x.row(self.panel.first + t) };
        let x = &x.as_chunks::<BLOCK>().0[self.blocks.clone()];
        // As many blocks at a time as a vector has lanes, for their divisions.
        for (i, x) in x.chunks(LANES).enumerate() {
            let mut max = [0.0; LANES];
            for (max, x) in max.iter_mut().zip(x) {
                *max = largest(s, x);
            }
            let factors = Factors::new::<P>(&max);
            for (lane, x) in x.iter().enumerate() {
                // SAFETY: the caller's.
                let (codes, scale) = unsafe { self.place(i * LANES + lane, t) };
                let sums = quantize(s, x, factors.inverse[lane], self.halves, codes);
                let d = factors.d[lane];
                let fold = sums.map(|sum| match self.fold {
                    Fold::Offset(offset) => (-offset * sum) as u32,
                    Fold::Scaled => (d * sum as f32).to_bits(),
                });
                *scale = Scale { d, fold, padding: 0 };
            }
        }
    }
}

/// What blocks' codes are multiplied by, and what makes codes of values; both zero for blocks of zeros.
struct Factors {
    d: [f32; LANES],
    inverse: [f32; LANES],
}

impl Factors {
    #[inline(always)]
    fn new<const P: usize>(largest: &[f32; LANES]) -> Self {
        const { assert!(P == 1 || P == 2, "codes of one or two bytes") }
        let top = if P == 1 { i8::TOP } else { i16::TOP };
        let mut factors = Self { d: [0.0; LANES], inverse: [0.0; LANES] };
        for (i, &max) in largest.iter().enumerate() {
            let some = max >= TINY;
            factors.d[i] = if some { max / top } else { 0.0 };
            factors.inverse[i] = if some { top / max } else { 0.0 };
        }
        factors
    }
}

/// The largest magnitude of a block; NaN does not count.
#[inline(always)]
fn largest<S: Simd>(s: S, x: &[f32; BLOCK]) -> f32 {
    let (x, _) = x.as_chunks::<LANES>();
    let magnitude = s.splat_int(i32::MAX);
    let abs = map!(2, x in [s.load(&x[0]), s.load(&x[1])] => {
        s.from_bits(s.and(s.bits(x), magnitude))
    });
    // `max` gives its second operand for NaN.
    s.largest(s.max(abs[1], s.max(abs[0], s.splat(0.0))))
}

/// Writes a block's codes; gives the sums of its halves, or of all of it and zero.
#[inline(always)]
fn quantize<S: Simd, const P: usize>(
    s: S,
    x: &[f32; BLOCK],
    inverse: f32,
    halves: bool,
    codes: &mut Codes<P>,
) -> [i32; 2] {
    let (x, _) = x.as_chunks::<LANES>();
    let inverse = s.splat(inverse);
    let mut lanes = [s.splat_int(0); 2];
    for h in 0..2 {
        let code = s.round(s.mul(s.load(&x[h]), inverse));
        // Only the low halfword counts: it is zero where there was no number.
        let code = s.sar::<16>(s.shl::<16>(code));
        lanes[h] = code;
        if P == 1 {
            s.store_bytes(code, bytemuck::cast_mut(&mut codes[0][h]));
        } else {
            let half = 1 << (LOW_BITS - 1);
            let shifted = s.add_int(code, s.splat_int(half));
            let low = s.and(shifted, s.splat_int(2 * half - 1));
            s.store_bytes(s.sar::<LOW_BITS>(shifted), bytemuck::cast_mut(&mut codes[0][h]));
            let low = s.add_int(low, s.splat_int(-half));
            s.store_bytes(low, bytemuck::cast_mut(&mut codes[P - 1][h]));
        }
    }
    if halves {
        map!(2, lanes in lanes => s.sum_int(lanes))
    } else {
        [s.sum_int(s.add_int(lanes[0], lanes[1])), 0]
    }
}

/// Copies some elements of some rows of one panel.
pub struct PackF32 {
    /// `[M, K]` f32.
    pub x: Tensor<f32>,
    /// Of which rows.
    pub panel: Panel,
    /// Which of them, padding included.
    pub rows: Range<usize>,
    /// Which elements.
    pub elements: Range<usize>,
    /// `[elements][width]`, from the first of `elements` on.
    pub out: *mut f32,
}

impl PackF32 {
    /// Packs; nothing to gain from vectors.
    ///
    /// # Safety
    /// `out` has all rows of the elements, and nobody else touches these rows of them or writes `x`.
    pub unsafe fn run(self) {
        let width = self.panel.width;
        for t in self.rows {
            // SAFETY: the caller's.
            let put = |i: usize, x: f32| unsafe { self.out.add(i * width + t).write(x) };
            if t >= self.panel.rows {
                (0..self.elements.len()).for_each(|i| put(i, 0.0));
                continue;
            }
            // SAFETY: the caller's.
            let x = unsafe { self.x.row(self.panel.first + t) };
            x[self.elements.clone()].iter().enumerate().for_each(|(i, x)| put(i, *x));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_all_rows_once() {
        for (widest, tiles) in [(1, false), (4, false), (16, false), (16, true)] {
            for m in 0..70 {
                let panels = Panel::cut(m, widest, tiles);
                let (mut first, mut at) = (0, 0);
                for p in &panels {
                    assert_eq!((p.first, p.at), (first, at));
                    assert!(
                        p.rows <= p.width && p.width <= widest && [1, 4, 8, 16].contains(&p.width)
                    );
                    (first, at) = (first + p.rows, at + p.width);
                }
                assert_eq!(first, m);
                assert!(at <= m + if tiles { 7 } else { 4 });
            }
        }
        assert_eq!(Panel::cut(7, 16, false).len(), 1);
        assert_eq!(Panel::cut(9, 16, false).len(), 2);
        assert_eq!(Panel::cut(9, 16, true).len(), 1);
        assert_eq!(Panel::cut(512, 16, true).len(), 32);
    }
}
