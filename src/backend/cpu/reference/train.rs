//! Ops of training.

use rayon::prelude::*;

use crate::{
    backend::cpu::Operands,
    ops::{AdamW, ColumnSums, RowSquares, SiluGrad, SoftmaxXent, Then},
};

pub(super) fn silu_grad<'e>(op: &'e SiluGrad, operands: &Operands<'e>) {
    let (z, dy) = (operands.read::<f32>(&op.z), operands.read::<f32>(&op.dy));
    let mut dz = operands.write::<f32>(&op.dz);
    dz.par_iter_mut().enumerate().for_each(|(m, dz)| {
        for ((dz, &z), &dy) in dz.iter_mut().zip(z.row(m)).zip(dy.row(m)) {
            let z = f64::from(z);
            let s = 1.0 / (1.0 + (-z).exp());
            *dz = (f64::from(dy) * s * (1.0 + z * (1.0 - s))) as f32;
        }
    });
}

pub(super) fn column_sums<'e>(op: &'e ColumnSums, operands: &Operands<'e>) {
    let x = operands.read::<f32>(&op.x);
    let mut out = operands.write::<f32>(&op.out);
    for (c, out) in out.dense_mut().iter_mut().enumerate() {
        let sum: f64 = x.iter().map(|row| f64::from(row[c])).sum();
        *out = match op.then {
            Then::Store => sum as f32,
            Then::Add => (f64::from(*out) + sum) as f32,
        };
    }
}

pub(super) fn row_squares<'e>(op: &'e RowSquares, operands: &Operands<'e>) {
    let x = operands.read::<f32>(&op.x);
    let mut out = operands.write::<f32>(&op.out);
    for (out, x) in out.iter_mut().zip(x.iter()) {
        out[0] = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() as f32;
    }
}

pub(super) fn softmax_xent<'e>(op: &'e SoftmaxXent, operands: &Operands<'e>) {
    let targets = operands.read::<u32>(&op.targets);
    let weights = operands.read::<f32>(&op.weights);
    let mut logits = operands.write::<f32>(&op.logits);
    let mut loss = operands.write::<f32>(&op.loss);
    logits.par_iter_mut().zip(loss.par_iter_mut()).enumerate().for_each(|(m, (row, loss))| {
        let l: Vec<f64> = row.iter().copied().map(f64::from).collect();
        let max = l.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum_exp = max + l.iter().map(|l| (l - max).exp()).sum::<f64>().ln();
        let pairs: Vec<(usize, f64)> = (targets.row(m).iter().zip(weights.row(m)))
            .map(|(&t, &w)| (t as usize, f64::from(w)))
            .filter(|&(t, _)| t < l.len())
            .collect();
        loss[0] = pairs.iter().map(|&(t, w)| w * (log_sum_exp - l[t])).sum::<f64>() as f32;
        let total: f64 = pairs.iter().map(|&(_, w)| w).sum();
        let mut gradient: Vec<f64> = l.iter().map(|l| total * (l - log_sum_exp).exp()).collect();
        for (t, w) in pairs {
            gradient[t] -= w;
        }
        for (out, gradient) in row.iter_mut().zip(gradient) {
            *out = gradient as f32;
        }
    });
}

pub(super) fn adamw<'e>(op: &'e AdamW, operands: &Operands<'e>) {
    let hyper = operands.read::<f32>(&op.hyper).to_vec();
    let &[lr, b1, b2, eps, decay, c1, c2, max_norm] = hyper.as_slice() else {
        unreachable!("the op's check counted the words");
    };
    let [lr, b1, b2, eps, decay, c1, c2] = [lr, b1, b2, eps, decay, c1, c2].map(f64::from);
    let norm2 = operands.read::<f32>(&op.norm2).at(0);
    if !norm2.is_finite() {
        return;
    }
    let norm = f64::from(norm2).sqrt();
    let clip = if norm > f64::from(max_norm) { f64::from(max_norm) / norm } else { 1.0 };
    let grads = operands.read::<f32>(&op.grads);
    let mut params = operands.write::<f32>(&op.params);
    let mut mean = operands.write::<f32>(&op.mean);
    let mut square = operands.write::<f32>(&op.square);
    let moments = mean.par_iter_mut().zip(square.par_iter_mut());
    params.par_iter_mut().zip(moments).enumerate().for_each(|(row, (params, (mean, square)))| {
        for (i, &g) in grads.row(row).iter().enumerate() {
            let g = f64::from(g) * clip;
            let m = b1 * f64::from(mean[i]) + (1.0 - b1) * g;
            let v = b2 * f64::from(square[i]) + (1.0 - b2) * g * g;
            let w = f64::from(params[i]);
            params[i] = (w - lr * (c1 * m / ((c2 * v).sqrt() + eps) + decay * w)) as f32;
            (mean[i], square[i]) = (m as f32, v as f32);
        }
    });
}
