//! Filters: which tokens may be chosen at all.
//!
//! Each filter reads the candidates that the one before left, takes their softmax at temperature 1,
//! and keeps at least one.

use std::cmp::Ordering;

use super::{Candidate, SamplerParams};

/// Falling logit, then rising id.
pub(super) fn likelier(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// A logit as the sampler reads it: NaN is -inf, +inf the largest finite number, -0 is 0.
pub(super) fn read(logit: f32) -> f32 {
    if logit.is_nan() { f32::NEG_INFINITY } else { (logit + 0.0).min(f32::MAX) }
}

/// The candidates that pass all filters, most likely first if any filter needed that order, else by
/// id. None only if no logit is a number above -inf.
pub(super) fn filter(params: &SamplerParams, logits: &[f32]) -> Vec<Candidate> {
    let mut kept = top_k(logits, params.top_k);
    if params.typical_p < 1.0 {
        typical(&mut kept, f64::from(params.typical_p));
    }
    if params.top_p < 1.0 {
        top_p(&mut kept, f64::from(params.top_p));
    }
    if params.min_p > 0.0 {
        min_p(&mut kept, f64::from(params.min_p));
    }
    kept
}

/// The `k` largest logits, or all for `k` = 0; among equals the lower ids. One pass, with a buffer
/// of two `k` that is cut back to `k` whenever it is full.
fn top_k(logits: &[f32], k: usize) -> Vec<Candidate> {
    const SLACK: usize = 256;
    let k = if k == 0 { logits.len() } else { k.min(logits.len()) };
    let full = (2 * k).max(SLACK);
    let mut out = Vec::with_capacity(full.min(logits.len()));
    let mut floor = f32::NEG_INFINITY;
    for (id, &logit) in logits.iter().enumerate() {
        // false for NaN; ids rise, so an equal of the floor ranks behind it
        if logit > floor {
            out.push(Candidate { id: id as u32, logit: read(logit) });
            if out.len() == full && k < logits.len() {
                out.select_nth_unstable_by(k - 1, likelier);
                out.truncate(k);
                floor = out[k - 1].logit;
            }
        }
    }
    if k < logits.len() {
        if out.len() > k {
            out.select_nth_unstable_by(k - 1, likelier);
            out.truncate(k);
        }
        out.sort_unstable_by(likelier);
    }
    out
}

fn largest(candidates: &[Candidate]) -> f32 {
    candidates.iter().fold(f32::NEG_INFINITY, |max, c| max.max(c.logit))
}

/// `p(candidate) * total`, given the largest logit.
fn weight(candidate: &Candidate, max: f32) -> f64 {
    (f64::from(candidate.logit) - f64::from(max)).exp()
}

/// Locally typical sampling (arXiv 2202.00666): the fewest tokens, those whose `-ln p` is nearest to
/// the entropy first, of total probability at least `mass`.
fn typical(candidates: &mut Vec<Candidate>, mass: f64) {
    let max = largest(candidates);
    let (mut total, mut moment) = (0.0, 0.0);
    for c in &*candidates {
        let w = weight(c, max);
        total += w;
        // 0 * -inf never arises: the difference of two f32 is finite in f64
        moment += w * (f64::from(c.logit) - f64::from(max));
    }
    // -ln p - entropy = (ln total + max - l) - (ln total - moment / total) = centre - l
    let centre = f64::from(max) + moment / total;
    let distance = |c: &Candidate| (centre - f64::from(c.logit)).abs();
    keep_mass(candidates, mass * total, max, |a, b| {
        distance(a).total_cmp(&distance(b)).then_with(|| likelier(a, b))
    });
    candidates.sort_unstable_by(likelier);
}

/// Nucleus sampling (arXiv 1904.09751): the fewest tokens, most likely first, of total probability
/// at least `mass`.
fn top_p(candidates: &mut Vec<Candidate>, mass: f64) {
    let max = largest(candidates);
    let total: f64 = candidates.iter().map(|c| weight(c, max)).sum();
    keep_mass(candidates, mass * total, max, likelier);
}

/// Tokens at least `ratio` times as likely as the most likely one.
fn min_p(candidates: &mut Vec<Candidate>, ratio: f64) {
    let max = largest(candidates);
    let reach = ratio.ln();
    candidates.retain(|c| f64::from(c.logit) - f64::from(max) >= reach);
}

/// Keeps the shortest beginning, in the total order `order`, of total weight at least `need`. Sorts
/// only as far as that reaches, in chunks that grow.
fn keep_mass(
    candidates: &mut Vec<Candidate>,
    need: f64,
    max: f32,
    order: impl Fn(&Candidate, &Candidate) -> Ordering,
) {
    let len = candidates.len();
    let (mut sorted, mut chunk, mut sum) = (0, 256, 0.0);
    while sorted < len {
        let end = len.min(sorted + chunk);
        if end < len {
            candidates[sorted..].select_nth_unstable_by(end - sorted - 1, &order);
        }
        candidates[sorted..end].sort_unstable_by(&order);
        for i in sorted..end {
            sum += weight(&candidates[i], max);
            if sum >= need {
                candidates.truncate(i + 1);
                return;
            }
        }
        sorted = end;
        chunk *= 4;
    }
}
