//! [`TreeAttention`]: rows times heads of one key/value head at a time.
//!
//! Positions are cut into chunks of 64 and *spans* of 256, both aligned to absolute position. Within
//! a span the softmax is kept online, chunk after chunk; spans are computed afresh and merged in
//! order. So the order of every sum depends on positions alone: not on the other rows, not on where
//! the tree begins, not on which thread took which span.
//!
//! Keys of a chunk are turned to `[d][64]`, so that sixteen scores are the lanes of a vector and no
//! sum crosses lanes; both chunks serve all rows of a unit and all query heads of the group.

use std::{ops::Range, sync::Arc};

use super::{
    Kernel, LANES, Simd,
    kv::Pages,
    math,
    stage::{Scratch, Stage, Stages},
    tensor::Tensor,
};
use crate::{backend::BackendResult, ops::TreeAttention};

/// Positions whose scores are computed together.
const CHUNK: usize = 64;
/// Positions whose softmax is kept together.
const SPAN: usize = 256;
/// Rows of a unit: the more, the rarer a chunk is unpacked.
const ROWS: usize = 16;
/// Rows of a unit at least, where more units would keep threads busier.
const MIN_ROWS: usize = 4;
/// Queries that share the loads of keys and values.
const TILE: usize = 4;
/// Vectors of a head that stay in registers at once.
const WIDE: usize = 4;
/// Units a thread should get at least.
const UNITS_PER_THREAD: usize = 3;

/// The op's operands and what follows from their shapes.
struct Attention {
    q: Tensor<f32>,
    out: Tensor<f32>,
    pages: [Pages; 2],
    table: Tensor<u32>,
    table_heads: usize,
    seq: Tensor<u32>,
    prefix: Tensor<u32>,
    path: Tensor<u32>,
    path_slots: Tensor<u32>,
    scale: f32,
    page_slots: usize,
    window: usize,
    max_context: usize,
    /// Head size, and rounded up to whole vectors.
    d: usize,
    padded_d: usize,
    groups: usize,
    heads_per_group: usize,
    rows_per_unit: usize,
    spans: usize,
}

/// What one row sees: positions `first .. prefix` in the table, `prefix .. seen` on its path.
#[derive(Clone, Copy, Debug, Default)]
struct Sight {
    row: usize,
    seq: usize,
    first: usize,
    prefix: usize,
    seen: usize,
}

/// Running softmax of one query: the largest score, the sum of weights; the weighted values follow
/// in memory.
const STATE: usize = 2;

impl Attention {
    fn new(op: &TreeAttention, threads: usize) -> BackendResult<Self> {
        let [_, groups, d] = op.cache.dims();
        let m = op.q.shape.dim(0);
        Ok(Self {
            q: Tensor::new(&op.q)?,
            out: Tensor::new(&op.out)?,
            pages: Pages::both(&op.cache)?,
            table: Tensor::new(&op.table)?,
            table_heads: op.table.shape.dim(1),
            seq: Tensor::new(&op.rows.seq)?,
            prefix: Tensor::new(&op.rows.prefix)?,
            path: Tensor::new(&op.rows.path)?,
            path_slots: Tensor::new(&op.rows.path_slots)?,
            scale: op.scale,
            page_slots: op.page_slots,
            window: op.window,
            max_context: op.max_context,
            d,
            padded_d: d.next_multiple_of(LANES),
            groups,
            heads_per_group: op.q.shape.dim(1) / groups,
            rows_per_unit: (m * groups).div_ceil(UNITS_PER_THREAD * threads).clamp(MIN_ROWS, ROWS),
            spans: op.max_context.div_ceil(SPAN).max(1),
        })
    }

    /// Floats of a query's running softmax.
    fn state_len(&self) -> usize {
        STATE.next_multiple_of(LANES) + self.padded_d
    }

    /// Queries of a unit.
    fn queries(&self) -> usize {
        self.rows_per_unit * self.heads_per_group
    }

    fn row_blocks(&self) -> usize {
        self.q.rows().div_ceil(self.rows_per_unit)
    }

    /// What row `m` sees with the heads of group `g`.
    fn sight(&self, m: usize, g: usize) -> Result<Sight, String> {
        // SAFETY: state buffers are only read.
        let (seq, prefix, path) = unsafe {
            let prefix = self.prefix.row(m);
            (self.seq.row(m)[0], prefix[g.min(prefix.len() - 1)], self.path.row(m)[0])
        };
        let (seq, prefix, path) = (seq as usize, prefix as usize, path as usize);
        let seen = prefix + path;
        if seen > self.max_context || path > self.path_slots.width() {
            return Err(format!(
                "row {m} sees {prefix} + {path} positions of a context of {} and paths of {}",
                self.max_context,
                self.path_slots.width()
            ));
        }
        let pages = self.table.width() / self.table_heads;
        if prefix > 0 && (seq >= self.table.rows() || prefix > pages * self.page_slots) {
            return Err(format!(
                "row {m} wants {prefix} positions of sequence {seq}; the table has {} of {}",
                self.table.rows(),
                pages * self.page_slots
            ));
        }
        let first = if self.window > 0 { seen.saturating_sub(self.window) } else { 0 };
        Ok(Sight { row: m, seq, first, prefix, seen })
    }

    /// Slot of position `p`.
    fn slot(&self, sight: &Sight, g: usize, p: usize) -> Result<usize, String> {
        // SAFETY: state buffers are only read.
        let slot = unsafe {
            if p >= sight.prefix {
                self.path_slots.row(sight.row)[p - sight.prefix] as usize
            } else {
                let pages = self.table.width() / self.table_heads;
                let head = g.min(self.table_heads - 1);
                let page = self.table.row(sight.seq)[head * pages + p / self.page_slots];
                page as usize * self.page_slots + p % self.page_slots
            }
        };
        let slots = self.pages[0].slots();
        if slot < slots {
            Ok(slot)
        } else {
            Err(format!("position {p} of row {} is in slot {slot} of {slots}", sight.row))
        }
    }
}

/// Memory of one unit, from the worker's part of the scratch.
struct Local<'a> {
    /// `[queries][padded_d]`, scaled.
    q: &'a mut [f32],
    /// `[padded_d][CHUNK]`.
    keys: &'a mut [f32],
    /// `[CHUNK][padded_d]`.
    values: &'a mut [f32],
    /// As `keys` and `values`: of one row's path.
    path_keys: &'a mut [f32],
    path_values: &'a mut [f32],
    /// `[TILE][CHUNK]`: scores, then weights.
    scores: &'a mut [f32],
    /// `[queries][state_len]`: of the present span.
    state: &'a mut [f32],
    /// `[queries][state_len]`: of all spans so far.
    total: &'a mut [f32],
}

impl Attention {
    /// Floats of [`Local`], whole cache lines.
    fn local_len(&self) -> usize {
        let (queries, d) = (self.queries(), self.padded_d);
        queries * (d + 2 * self.state_len()) + 4 * d * CHUNK + TILE * CHUNK
    }

    fn local<'a>(&self, memory: &'a mut [f32]) -> Local<'a> {
        let (queries, d) = (self.queries(), self.padded_d);
        let mut rest = memory;
        let mut take = |count: usize| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count);
            rest = later;
            now
        };
        Local {
            q: take(queries * d),
            keys: take(d * CHUNK),
            values: take(d * CHUNK),
            path_keys: take(d * CHUNK),
            path_values: take(d * CHUNK),
            scores: take(TILE * CHUNK),
            state: take(queries * self.state_len()),
            total: take(queries * self.state_len()),
        }
    }
}

/// One row block and group over some spans.
struct Unit<'a> {
    op: &'a Attention,
    g: usize,
    rows: Range<usize>,
    spans: Range<usize>,
    memory: &'a mut [f32],
    /// Where the state of a single span goes, to be merged later; else the output is written.
    partial: Option<&'a mut [f32]>,
}

impl Kernel for Unit<'_> {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Result<(), String> {
        let op = self.op;
        let mut sights = [Sight::default(); ROWS];
        let sights = &mut sights[..self.rows.len()];
        for (sight, m) in sights.iter_mut().zip(self.rows.clone()) {
            *sight = op.sight(m, self.g)?;
        }
        let sights = &*sights;
        let mut local = op.local(self.memory);
        load_queries(s, op, self.g, sights, local.q);
        let queries = sights.len() * op.heads_per_group;
        reset(local.total);
        for span in self.spans {
            let (from, to) = (span * SPAN, (span + 1) * SPAN);
            if !sights.iter().any(|row| row.first < to && from < row.seen) {
                continue;
            }
            reset(local.state);
            for chunk in (from..to).step_by(CHUNK) {
                chunk_of_rows(s, op, self.g, sights, chunk, &mut local)?;
            }
            let states = local.state.chunks_exact(op.state_len());
            for (total, state) in
                local.total.chunks_exact_mut(op.state_len()).zip(states).take(queries)
            {
                merge(s, total, state);
            }
        }
        if let Some(partial) = self.partial {
            partial[..local.total.len()].copy_from_slice(local.total);
            return Ok(());
        }
        for (i, total) in local.total.chunks_exact(op.state_len()).take(queries).enumerate() {
            write_out(s, op, self.g, sights, i, total);
        }
        Ok(())
    }
}

/// No score seen: the sum of weights is zero.
fn reset(states: &mut [f32]) {
    states.fill(0.0);
}

/// Adds a span to those before it. A sum of zero means nothing was seen.
#[inline(always)]
fn merge<S: Simd>(s: S, total: &mut [f32], state: &[f32]) {
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

#[inline(always)]
fn write_out<S: Simd>(
    s: S,
    op: &Attention,
    g: usize,
    sights: &[Sight],
    query: usize,
    total: &[f32],
) {
    let (row, head) = (sights[query / op.heads_per_group].row, query % op.heads_per_group);
    let first = (g * op.heads_per_group + head) * op.d;
    // SAFETY: a unit owns its rows' heads of the output.
    let out = unsafe { op.out.part_mut(row, first, op.d) };
    let sum = if total[1] == 0.0 { 1.0 } else { total[1] };
    for (out, x) in out.chunks_mut(LANES).zip(total[LANES..].chunks(LANES)) {
        math::store(s, s.div(math::load(s, x), s.splat(sum)), out);
    }
}

#[inline(always)]
fn load_queries<S: Simd>(s: S, op: &Attention, g: usize, sights: &[Sight], to: &mut [f32]) {
    let heads = op.heads_per_group;
    for (i, to) in to.chunks_exact_mut(op.padded_d).take(sights.len() * heads).enumerate() {
        let first = (g * heads + i % heads) * op.d;
        // SAFETY: queries are only read.
        let q = unsafe { &op.q.row(sights[i / heads].row)[first..][..op.d] };
        for (to, q) in to.chunks_exact_mut(LANES).zip(q.chunks(LANES)) {
            math::store(s, s.mul(math::load(s, q), s.splat(op.scale)), to);
        }
    }
}

/// Positions of the chunk from `chunk` on that lie in `from .. to`, counted from the chunk.
#[inline(always)]
fn within(chunk: usize, from: usize, to: usize) -> (usize, usize) {
    let low = from.clamp(chunk, chunk + CHUNK) - chunk;
    let high = to.clamp(chunk, chunk + CHUNK) - chunk;
    (low, high.max(low))
}

/// All queries of the unit over one chunk.
#[inline(always)]
fn chunk_of_rows<S: Simd>(
    s: S,
    op: &Attention,
    g: usize,
    sights: &[Sight],
    chunk: usize,
    local: &mut Local<'_>,
) -> Result<(), String> {
    let heads = op.heads_per_group;
    // Rows of one sequence share what is in the table.
    let mut row = 0;
    for rows in sights.chunk_by(|a, b| a.seq == b.seq) {
        let table = rows.iter().map(|r| within(chunk, r.first, r.prefix)).filter(|(l, h)| l < h);
        let span = table.fold((CHUNK, 0), |(low, high), (l, h)| (low.min(l), high.max(h)));
        if span.0 < span.1 {
            let longest = rows.iter().max_by_key(|r| r.prefix).unwrap_or(&rows[0]);
            let (keys, values) = (&mut *local.keys, &mut *local.values);
            s.call(LoadChunk { op, g, row: longest, chunk, span, keys, values })?;
        }
        // Queries in step share tiles; a row whose path lies in the chunk has keys of its own.
        let place = |r: &Sight| Place::of(r, chunk);
        for rows in rows.chunk_by(|a, b| place(a) == place(b) && !place(a).has_path()) {
            let place = place(&rows[0]);
            if place.has_path() {
                let (row, span) = (&rows[0], (place.path, place.high));
                let (keys, values) = (&mut *local.path_keys, &mut *local.path_values);
                s.call(LoadChunk { op, g, row, chunk, span, keys, values })?;
            }
            let queries = row * heads..(row + rows.len()) * heads;
            if place.low < place.high {
                tiles(s, op, queries, place, local);
            }
            row += rows.len();
        }
    }
    Ok(())
}

/// Where a row's positions lie in a chunk: `low .. path` in the table, `path .. high` on its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    low: usize,
    path: usize,
    high: usize,
}

impl Place {
    #[inline(always)]
    fn of(row: &Sight, chunk: usize) -> Self {
        let (low, high) = within(chunk, row.first, row.seen);
        let (path, _) = within(chunk, row.prefix.max(row.first), row.seen);
        Self { low, path: path.min(high), high }
    }

    #[inline(always)]
    fn has_path(self) -> bool {
        self.path < self.high
    }
}

/// Positions `chunk + span` as one row sees them, into keys and values.
struct LoadChunk<'a> {
    op: &'a Attention,
    g: usize,
    row: &'a Sight,
    chunk: usize,
    span: (usize, usize),
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

impl Kernel for LoadChunk<'_> {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Result<(), String> {
        let Self { op, g, row, chunk, span, keys, values } = self;
        let d = op.padded_d;
        let mut slots = [0; CHUNK];
        for (i, slot) in slots.iter_mut().enumerate().take(span.1).skip(span.0) {
            *slot = op.slot(row, g, chunk + i)?;
        }
        for j in (0..d).step_by(LANES) {
            let (first, count) = (g * op.d + j, op.d - j);
            for block in span.0 / LANES..span.1.div_ceil(LANES) {
                let mut rows = [s.splat(0.0); LANES];
                for (i, row) in rows.iter_mut().enumerate() {
                    let i = block * LANES + i;
                    if (span.0..span.1).contains(&i) {
                        // SAFETY: pages are only read.
                        *row = unsafe { op.pages[0].load(s, slots[i], first, count) };
                    }
                }
                for (c, column) in s.transpose(rows).into_iter().enumerate() {
                    math::store(s, column, &mut keys[(j + c) * CHUNK + block * LANES..][..LANES]);
                }
            }
            for i in span.0..span.1 {
                // SAFETY: pages are only read.
                let value = unsafe { op.pages[1].load(s, slots[i], first, count) };
                math::store(s, value, &mut values[i * d + j..][..LANES]);
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn tiles<S: Simd>(
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

/// Scores to weights; gives the factor for what was summed before.
#[inline(always)]
fn weigh<S: Simd>(s: S, place: Place, scores: &mut [f32], state: &mut [f32]) -> f32 {
    scores[..place.low].fill(f32::NEG_INFINITY);
    scores[place.high..].fill(f32::NEG_INFINITY);
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
    scores[..place.low].fill(0.0);
    scores[place.high..].fill(0.0);
    let mut sum = s.splat(0.0);
    for weights in scores.chunks_exact(LANES) {
        sum = s.add(sum, math::load(s, weights));
    }
    state[1] = kept.mul_add(state[1], s.sum(sum));
    state[0] = max;
    kept
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

/// Merges the spans of one row block and group.
struct Merge<'a> {
    op: &'a Attention,
    g: usize,
    rows: Range<usize>,
    /// `[spans][queries][state_len]`; the first becomes the total.
    partial: &'a mut [f32],
}

impl Kernel for Merge<'_> {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Result<(), String> {
        let (op, len) = (self.op, self.op.state_len());
        let (total, spans) = self.partial.split_at_mut(op.queries() * len);
        for span in spans.chunks_exact(op.queries() * len) {
            for (total, state) in total.chunks_exact_mut(len).zip(span.chunks_exact(len)) {
                merge(s, total, state);
            }
        }
        let mut sights = [Sight::default(); ROWS];
        for (sight, row) in sights.iter_mut().zip(self.rows.clone()) {
            sight.row = row;
        }
        let queries = self.rows.len() * op.heads_per_group;
        for (i, total) in total.chunks_exact(len).take(queries).enumerate() {
            write_out(s, op, self.g, &sights, i, total);
        }
        Ok(())
    }
}

/// Stages of [`TreeAttention`]: units are row blocks times groups, and also spans where that alone
/// would not keep `threads` threads busy.
pub fn tree_attention(op: &TreeAttention, threads: usize) -> BackendResult<Stages> {
    let (m, context) = (op.q.shape.dim(0), op.max_context);
    let op = Arc::new(Attention::new(op, threads)?);
    let (blocks, local_bytes) = (op.row_blocks() * op.groups, op.local_len() * size_of::<f32>());
    let local_bytes = local_bytes.next_multiple_of(Scratch::ALIGN);
    let seen = if op.window > 0 { context.min(op.window) } else { context };
    let cost_ns = m * op.groups * op.heads_per_group * seen * op.d / 20;
    let split = threads > 1 && op.spans > 1 && blocks < UNITS_PER_THREAD * threads;
    let spans_per_unit = if split { 1 } else { op.spans };
    let spans = op.spans.div_ceil(spans_per_unit);
    let partial_len = op.queries() * op.state_len();
    let partials_at = threads * local_bytes;
    let rows = |op: &Attention, block: usize| {
        let first = block / op.groups * op.rows_per_unit;
        first..(first + op.rows_per_unit).min(op.q.rows())
    };

    let unit_op = Arc::clone(&op);
    let units = Stage::new(blocks * spans, cost_ns, move |context, unit| {
        let (op, block, span) = (&*unit_op, unit / spans, unit % spans);
        // SAFETY: a worker owns its part of the scratch, a unit its partial result.
        let (memory, partial) = unsafe {
            let memory = context.scratch.part(context.worker * local_bytes, op.local_len());
            let at = partials_at + unit * partial_len * size_of::<f32>();
            (memory, split.then(|| context.scratch.part(at, partial_len)))
        };
        let spans = span * spans_per_unit..((span + 1) * spans_per_unit).min(op.spans);
        context.isa.run(Unit {
            op,
            g: block % op.groups,
            rows: rows(op, block),
            spans,
            memory,
            partial,
        })
    });
    let mut stages = vec![units];
    let mut scratch_bytes = partials_at;
    if split {
        scratch_bytes += blocks * spans * partial_len * size_of::<f32>();
        stages.push(Stage::new(
            blocks,
            blocks * spans * partial_len / 10,
            move |context, block| {
                let at = partials_at + block * spans * partial_len * size_of::<f32>();
                // SAFETY: a unit owns its block's partial results.
                let partial = unsafe { context.scratch.part(at, spans * partial_len) };
                let rows = rows(&op, block);
                context.isa.run(Merge { op: &op, g: block % op.groups, rows, partial })
            },
        ));
    }
    Ok(Stages { stages, scratch_bytes })
}
