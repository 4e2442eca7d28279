//! Positions on rows' own paths.
//!
//! Siblings share ancestors, and what each has for itself would fill one lane of a vector. So the slots
//! of all paths are listed once and their keys brought into place side by side; every query meets all
//! of them, and takes the scores of its own path in its own order.

use super::{
    Attention, CHUNK, Local, ROWS, Sight, TILE,
    chunk::{LoadChunk, Place},
    tile::{in_tiles, score_block},
};
use crate::backend::cpu::fast::simd::{Kernel, LANES, Simd, math};

/// Slots that the paths of some rows go through in one chunk, each once.
struct Paths {
    /// How many rows.
    rows: usize,
    slots: [usize; CHUNK],
    len: usize,
    /// Of each row, for the positions on its path: which of `slots`.
    at: [[u8; CHUNK]; ROWS],
}

impl Paths {
    /// Those of as many rows as there is room for, at least one.
    #[inline(always)]
    fn new(op: &Attention, g: usize, rows: &[Sight], chunk: usize) -> Result<Self, String> {
        let mut paths = Self { rows: 0, slots: [0; CHUNK], len: 0, at: [[0; CHUNK]; ROWS] };
        for (row, at) in rows.iter().zip(&mut paths.at) {
            let place = Place::of(row, chunk);
            let mut len = paths.len;
            for (p, at) in (place.path..).zip(&mut at[place.path..place.high]) {
                let slot = op.slot(row, g, chunk + p)?;
                let known = paths.slots[..len].iter().position(|&known| known == slot);
                if known.is_none() && len == CHUNK {
                    return Ok(paths);
                }
                *at = known.unwrap_or(len) as u8;
                if known.is_none() {
                    paths.slots[len] = slot;
                    len += 1;
                }
            }
            (paths.rows, paths.len) = (paths.rows + 1, len);
        }
        Ok(paths)
    }
}

/// Scores of the positions on the rows' paths; `first` is the first row's first query.
#[inline(always)]
pub(super) fn path_scores<S: Simd>(
    s: S,
    op: &Attention,
    g: usize,
    mut rows: &[Sight],
    chunk: usize,
    mut first: usize,
    local: &mut Local<'_>,
) -> Result<(), String> {
    while !rows.is_empty() {
        let paths = Paths::new(op, g, rows, chunk)?;
        let (now, later) = rows.split_at(paths.rows);
        if paths.len > 0 {
            let (slots, keys) = (&paths.slots, &mut *local.path_keys);
            s.call(LoadChunk { op, g, slots, span: (0, paths.len), keys, values: None });
            s.call(PathScores { op, rows: now, chunk, first, paths: &paths, local });
        }
        first += now.len() * op.heads_per_group;
        rows = later;
    }
    Ok(())
}

/// Scores of the rows of `paths`, whose keys are in `path_keys`.
struct PathScores<'a, 'l> {
    op: &'a Attention,
    rows: &'a [Sight],
    /// First position of the chunk.
    chunk: usize,
    /// First query.
    first: usize,
    paths: &'a Paths,
    local: &'a mut Local<'l>,
}

impl Kernel for PathScores<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, rows, chunk, first: first_query, paths, local: l } = self;
        let (d, heads) = (op.padded_d, op.heads_per_group);
        let queries = first_query..first_query + rows.len() * heads;
        in_tiles!(S, queries, first, N => {
            let q = &l.q[first * d..][..N * d];
            let scores = &mut l.path_scores[first * CHUNK..][..N * CHUNK];
            for at in (0..paths.len).step_by(LANES) {
                score_block::<S, N, 1>(s, q, l.path_keys, at, scores);
            }
        });
        for (i, (row, at)) in rows.iter().zip(&paths.at).enumerate() {
            let place = Place::of(row, chunk);
            for query in first_query + i * heads..first_query + (i + 1) * heads {
                let from = &l.path_scores[query * CHUNK..][..CHUNK];
                let to = &mut l.scores[query * CHUNK..][place.path..place.high];
                for (to, &at) in to.iter_mut().zip(&at[place.path..]) {
                    *to = from[usize::from(at)];
                }
            }
        }
    }
}

/// Weighted values of one row's path, behind those of the table.
pub(super) struct PathValues<'a, 'l> {
    pub op: &'a Attention,
    pub g: usize,
    pub row: &'a Sight,
    /// First position of the chunk.
    pub chunk: usize,
    /// First query of the row.
    pub first: usize,
    pub local: &'a mut Local<'l>,
}

impl Kernel for PathValues<'_, '_> {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Result<(), String> {
        let Self { op, g, row, chunk, first, local: l } = self;
        let Place { path, high, .. } = Place::of(row, chunk);
        let (d, len) = (op.padded_d, op.state_len());
        for p in path..high {
            let slot = op.slot(row, g, chunk + p)?;
            for j in (0..d).step_by(LANES) {
                // SAFETY: pages are only read.
                let value = unsafe { op.pages[1].load(s, slot, g * op.d + j, op.d - j) };
                for query in first..first + op.heads_per_group {
                    let weight = s.splat(l.scores[query * CHUNK + p]);
                    let state = &mut l.state[query * len + LANES + j..][..LANES];
                    math::store(s, s.fma(weight, value, math::load(s, state)), state);
                }
            }
        }
        Ok(())
    }
}
