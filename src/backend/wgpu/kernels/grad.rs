//! Gradients through a decoder: one workgroup per row or head, the gate one invocation per element.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{Gate, GateGrad, RmsNormGrad, SoftmaxGrad, SoftmaxKl, SpanSoftmax, Then},
};

params!(SpanSoftmaxParams {
    m: u32,
    n: u32,
    x_offset: u32,
    x_stride: u32,
    spans_offset: u32,
    spans_stride: u32,
    scale: f32,
});

pub(super) fn span_softmax(op: &SpanSoftmax, caps: &Caps) -> Plan {
    let mut b = Builder::new("span_softmax", caps);
    b.constant("WG", caps.reduce_lanes());
    let m = op.x.shape.dim(0);
    let params = SpanSoftmaxParams {
        m: word(m)?,
        n: word(op.x.shape.dim(1))?,
        x_offset: b.write("x", &op.x)?,
        x_stride: stride(&op.x)?,
        spans_offset: b.read("spans", &op.spans)?,
        spans_stride: stride(&op.spans)?,
        scale: op.scale,
    };
    Ok(vec![b.finish(params, m)?])
}

params!(SoftmaxGradParams {
    m: u32,
    n: u32,
    probs_offset: u32,
    probs_stride: u32,
    dp_offset: u32,
    dp_stride: u32,
    scale: f32,
});

pub(super) fn softmax_grad(op: &SoftmaxGrad, caps: &Caps) -> Plan {
    let mut b = Builder::new("softmax_grad", caps);
    b.constant("WG", caps.reduce_lanes());
    let m = op.p.shape.dim(0);
    let params = SoftmaxGradParams {
        m: word(m)?,
        n: word(op.p.shape.dim(1))?,
        probs_offset: b.read("probs", &op.p)?,
        probs_stride: stride(&op.p)?,
        dp_offset: b.write("dp", &op.dp)?,
        dp_stride: stride(&op.dp)?,
        scale: op.scale,
    };
    Ok(vec![b.finish(params, m)?])
}

params!(RmsNormGradParams {
    m: u32,
    h: u32,
    d: u32,
    x_offset: u32,
    x_stride: u32,
    weight_offset: u32,
    dy_offset: u32,
    dy_stride: u32,
    dx_offset: u32,
    dx_stride: u32,
    eps: f32,
});

pub(super) fn rms_norm_grad(op: &RmsNormGrad, caps: &Caps) -> Plan {
    let mut b = Builder::new("rms_norm_grad", caps);
    b.constant("WG", caps.reduce_lanes());
    if op.then == Then::Add {
        b.define("ADD", "");
    }
    let [m, h, d] = [op.x.shape.dim(0), op.x.shape.dim(1), op.x.shape.dim(2)];
    let params = RmsNormGradParams {
        m: word(m)?,
        h: word(h)?,
        d: word(d)?,
        x_offset: b.read("x", &op.x)?,
        x_stride: stride(&op.x)?,
        weight_offset: b.read("weight", &op.weight)?,
        dy_offset: b.read("dy", &op.dy)?,
        dy_stride: stride(&op.dy)?,
        dx_offset: b.write("dx", &op.dx)?,
        dx_stride: stride(&op.dx)?,
        eps: op.eps,
    };
    Ok(vec![b.finish(params, m * h)?])
}

params!(GateGradParams {
    m: u32,
    f: u32,
    gate_up_offset: u32,
    gate_up_stride: u32,
    dout_offset: u32,
    dout_stride: u32,
    grad_offset: u32,
    grad_stride: u32,
});

pub(super) fn gate_grad(op: &GateGrad, caps: &Caps) -> Plan {
    let mut b = Builder::new("gate_grad", caps);
    match op.gate {
        Gate::Silu => {}
        Gate::GeluTanh => b.define("GELU", ""),
    }
    let (m, f) = (op.dout.shape.dim(0), op.dout.shape.dim(1));
    let params = GateGradParams {
        m: word(m)?,
        f: word(f)?,
        gate_up_offset: b.read("gate_up", &op.gate_up)?,
        gate_up_stride: stride(&op.gate_up)?,
        dout_offset: b.read("dout", &op.dout)?,
        dout_stride: stride(&op.dout)?,
        grad_offset: b.write("grad", &op.grad)?,
        grad_stride: stride(&op.grad)?,
    };
    Ok(vec![b.finish_elements(params, m * f)?])
}

params!(SoftmaxKlParams {
    m: u32,
    v: u32,
    logits_offset: u32,
    logits_stride: u32,
    teacher_offset: u32,
    teacher_stride: u32,
    weights_offset: u32,
    weights_stride: u32,
    loss_offset: u32,
    loss_stride: u32,
});

pub(super) fn softmax_kl(op: &SoftmaxKl, caps: &Caps) -> Plan {
    let mut b = Builder::new("softmax_kl", caps);
    b.constant("WG", caps.reduce_lanes());
    let m = op.logits.shape.dim(0);
    let params = SoftmaxKlParams {
        m: word(m)?,
        v: word(op.logits.shape.dim(1))?,
        logits_offset: b.write("logits", &op.logits)?,
        logits_stride: stride(&op.logits)?,
        teacher_offset: b.read("teacher", &op.teacher)?,
        teacher_stride: stride(&op.teacher)?,
        weights_offset: b.read("weights", &op.weights)?,
        weights_stride: stride(&op.weights)?,
        loss_offset: b.write("loss", &op.loss)?,
        loss_stride: stride(&op.loss)?,
    };
    Ok(vec![b.finish(params, m)?])
}
