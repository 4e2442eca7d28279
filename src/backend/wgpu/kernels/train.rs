//! Ops of training: one invocation per element or column, one workgroup per row for reductions.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{AdamW, ColumnSums, RowSquares, SiluGrad, SoftmaxXent, Then},
};

params!(SiluGradParams {
    m: u32,
    c: u32,
    z_offset: u32,
    z_stride: u32,
    dy_offset: u32,
    dy_stride: u32,
    dz_offset: u32,
    dz_stride: u32,
});

pub(super) fn silu_grad(op: &SiluGrad, caps: &Caps) -> Plan {
    let mut b = Builder::new("silu_grad", caps);
    let (m, c) = (op.dz.shape.dim(0), op.dz.shape.dim(1));
    let params = SiluGradParams {
        m: word(m)?,
        c: word(c)?,
        z_offset: b.read("z", &op.z)?,
        z_stride: stride(&op.z)?,
        dy_offset: b.read("dy", &op.dy)?,
        dy_stride: stride(&op.dy)?,
        dz_offset: b.write("dz", &op.dz)?,
        dz_stride: stride(&op.dz)?,
    };
    Ok(vec![b.finish_elements(params, m * c)?])
}

params!(ColumnSumsParams { m: u32, c: u32, x_offset: u32, x_stride: u32, out_offset: u32 });

pub(super) fn column_sums(op: &ColumnSums, caps: &Caps) -> Plan {
    let mut b = Builder::new("column_sums", caps);
    if op.then == Then::Add {
        b.define("ADD", "");
    }
    let (m, c) = (op.x.shape.dim(0), op.x.shape.dim(1));
    let params = ColumnSumsParams {
        m: word(m)?,
        c: word(c)?,
        x_offset: b.read("x", &op.x)?,
        x_stride: stride(&op.x)?,
        out_offset: b.write("out", &op.out)?,
    };
    Ok(vec![b.finish_elements(params, c)?])
}

params!(RowSquaresParams {
    m: u32,
    c: u32,
    x_offset: u32,
    x_stride: u32,
    out_offset: u32,
    out_stride: u32,
});

pub(super) fn row_squares(op: &RowSquares, caps: &Caps) -> Plan {
    let mut b = Builder::new("row_squares", caps);
    b.constant("WG", caps.reduce_lanes());
    let (m, c) = (op.x.shape.dim(0), op.x.shape.dim(1));
    let params = RowSquaresParams {
        m: word(m)?,
        c: word(c)?,
        x_offset: b.read("x", &op.x)?,
        x_stride: stride(&op.x)?,
        out_offset: b.write("out", &op.out)?,
        out_stride: stride(&op.out)?,
    };
    Ok(vec![b.finish(params, m)?])
}

params!(SoftmaxXentParams {
    m: u32,
    v: u32,
    j: u32,
    logits_offset: u32,
    logits_stride: u32,
    targets_offset: u32,
    targets_stride: u32,
    weights_offset: u32,
    weights_stride: u32,
    loss_offset: u32,
    loss_stride: u32,
});

pub(super) fn softmax_xent(op: &SoftmaxXent, caps: &Caps) -> Plan {
    let mut b = Builder::new("softmax_xent", caps);
    b.constant("WG", caps.reduce_lanes());
    let m = op.logits.shape.dim(0);
    let params = SoftmaxXentParams {
        m: word(m)?,
        v: word(op.logits.shape.dim(1))?,
        j: word(op.targets.shape.dim(1))?,
        logits_offset: b.write("logits", &op.logits)?,
        logits_stride: stride(&op.logits)?,
        targets_offset: b.read("targets", &op.targets)?,
        targets_stride: stride(&op.targets)?,
        weights_offset: b.read("weights", &op.weights)?,
        weights_stride: stride(&op.weights)?,
        loss_offset: b.write("loss", &op.loss)?,
        loss_stride: stride(&op.loss)?,
    };
    Ok(vec![b.finish(params, m)?])
}

params!(AdamWParams {
    m: u32,
    c: u32,
    params_offset: u32,
    params_stride: u32,
    grads_offset: u32,
    grads_stride: u32,
    mean_offset: u32,
    mean_stride: u32,
    square_offset: u32,
    square_stride: u32,
    norm2_offset: u32,
    hyper_offset: u32,
});

pub(super) fn adamw(op: &AdamW, caps: &Caps) -> Plan {
    let mut b = Builder::new("adamw", caps);
    let (m, c) = (op.params.shape.dim(0), op.params.shape.dim(1));
    let params = AdamWParams {
        m: word(m)?,
        c: word(c)?,
        params_offset: b.write("params", &op.params)?,
        params_stride: stride(&op.params)?,
        grads_offset: b.read("grads", &op.grads)?,
        grads_stride: stride(&op.grads)?,
        mean_offset: b.write("mean", &op.mean)?,
        mean_stride: stride(&op.mean)?,
        square_offset: b.write("square", &op.square)?,
        square_stride: stride(&op.square)?,
        norm2_offset: b.read("norm2", &op.norm2)?,
        hyper_offset: b.read("hyper", &op.hyper)?,
    };
    Ok(vec![b.finish_elements(params, m * c)?])
}
