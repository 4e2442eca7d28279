//! Reductions over the vocabulary.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::{
    backend::cpu::Operands,
    ops::{RowStats, TopK},
};

/// `ln sum exp(l)`, without overflow.
pub(super) fn log_sum_exp<T: Copy + Into<f64>>(logits: &[T]) -> f64 {
    let max = logits.iter().map(|&l| l.into()).fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let sum: f64 = logits.iter().map(|&l| (l.into() - max).exp()).sum();
    max + sum.ln()
}

/// `-sum p ln p` of `p = exp(l - logsumexp)`.
pub(super) fn entropy<T: Copy + Into<f64>>(logits: &[T], log_sum_exp: f64) -> f64 {
    let term = |&l: &T| {
        let ln_p = l.into() - log_sum_exp;
        if ln_p == f64::NEG_INFINITY { 0.0 } else { -ln_p.exp() * ln_p }
    };
    logits.iter().map(term).sum()
}

/// Largest first, lowest id first on ties; a NaN counts as the smallest value.
fn by_rank(logits: &[f32], a: usize, b: usize) -> Ordering {
    // adding zero makes -0 and 0 tie
    let value = |i: usize| if logits[i].is_nan() { f32::NEG_INFINITY } else { logits[i] + 0.0 };
    value(b).total_cmp(&value(a)).then(a.cmp(&b))
}

pub(super) fn row_stats<'e>(op: &'e RowStats, operands: &Operands<'e>) {
    let logits = operands.read::<f32>(&op.logits);
    let mut out = operands.write::<u32>(&op.out);
    out.par_iter_mut().enumerate().for_each(|(m, out)| {
        let logits = logits.row(m);
        let best = (0..logits.len()).min_by(|&a, &b| by_rank(logits, a, b)).expect("V is not zero");
        let log_sum_exp = log_sum_exp(logits);
        out[0] = logits[best].to_bits();
        out[1] = best as u32;
        out[2] = (log_sum_exp as f32).to_bits();
        out[3] = (entropy(logits, log_sum_exp) as f32).to_bits();
    });
}

pub(super) fn top_k<'e>(op: &'e TopK, operands: &Operands<'e>) {
    let logits = operands.read::<f32>(&op.logits);
    let mut ids = operands.write::<u32>(&op.ids);
    let mut logprobs = operands.write::<f32>(&op.logprobs);
    ids.par_iter_mut().zip(logprobs.par_iter_mut()).enumerate().for_each(|(m, (ids, logprobs))| {
        let logits = logits.row(m);
        let k = ids.len();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.select_nth_unstable_by(k - 1, |&a, &b| by_rank(logits, a, b));
        order.truncate(k);
        order.sort_unstable_by(|&a, &b| by_rank(logits, a, b));
        let log_sum_exp = log_sum_exp(logits);
        for (i, id) in order.into_iter().enumerate() {
            ids[i] = id as u32;
            logprobs[i] = (f64::from(logits[id]) - log_sum_exp) as f32;
        }
    });
}
