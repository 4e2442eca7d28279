//! Gradients through a decoder.

use super::{
    Kernel, LANES, Simd, math,
    stage::{Stage, Stages},
    stats::Reduce,
    tensor::Tensor,
    train::Softmax,
};
use crate::{
    backend::BackendResult,
    ops::{Gate, GateGrad, RmsNormGrad, SoftmaxGrad, SoftmaxKl, SpanSoftmax, Then},
};

/// `row *= by`.
struct Scale<'a> {
    row: &'a mut [f32],
    by: f32,
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let by = s.splat(self.by);
        for x in self.row.chunks_mut(LANES) {
            math::store(s, s.mul(math::load(s, x), by), x);
        }
    }
}

/// Stages of [`SpanSoftmax`]: a unit is a row.
pub fn span_softmax(op: &SpanSoftmax) -> BackendResult<Stages> {
    let (x, spans) = (Tensor::<f32>::new(&op.x)?, Tensor::<u32>::new(&op.spans)?);
    let by = op.scale;
    let stage = Stage::new(x.rows(), x.rows() * x.width(), move |context, m| {
        // SAFETY: a unit owns its row of `x`; spans are only read.
        let (row, span) = unsafe { (x.row_mut(m), spans.row(m)) };
        let [first, end] = [0, 1].map(|i| (span[i] as usize).min(row.len()));
        let end = end.max(first);
        row[..first].fill(0.0);
        row[end..].fill(0.0);
        let row = &mut row[first..end];
        if !row.is_empty() {
            context.isa.run(Scale { row, by });
            let log_sum_exp = context.isa.run(Reduce(row)).log_sum_exp as f32;
            context.isa.run(Softmax { row, log_sum_exp, total: 1.0 });
        }
        Ok(())
    });
    Ok(stage.into())
}

/// `sum a b`: sixteen lanes times two accumulators, then folded.
#[inline(always)]
fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [s.splat(0.0); 2];
    for (a, b) in a.chunks(2 * LANES).zip(b.chunks(2 * LANES)) {
        let pairs = a.chunks(LANES).zip(b.chunks(LANES));
        for (acc, (a, b)) in acc.iter_mut().zip(pairs) {
            *acc = s.fma(math::load(s, a), math::load(s, b), *acc);
        }
    }
    s.sum(s.add(acc[0], acc[1]))
}

/// A row of [`SoftmaxGrad`].
struct SoftmaxRow<'a> {
    p: &'a [f32],
    dp: &'a mut [f32],
    scale: f32,
}

impl Kernel for SoftmaxRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mean, scale) = (s.splat(dot(s, self.p, self.dp)), s.splat(self.scale));
        for (dp, p) in self.dp.chunks_mut(LANES).zip(self.p.chunks(LANES)) {
            let away = s.sub(math::load(s, dp), mean);
            math::store(s, s.mul(s.mul(scale, math::load(s, p)), away), dp);
        }
    }
}

/// Stages of [`SoftmaxGrad`]: a unit is a row.
pub fn softmax_grad(op: &SoftmaxGrad) -> BackendResult<Stages> {
    let (p, dp) = (Tensor::<f32>::new(&op.p)?, Tensor::<f32>::new(&op.dp)?);
    let scale = op.scale;
    let stage = Stage::new(p.rows(), p.rows() * p.width() / 4, move |context, m| {
        // SAFETY: a unit owns its row of `dp`; `p` is only read.
        let row = unsafe { SoftmaxRow { p: p.row(m), dp: dp.row_mut(m), scale } };
        context.isa.run(row);
        Ok(())
    });
    Ok(stage.into())
}

/// One head of [`RmsNormGrad`].
struct NormHead<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    eps: f32,
    then: Then,
}

impl Kernel for NormHead<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.x.len() as f32;
        let mut acc = s.splat(0.0);
        let inputs = self.x.chunks(LANES).zip(self.weight.chunks(LANES));
        for ((x, w), dy) in inputs.zip(self.dy.chunks(LANES)) {
            let g = s.mul(math::load(s, w), math::load(s, dy));
            acc = s.fma(math::load(s, x), g, acc);
        }
        let r = 1.0 / (math::sum_of_squares(s, self.x) / d + self.eps).sqrt();
        // -r^3 / d sum(x g), as a factor of x
        let back = s.splat(-(r * s.sum(acc) / d) * r * r);
        let r = s.splat(r);
        let inputs = self.x.chunks(LANES).zip(self.weight.chunks(LANES));
        let inputs = inputs.zip(self.dy.chunks(LANES));
        for (dx, ((x, w), dy)) in self.dx.chunks_mut(LANES).zip(inputs) {
            let g = s.mul(math::load(s, w), math::load(s, dy));
            let mut value = s.fma(back, math::load(s, x), s.mul(r, g));
            if self.then == Then::Add {
                value = s.add(math::load(s, dx), value);
            }
            math::store(s, value, dx);
        }
    }
}

/// Stages of [`RmsNormGrad`]: a unit is a row.
pub fn rms_norm_grad(op: &RmsNormGrad) -> BackendResult<Stages> {
    let (x, dy) = (Tensor::<f32>::new(&op.x)?, Tensor::<f32>::new(&op.dy)?);
    let (weight, dx) = (Tensor::<f32>::new(&op.weight)?, Tensor::<f32>::new(&op.dx)?);
    let (eps, then) = (op.eps, op.then);
    let stage = Stage::new(x.rows(), x.rows() * x.width() / 2, move |context, m| {
        // SAFETY: a unit owns its row of `dx`; the rest is only read.
        let (x, dy, dx, weight) = unsafe { (x.row(m), dy.row(m), dx.row_mut(m), weight.dense()) };
        let heads = x.chunks_exact(weight.len()).zip(dy.chunks_exact(weight.len()));
        for (dx, (x, dy)) in dx.chunks_exact_mut(weight.len()).zip(heads) {
            context.isa.run(NormHead { x, weight, dy, dx, eps, then });
        }
        Ok(())
    });
    Ok(stage.into())
}

/// A row of [`GateGrad`].
struct GateRow<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    dout: &'a [f32],
    by_gate: &'a mut [f32],
    by_up: &'a mut [f32],
    kind: Gate,
}

impl Kernel for GateRow<'_> {
    type Output = ();

    // Both activations are g sigmoid(y(g)), with slope sigmoid(y) (1 + g (1 - sigmoid(y)) y'(g)).
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let one = s.splat(1.0);
        let inputs = self.gate.chunks(LANES).zip(self.up.chunks(LANES));
        let outputs = self.by_gate.chunks_mut(LANES).zip(self.by_up.chunks_mut(LANES));
        let rows = inputs.zip(self.dout.chunks(LANES)).zip(outputs);
        for (((gate, up), dout), (by_gate, by_up)) in rows {
            let (g, up, dout) = (math::load(s, gate), math::load(s, up), math::load(s, dout));
            let (y, rise) = match self.kind {
                Gate::Silu => (g, one),
                Gate::GeluTanh => {
                    let square = s.mul(s.splat(0.044_715), s.mul(g, g));
                    let root = s.splat(2.0 * SQRT_2_OVER_PI);
                    let y = s.mul(root, s.fma(square, g, g));
                    (y, s.mul(root, s.fma(s.splat(3.0), square, one)))
                }
            };
            let sigmoid = math::times_sigmoid(s, one, y);
            let rest = math::times_sigmoid(s, one, s.sub(s.splat(0.0), y));
            let slope = s.mul(sigmoid, s.fma(s.mul(g, rest), rise, one));
            math::store(s, s.mul(s.mul(dout, up), slope), by_gate);
            math::store(s, s.mul(dout, s.mul(g, sigmoid)), by_up);
        }
    }
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;

/// Stages of [`GateGrad`]: a unit is a row.
pub fn gate_grad(op: &GateGrad) -> BackendResult<Stages> {
    let (gate_up, dout) = (Tensor::<f32>::new(&op.gate_up)?, Tensor::<f32>::new(&op.dout)?);
    let grad = Tensor::<f32>::new(&op.grad)?;
    let kind = op.gate;
    let stage = Stage::new(dout.rows(), dout.rows() * dout.width() * 2, move |context, m| {
        // SAFETY: a unit owns its row of `grad`; the rest is only read.
        let (gate_up, dout, grad) = unsafe { (gate_up.row(m), dout.row(m), grad.row_mut(m)) };
        let (gate, up) = gate_up.split_at(dout.len());
        let (by_gate, by_up) = grad.split_at_mut(dout.len());
        context.isa.run(GateRow { gate, up, dout, by_gate, by_up, kind });
        Ok(())
    });
    Ok(stage.into())
}

/// A row of [`SoftmaxKl`]: gives the divergence, leaves the gradient.
struct KlRow<'a> {
    logits: &'a mut [f32],
    teacher: &'a [f32],
    /// `ln sum exp` of both.
    sums: [f32; 2],
    weight: f32,
}

/// Elements summed in f32 before the sum goes to f64.
const CHUNK: usize = 1024;

impl Kernel for KlRow<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let [own, other] = [s.splat(self.sums[0]), s.splat(self.sums[1])];
        let weight = s.splat(self.weight);
        let mut total = 0f64;
        for (logits, teacher) in self.logits.chunks_mut(CHUNK).zip(self.teacher.chunks(CHUNK)) {
            let mut sum = s.splat(0.0);
            for (l, t) in logits.chunks_mut(LANES).zip(teacher.chunks(LANES)) {
                // Padding: far below both, so that it adds e^-87 times nothing.
                let ln_p = s.sub(math::load_or(s, l, self.sums[0] - 87.3), own);
                let ln_q = s.sub(math::load_or(s, t, self.sums[1] - 87.3), other);
                let (p, q) = (math::exp(s, ln_p), math::exp(s, ln_q));
                sum = s.fma(q, s.sub(ln_q, ln_p), sum);
                math::store(s, s.mul(weight, s.sub(p, q)), l);
            }
            total += f64::from(s.sum(sum));
        }
        total
    }
}

/// Stages of [`SoftmaxKl`]: a unit is a row.
pub fn softmax_kl(op: &SoftmaxKl) -> BackendResult<Stages> {
    let (logits, teacher) = (Tensor::<f32>::new(&op.logits)?, Tensor::<f32>::new(&op.teacher)?);
    let (weights, loss) = (Tensor::<f32>::new(&op.weights)?, Tensor::<f32>::new(&op.loss)?);
    let cost_ns = 2 * logits.rows() * logits.width();
    let stage = Stage::new(logits.rows(), cost_ns, move |context, m| {
        // SAFETY: a unit owns its rows of `logits` and `loss`; the rest is only read.
        let (logits, loss, teacher, weights) =
            unsafe { (logits.row_mut(m), loss.row_mut(m), teacher.row(m), weights.row(m)) };
        let weight = weights[0];
        let own = context.isa.run(Reduce(logits)).log_sum_exp as f32;
        let other = context.isa.run(Reduce(teacher)).log_sum_exp as f32;
        let sum = context.isa.run(KlRow { logits, teacher, sums: [own, other], weight });
        loss[0] = (f64::from(weight) * sum) as f32;
        Ok(())
    });
    Ok(stage.into())
}
