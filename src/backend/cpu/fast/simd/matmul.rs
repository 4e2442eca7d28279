//! [`QMatMul`]: rows packed into panels, then groups of outputs shared among threads.

use std::{ops::Range, sync::Arc};

use super::{
    Isa,
    coded::{ProductCoded, product_coded},
    decode::{Decode, prefetch_group},
    panels::{Fold, PackCoded, PackF32, Panel, Quad, Rows},
    product::{Finish, ProductF32, WIDEST_F32, product_f32, with_decoder},
    stage::{Context, SHARE_NS, Stage, Stages, Touch},
    tensor::Tensor,
};
use crate::{
    backend::BackendResult,
    ops::{Activations, QMatMul},
    quant::{BLOCK, QuantFormat},
};

/// Units per thread: enough that a thread that lost its core for a while does not hold up the rest.
const UNITS_PER_THREAD: usize = 6;
/// Weights of a unit stay in a core's second-level cache while all panels pass.
const UNIT_BYTES: usize = 256 << 10;

/// How the rows of a format are packed.
#[derive(Clone, Copy)]
enum Pack {
    /// In codes of so many bytes, 1 or 2.
    Codes {
        bytes: usize,
        fold: Fold,
        halves: bool,
    },
    F32,
}

impl Pack {
    fn of(op: &QMatMul, isa: Isa) -> Self {
        fn folded<D: Decode>(_: D, bytes: usize, isa: Isa) -> Pack {
            let bias = if D::BITS == 8 { isa.bias8() } else { 0 };
            let fold = if D::MINIMA { Fold::Scaled } else { Fold::Offset(D::OFFSET + bias) };
            Pack::Codes { bytes, fold, halves: D::HALVES }
        }
        let bytes = match op.activations {
            Activations::F32 => return Self::F32,
            Activations::Q8 => 1,
            Activations::Q12 => 2,
        };
        with_decoder!(op.w.format(), d => folded(d, bytes, isa),
            QuantFormat::F32 | QuantFormat::F16 | QuantFormat::BF16 => Self::F32)
    }

    /// Bytes of a packed row of `k` elements.
    fn row_bytes(self, k: usize) -> usize {
        match self {
            Self::Codes { bytes: 1, .. } => k / BLOCK * size_of::<Rows<1, 1>>(),
            Self::Codes { .. } => k / BLOCK * size_of::<Rows<2, 1>>(),
            Self::F32 => k * size_of::<f32>(),
        }
    }

    /// Panels of `m` rows.
    fn cut(self, m: usize, isa: Isa) -> Vec<Panel> {
        match self {
            Self::Codes { .. } => Panel::cut(m, isa.tile(), isa.has_tiles()),
            Self::F32 => Panel::cut(m, isa.tile().min(WIDEST_F32), false),
        }
    }

    /// Packs some blocks of some rows of one panel of `x [M, K]`, padding included, into the panel's part
    /// of the scratch memory.
    ///
    /// # Safety
    /// These blocks of these rows are nobody else's, and nobody writes `x`.
    unsafe fn run(
        self,
        x: Tensor<f32>,
        panel: Panel,
        rows: Range<usize>,
        blocks: Range<usize>,
        context: &Context,
    ) {
        let row_bytes = self.row_bytes(x.width());
        let block_bytes = panel.width * row_bytes / (x.width() / BLOCK);
        let at = panel.at * row_bytes + blocks.start * block_bytes;
        let (scratch, all) = (context.scratch, panel.width * blocks.len());
        // SAFETY: the caller's; the places are checked to hold all rows of these blocks.
        unsafe {
            match self {
                Self::Codes { bytes: 1, fold, halves } => {
                    let out = scratch.place::<Quad>(at, all * Rows::<1, 1>::QUADS);
                    let pack = PackCoded::<1> { x, panel, rows, blocks, fold, halves, out };
                    pack.run(context.isa);
                }
                Self::Codes { fold, halves, .. } => {
                    let out = scratch.place::<Quad>(at, all * Rows::<2, 1>::QUADS);
                    let pack = PackCoded::<2> { x, panel, rows, blocks, fold, halves, out };
                    pack.run(context.isa);
                }
                Self::F32 => {
                    let out = scratch.place(at, all * BLOCK);
                    let elements = blocks.start * BLOCK..blocks.end * BLOCK;
                    PackF32 { x, panel, rows, elements, out }.run();
                }
            }
        }
    }
}

/// Packs all rows of `x`: row by row where there is one for each thread, so that whoever made a row
/// packs it, else by blocks.
fn pack_stage(x: Tensor<f32>, pack: Pack, panels: &Arc<[Panel]>, threads: usize) -> Stage {
    let (m, k, panels) = (x.rows(), x.width(), Arc::clone(panels));
    let blocks = k / BLOCK;
    // About 3 elements a nanosecond; a few rows are not worth cutting.
    let cost_ns = m * k / 3;
    if m >= threads {
        let areas = [x.area(Touch::ReadRow)];
        let stage = Stage::new(m, cost_ns, move |context, m| {
            let at = panels.partition_point(|panel| panel.first + panel.rows <= m);
            let (panel, t) = (panels[at], m - panels[at].first);
            let end = if t + 1 == panel.rows { panel.width } else { t + 1 };
            // SAFETY: rows of panels are disjoint parts of the scratch memory.
            unsafe { pack.run(x, panel, t..end, 0..blocks, context) };
            Ok(())
        });
        return stage.by_rows(areas);
    }
    let pieces = if panels.len() < 2 * threads && cost_ns >= SHARE_NS { 2 * threads } else { 1 };
    let piece = blocks.div_ceil(pieces);
    let pieces = blocks.div_ceil(piece);
    Stage::new(panels.len() * pieces, cost_ns, move |context, unit| {
        let (panel, first) = (panels[unit / pieces], unit % pieces * piece);
        // SAFETY: blocks of panels are disjoint parts of the scratch memory.
        unsafe { pack.run(x, panel, 0..panel.width, first..blocks.min(first + piece), context) };
        Ok(())
    })
}

/// Stages of a matrix product.
pub fn qmatmul(op: &QMatMul, threads: usize, isa: Isa) -> BackendResult<Stages> {
    let layout = op.w.layout;
    let (m, k, pack) = (op.m(), layout.k, Pack::of(op, isa));
    let x = Tensor::<f32>::new(&op.x)?;
    let weight = Tensor::<u8>::new(&op.w.data)?;
    let bias = op.bias.as_ref().map(Tensor::new).transpose()?;
    let finish = Finish { y: Tensor::new(&op.y)?, bias, then: op.then };
    let panels: Arc<[Panel]> = pack.cut(m, isa).into();
    let padded: usize = panels.iter().map(|p| p.width).sum();

    let pack_stage = pack_stage(x, pack, &panels, threads);
    let groups = layout.groups();
    let group_bytes = layout.bytes.div_ceil(groups);
    let per_unit = groups.div_ceil(threads * UNITS_PER_THREAD).min(UNIT_BYTES / group_bytes).max(1);
    // About 10 bytes of weights or 50 products a nanosecond.
    let cost_ns = layout.bytes / 10 + m * k * layout.n / 50;
    let product_stage = Stage::new(groups.div_ceil(per_unit), cost_ns, move |context, unit| {
        let groups = (unit * per_unit, groups.min((unit + 1) * per_unit));
        // SAFETY: weights and packed rows are only read in this stage.
        unsafe {
            let (layout, weight) = (&layout, weight.dense());
            match pack {
                Pack::Codes { bytes: 1, .. } => {
                    let x = context.scratch.part(0, padded * k / BLOCK * Rows::<1, 1>::QUADS);
                    let p =
                        ProductCoded::<1> { layout, weight, x, panels: &panels, groups, finish };
                    product_coded(isa, p);
                }
                Pack::Codes { .. } => {
                    let x = context.scratch.part(0, padded * k / BLOCK * Rows::<2, 1>::QUADS);
                    let p =
                        ProductCoded::<2> { layout, weight, x, panels: &panels, groups, finish };
                    product_coded(isa, p);
                }
                Pack::F32 => {
                    let x = context.scratch.part::<f32>(0, padded * k);
                    let p = ProductF32 { layout, weight, x, panels: &panels, groups, finish };
                    product_f32(isa, p);
                }
            }
        }
        Ok(())
    });
    let product_stage = product_stage.asking(move |unit| {
        prefetch_group(&layout, weight.place(0, 0), unit * per_unit);
    });
    Ok(Stages {
        stages: vec![pack_stage, product_stage],
        scratch_bytes: padded * pack.row_bytes(k),
    })
}
