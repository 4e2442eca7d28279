//! One chunk of positions: who sees which of them, their keys and values brought into place.

use super::{
    Attention, CHUNK, Local, Sight,
    path::{PathValues, path_scores},
    tile::{SharedScores, SharedValues, Weights},
};
use crate::backend::cpu::fast::simd::{
    Kernel, LANES, Simd,
    kv::{Number, Pages},
    math,
    tensor::Tensor,
};

/// Positions of the chunk from `chunk` on that lie in `from .. to`, counted from the chunk.
#[inline(always)]
fn within(chunk: usize, from: usize, to: usize) -> (usize, usize) {
    let low = from.clamp(chunk, chunk + CHUNK) - chunk;
    let high = to.clamp(chunk, chunk + CHUNK) - chunk;
    (low, high.max(low))
}

/// All queries of the unit over one chunk: what rows share first, then each row's own path, in an
/// order that no other row changes.
#[inline(always)]
pub(super) fn chunk_of_rows<S: Simd>(
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
            let slots = &slots(op, g, longest, chunk, span)?;
            let (keys, values) = (&mut *local.keys, Some(&mut *local.values));
            s.call(LoadChunk { op, g, slots, span, keys, values });
        }
        // Queries that see the same of the table share its loads, whatever their paths.
        let shared = |r: &Sight| {
            let Place { low, path, .. } = Place::of(r, chunk);
            (low, path)
        };
        for rows in rows.chunk_by(|a, b| shared(a) == shared(b)) {
            let (low, path) = shared(&rows[0]);
            let queries = row * heads..(row + rows.len()) * heads;
            row += rows.len();
            if rows.iter().all(|row| Place::of(row, chunk).is_empty()) {
                continue;
            }
            s.call(SharedScores { op, queries: queries.clone(), shared: (low, path), local });
            if rows.iter().any(|row| Place::of(row, chunk).has_path()) {
                path_scores(s, op, g, rows, chunk, queries.start, local)?;
            }
            s.call(Weights { op, rows, chunk, first: queries.start, local });
            s.call(SharedValues { op, queries: queries.clone(), shared: (low, path), local });
            for (i, row) in rows.iter().enumerate() {
                let first = queries.start + i * heads;
                if Place::of(row, chunk).has_path() {
                    s.call(PathValues { op, g, row, chunk, first, local })?;
                }
            }
        }
    }
    Ok(())
}

/// Where a row's positions lie in a chunk: `low .. path` in the table, `path .. high` on its path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub low: usize,
    pub path: usize,
    pub high: usize,
}

impl Place {
    #[inline(always)]
    pub(super) fn of(row: &Sight, chunk: usize) -> Self {
        let (low, high) = within(chunk, row.first, row.seen);
        let (path, _) = within(chunk, row.prefix.max(row.first), row.seen);
        Self { low, path: path.min(high), high }
    }

    #[inline(always)]
    fn has_path(self) -> bool {
        self.path < self.high
    }

    #[inline(always)]
    pub(super) fn is_empty(self) -> bool {
        self.low >= self.high
    }
}

/// What is in `slots`, from `span.0` to `span.1`, into keys and, if they are wanted, values.
pub(super) struct LoadChunk<'a> {
    pub op: &'a Attention,
    pub g: usize,
    pub slots: &'a [usize; CHUNK],
    pub span: (usize, usize),
    pub keys: &'a mut [f32],
    pub values: Option<&'a mut [f32]>,
}

impl Kernel for LoadChunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, g, slots, span, keys, values } = self;
        for &slot in &slots[span.0..span.1] {
            // SAFETY: pages are only read.
            unsafe {
                op.pages[0].prefetch(slot, g * op.d, op.d);
                if values.is_some() {
                    op.pages[1].prefetch(slot, g * op.d, op.d);
                }
            }
        }
        let taken = Taken { slots, span, first: g * op.d, d: op.d, padded: op.padded_d };
        match op.pages {
            [Pages::F16(k), Pages::F16(v)] if op.d == op.padded_d => {
                taken.whole(s, k, v, keys, values);
            }
            [Pages::F32(k), Pages::F32(v)] if op.d == op.padded_d => {
                taken.whole(s, k, v, keys, values);
            }
            [k, v] => taken.any(s, k, v, keys, values),
        }
    }
}

/// Positions to take, and where their heads lie in a slot.
struct Taken<'a> {
    slots: &'a [usize; CHUNK],
    span: (usize, usize),
    /// First element of the head.
    first: usize,
    /// Elements of it, and of a row of values.
    d: usize,
    padded: usize,
}

impl Taken<'_> {
    /// Pages of numbers, heads of whole vectors.
    #[inline(always)]
    fn whole<S: Simd, T: Number>(
        &self,
        s: S,
        k: Tensor<T>,
        v: Tensor<T>,
        keys: &mut [f32],
        values: Option<&mut [f32]>,
    ) {
        let (from, to) = self.span;
        // SAFETY: pages are only read.
        let head = |pages: Tensor<T>, i: usize| unsafe {
            pages.row(self.slots[i])[self.first..][..self.d].as_chunks::<LANES>().0
        };
        for block in from / LANES..to.div_ceil(LANES) {
            // Beyond the span any key will do: nobody looks at its scores.
            let mut rows = [head(k, from); LANES];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = head(k, (block * LANES + i).clamp(from, to - 1));
            }
            for j in 0..self.d / LANES {
                let mut vectors = [s.splat(0.0); LANES];
                for (vector, row) in vectors.iter_mut().zip(rows) {
                    *vector = T::load(s, &row[j]);
                }
                for (c, column) in s.transpose(vectors).into_iter().enumerate() {
                    let at = (j * LANES + c) * CHUNK + block * LANES;
                    math::store(s, column, &mut keys[at..][..LANES]);
                }
            }
        }
        let Some(values) = values else { return };
        for i in from..to {
            let to = values[i * self.d..][..self.d].chunks_exact_mut(LANES);
            for (to, x) in to.zip(head(v, i)) {
                math::store(s, T::load(s, x), to);
            }
        }
    }

    /// Any pages and heads.
    #[inline(always)]
    fn any<S: Simd>(
        &self,
        s: S,
        k: Pages,
        v: Pages,
        keys: &mut [f32],
        mut values: Option<&mut [f32]>,
    ) {
        let (from, to) = self.span;
        for j in (0..self.padded).step_by(LANES) {
            let (first, count) = (self.first + j, self.d - j);
            for block in from / LANES..to.div_ceil(LANES) {
                let mut rows = [s.splat(0.0); LANES];
                for (i, row) in rows.iter_mut().enumerate() {
                    let i = block * LANES + i;
                    if (from..to).contains(&i) {
                        // SAFETY: pages are only read.
                        *row = unsafe { k.load(s, self.slots[i], first, count) };
                    }
                }
                for (c, column) in s.transpose(rows).into_iter().enumerate() {
                    math::store(s, column, &mut keys[(j + c) * CHUNK + block * LANES..][..LANES]);
                }
            }
            if let Some(values) = values.as_deref_mut() {
                for i in from..to {
                    // SAFETY: pages are only read.
                    let value = unsafe { v.load(s, self.slots[i], first, count) };
                    math::store(s, value, &mut values[i * self.padded + j..][..LANES]);
                }
            }
        }
    }
}

/// Slots of positions `chunk + span` as one row sees them; the rest 0.
#[inline(always)]
fn slots(
    op: &Attention,
    g: usize,
    row: &Sight,
    chunk: usize,
    span: (usize, usize),
) -> Result<[usize; CHUNK], String> {
    let mut slots = [0; CHUNK];
    for (i, slot) in slots.iter_mut().enumerate().take(span.1).skip(span.0) {
        *slot = op.slot(row, g, chunk + i)?;
    }
    Ok(slots)
}
