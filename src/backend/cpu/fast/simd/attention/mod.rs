//! [`TreeAttention`]: rows times heads of one key/value head at a time.
//!
//! Positions are cut into chunks of 64 and *spans* of 256, both aligned to absolute position. Within
//! a span the softmax is kept online, chunk after chunk; spans are computed afresh and merged in
//! order. So the order of every sum depends on positions alone: not on the other rows, not on where
//! the tree begins, not on which thread took which span.
//!
//! Keys of a chunk are turned to `[d][64]`, so that sixteen scores are the lanes of a vector and no
//! sum crosses lanes; both chunks serve all rows of a unit and all query heads of the group.

use std::{mem, ops::Range, sync::Arc};

mod chunk;
mod path;
mod softmax;
mod tile;

use super::{
    Kernel, LANES, Simd,
    kv::Pages,
    math,
    stage::{Scratch, Stage, Stages},
    tensor::Tensor,
};
use crate::{backend::BackendResult, ops::TreeAttention};
use chunk::chunk_of_rows;
use softmax::{STATE, merge, reset};

/// Positions whose scores are computed together.
const CHUNK: usize = 64;
/// Positions whose softmax is kept together.
const SPAN: usize = 256;
/// Most rows of a unit: the more, the rarer a chunk is unpacked.
const ROWS: usize = 16;
/// Rows that are worth a thread.
const MIN_ROWS: usize = 4;
/// Queries that share the loads of keys and values.
const TILE: usize = 4;
/// Units a thread should get at least, where positions can be cut too.
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
    blocks: Vec<Block>,
    spans: usize,
}

/// Rows that see the keys and values of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    g: usize,
    rows: Range<usize>,
}

impl Block {
    /// Cuts `groups` times `m` rows into even parts for `threads` threads, each of as few blocks as it
    /// can be, since every block unpacks the keys and values it needs.
    fn cut(groups: usize, m: usize, threads: usize) -> Vec<Self> {
        let parts = (groups * m / MIN_ROWS).clamp(1, threads);
        let ends = (1..=parts).map(|part| part * groups * m / parts);
        let mut blocks = vec![];
        let mut at = 0;
        for end in ends {
            while at < end {
                let (g, first) = (at / m, at % m);
                let count = (end - at).min(m - first).min(ROWS);
                blocks.push(Self { g, rows: first..first + count });
                at += count;
            }
        }
        blocks
    }
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
            blocks: Block::cut(groups, m, threads),
            spans: op.max_context.div_ceil(SPAN).max(1),
        })
    }

    /// Floats of a query's running softmax.
    fn state_len(&self) -> usize {
        STATE.next_multiple_of(LANES) + self.padded_d
    }

    /// Most queries of a unit.
    fn queries(&self) -> usize {
        self.q.rows().min(ROWS) * self.heads_per_group
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
    /// As `keys`: of rows' paths.
    path_keys: &'a mut [f32],
    /// `[queries][CHUNK]`: scores of what is in `path_keys`.
    path_scores: &'a mut [f32],
    /// `[queries][CHUNK]`: scores, then weights.
    scores: &'a mut [f32],
    /// `[queries]`: factors of the values so far.
    kept: &'a mut [f32],
    /// `[queries][state_len]`: of the present span.
    state: &'a mut [f32],
    /// `[queries][state_len]`: of all spans so far.
    total: &'a mut [f32],
}

impl Attention {
    /// Floats of [`Local`], whole cache lines.
    fn local_len(&self) -> usize {
        let (queries, d) = (self.queries(), self.padded_d);
        queries * (d + 2 * self.state_len() + 2 * CHUNK)
            + 3 * d * CHUNK
            + queries.next_multiple_of(LANES)
    }

    fn local<'a>(&self, memory: &'a mut [f32]) -> Local<'a> {
        let (queries, d) = (self.queries(), self.padded_d);
        let mut rest = memory;
        let mut take = |count: usize| {
            let (now, later) = mem::take(&mut rest).split_at_mut(count);
            rest = later;
            now
        };
        Local {
            q: take(queries * d),
            keys: take(d * CHUNK),
            values: take(d * CHUNK),
            path_keys: take(d * CHUNK),
            path_scores: take(queries * CHUNK),
            scores: take(queries * CHUNK),
            kept: take(queries.next_multiple_of(LANES)),
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
        let states = queries * op.state_len();
        // What is merged with nothing stays as it is.
        let alone = self.spans.len() == 1;
        reset(&mut local.total[..states]);
        for span in self.spans {
            let (from, to) = (span * SPAN, (span + 1) * SPAN);
            if !sights.iter().any(|row| row.first < to && from < row.seen) {
                continue;
            }
            if alone {
                mem::swap(&mut local.state, &mut local.total);
            } else {
                reset(&mut local.state[..states]);
            }
            for chunk in (from..to).step_by(CHUNK) {
                chunk_of_rows(s, op, self.g, sights, chunk, &mut local)?;
            }
            if alone {
                mem::swap(&mut local.state, &mut local.total);
                continue;
            }
            let states = local.state[..states].chunks_exact(op.state_len());
            for (total, state) in local.total.chunks_exact_mut(op.state_len()).zip(states) {
                merge(s, total, state);
            }
        }
        if let Some(partial) = self.partial {
            partial[..states].copy_from_slice(&local.total[..states]);
            return Ok(());
        }
        for (i, total) in local.total.chunks_exact(op.state_len()).take(queries).enumerate() {
            write_out(s, op, self.g, sights, i, total);
        }
        Ok(())
    }
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
        let queries = self.rows.len() * op.heads_per_group;
        let (total, spans) = self.partial.split_at_mut(op.queries() * len);
        for span in spans.chunks_exact(op.queries() * len) {
            let states = span.chunks_exact(len).take(queries);
            for (total, state) in total.chunks_exact_mut(len).zip(states) {
                merge(s, total, state);
            }
        }
        let mut sights = [Sight::default(); ROWS];
        for (sight, row) in sights.iter_mut().zip(self.rows.clone()) {
            sight.row = row;
        }
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
    let (blocks, local_bytes) = (op.blocks.len(), op.local_len() * size_of::<f32>());
    let local_bytes = local_bytes.next_multiple_of(Scratch::ALIGN);
    let seen = if op.window > 0 { context.min(op.window) } else { context };
    let cost_ns = m * op.groups * op.heads_per_group * seen * op.d / 20;
    let split = threads > 1 && op.spans > 1 && blocks < UNITS_PER_THREAD * threads;
    let spans_per_unit = if split { 1 } else { op.spans };
    let spans = op.spans.div_ceil(spans_per_unit);
    let partial_len = op.queries() * op.state_len();
    let partials_at = threads * local_bytes;
    let unit_op = Arc::clone(&op);
    let units = Stage::new(blocks * spans, cost_ns, move |context, unit| {
        // Span by span: the heads of a slot lie side by side, and a thread finds them all in its cache.
        let (op, span, block) = (&*unit_op, unit / blocks, unit % blocks);
        let Block { g, rows } = op.blocks[block].clone();
        // SAFETY: a worker owns its part of the scratch, a unit its partial result.
        let (memory, partial) = unsafe {
            let memory = context.scratch.part(context.worker * local_bytes, op.local_len());
            let partial = block * spans + span;
            let at = partials_at + partial * partial_len * size_of::<f32>();
            (memory, split.then(|| context.scratch.part(at, partial_len)))
        };
        let spans = span * spans_per_unit..((span + 1) * spans_per_unit).min(op.spans);
        context.isa.run(Unit { op, g, rows, spans, memory, partial })
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
                let Block { g, rows } = op.blocks[block].clone();
                context.isa.run(Merge { op: &op, g, rows, partial })
            },
        ));
    }
    Ok(Stages { stages, scratch_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_even_and_cover_every_row_of_every_group_once() {
        for (groups, threads) in [(1, 1), (3, 2), (3, 4), (8, 3), (2, 16)] {
            for m in 1..70 {
                let blocks = Block::cut(groups, m, threads);
                let mut seen = vec![0; groups * m];
                for Block { g, rows } in &blocks {
                    assert!(!rows.is_empty() && rows.len() <= ROWS, "{rows:?} of {m}");
                    rows.clone().for_each(|row| seen[g * m + row] += 1);
                }
                assert!(seen.iter().all(|&n| n == 1), "{groups} x {m} for {threads}: {blocks:?}");
            }
        }
        // Two threads, three groups: twelve rows each, from four blocks rather than six.
        let sizes =
            |groups, m| Vec::from_iter(Block::cut(groups, m, 2).iter().map(|b| b.rows.len()));
        assert_eq!(sizes(3, 8), [8, 4, 4, 8]);
        assert_eq!(sizes(3, 4), [4, 2, 2, 4]);
    }
}
