//! [`QMatMul`]: rows packed into panels, then groups of outputs shared among threads.

use std::sync::Arc;

use super::{
    Isa,
    decode::Decode,
    panels::{Block, Fold, PackF32, PackQ8, Panel},
    product::{Finish, ProductF32, ProductQ8, WIDEST_F32, product_f32, product_q8, with_decoder},
    stage::{Stage, Stages},
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
    Q8 { fold: Fold, halves: bool },
    F32,
}

fn pack(op: &QMatMul) -> Pack {
    let q8 = |d: &dyn Fn() -> Pack| {
        if op.activations == Activations::Q8 { d() } else { Pack::F32 }
    };
    fn folded<D: Decode>(_: D) -> Pack {
        let fold = if D::MINIMA { Fold::Scaled } else { Fold::Offset(D::OFFSET) };
        Pack::Q8 { fold, halves: D::HALVES }
    }
    with_decoder!(op.w.format(), d => q8(&|| folded(d)),
        QuantFormat::F32 | QuantFormat::F16 | QuantFormat::BF16 => Pack::F32)
}

/// Stages of a matrix product.
pub fn qmatmul(op: &QMatMul, threads: usize, isa: Isa) -> BackendResult<Stages> {
    let layout = op.w.layout;
    let (m, k, pack) = (op.m(), layout.k, pack(op));
    let x = Tensor::<f32>::new(&op.x)?;
    let weight = Tensor::<u8>::new(&op.w.data)?;
    let bias = op.bias.as_ref().map(Tensor::new).transpose()?;
    let finish = Finish { y: Tensor::new(&op.y)?, bias, then: op.then };
    let (widest, row_bytes) = match pack {
        Pack::Q8 { .. } => (isa.tile(), k / BLOCK * size_of::<Block>()),
        Pack::F32 => (isa.tile().min(WIDEST_F32), k * size_of::<f32>()),
    };
    let panels: Arc<[Panel]> = Panel::cut(m, widest).into();
    let padded: usize = panels.iter().map(|p| p.width).sum();

    let pack_panels = Arc::clone(&panels);
    let pack_stage = Stage::new(panels.len(), m * k / 4, move |context, unit| {
        let panel = pack_panels[unit];
        match pack {
            Pack::Q8 { fold, halves } => {
                let (first, count) = (panel.at * row_bytes, panel.width * k / BLOCK);
                // SAFETY: panels are disjoint parts of the scratch memory.
                let out = unsafe { context.scratch.part::<Block>(first, count) };
                let fold = match fold {
                    Fold::Offset(offset) if layout.format == QuantFormat::Q8_0 => {
                        Fold::Offset(offset + isa.bias8())
                    }
                    fold => fold,
                };
                isa.run(PackQ8 { x, panel, fold, halves, out });
            }
            Pack::F32 => {
                let (first, count) = (panel.at * row_bytes, panel.width * k);
                // SAFETY: panels are disjoint parts of the scratch memory.
                let out = unsafe { context.scratch.part::<f32>(first, count) };
                PackF32 { x, panel, out }.run();
            }
        }
        Ok(())
    });

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
                Pack::Q8 { .. } => {
                    let x = context.scratch.part::<Block>(0, padded * k / BLOCK);
                    let p = ProductQ8 { layout, weight, x, panels: &panels, groups, finish };
                    product_q8(isa, p);
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
    Ok(Stages { stages: vec![pack_stage, product_stage], scratch_bytes: padded * row_bytes })
}
