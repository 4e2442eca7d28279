//! The chain from logits to a token.
//!
//! Order, as in llama.cpp: penalties, top-k, typical, top-p, min-p, temperature. So the filters see
//! the model's own probabilities, renormalised over what earlier filters kept, and temperature only
//! changes how the rest is drawn. Every filter keeps at least one id, and ties go to the lowest id.
//!
//! The draw is the Gumbel-max trick: of the kept candidates the one with the largest
//!
//! ```text
//! (l - l_max) / temperature + gumbel(seed, position, id)          in f32; ties to the lowest id
//! ```
//!
//! with `l_max` their largest logit; its law is the softmax of `l / temperature`. Noise belongs to
//! the id, so filtering some ids away moves nothing for the others. At temperature 0 the largest
//! logit after penalties decides and no filter applies.

use std::borrow::Cow;

use super::{SamplerParams, filters, penalties, rng};
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
    /// Natural logarithm of the token's probability under the model's own distribution: temperature
    /// 1, no penalties, no filters.
    pub logprob: f32,
    /// How many candidates the draw was between: 1 at temperature 0. It is 0 if and only if no logit
    /// was a number above -inf; the token is then 0 and its log-probability -inf.
    pub kept: usize,
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
    /// before it). A NaN among `logits` counts as impossible.
    pub fn choose(&self, logits: &[f32], history: &[u32], position: u64) -> Choice {
        let kept = self.candidates(logits, history);
        let each = kept.iter().copied();
        match draw(each, self.params.temperature, self.params.seed, position) {
            Some(Candidate { id, logit }) => {
                Choice { token: id, logit, logprob: logprob(logits, id), kept: kept.len() }
            }
            None => {
                let logit = f32::NEG_INFINITY;
                Choice { token: 0, logit, logprob: logit, kept: 0 }
            }
        }
    }

    /// The token of [`Self::choose`] alone, which is cheaper than with its probability.
    pub fn token(&self, logits: &[f32], history: &[u32], position: u64) -> u32 {
        let kept = self.candidates(logits, history);
        let each = kept.iter().copied();
        draw(each, self.params.temperature, self.params.seed, position).map_or(0, |c| c.id)
    }

    /// The exact distribution over seeds that [`Sampler::choose`] draws from: (id, probability) of
    /// each candidate, by rising id. The probabilities sum to 1; where no logit is a number above
    /// -inf, id 0 has all of it, as in `choose`.
    pub fn probabilities(&self, logits: &[f32], history: &[u32]) -> Vec<(u32, f64)> {
        let mut kept = self.candidates(logits, history);
        let Some(top) = top(kept.iter().copied()) else { return vec![(0, 1.0)] };
        kept.sort_unstable_by_key(|c| c.id);
        let weight = |c: &Candidate| f64::from(scaled(c, top, self.params.temperature)).exp();
        let total: f64 = kept.iter().map(weight).sum();
        kept.iter().map(|c| (c.id, weight(c) / total)).collect()
    }

    /// The ids that the filters keep, most likely first where a filter needed that order; id 0 if no
    /// logit is a number above -inf.
    pub fn filter(&self, logits: &[f32]) -> Vec<Candidate> {
        let mut kept = filters::filter(&self.params, logits);
        if kept.is_empty() {
            kept.push(Candidate { id: 0, logit: f32::NEG_INFINITY });
        }
        kept
    }

    /// What the draw is between; nothing if no logit is a number above -inf.
    fn candidates(&self, logits: &[f32], history: &[u32]) -> Vec<Candidate> {
        let mut logits = Cow::Borrowed(logits);
        if self.params.has_penalties() {
            penalties::apply(logits.to_mut(), &self.params, history);
        }
        if self.params.temperature > 0.0 {
            filters::filter(&self.params, &logits)
        } else {
            greedy(&logits).into_iter().collect()
        }
    }
}

/// The largest logit, the lowest id among equals.
fn greedy(logits: &[f32]) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    for (id, &logit) in (0..).zip(logits) {
        let logit = filters::read(logit);
        if logit > best.map_or(f32::NEG_INFINITY, |best| best.logit) {
            best = Some(Candidate { id, logit });
        }
    }
    best
}

fn top(kept: impl Iterator<Item = Candidate>) -> Option<Candidate> {
    kept.min_by(filters::likelier)
}

/// Distance from the top logit in units of the temperature: 0 for the top, also at temperature 0.
fn scaled(candidate: &Candidate, top: Candidate, temperature: f32) -> f32 {
    let distance = candidate.logit - top.logit;
    if distance == 0.0 { 0.0 } else { distance / temperature }
}

/// The token that [`Sampler::choose`] takes without penalties and filters, for a temperature above 0;
/// none if no logit is a number above -inf. What devices draw when they verify a tree.
pub fn draw_any(logits: &[f32], temperature: f32, seed: u64, position: u64) -> Option<u32> {
    let all = (0..).zip(logits).filter(|&(_, &logit)| logit > f32::NEG_INFINITY);
    let kept = all.map(|(id, &logit)| Candidate { id, logit: filters::read(logit) });
    draw(kept, temperature, seed, position).map(|choice| choice.id)
}

/// The draw as in the module's docs.
fn draw(
    kept: impl Iterator<Item = Candidate> + Clone,
    temperature: f32,
    seed: u64,
    position: u64,
) -> Option<Candidate> {
    let top = top(kept.clone())?;
    // The top first: most of a large vocabulary is then too low for any noise to lift it.
    let mut best = (rng::gumbel(seed, position, top.id), top);
    for candidate in kept {
        let base = scaled(&candidate, top, temperature);
        // Rounding is monotonic, so no candidate is skipped that could win or tie.
        if base + rng::GUMBEL_MAX < best.0 {
            continue;
        }
        let score = base + rng::gumbel(seed, position, candidate.id);
        if score > best.0 || (score == best.0 && candidate.id < best.1.id) {
            best = (score, candidate);
        }
    }
    Some(best.1)
}

/// Log-probability of `token` under the softmax of `logits`.
fn logprob(logits: &[f32], token: u32) -> f32 {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, &l| max.max(filters::read(l)));
    let total: f64 = logits.iter().map(|&l| f64::from((filters::read(l) - max).exp())).sum();
    let logit = filters::read(logits[token as usize]);
    (f64::from(logit) - f64::from(max) - total.ln()) as f32
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
