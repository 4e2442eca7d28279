//! Input rows of a matrix product, in the order in which the kernels read them.
//!
//! Rows are cut into *panels* of 1, 4, 8 or 16, and a panel interleaves its rows block by block, so
//! that a kernel reads one stream at constant displacements. How rows are cut depends on M, but a
//! row's own numbers and the order of its sum do not.

use super::{Kernel, LANES, Simd, tensor::Tensor};
use crate::quant::{BLOCK, activations::TINY};

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
    /// Cuts `m` rows into panels of at most `widest` rows. A panel is padded where
    /// at most a quarter of it is padding; a pass over the weights costs more than that.
    pub fn cut(m: usize, widest: usize) -> Vec<Self> {
        let mut panels = vec![];
        let (mut first, mut at) = (0, 0);
        while first < m {
            let left = m - first;
            let fits = |width: &usize| *width <= widest && 4 * left >= 3 * width;
            let width = [16, 8, 4].into_iter().find(fits).unwrap_or(1);
            let rows = left.min(width);
            panels.push(Self { first, rows, width, at });
            first += rows;
            at += width;
        }
        panels
    }
}

/// 32 activations as codes, of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(16))]
pub struct Block {
    /// Quads of i8 codes.
    pub codes: [[u32; 4]; 2],
    /// `d`.
    pub scale: f32,
    /// Of each half: what the weight format needs of the codes' sum; see [`Fold`]. Formats with
    /// one scale a block use the first for all of it.
    pub fold: [u32; 2],
    /// Nothing; keeps blocks aligned.
    pub padding: u32,
}

/// What is precomputed from the sums of a block's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// `-offset * sum` as i32: where the integer dot product starts.
    Offset(i32),
    /// `d * sum` as f32: the factor of the minimum.
    Scaled,
}

/// Quantises the rows of one panel, exactly as [`crate::quant::quantize_row_q8`] says.
pub struct PackQ8<'a> {
    /// `[M, K]` f32.
    pub x: Tensor<f32>,
    /// Which rows.
    pub panel: Panel,
    /// What to precompute.
    pub fold: Fold,
    /// Two scales a block.
    pub halves: bool,
    /// `[K / 32][width]`.
    pub out: &'a mut [Block],
}

impl Kernel for PackQ8<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for t in 0..self.panel.width {
            let blocks = self.out[t..].iter_mut().step_by(self.panel.width);
            if t >= self.panel.rows {
                blocks.for_each(|out| *out = Block::default());
                continue;
            }
            // SAFETY: a stage that packs rows only reads them.
            let x = unsafe { self.x.row(self.panel.first + t) };
            for (out, x) in blocks.zip(x.as_chunks::<BLOCK>().0) {
                *out = quantize(s, x, self.fold, self.halves);
            }
        }
    }
}

#[inline(always)]
fn quantize<S: Simd>(s: S, x: &[f32; BLOCK], fold: Fold, halves: bool) -> Block {
    let (x, _) = x.as_chunks::<LANES>();
    let x = [s.load(&x[0]), s.load(&x[1])];
    let magnitude = s.splat_int(i32::MAX);
    let abs = map!(2, x in x => s.from_bits(s.and(s.bits(x), magnitude)));
    // `max` gives its second operand for NaN, so NaN does not count.
    let max = s.largest(s.max(abs[1], s.max(abs[0], s.splat(0.0))));
    if max < TINY {
        return Block::default();
    }
    let (scale, inverse) = (max / 127.0, s.splat(127.0 / max));
    let mut codes = [[0i8; LANES]; 2];
    let mut sums = [0; 2];
    for h in 0..2 {
        let code = s.round(s.mul(x[h], inverse));
        s.store_bytes(code, &mut codes[h]);
        // Only the low byte counts: it is zero where there was no number.
        sums[h] = s.sum_int(s.sar::<24>(s.shl::<24>(code)));
    }
    if !halves {
        sums = [sums[0] + sums[1], 0];
    }
    let fold = sums.map(|sum| match fold {
        Fold::Offset(offset) => (-offset * sum) as u32,
        Fold::Scaled => (scale * sum as f32).to_bits(),
    });
    Block { codes: bytemuck::cast(codes), scale, fold, padding: 0 }
}

/// Copies the rows of one panel.
pub struct PackF32<'a> {
    /// `[M, K]` f32.
    pub x: Tensor<f32>,
    /// Which rows.
    pub panel: Panel,
    /// `[K][width]`.
    pub out: &'a mut [f32],
}

impl PackF32<'_> {
    /// Runs; nothing to gain from vectors.
    pub fn run(self) {
        for t in 0..self.panel.width {
            let out = self.out[t..].iter_mut().step_by(self.panel.width);
            if t >= self.panel.rows {
                out.for_each(|out| *out = 0.0);
                continue;
            }
            // SAFETY: a stage that packs rows only reads them.
            let x = unsafe { self.x.row(self.panel.first + t) };
            out.zip(x).for_each(|(out, x)| *out = *x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_all_rows_once() {
        for widest in [1, 4, 16] {
            for m in 0..70 {
                let panels = Panel::cut(m, widest);
                let (mut first, mut at) = (0, 0);
                for p in &panels {
                    assert_eq!((p.first, p.at), (first, at));
                    assert!(
                        p.rows <= p.width && p.width <= widest && [1, 4, 8, 16].contains(&p.width)
                    );
                    (first, at) = (first + p.rows, at + p.width);
                }
                assert_eq!(first, m);
                assert!(at <= m + 4);
            }
        }
        assert_eq!(Panel::cut(7, 16).len(), 1);
        assert_eq!(Panel::cut(512, 16).len(), 32);
    }
}
