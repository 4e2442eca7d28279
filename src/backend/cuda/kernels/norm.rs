//! Root-mean-square norms: a block per row, a warp per head.

use super::{Builder, Plan};
use crate::ops::{AddRmsNorm, HeadRmsNorm, RmsNorm};

pub(super) fn rms_norm(op: &RmsNorm) -> Result<Plan, String> {
    let [m, d] = [op.x.shape.dim(0), op.x.shape.dim(1)];
    Builder::new("rms_norm")
        .rows("x", "x_stride", &op.x)
        .dense("weight", &op.weight)
        .rows("y", "y_stride", &op.y)
        .u32("d", d)
        .f32("eps", op.eps)
        .only([m, 1, 1], 256)
}

pub(super) fn add_rms_norm(op: &AddRmsNorm) -> Result<Plan, String> {
    let [m, d] = [op.x.shape.dim(0), op.x.shape.dim(1)];
    Builder::new("add_rms_norm")
        .rows("r", "r_stride", &op.r)
        .rows("x", "x_stride", &op.x)
        .dense("weight", &op.weight)
        .rows("y", "y_stride", &op.y)
        .u32("d", d)
        .f32("eps", op.eps)
        .only([m, 1, 1], 256)
}

pub(super) fn head_rms_norm(op: &HeadRmsNorm) -> Result<Plan, String> {
    let [m, h, d] = [0, 1, 2].map(|i| op.x.shape.dim(i));
    Builder::new("head_rms_norm")
        .rows("x", "x_stride", &op.x)
        .dense("weight", &op.weight)
        .u32("d", d)
        .f32("eps", op.eps)
        .only([h, m, 1], 32)
}
