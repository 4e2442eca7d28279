//! Queries over one chunk: scores, weights, weighted values.
//!
//! Queries that see the same positions of the table go through them in tiles, so that a key or value
//! is loaded once for several. Positions on a row's path are its own; there are few of them. The sums
//! of a query do not depend on who else is in its tile.

use std::ops::Range;

use super::{
    Attention, CHUNK, Local, Sight, TILE,
    chunk::{Place, slots},
    softmax::{STATE, weigh},
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
            // Scores beyond `shared` are written too; `weigh` or the path replaces them.
            let mut block = low / LANES;
            while block < end {
                block += match end - block {
                    3.. if block == 0 => score::<S, N, { CHUNK / LANES }>(s, q, l.keys, 0, scores),
                    2.. => score::<S, N, 2>(s, q, l.keys, block * LANES, scores),
                    _ => score::<S, N, 1>(s, q, l.keys, block * LANES, scores),
                };
            }
        });
    }
}

/// Scores of the positions of one row's path, whose keys are in `path_keys`.
pub(super) struct PathScores<'a, 'l> {
    pub op: &'a Attention,
    pub queries: Range<usize>,
    pub place: Place,
    pub local: &'a mut Local<'l>,
}

impl Kernel for PathScores<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, queries, place: Place { path, high, .. }, local: l } = self;
        let d = op.padded_d;
        in_tiles!(S, queries, first, N => {
            let q = &l.q[first * d..][..N * d];
            let scores = &mut l.scores[first * CHUNK..][..N * CHUNK];
            for block in path / LANES..high.div_ceil(LANES) {
                let at = block * LANES;
                let mut new = [0.0; N * LANES];
                products::<S, N, 1>(s, q, l.path_keys, at, &mut new, LANES);
                let (from, to) = (path.max(at), high.min(at + LANES));
                for (scores, new) in scores.chunks_exact_mut(CHUNK).zip(new.chunks_exact(LANES)) {
                    scores[from..to].copy_from_slice(&new[from - at..to - at]);
                }
            }
        });
    }
}

/// Scores of one row's queries to weights; notes what to keep of the values so far.
pub(super) struct Weights<'a, 'l> {
    pub op: &'a Attention,
    pub queries: Range<usize>,
    pub place: Place,
    pub local: &'a mut Local<'l>,
}

impl Kernel for Weights<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, queries, place, local: l } = self;
        for query in queries {
            let scores = &mut l.scores[query * CHUNK..][..CHUNK];
            let state = &mut l.state[query * op.state_len()..][..STATE];
            l.kept[query] = if place.is_empty() { 1.0 } else { weigh(s, place, scores, state) };
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

/// Weighted values of one row's path, behind those of the table.
pub(super) struct PathValues<'a, 'l> {
    pub op: &'a Attention,
    pub g: usize,
    pub row: &'a Sight,
    /// First position of the chunk.
    pub chunk: usize,
    pub queries: Range<usize>,
    pub place: Place,
    pub local: &'a mut Local<'l>,
}

impl Kernel for PathValues<'_, '_> {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Result<(), String> {
        let Self { op, g, row, chunk, queries, place: Place { path, high, .. }, local: l } = self;
        let (d, len) = (op.padded_d, op.state_len());
        let slots = slots(op, g, row, chunk, (path, high))?;
        for (p, &slot) in slots.iter().enumerate().take(high).skip(path) {
            for j in (0..d).step_by(LANES) {
                // SAFETY: pages are only read.
                let value = unsafe { op.pages[1].load(s, slot, g * op.d + j, op.d - j) };
                for query in queries.clone() {
                    let weight = s.splat(l.scores[query * CHUNK + p]);
                    let state = &mut l.state[query * len + LANES + j..][..LANES];
                    math::store(s, s.fma(weight, value, math::load(s, state)), state);
                }
            }
        }
        Ok(())
    }
}

/// `scores[n][at ..] = sum_j q[n][j] keys[j][at ..]`, `B` vectors of them; gives `B`.
#[inline(always)]
fn score<S: Simd, const N: usize, const B: usize>(
    s: S,
    q: &[f32],
    keys: &[f32],
    at: usize,
    scores: &mut [f32],
) -> usize {
    products::<S, N, B>(s, q, keys, at, &mut scores[at..], CHUNK);
    B
}

/// `out[n * stride ..] = sum_j q[n][j] keys[j][at ..]`, `B` vectors of each, `j` ascending.
#[inline(always)]
fn products<S: Simd, const N: usize, const B: usize>(
    s: S,
    q: &[f32],
    keys: &[f32],
    at: usize,
    out: &mut [f32],
    stride: usize,
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
    for (acc, out) in acc.into_iter().zip(out.chunks_mut(stride)) {
        for (acc, out) in acc.into_iter().zip(out.chunks_exact_mut(LANES)) {
            math::store(s, acc, out);
        }
    }
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
