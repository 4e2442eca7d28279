//! Root-mean-square norms.

use super::{
    Kernel, LANES, Simd, math,
    stage::{
        Stage, Stages,
        Touch::{ReadAny, ReadRow, WriteRow},
    },
    tensor::Tensor,
};
use crate::{
    backend::BackendResult,
    ops::{AddRmsNorm, HeadRmsNorm, RmsNorm},
};

/// Norms one row: `y = x / sqrt(mean(x^2) + eps) * weight`.
struct Norm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    y: &'a mut [f32],
    eps: f32,
}

#[inline(always)]
fn factor<S: Simd>(s: S, x: &[f32], eps: f32) -> f32 {
    1.0 / (math::sum_of_squares(s, x) / x.len() as f32 + eps).sqrt()
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let factor = s.splat(factor(s, self.x, self.eps));
        let rows = self.x.chunks(LANES).zip(self.weight.chunks(LANES));
        for (y, (x, w)) in self.y.chunks_mut(LANES).zip(rows) {
            math::store(s, s.mul(s.mul(math::load(s, x), factor), math::load(s, w)), y);
        }
    }
}

/// Adds `r` to `x`.
struct AddTo<'a> {
    r: &'a [f32],
    x: &'a mut [f32],
}

impl Kernel for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, r) in self.x.chunks_mut(LANES).zip(self.r.chunks(LANES)) {
            math::store(s, s.add(math::load(s, x), math::load(s, r)), x);
        }
    }
}

/// Norms each head of a row in place.
struct HeadNorm<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for HeadNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for head in self.x.chunks_exact_mut(self.weight.len()) {
            let factor = s.splat(factor(s, head, self.eps));
            for (x, w) in head.chunks_mut(LANES).zip(self.weight.chunks(LANES)) {
                math::store(s, s.mul(s.mul(math::load(s, x), factor), math::load(s, w)), x);
            }
        }
    }
}

/// Stages of [`RmsNorm`]: a unit is a row.
pub fn rms_norm(op: &RmsNorm) -> BackendResult<Stages> {
    let (x, y) = (Tensor::<f32>::new(&op.x)?, Tensor::<f32>::new(&op.y)?);
    let (weight, eps) = (Tensor::<f32>::new(&op.weight)?, op.eps);
    let stage = Stage::new(x.rows(), x.rows() * x.width() / 4, move |context, m| {
        // SAFETY: a unit owns its row of `y`; `x` and the weight are only read.
        let norm = unsafe { Norm { x: x.row(m), weight: weight.dense(), y: y.row_mut(m), eps } };
        context.isa.run(norm);
        Ok(())
    });
    let areas = [x.area(ReadRow), y.area(WriteRow), weight.area(ReadAny)];
    Ok(stage.by_rows(areas).into())
}

/// Stages of [`AddRmsNorm`]: a unit is a row.
pub fn add_rms_norm(op: &AddRmsNorm) -> BackendResult<Stages> {
    let (r, x, y) =
        (Tensor::<f32>::new(&op.r)?, Tensor::<f32>::new(&op.x)?, Tensor::<f32>::new(&op.y)?);
    let (weight, eps) = (Tensor::<f32>::new(&op.weight)?, op.eps);
    let stage = Stage::new(x.rows(), x.rows() * x.width() / 3, move |context, m| {
        // SAFETY: a unit owns its rows of `x` and `y`; `r` and the weight are only read.
        unsafe {
            context.isa.run(AddTo { r: r.row(m), x: x.row_mut(m) });
            context.isa.run(Norm { x: x.row(m), weight: weight.dense(), y: y.row_mut(m), eps });
        }
        Ok(())
    });
    let areas = [r.area(ReadRow), x.area(WriteRow), y.area(WriteRow), weight.area(ReadAny)];
    Ok(stage.by_rows(areas).into())
}

/// Stages of [`HeadRmsNorm`]: a unit is a row.
pub fn head_rms_norm(op: &HeadRmsNorm) -> BackendResult<Stages> {
    let x = Tensor::<f32>::new(&op.x)?;
    let (weight, eps) = (Tensor::<f32>::new(&op.weight)?, op.eps);
    let stage = Stage::new(x.rows(), x.rows() * x.width() / 2, move |context, m| {
        // SAFETY: a unit owns its row; the weight is only read.
        let norm = unsafe { HeadNorm { x: x.row_mut(m), weight: weight.dense(), eps } };
        context.isa.run(norm);
        Ok(())
    });
    Ok(stage.by_rows([x.area(WriteRow), weight.area(ReadAny)]).into())
}
