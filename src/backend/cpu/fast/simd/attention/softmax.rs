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

/// Whole vectors of a query's scores that it sees anything of, and what it sees of them.
#[inline(always)]
fn seen(place: Place, scores: &mut [f32]) -> (&mut [f32], usize, usize) {
    let first = place.low / LANES * LANES;
    let scores = &mut scores[first..place.high.next_multiple_of(LANES)];
    (scores, place.low - first, place.high - first)
}

/// The largest of a query's scores; those it does not see are put below all others.
#[inline(always)]
pub(super) fn largest<S: Simd>(s: S, place: Place, scores: &mut [f32]) -> f32 {
    let mut max = s.splat(f32::NEG_INFINITY);
    if !place.is_empty() {
        let (scores, low, high) = seen(place, scores);
        scores[..low].fill(f32::NEG_INFINITY);
        scores[high..].fill(f32::NEG_INFINITY);
        for scores in scores.chunks_exact(LANES) {
            max = s.max(math::load(s, scores), max);
        }
    }
    s.largest(max)
}

/// Takes each query's `largest` score into its `state`; gives the factors for what was summed before.
#[inline(always)]
pub(super) fn keep<S: Simd>(s: S, largest: &mut [f32], state: &mut [f32], state_len: usize) {
    let states = state.chunks_mut(state_len * LANES);
    for (largest, states) in largest.chunks_mut(LANES).zip(states) {
        let mut below = [0.0; LANES];
        let states = states.chunks_exact_mut(state_len);
        for ((below, &new), state) in below.iter_mut().zip(&*largest).zip(states) {
            let (old, seen) = (state[0], state[1] != 0.0);
            state[0] = if seen && old > new { old } else { new };
            *below = if seen && old != state[0] { old - state[0] } else { 0.0 };
        }
        let kept = math::lanes(s, math::exp(s, s.load(&below)));
        largest.copy_from_slice(&kept[..largest.len()]);
    }
}

/// A query's scores to weights, whose sum is added to what is `kept` of that in `state`.
#[inline(always)]
pub(super) fn weigh<S: Simd>(s: S, place: Place, scores: &mut [f32], kept: f32, state: &mut [f32]) {
    let (scores, low, high) = seen(place, scores);
    for scores in scores.chunks_exact_mut(LANES) {
        let weights = math::exp(s, s.sub(math::load(s, scores), s.splat(state[0])));
        math::store(s, weights, scores);
    }
    scores[..low].fill(0.0);
    scores[high..].fill(0.0);
    let mut sum = s.splat(0.0);
    for weights in scores.chunks_exact(LANES) {
        sum = s.add(sum, math::load(s, weights));
    }
    state[1] = kept.mul_add(state[1], s.sum(sum));
}
