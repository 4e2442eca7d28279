//! Gradients through a decoder.

use rayon::prelude::*;

use super::{pointwise::activation, stats::log_sum_exp};
use crate::{
    backend::cpu::Operands,
    ops::{Gate, GateGrad, RmsNormGrad, SoftmaxGrad, SoftmaxKl, SpanSoftmax, Then},
};

pub(super) fn span_softmax<'e>(op: &'e SpanSoftmax, operands: &Operands<'e>) {
    let spans = operands.read::<u32>(&op.spans);
    let mut x = operands.write::<f32>(&op.x);
    x.par_iter_mut().enumerate().for_each(|(m, row)| {
        let [first, end] = [0, 1].map(|i| (spans.row(m)[i] as usize).min(row.len()));
        let seen = first..end.max(first);
        let scores: Vec<f64> =
            row[seen.clone()].iter().map(|&x| f64::from(op.scale) * f64::from(x)).collect();
        let log_sum_exp = log_sum_exp(&scores);
        row.fill(0.0);
        for (x, score) in row[seen].iter_mut().zip(scores) {
            *x = (score - log_sum_exp).exp() as f32;
        }
    });
}

pub(super) fn softmax_grad<'e>(op: &'e SoftmaxGrad, operands: &Operands<'e>) {
    let p = operands.read::<f32>(&op.p);
    let mut dp = operands.write::<f32>(&op.dp);
    dp.par_iter_mut().enumerate().for_each(|(m, dp)| {
        let p = p.row(m);
        let dot: f64 = p.iter().zip(&*dp).map(|(&p, &dp)| f64::from(p) * f64::from(dp)).sum();
        for (dp, &p) in dp.iter_mut().zip(p) {
            *dp = (f64::from(op.scale) * f64::from(p) * (f64::from(*dp) - dot)) as f32;
        }
    });
}

pub(super) fn rms_norm_grad<'e>(op: &'e RmsNormGrad, operands: &Operands<'e>) {
    let (x, dy) = (operands.read::<f32>(&op.x), operands.read::<f32>(&op.dy));
    let weight = operands.read::<f32>(&op.weight).to_vec();
    let mut dx = operands.write::<f32>(&op.dx);
    let d = weight.len();
    dx.par_iter_mut().enumerate().for_each(|(m, dx)| {
        let heads = x.row(m).chunks_exact(d).zip(dy.row(m).chunks_exact(d));
        for (dx, (x, dy)) in dx.chunks_exact_mut(d).zip(heads) {
            let (mut squares, mut dot) = (0f64, 0f64);
            for i in 0..d {
                let x = f64::from(x[i]);
                squares += x * x;
                dot += x * f64::from(weight[i]) * f64::from(dy[i]);
            }
            let r = 1.0 / (squares / d as f64 + f64::from(op.eps)).sqrt();
            for i in 0..d {
                let g = f64::from(weight[i]) * f64::from(dy[i]);
                let value = r * g - f64::from(x[i]) * r.powi(3) / d as f64 * dot;
                dx[i] = match op.then {
                    Then::Store => value as f32,
                    Then::Add => (f64::from(dx[i]) + value) as f32,
                };
            }
        }
    });
}

/// Derivative of an activation.
fn slope(gate: Gate, g: f64) -> f64 {
    match gate {
        Gate::Silu => {
            let s = 1.0 / (1.0 + (-g).exp());
            s * (1.0 + g * (1.0 - s))
        }
        Gate::GeluTanh => {
            let root = (2.0 / std::f64::consts::PI).sqrt();
            let tanh = (root * (g + 0.044715 * g * g * g)).tanh();
            let inner = root * (1.0 + 3.0 * 0.044715 * g * g);
            0.5 * (1.0 + tanh) + 0.5 * g * (1.0 - tanh * tanh) * inner
        }
    }
}

pub(super) fn gate_grad<'e>(op: &'e GateGrad, operands: &Operands<'e>) {
    let gate_up = operands.read::<f32>(&op.gate_up);
    let dout = operands.read::<f32>(&op.dout);
    let mut grad = operands.write::<f32>(&op.grad);
    grad.par_iter_mut().enumerate().for_each(|(m, grad)| {
        let dout = dout.row(m);
        let (gate, up) = gate_up.row(m).split_at(dout.len());
        let (by_gate, by_up) = grad.split_at_mut(dout.len());
        for f in 0..dout.len() {
            let (g, dout) = (f64::from(gate[f]), f64::from(dout[f]));
            by_gate[f] = (dout * f64::from(up[f]) * slope(op.gate, g)) as f32;
            by_up[f] = (dout * activation(op.gate, g)) as f32;
        }
    });
}

pub(super) fn softmax_kl<'e>(op: &'e SoftmaxKl, operands: &Operands<'e>) {
    let teacher = operands.read::<f32>(&op.teacher);
    let weights = operands.read::<f32>(&op.weights);
    let mut logits = operands.write::<f32>(&op.logits);
    let mut loss = operands.write::<f32>(&op.loss);
    logits.par_iter_mut().zip(loss.par_iter_mut()).enumerate().for_each(|(m, (row, loss))| {
        let (teacher, weight) = (teacher.row(m), f64::from(weights.row(m)[0]));
        let (own, other) = (log_sum_exp(row), log_sum_exp(teacher));
        let mut sum = 0f64;
        for (l, &t) in row.iter_mut().zip(teacher) {
            let (ln_p, ln_q) = (f64::from(*l) - own, f64::from(t) - other);
            let (p, q) = (ln_p.exp(), ln_q.exp());
            sum += q * (ln_q - ln_p);
            *l = (weight * (p - q)) as f32;
        }
        loss[0] = (weight * sum) as f32;
    });
}
