//! Ops without a reduction: a thread per element.

use super::{Builder, Plan};
use crate::{
    backend::View,
    ops::{Add, Copy, Fill, Gate, GateMul, GatherRows, RandomBits, Rope, RopeStyle, SiluAdd},
};

/// Threads of a block.
const THREADS: usize = 256;

/// Blocks for all elements of `[M, C]`, and threads of each.
pub(super) fn cover(view: &View) -> ([usize; 3], u32) {
    ([view.shape.dim(1).div_ceil(THREADS), view.shape.dim(0), 1], THREADS as u32)
}

pub(super) fn rope(op: &Rope) -> Result<Plan, String> {
    let [m, h, d] = [0, 1, 2].map(|i| op.x.shape.dim(i));
    Builder::new("rope")
        .define_if(op.style == RopeStyle::Interleaved, "INTERLEAVED")
        .rows("x", "x_stride", &op.x)
        .rows("positions", "positions_stride", &op.positions)
        .dense("cosines", &op.cos)
        .dense("sines", &op.sin)
        .u32("t", op.cos.shape.dim(0))
        .u32("h", h)
        .u32("d", d)
        .u32("half", op.cos.shape.dim(1))
        .only([m, 1, 1], 128)
}

pub(super) fn gate_mul(op: &GateMul) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.out);
    Builder::new("gate_mul")
        .define_if(op.gate == Gate::GeluTanh, "GELU_TANH")
        .rows("gate_up", "gate_up_stride", &op.gate_up)
        .rows("out", "out_stride", &op.out)
        .u32("f", op.out.shape.dim(1))
        .only(grid, threads)
}

pub(super) fn gather_rows(op: &GatherRows) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.dst);
    Builder::new("gather_rows")
        .rows("src", "src_stride", &op.src)
        .rows("rows", "rows_stride", &op.rows)
        .rows("dst", "dst_stride", &op.dst)
        .u32("r", op.src.shape.dim(0))
        .u32("c", op.src.shape.dim(1))
        .only(grid, threads)
}

pub(super) fn copy(op: &Copy) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.dst);
    Builder::new("copy")
        .rows("src", "src_stride", &op.src)
        .rows("dst", "dst_stride", &op.dst)
        .u32("c", op.dst.shape.dim(1))
        .only(grid, threads)
}

pub(super) fn fill(op: &Fill) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.dst);
    let random = op.random.unwrap_or(RandomBits { seed: 0, keep: 0 });
    Builder::new("fill")
        .define_if(op.random.is_some(), "RANDOM")
        .rows("dst", "dst_stride", &op.dst)
        .u32("c", op.dst.shape.dim(1))
        .u32("bits", op.bits as usize)
        .u32("keep", random.keep as usize)
        .u32("seed_low", (random.seed & u64::from(u32::MAX)) as usize)
        .u32("seed_high", (random.seed >> 32) as usize)
        .only(grid, threads)
}

pub(super) fn add(op: &Add) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.y);
    Builder::new("add")
        .rows("x", "x_stride", &op.x)
        .rows("y", "y_stride", &op.y)
        .u32("c", op.y.shape.dim(1))
        .only(grid, threads)
}

pub(super) fn silu_add(op: &SiluAdd) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.x);
    Builder::new("silu_add")
        .rows("y", "y_stride", &op.y)
        .rows("x", "x_stride", &op.x)
        .u32("d", op.x.shape.dim(1))
        .only(grid, threads)
}
