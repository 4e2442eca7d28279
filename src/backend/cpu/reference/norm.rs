//! Root-mean-square norms.

use rayon::prelude::*;

use crate::{
    backend::cpu::Operands,
    ops::{AddRmsNorm, HeadRmsNorm, RmsNorm},
};

/// `1 / sqrt(mean(x^2) + eps)`.
fn inverse_rms(x: &[f32], eps: f32) -> f64 {
    let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    1.0 / (squares / x.len() as f64 + f64::from(eps)).sqrt()
}

fn normed(x: f32, factor: f64, weight: f32) -> f32 {
    (f64::from(x) * factor * f64::from(weight)) as f32
}

pub(super) fn rms_norm<'e>(op: &'e RmsNorm, operands: &Operands<'e>) {
    let x = operands.read::<f32>(&op.x);
    let weight = operands.read::<f32>(&op.weight).to_vec();
    let mut y = operands.write::<f32>(&op.y);
    y.par_iter_mut().enumerate().for_each(|(m, y)| {
        let x = x.row(m);
        let factor = inverse_rms(x, op.eps);
        for d in 0..y.len() {
            y[d] = normed(x[d], factor, weight[d]);
        }
    });
}

pub(super) fn add_rms_norm<'e>(op: &'e AddRmsNorm, operands: &Operands<'e>) {
    let r = operands.read::<f32>(&op.r);
    let weight = operands.read::<f32>(&op.weight).to_vec();
    let mut x = operands.write::<f32>(&op.x);
    let mut y = operands.write::<f32>(&op.y);
    x.par_iter_mut().zip(y.par_iter_mut()).enumerate().for_each(|(m, (x, y))| {
        for (x, r) in x.iter_mut().zip(r.row(m)) {
            *x += r;
        }
        let factor = inverse_rms(x, op.eps);
        for d in 0..y.len() {
            y[d] = normed(x[d], factor, weight[d]);
        }
    });
}

pub(super) fn head_rms_norm<'e>(op: &'e HeadRmsNorm, operands: &Operands<'e>) {
    let weight = operands.read::<f32>(&op.weight).to_vec();
    let mut x = operands.write::<f32>(&op.x);
    x.par_iter_mut().for_each(|row| {
        for head in row.chunks_exact_mut(weight.len()) {
            let factor = inverse_rms(head, op.eps);
            for (x, &weight) in head.iter_mut().zip(&weight) {
                *x = normed(*x, factor, weight);
            }
        }
    });
}
