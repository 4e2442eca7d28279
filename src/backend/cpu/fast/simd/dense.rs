//! Products of dense f32 matrices.
//!
//! Both operands are packed first, each in groups of sixteen rows of `a` or columns of `b`,
//! `[group][k][16]`, which settles transposition and strides. A unit is then a block of rows times
//! two groups of columns, whose accumulators stay in registers for a run of `RUN` values of k.
//! Runs are added up in order: the sum of an element is the same whatever M, N, the number of
//! threads and the instruction set are.

use super::{
    Kernel, LANES, Lanes, Simd, math,
    stage::{Context, Stage, Stages},
    tensor::Tensor,
};
use crate::{
    backend::BackendResult,
    ops::{MatMul, Side, Then},
};

/// Values of k between two visits of the output: two groups of columns of this length fill a
/// first-level cache.
const RUN: usize = 256;
/// Groups of rows of a unit.
const ROW_GROUPS: usize = 4;
/// Groups of columns of a unit.
const COLUMN_GROUPS: usize = 2;

/// Packs sixteen lines of a matrix: line `i` becomes lane `i` of every `[16]` of `to`, zero where
/// there is none. A line is a row of `from`, or a column.
struct Pack<'a> {
    from: Tensor<f32>,
    first: usize,
    lines_are_rows: bool,
    to: &'a mut [Lanes<f32>],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, first, lines_are_rows, to } = self;
        if !lines_are_rows {
            let count = LANES.min(from.width() - first);
            for (k, to) in to.iter_mut().enumerate() {
                // SAFETY: the stage only reads the matrix.
                let row = unsafe { from.row(k) };
                math::store(s, math::load(s, &row[first..first + count]), to);
            }
            return;
        }
        let mut rows: [&[f32]; LANES] = [&[]; LANES];
        for (i, row) in rows.iter_mut().enumerate().take(from.rows() - first) {
            // SAFETY: as above.
            *row = unsafe { from.row(first + i) };
        }
        for (c, to) in to.chunks_mut(LANES).enumerate() {
            let mut block = [s.splat(0.0); LANES];
            for i in 0..LANES {
                if !rows[i].is_empty() {
                    let at = c * LANES;
                    block[i] = math::load(s, &rows[i][at..rows[i].len().min(at + LANES)]);
                }
            }
            let block = s.transpose(block);
            for (to, block) in to.iter_mut().zip(block) {
                s.store(block, to);
            }
        }
    }
}

/// `[R][V]` accumulators over one run: rows are lanes `lane .. lane + R` of `a`.
#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    s: S,
    a: &[Lanes<f32>],
    lane: usize,
    b: [&[Lanes<f32>]; V],
) -> [[S::F; V]; R] {
    let mut acc = [[s.splat(0.0); V]; R];
    for (k, a) in a.iter().enumerate() {
        let mut columns = [s.splat(0.0); V];
        for v in 0..V {
            columns[v] = s.load(&b[v][k]);
        }
        for r in 0..R {
            let x = s.splat(a[lane + r]);
            for v in 0..V {
                acc[r][v] = s.fma(x, columns[v], acc[r][v]);
            }
        }
    }
    acc
}

/// One unit of the product.
struct Block<'a> {
    /// Groups of rows, `[group][K]`.
    a: &'a [Lanes<f32>],
    /// Groups of columns, `[group][K]`.
    b: &'a [Lanes<f32>],
    k: usize,
    y: Tensor<f32>,
    bias: Option<&'a [f32]>,
    first_row: usize,
    first_column: usize,
    then: Then,
}

impl Block<'_> {
    #[inline(always)]
    fn run_tiles<S: Simd, const R: usize, const V: usize>(&self, s: S) {
        let rows = (self.y.rows() - self.first_row).min(ROW_GROUPS * LANES);
        for start in (0..self.k).step_by(RUN) {
            let run = start..self.k.min(start + RUN);
            for column in (0..self.b.len() / self.k).step_by(V) {
                let mut b: [&[Lanes<f32>]; V] = [&[]; V];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = &self.b[(column + v) * self.k..][run.clone()];
                }
                for row in (0..rows).step_by(R) {
                    let a = &self.a[row / LANES * self.k..][run.clone()];
                    let acc = tile::<S, R, V>(s, a, row % LANES, b);
                    for (r, acc) in acc.iter().enumerate().take(rows - row) {
                        self.put(s, row + r, column, acc, start == 0);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn put<S: Simd, const V: usize>(
        &self,
        s: S,
        row: usize,
        column: usize,
        acc: &[S::F; V],
        is_first: bool,
    ) {
        for (v, &acc) in acc.iter().enumerate() {
            let first = self.first_column + (column + v) * LANES;
            let count = LANES.min(self.y.width().saturating_sub(first));
            if count == 0 {
                continue;
            }
            // SAFETY: the unit owns these rows and columns of `y`.
            let y = unsafe { self.y.part_mut(self.first_row + row, first, count) };
            let mut value = acc;
            if let Some(bias) = self.bias.filter(|_| is_first) {
                value = s.add(value, math::load(s, &bias[first..first + count]));
            }
            if !is_first || self.then == Then::Add {
                value = s.add(math::load(s, y), value);
            }
            math::store(s, value, y);
        }
    }
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Sixteen registers of accumulators where a vector is one register, eight where it is two.
        if S::TILE >= 16 {
            self.run_tiles::<S, 8, 2>(s);
        } else {
            self.run_tiles::<S, 4, 1>(s);
        }
    }
}

/// A stage that packs `lines` rows or columns of `from` at byte `offset` of the scratch memory.
fn pack(from: Tensor<f32>, lines_are_rows: bool, k: usize, groups: usize, offset: usize) -> Stage {
    let lines = if lines_are_rows { from.rows() } else { from.width() };
    Stage::new(groups, groups * k * LANES / 4, move |context: &Context, group| {
        let bytes = k * LANES * size_of::<f32>();
        // SAFETY: a unit owns its group; the matrix is only read.
        let to = unsafe { context.scratch.part::<Lanes<f32>>(offset + group * bytes, k) };
        if group * LANES < lines {
            context.isa.run(Pack { from, first: group * LANES, lines_are_rows, to });
        } else {
            to.fill([0.0; LANES]);
        }
        Ok(())
    })
}

/// Stages of [`MatMul`]: both matrices packed, then blocks of the output.
pub fn mat_mul(op: &MatMul) -> BackendResult<Stages> {
    let (a, b) = (Tensor::<f32>::new(&op.a)?, Tensor::<f32>::new(&op.b)?);
    let (y, then) = (Tensor::<f32>::new(&op.y)?, op.then);
    let bias = op.bias.as_ref().map(Tensor::<f32>::new).transpose()?;
    let [m, n, k] = op.dims();
    let row_groups = m.div_ceil(LANES);
    let column_groups = n.div_ceil(LANES).next_multiple_of(COLUMN_GROUPS);
    let group_bytes = k * LANES * size_of::<f32>();
    let b_offset = row_groups * group_bytes;
    let pack_a = pack(a, op.a_side == Side::Plain, k, row_groups, 0);
    let pack_b = pack(b, op.b_side == Side::Transposed, k, column_groups, b_offset);

    let row_blocks = row_groups.div_ceil(ROW_GROUPS);
    let units = row_blocks * (column_groups / COLUMN_GROUPS);
    let product = Stage::new(units, m * n * k / 32, move |context, unit| {
        // Neighbouring units share their columns, the larger operand in most products.
        let (column, row) = (unit / row_blocks * COLUMN_GROUPS, unit % row_blocks * ROW_GROUPS);
        let groups = ROW_GROUPS.min(row_groups - row);
        // SAFETY: the stages before wrote these groups; a unit owns its part of `y`.
        let (a, b) = unsafe {
            let part = |offset: usize, count: usize| &*context.scratch.part(offset, count * k);
            (part(row * group_bytes, groups), part(b_offset + column * group_bytes, COLUMN_GROUPS))
        };
        // SAFETY: the bias is only read.
        let bias = bias.map(|bias| unsafe { bias.dense() });
        let (first_row, first_column) = (row * LANES, column * LANES);
        context.isa.run(Block { a, b, k, y, bias, first_row, first_column, then });
        Ok(())
    });
    let scratch_bytes = b_offset + column_groups * group_bytes;
    Ok(Stages { stages: vec![pack_a, pack_b, product], scratch_bytes })
}
