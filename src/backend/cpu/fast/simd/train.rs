//! Ops of training.

use super::{
    Kernel, LANES, Simd, math,
    stage::{Stage, Stages},
    stats::Reduce,
    tensor::Tensor,
};
use crate::{
    backend::BackendResult,
    ops::{AdamW, ColumnSums, RowSquares, SiluGrad, SoftmaxXent, Then},
};

/// `dz = dy s (1 + z (1 - s))` of a row.
struct GradRow<'a> {
    z: &'a [f32],
    dy: &'a [f32],
    dz: &'a mut [f32],
}

impl Kernel for GradRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let one = s.splat(1.0);
        let inputs = self.z.chunks(LANES).zip(self.dy.chunks(LANES));
        for (dz, (z, dy)) in self.dz.chunks_mut(LANES).zip(inputs) {
            let z = math::load(s, z);
            let sigmoid = math::times_sigmoid(s, one, z);
            let slope = s.mul(sigmoid, s.fma(z, s.sub(one, sigmoid), one));
            math::store(s, s.mul(math::load(s, dy), slope), dz);
        }
    }
}

/// Stages of [`SiluGrad`]: a unit is a row.
pub fn silu_grad(op: &SiluGrad) -> BackendResult<Stages> {
    let (z, dy) = (Tensor::<f32>::new(&op.z)?, Tensor::<f32>::new(&op.dy)?);
    let dz = Tensor::<f32>::new(&op.dz)?;
    let stage = Stage::new(dz.rows(), dz.rows() * dz.width(), move |context, m| {
        // SAFETY: a unit owns its row of `dz`; the rest is only read.
        let row = unsafe { GradRow { z: z.row(m), dy: dy.row(m), dz: dz.row_mut(m) } };
        context.isa.run(row);
        Ok(())
    });
    Ok(stage.into())
}

/// Sums of up to sixteen columns.
struct Columns<'a> {
    x: Tensor<f32>,
    first: usize,
    out: &'a mut [f32],
    then: Then,
}

impl Kernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sum = s.splat(0.0);
        for m in 0..self.x.rows() {
            // SAFETY: the stage only reads `x`.
            let row = unsafe { self.x.row(m) };
            sum = s.add(sum, math::load(s, &row[self.first..self.first + self.out.len()]));
        }
        if self.then == Then::Add {
            sum = s.add(math::load(s, self.out), sum);
        }
        math::store(s, sum, self.out);
    }
}

/// Stages of [`ColumnSums`]: a unit is sixteen columns.
pub fn column_sums(op: &ColumnSums) -> BackendResult<Stages> {
    let (x, then) = (Tensor::<f32>::new(&op.x)?, op.then);
    let width = x.width();
    // A vector's elements are its rows; one row of all of them can be cut by columns.
    let out = op.out.buffer.view(op.out.offset, op.out.dtype, [1, width])?;
    let out = Tensor::<f32>::new(&out)?;
    let units = width.div_ceil(LANES);
    let stage = Stage::new(units, x.rows() * width / 4, move |context, unit| {
        let first = unit * LANES;
        let count = LANES.min(width - first);
        // SAFETY: a unit owns its columns of `out`; `x` is only read.
        let out = unsafe { out.part_mut(0, first, count) };
        context.isa.run(Columns { x, first, out, then });
        Ok(())
    });
    Ok(stage.into())
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        math::sum_of_squares(s, self.0)
    }
}

/// Stages of [`RowSquares`]: a unit is a row.
pub fn row_squares(op: &RowSquares) -> BackendResult<Stages> {
    let (x, out) = (Tensor::<f32>::new(&op.x)?, Tensor::<f32>::new(&op.out)?);
    let stage = Stage::new(x.rows(), x.rows() * x.width() / 8, move |context, m| {
        // SAFETY: a unit owns its row of `out`; `x` is only read.
        let (x, out) = unsafe { (x.row(m), out.row_mut(m)) };
        out[0] = context.isa.run(Squares(x));
        Ok(())
    });
    Ok(stage.into())
}

/// `row = total exp(row - log_sum_exp)`.
pub struct Softmax<'a> {
    /// Logits.
    pub row: &'a mut [f32],
    /// Of the row.
    pub log_sum_exp: f32,
    /// Sum of the results.
    pub total: f32,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (log_sum_exp, total) = (s.splat(self.log_sum_exp), s.splat(self.total));
        for x in self.row.chunks_mut(LANES) {
            let e = math::exp(s, s.sub(math::load(s, x), log_sum_exp));
            math::store(s, s.mul(total, e), x);
        }
    }
}

/// Stages of [`SoftmaxXent`]: a unit is a row.
pub fn softmax_xent(op: &SoftmaxXent) -> BackendResult<Stages> {
    let (logits, targets) = (Tensor::<f32>::new(&op.logits)?, Tensor::<u32>::new(&op.targets)?);
    let (weights, loss) = (Tensor::<f32>::new(&op.weights)?, Tensor::<f32>::new(&op.loss)?);
    let cost_ns = logits.rows() * logits.width();
    let stage = Stage::new(logits.rows(), cost_ns, move |context, m| {
        // SAFETY: a unit owns its rows of `logits` and `loss`; the rest is only read.
        let (row, loss, targets, weights) =
            unsafe { (logits.row_mut(m), loss.row_mut(m), targets.row(m), weights.row(m)) };
        let log_sum_exp = context.isa.run(Reduce(row)).log_sum_exp;
        let pairs = targets.iter().map(|&t| t as usize).zip(weights);
        let inside = |&(t, _): &(usize, &f32)| t < logits.width();
        let (mut sum, mut total) = (0f64, 0f64);
        for (t, &w) in pairs.clone().filter(inside) {
            sum += f64::from(w) * (log_sum_exp - f64::from(row[t]));
            total += f64::from(w);
        }
        loss[0] = sum as f32;
        let (log_sum_exp, total) = (log_sum_exp as f32, total as f32);
        context.isa.run(Softmax { row, log_sum_exp, total });
        for (t, &w) in pairs.filter(inside) {
            row[t] -= w;
        }
        Ok(())
    });
    Ok(stage.into())
}

/// A row of the optimiser's step; `hyper` as in [`AdamW::hyper`], `clip` the factor on gradients.
struct Update<'a> {
    params: &'a mut [f32],
    grads: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
    hyper: &'a [f32],
    clip: f32,
}

impl Kernel for Update<'_> {
    type Output = ();

    // Plain operators: the compiler turns the loop into vectors of whatever is enabled here, and each
    // operator rounds once everywhere.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { params, grads, mean, square, hyper, clip } = self;
        let (lr, b1, b2, eps) = (hyper[0], hyper[1], hyper[2], hyper[3]);
        let (decay, c1, c2) = (hyper[4], hyper[5], hyper[6]);
        let moments = mean.iter_mut().zip(square.iter_mut());
        for ((w, &g), (mean, square)) in params.iter_mut().zip(grads).zip(moments) {
            let g = g * clip;
            let m = b1 * *mean + (1.0 - b1) * g;
            let v = b2 * *square + (1.0 - b2) * (g * g);
            *w -= lr * (c1 * m / ((c2 * v).sqrt() + eps) + decay * *w);
            (*mean, *square) = (m, v);
        }
    }
}

/// Stages of [`AdamW`]: a unit is a row.
pub fn adamw(op: &AdamW) -> BackendResult<Stages> {
    let (params, grads) = (Tensor::<f32>::new(&op.params)?, Tensor::<f32>::new(&op.grads)?);
    let (mean, square) = (Tensor::<f32>::new(&op.mean)?, Tensor::<f32>::new(&op.square)?);
    let (norm2, hyper) = (Tensor::<f32>::new(&op.norm2)?, Tensor::<f32>::new(&op.hyper)?);
    let cost_ns = params.rows() * params.width() / 2;
    let stage = Stage::new(params.rows(), cost_ns, move |context, m| {
        // SAFETY: a unit owns its rows of parameters and moments; the rest is only read.
        let (norm2, hyper) = unsafe { (norm2.dense()[0], hyper.dense()) };
        if !norm2.is_finite() {
            return Ok(());
        }
        let (norm, most) = (norm2.sqrt(), hyper[7]);
        let clip = if norm > most { most / norm } else { 1.0 };
        // SAFETY: as above.
        let row = unsafe {
            Update {
                params: params.row_mut(m),
                grads: grads.row(m),
                mean: mean.row_mut(m),
                square: square.row_mut(m),
                hyper,
                clip,
            }
        };
        context.isa.run(row);
        Ok(())
    });
    Ok(stage.into())
}
