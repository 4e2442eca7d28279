//! The running softmax of a query: kept within a span, merged across spans.

use super::chunk::Place;
use crate::backend::cpu::fast::simd::{LANES, Simd, math};

/// Running softmax of one query: the largest score, the sum of weights; the weighted values follow
/// in memory.
pub(super) const STATE: usize = 2;

/// No score seen: the sum of weights is zero.
pub(super) fn reset(states: &mut [f32]) {
    states.fill(0.0);
}

/// Adds a span to those before it. A sum of zero means nothing was seen.
#[inline(always)]
pub(super) fn merge<S: Simd>(s: S, total: &mut [f32], state: &[f32]) {
    if state[1] == 0.0 {
        return;
    }
    if total[1] == 0.0 {
        total.copy_from_slice(state);
        return;
    }
    let max = if state[0] > total[0] { state[0] } else { total[0] };
    let (a, b) = (exp_one(s, total[0] - max), exp_one(s, state[0] - max));
    total[1] = b.mul_add(state[1], a * total[1]);
    total[0] = max;
    for (t, x) in total[LANES..].chunks_exact_mut(LANES).zip(state[LANES..].chunks_exact(LANES)) {
        let (old, new) = (math::load(s, t), math::load(s, x));
        math::store(s, s.fma(s.splat(b), new, s.mul(s.splat(a), old)), t);
    }
}

#[inline(always)]
fn exp_one<S: Simd>(s: S, x: f32) -> f32 {
    math::lanes(s, math::exp(s, s.splat(x)))[0]
}

/// Scores to weights; gives the factor for what was summed before.
#[inline(always)]
pub(super) fn weigh<S: Simd>(s: S, place: Place, scores: &mut [f32], state: &mut [f32]) -> f32 {
    // Whole vectors that the row sees nothing of would add zeros.
    let (before, rest) = scores.split_at_mut(place.low / LANES * LANES);
    let (scores, behind) = rest.split_at_mut(place.high.next_multiple_of(LANES) - before.len());
    let (low, high) = (place.low - before.len(), place.high - before.len());
    before.fill(0.0);
    behind.fill(0.0);
    scores[..low].fill(f32::NEG_INFINITY);
    scores[high..].fill(f32::NEG_INFINITY);
    let mut max = s.splat(f32::NEG_INFINITY);
    for scores in scores.chunks_exact(LANES) {
        max = s.max(math::load(s, scores), max);
    }
    let max = s.largest(max);
    let seen = state[1] != 0.0;
    let max = if seen && state[0] > max { state[0] } else { max };
    let kept = match (seen, state[0] == max) {
        (true, true) => 1.0,
        (true, false) => exp_one(s, state[0] - max),
        (false, _) => 0.0,
    };
    for scores in scores.chunks_exact_mut(LANES) {
        let weights = math::exp(s, s.sub(math::load(s, scores), s.splat(max)));
        math::store(s, weights, scores);
    }
    scores[..low].fill(0.0);
    scores[high..].fill(0.0);
    let mut sum = s.splat(0.0);
    for weights in scores.chunks_exact(LANES) {
        sum = s.add(sum, math::load(s, weights));
    }
    state[1] = kept.mul_add(state[1], s.sum(sum));
    state[0] = max;
    kept
}
