//! Queries over one chunk: scores, weights, weighted values.
//!
//! Queries that see the same positions of the table go through them in tiles, so that a key or value
//! is loaded once for several. The sums of a query do not depend on who else is in its tile.

use std::ops::Range;

use super::{
    Attention, CHUNK, Local, Sight, TILE,
    chunk::Place,
    softmax::{STATE, keep, largest, weigh},
};
use crate::backend::cpu::fast::simd::{Kernel, LANES, Simd, math};

/// Vectors of a head that stay in registers at once.
const WIDE: usize = 4;

/// Runs `$body` for tiles of `$n` queries from `$first` on, wide ones while there are as many.
macro_rules! in_tiles {
    ($simd:ty, $queries:expr, $first:ident, $n:ident => $body:expr) => {{
        let mut $first = $queries.start;
        while $first < $queries.end {
            let left = $queries.end - $first;
            if <$simd>::TILE >= TILE && left >= TILE {
                const $n: usize = TILE;
                $body;
                $first += TILE;
            } else if <$simd>::TILE >= TILE && left == 3 {
                const $n: usize = 3;
                $body;
                $first += 3;
            } else if <$simd>::TILE >= TILE && left == 2 {
                const $n: usize = 2;
                $body;
                $first += 2;
            } else {
                const $n: usize = 1;
                $body;
                $first += 1;
            }
        }
    }};
}
pub(super) use in_tiles;

/// Scores of positions `shared` of the table.
pub(super) struct SharedScores<'a, 'l> {
    pub op: &'a Attention,
    pub queries: Range<usize>,
    /// Positions `low .. path` of the chunk.
    pub shared: (usize, usize),
    pub local: &'a mut Local<'l>,
}

impl Kernel for SharedScores<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, queries, shared: (low, path), local: l } = self;
        if low >= path {
            return;
        }
        let (d, end) = (op.padded_d, path.div_ceil(LANES));
        in_tiles!(S, queries, first, N => {
            let q = &l.q[first * d..][..N * d];
            let scores = &mut l.scores[first * CHUNK..][..N * CHUNK];
            // Scores beyond `shared` are written too; the path or `largest` replaces them.
            let mut block = low / LANES;
            while block < end {
                block += match end - block {
                    3.. if block == 0 => score_block::<S, N, { CHUNK / LANES }>(s, q, l.keys, 0, scores),
                    2.. => score_block::<S, N, 2>(s, q, l.keys, block * LANES, scores),
                    _ => score_block::<S, N, 1>(s, q, l.keys, block * LANES, scores),
                };
            }
        });
    }
}

/// Scores of all rows' queries to weights; notes what to keep of the values so far.
pub(super) struct Weights<'a, 'l> {
    pub op: &'a Attention,
    pub rows: &'a [Sight],
    /// First position of the chunk.
    pub chunk: usize,
    /// First query of the first row.
    pub first: usize,
    pub local: &'a mut Local<'l>,
}

impl Kernel for Weights<'_, '_> {
    type Output = ();

    // Pass by pass: a query's instructions wait for each other, but not for those of the next.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, rows, chunk, first, local: l } = self;
        let (heads, len) = (op.heads_per_group, op.state_len());
        let places = || {
            let rows = rows.iter().map(|row| Place::of(row, chunk));
            rows.enumerate().map(|(i, place)| (place, first + i * heads..first + (i + 1) * heads))
        };
        for (place, queries) in places() {
            for query in queries {
                let scores = &mut l.scores[query * CHUNK..][..CHUNK];
                l.kept[query] = largest(s, place, scores);
            }
        }
        let queries = rows.len() * heads;
        keep(s, &mut l.kept[first..][..queries], &mut l.state[first * len..][..queries * len], len);
        for (place, queries) in places().filter(|(place, _)| !place.is_empty()) {
            for query in queries {
                let scores = &mut l.scores[query * CHUNK..][..CHUNK];
                let state = &mut l.state[query * len..][..STATE];
                weigh(s, place, scores, l.kept[query], state);
            }
        }
    }
}

/// Weighted values of positions `shared` of the table.
pub(super) struct SharedValues<'a, 'l> {
    pub op: &'a Attention,
    pub queries: Range<usize>,
    /// Positions `low .. path` of the chunk.
    pub shared: (usize, usize),
    pub local: &'a mut Local<'l>,
}

impl Kernel for SharedValues<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, queries, shared, local: l } = self;
        let (d, len) = (op.padded_d, op.state_len());
        in_tiles!(S, queries, first, N => {
            let (weights, kept) = (&l.scores[first * CHUNK..], &l.kept[first..][..N]);
            let state = &mut l.state[first * len..][..N * len];
            let mut j = 0;
            while j < d {
                j += if d - j >= WIDE * LANES {
                    gather::<S, N, WIDE>(s, (d, j), shared, (weights, kept), l.values, state)
                } else {
                    gather::<S, N, 1>(s, (d, j), shared, (weights, kept), l.values, state)
                };
            }
        });
    }
}

/// `scores[n][at ..] = sum_j q[n][j] keys[j][at ..]`, `B` vectors of them, `j` ascending; gives `B`.
#[inline(always)]
pub(super) fn score_block<S: Simd, const N: usize, const B: usize>(
    s: S,
    q: &[f32],
    keys: &[f32],
    at: usize,
    scores: &mut [f32],
) -> usize {
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
    for (acc, scores) in acc.into_iter().zip(scores[at..].chunks_mut(CHUNK)) {
        for (acc, scores) in acc.into_iter().zip(scores.chunks_exact_mut(LANES)) {
            math::store(s, acc, scores);
        }
    }
    B
}

/// `state[n] = kept[n] * state[n] + sum_p weights[n][p] values[p]`, `W` vectors from element `j` of
/// `d` on, `p` ascending; gives the elements done.
#[inline(always)]
fn gather<S: Simd, const N: usize, const W: usize>(
    s: S,
    (d, j): (usize, usize),
    (from, to): (usize, usize),
    (weights, kept): (&[f32], &[f32]),
    values: &[f32],
    state: &mut [f32],
) -> usize {
    let len = state.len() / N;
    let mut acc = [[s.splat(0.0); W]; N];
    for n in 0..N {
        for w in 0..W {
            let old = math::load(s, &state[n * len + LANES + j + w * LANES..][..LANES]);
            acc[n][w] = s.mul(s.splat(kept[n]), old);
        }
    }
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
    for n in 0..N {
        for w in 0..W {
            math::store(s, acc[n][w], &mut state[n * len + LANES + j + w * LANES..][..LANES]);
        }
    }
    W * LANES
}
