//! Ops of training.

use super::{Builder, Plan, pointwise::cover};
use crate::ops::{AdamW, ColumnSums, MatMul, RowSquares, Side, SiluGrad, SoftmaxXent, Then};

/// Rows and columns of the tile of a block; `TILE` in `cuda/mat_mul.cu`.
const TILE: usize = 64;

pub(super) fn mat_mul(op: &MatMul) -> Result<Plan, String> {
    let [m, n, k] = op.dims();
    let b = Builder::new("mat_mul")
        .define_if(op.a_side == Side::Transposed, "A_TRANSPOSED")
        .define_if(op.b_side == Side::Transposed, "B_TRANSPOSED")
        .define_if(op.then == Then::Add, "ADD")
        .define_if(op.bias.is_some(), "BIAS")
        .rows("a", "a_stride", &op.a)
        .rows("b", "b_stride", &op.b)
        .rows("y", "y_stride", &op.y)
        .u32("m", m)
        .u32("n", n)
        .u32("k", k);
    let b = match &op.bias {
        Some(bias) => b.dense("bias", bias),
        None => b,
    };
    b.only([n.div_ceil(TILE), m.div_ceil(TILE), 1], 256)
}

pub(super) fn silu_grad(op: &SiluGrad) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.z);
    Builder::new("silu_grad")
        .rows("z", "z_stride", &op.z)
        .rows("dy", "dy_stride", &op.dy)
        .rows("dz", "dz_stride", &op.dz)
        .u32("d", op.z.shape.dim(1))
        .only(grid, threads)
}

pub(super) fn column_sums(op: &ColumnSums) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.x);
    Builder::new("column_sums")
        .define_if(op.then == Then::Add, "ADD")
        .rows("x", "x_stride", &op.x)
        .dense("out", &op.out)
        .u32("m", op.x.shape.dim(0))
        .u32("c", op.x.shape.dim(1))
        .only([grid[0], 1, 1], threads)
}

pub(super) fn row_squares(op: &RowSquares) -> Result<Plan, String> {
    Builder::new("row_squares")
        .rows("x", "x_stride", &op.x)
        .rows("out", "out_stride", &op.out)
        .u32("c", op.x.shape.dim(1))
        .only([op.x.shape.dim(0), 1, 1], 256)
}

pub(super) fn softmax_xent(op: &SoftmaxXent) -> Result<Plan, String> {
    Builder::new("softmax_xent")
        .rows("logits", "logits_stride", &op.logits)
        .rows("targets", "targets_stride", &op.targets)
        .rows("weights", "weights_stride", &op.weights)
        .rows("loss", "loss_stride", &op.loss)
        .u32("v", op.logits.shape.dim(1))
        .u32("j", op.targets.shape.dim(1))
        .only([op.logits.shape.dim(0), 1, 1], 256)
}

pub(super) fn adamw(op: &AdamW) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.params);
    Builder::new("adamw")
        .rows("params", "params_stride", &op.params)
        .rows("grads", "grads_stride", &op.grads)
        .rows("mean", "mean_stride", &op.mean)
        .rows("square", "square_stride", &op.square)
        .view("norm2", &op.norm2)
        .dense("hyper", &op.hyper)
        .u32("c", op.params.shape.dim(1))
        .only(grid, threads)
}
