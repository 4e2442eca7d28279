//! Queries over one chunk: scores, weights, weighted values.

use std::ops::Range;

use super::{
    Attention, CHUNK, Local, TILE,
    chunk::Place,
    softmax::{STATE, weigh},
};
use crate::backend::cpu::fast::simd::{Kernel, LANES, Simd, math};

/// Vectors of a head that stay in registers at once.
const WIDE: usize = 4;

#[inline(always)]
pub(super) fn tiles<S: Simd>(
    s: S,
    op: &Attention,
    queries: Range<usize>,
    place: Place,
    local: &mut Local<'_>,
) {
    let mut first = queries.start;
    while first < queries.end {
        if S::TILE >= TILE && queries.end - first >= TILE {
            s.call(Tile::<TILE> { op, first, place, local });
            first += TILE;
        } else {
            s.call(Tile::<1> { op, first, place, local });
            first += 1;
        }
    }
}

/// `N` queries over one chunk: scores, online softmax, weighted values.
struct Tile<'a, 'l, const N: usize> {
    op: &'a Attention,
    first: usize,
    place: Place,
    local: &'a mut Local<'l>,
}

impl<const N: usize> Kernel for Tile<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        tile::<S, N>(s, self.op, self.first, self.place, self.local);
    }
}

#[inline(always)]
fn tile<S: Simd, const N: usize>(
    s: S,
    op: &Attention,
    first: usize,
    place: Place,
    l: &mut Local<'_>,
) {
    let (d, len) = (op.padded_d, op.state_len());
    let q = &l.q[first * d..][..N * d];
    let scores = &mut l.scores[..N * CHUNK];
    if place.low == 0 && place.path == CHUNK {
        score::<S, N, { CHUNK / LANES }>(s, q, l.keys, 0, scores);
    } else {
        for block in place.low / LANES..place.high.div_ceil(LANES) {
            let at = block * LANES;
            if at < place.path {
                score::<S, N, 1>(s, q, l.keys, at, scores);
            }
            if at + LANES > place.path && place.has_path() {
                let mut kept = [[0.0; LANES]; N];
                for (kept, scores) in kept.iter_mut().zip(scores.chunks_exact(CHUNK)) {
                    kept.copy_from_slice(&scores[at..][..LANES]);
                }
                score::<S, N, 1>(s, q, l.path_keys, at, scores);
                let shared = place.path.saturating_sub(at);
                for (kept, scores) in kept.iter().zip(scores.chunks_exact_mut(CHUNK)) {
                    scores[at..][..shared].copy_from_slice(&kept[..shared]);
                }
            }
        }
    }
    let mut kept = [0.0; N];
    for n in 0..N {
        let state = &mut l.state[(first + n) * len..][..STATE];
        kept[n] = weigh(s, place, &mut scores[n * CHUNK..][..CHUNK], state);
    }
    let state = &mut l.state[first * len..][..N * len];
    let mut j = 0;
    while j < d {
        if d - j >= WIDE * LANES {
            gather::<S, N, WIDE>(s, d, j, place, &kept, scores, l.values, l.path_values, state);
            j += WIDE * LANES;
        } else {
            gather::<S, N, 1>(s, d, j, place, &kept, scores, l.values, l.path_values, state);
            j += LANES;
        }
    }
}

/// `scores[n][at ..] = sum_j q[n][j] keys[j][at ..]`, `B` vectors of them, `j` ascending.
#[inline(always)]
fn score<S: Simd, const N: usize, const B: usize>(
    s: S,
    q: &[f32],
    keys: &[f32],
    at: usize,
    scores: &mut [f32],
) {
    let d = q.len() / N;
    let mut acc = [[s.splat(0.0); B]; N];
    for (j, keys) in keys.chunks_exact(CHUNK).take(d).enumerate() {
        let mut k = [s.splat(0.0); B];
        for (k, keys) in k.iter_mut().zip(keys[at..][..B * LANES].chunks_exact(LANES)) {
            *k = math::load(s, keys);
        }
        for (n, acc) in acc.iter_mut().enumerate() {
            let q = s.splat(q[n * d + j]);
            for (acc, k) in acc.iter_mut().zip(k) {
                *acc = s.fma(q, k, *acc);
            }
        }
    }
    for (acc, scores) in acc.into_iter().zip(scores.chunks_exact_mut(CHUNK)) {
        for (acc, scores) in acc.into_iter().zip(scores[at..].chunks_exact_mut(LANES)) {
            math::store(s, acc, scores);
        }
    }
}

/// `state[n] = kept[n] * state[n] + sum_p weights[n][p] values[p]`, `W` vectors from element `j` on,
/// `p` ascending.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a step of the kernel, inlined at two places")]
fn gather<S: Simd, const N: usize, const W: usize>(
    s: S,
    d: usize,
    j: usize,
    place: Place,
    kept: &[f32; N],
    weights: &[f32],
    values: &[f32],
    path_values: &[f32],
    state: &mut [f32],
) {
    let len = state.len() / N;
    let mut acc = [[s.splat(0.0); W]; N];
    for n in 0..N {
        for w in 0..W {
            let old = math::load(s, &state[n * len + LANES + j + w * LANES..][..LANES]);
            acc[n][w] = s.mul(s.splat(kept[n]), old);
        }
    }
    let shared = (values, place.low, place.path);
    let path = (path_values, place.path, place.high);
    for (values, from, to) in [shared, path] {
        for p in from..to {
            let row = &values[p * d + j..][..W * LANES];
            let mut v = [s.splat(0.0); W];
            for (v, row) in v.iter_mut().zip(row.chunks_exact(LANES)) {
                *v = math::load(s, row);
            }
            for n in 0..N {
                let weight = s.splat(weights[n * CHUNK + p]);
                for w in 0..W {
                    acc[n][w] = s.fma(weight, v[w], acc[n][w]);
                }
            }
        }
    }
    for n in 0..N {
        for w in 0..W {
            math::store(s, acc[n][w], &mut state[n * len + LANES + j + w * LANES..][..LANES]);
        }
    }
}
