//! The chain from logits to a token.
//!
//! Order, as in llama.cpp: penalties, top-k, typical, top-p, min-p, temperature. So the filters see
//! the model's own probabilities, renormalised over what earlier filters kept, and temperature only
//! changes how the rest is drawn. Every filter keeps at least one id, and ties go to the lowest id.

use std::cmp::Ordering;

use super::{SamplerParams, penalties, rng};
use crate::error::Result;

/// An id that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Id.
    pub id: u32,
    /// Logit after penalties.
    pub logit: f32,
}

/// A chosen token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Id.
    pub token: u32,
    /// Logit after penalties.
    pub logit: f32,
}

/// Chooses tokens. It has no state beyond its settings: the same arguments give the same token.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplerParams,
}

impl Sampler {
    /// A sampler; fails if a setting is out of its range ([`SamplerParams::check`]).
    pub fn new(params: SamplerParams) -> Result<Self> {
        params.check()?;
        Ok(Self { params })
    }

    /// Settings.
    pub fn params(&self) -> &SamplerParams {
        &self.params
    }

    /// False if the largest logit decides, so that a device's argmax is enough.
    pub fn needs_logits(&self) -> bool {
        self.params.temperature > 0.0 || self.params.has_penalties()
    }

    /// The token at `position` (the place it will have in the sequence) after `history` (all ids
    /// before it). `logits` is not empty; a NaN counts as impossible.
    pub fn choose(&self, logits: &[f32], history: &[u32], position: u64) -> Choice {
        let mut own;
        let mut logits = logits;
        if self.params.has_penalties() {
            own = logits.to_vec();
            penalties::apply(&mut own, &self.params, history);
            logits = &own;
        }
        if self.params.temperature == 0.0 {
            return greedy(logits);
        }
        let kept = self.filter(logits);
        let (seed, temperature) = (self.params.seed, f64::from(self.params.temperature));
        let mut best = (f64::NEG_INFINITY, kept[0]);
        for &candidate in &kept {
            let scaled = f64::from(candidate.logit) / temperature;
            // Noise is bounded, so most of a large vocabulary needs none.
            if scaled + rng::GUMBEL_MAX < best.0 {
                continue;
            }
            let score = scaled + rng::gumbel(seed, position, candidate.id);
            if score > best.0 || (score == best.0 && candidate.id < best.1.id) {
                best = (score, candidate);
            }
        }
        Choice { token: best.1.id, logit: best.1.logit }
    }

    /// The ids that the filters keep, most likely first where a filter needed that order.
    pub fn filter(&self, logits: &[f32]) -> Vec<Candidate> {
        let p = &self.params;
        let mut kept: Vec<Candidate> = logits
            .iter()
            .zip(0..)
            .filter(|(logit, _)| **logit > f32::NEG_INFINITY)
            .map(|(&logit, id)| Candidate { id, logit })
            .collect();
        if kept.is_empty() {
            kept.push(Candidate { id: 0, logit: f32::NEG_INFINITY });
        }
        let sorts = p.top_p < 1.0 || p.typical_p < 1.0;
        if p.top_k > 0 && p.top_k < kept.len() {
            kept.select_nth_unstable_by(p.top_k, likelier);
            kept.truncate(p.top_k);
            kept.sort_unstable_by(likelier);
        } else if sorts {
            kept.sort_unstable_by(likelier);
        }
        if p.typical_p < 1.0 {
            typical(&mut kept, p.typical_p);
        }
        if p.top_p < 1.0 {
            top_p(&mut kept, p.top_p);
        }
        if p.min_p > 0.0 {
            min_p(&mut kept, p.min_p);
        }
        kept
    }
}

fn greedy(logits: &[f32]) -> Choice {
    let mut best = Choice { token: 0, logit: f32::NEG_INFINITY };
    for (&logit, token) in logits.iter().zip(0..) {
        if logit > best.logit {
            best = Choice { token, logit };
        }
    }
    best
}

/// Most likely first, lowest id first on ties.
fn likelier(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// Probabilities of the candidates among themselves.
fn probabilities(kept: &[Candidate]) -> Vec<f64> {
    let max = kept.iter().map(|c| c.logit).fold(f32::NEG_INFINITY, f32::max);
    if !max.is_finite() {
        // Nothing or an overflow to infinity: the best ones share all probability.
        let best = kept.iter().filter(|c| c.logit == max).count() as f64;
        return kept.iter().map(|c| if c.logit == max { 1.0 / best } else { 0.0 }).collect();
    }
    let weights: Vec<f64> =
        kept.iter().map(|c| (f64::from(c.logit) - f64::from(max)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// How many leading probabilities reach `mass`; at least one.
fn reaching(probabilities: impl Iterator<Item = f64>, mass: f32) -> usize {
    let (mut sum, mut n) = (0.0, 0);
    for p in probabilities {
        sum += p;
        n += 1;
        if sum >= f64::from(mass) {
            break;
        }
    }
    n.max(1)
}

/// `kept` is sorted.
fn top_p(kept: &mut Vec<Candidate>, mass: f32) {
    let n = reaching(probabilities(kept).into_iter(), mass);
    kept.truncate(n);
}

fn min_p(kept: &mut Vec<Candidate>, fraction: f32) {
    let max = kept.iter().map(|c| c.logit).fold(f32::NEG_INFINITY, f32::max);
    let least = f64::from(max) + f64::from(fraction).ln();
    kept.retain(|c| c.logit == max || f64::from(c.logit) >= least);
}

/// `kept` is sorted, and stays so.
fn typical(kept: &mut Vec<Candidate>, mass: f32) {
    let probabilities = probabilities(kept);
    let surprise = |p: f64| -p.ln();
    let entropy: f64 =
        probabilities.iter().filter(|&&p| p > 0.0).map(|&p| p * surprise(p)).sum();
    let mut order: Vec<(usize, f64)> =
        probabilities.iter().map(|&p| (surprise(p) - entropy).abs()).enumerate().collect();
    // Stable: among equals the likelier stays first.
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let n = reaching(order.iter().map(|&(i, _)| probabilities[i]), mass);
    let mut chosen: Vec<usize> = order[..n].iter().map(|&(i, _)| i).collect();
    chosen.sort_unstable();
    *kept = chosen.into_iter().map(|i| kept[i]).collect();
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
