//! One chunk of positions: who sees which of them, their keys and values brought into place.

use super::{Attention, CHUNK, Local, Sight, tile::tiles};
use crate::backend::cpu::fast::simd::{Kernel, LANES, Simd, math};

/// Positions of the chunk from `chunk` on that lie in `from .. to`, counted from the chunk.
#[inline(always)]
fn within(chunk: usize, from: usize, to: usize) -> (usize, usize) {
    let low = from.clamp(chunk, chunk + CHUNK) - chunk;
    let high = to.clamp(chunk, chunk + CHUNK) - chunk;
    (low, high.max(low))
}

/// All queries of the unit over one chunk.
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
pub(super) struct Place {
    pub low: usize,
    pub path: usize,
    pub high: usize,
}

impl Place {
    #[inline(always)]
    fn of(row: &Sight, chunk: usize) -> Self {
        let (low, high) = within(chunk, row.first, row.seen);
        let (path, _) = within(chunk, row.prefix.max(row.first), row.seen);
        Self { low, path: path.min(high), high }
    }

    #[inline(always)]
    pub(super) fn has_path(self) -> bool {
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
