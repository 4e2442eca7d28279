//! Gradients through a decoder: a block per row, a warp per head, the gate a thread per element.

use super::{Builder, Plan, pointwise::cover};
use crate::ops::{Gate, GateGrad, RmsNormGrad, SoftmaxGrad, SoftmaxKl, SpanSoftmax, Then};

pub(super) fn span_softmax(op: &SpanSoftmax) -> Result<Plan, String> {
    Builder::new("span_softmax")
        .rows("x", "x_stride", &op.x)
        .rows("spans", "spans_stride", &op.spans)
        .u32("n", op.x.shape.dim(1))
        .f32("scale", op.scale)
        .only([op.x.shape.dim(0), 1, 1], 256)
}

pub(super) fn softmax_grad(op: &SoftmaxGrad) -> Result<Plan, String> {
    Builder::new("softmax_grad")
        .rows("probs", "probs_stride", &op.p)
        .rows("dp", "dp_stride", &op.dp)
        .u32("n", op.p.shape.dim(1))
        .f32("scale", op.scale)
        .only([op.p.shape.dim(0), 1, 1], 256)
}

pub(super) fn rms_norm_grad(op: &RmsNormGrad) -> Result<Plan, String> {
    let [m, h, d] = [0, 1, 2].map(|i| op.x.shape.dim(i));
    Builder::new("rms_norm_grad")
        .define_if(op.then == Then::Add, "ADD")
        .rows("x", "x_stride", &op.x)
        .dense("weight", &op.weight)
        .rows("dy", "dy_stride", &op.dy)
        .rows("dx", "dx_stride", &op.dx)
        .u32("d", d)
        .f32("eps", op.eps)
        .only([h, m, 1], 32)
}

pub(super) fn gate_grad(op: &GateGrad) -> Result<Plan, String> {
    let (grid, threads) = cover(&op.dout);
    Builder::new("gate_grad")
        .define_if(op.gate == Gate::GeluTanh, "GELU_TANH")
        .rows("gate_up", "gate_up_stride", &op.gate_up)
        .rows("dout", "dout_stride", &op.dout)
        .rows("grad", "grad_stride", &op.grad)
        .u32("f", op.dout.shape.dim(1))
        .only(grid, threads)
}

pub(super) fn softmax_kl(op: &SoftmaxKl) -> Result<Plan, String> {
    Builder::new("softmax_kl")
        .rows("logits", "logits_stride", &op.logits)
        .rows("teacher", "teacher_stride", &op.teacher)
        .rows("weights", "weights_stride", &op.weights)
        .rows("loss", "loss_stride", &op.loss)
        .u32("v", op.logits.shape.dim(1))
        .only([op.logits.shape.dim(0), 1, 1], 256)
}
