//! Root-mean-square norms: one workgroup per row or head.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{AddRmsNorm, HeadRmsNorm, RmsNorm},
};

params!(RmsNormParams {
    m: u32,
    d: u32,
    x_offset: u32,
    x_stride: u32,
    weight_offset: u32,
    y_offset: u32,
    y_stride: u32,
    eps: f32,
});

pub(super) fn rms_norm(op: &RmsNorm, caps: &Caps) -> Plan {
    let mut b = Builder::new("rms_norm", caps);
    b.constant("WG", caps.reduce_lanes());
    let params = RmsNormParams {
        m: word(op.x.shape.dim(0))?,
        d: word(op.x.shape.dim(1))?,
        x_offset: b.read("x", &op.x)?,
        x_stride: stride(&op.x)?,
        weight_offset: b.read("weight", &op.weight)?,
        y_offset: b.write("y", &op.y)?,
        y_stride: stride(&op.y)?,
        eps: op.eps,
    };
    Ok(vec![b.finish(params, op.x.shape.dim(0))?])
}

params!(AddRmsNormParams {
    m: u32,
    d: u32,
    r_offset: u32,
    r_stride: u32,
    x_offset: u32,
    x_stride: u32,
    weight_offset: u32,
    y_offset: u32,
    y_stride: u32,
    eps: f32,
});

pub(super) fn add_rms_norm(op: &AddRmsNorm, caps: &Caps) -> Plan {
    let mut b = Builder::new("add_rms_norm", caps);
    b.constant("WG", caps.reduce_lanes());
    let params = AddRmsNormParams {
        m: word(op.x.shape.dim(0))?,
        d: word(op.x.shape.dim(1))?,
        r_offset: b.read("r", &op.r)?,
        r_stride: stride(&op.r)?,
        x_offset: b.write("x", &op.x)?,
        x_stride: stride(&op.x)?,
        weight_offset: b.read("weight", &op.weight)?,
        y_offset: b.write("y", &op.y)?,
        y_stride: stride(&op.y)?,
        eps: op.eps,
    };
    Ok(vec![b.finish(params, op.x.shape.dim(0))?])
}

params!(HeadRmsNormParams {
    m: u32,
    h: u32,
    d: u32,
    x_offset: u32,
    x_stride: u32,
    weight_offset: u32,
    eps: f32,
});

pub(super) fn head_rms_norm(op: &HeadRmsNorm, caps: &Caps) -> Plan {
    let mut b = Builder::new("head_rms_norm", caps);
    b.constant("WG", caps.reduce_lanes());
    let [m, h, d] = [op.x.shape.dim(0), op.x.shape.dim(1), op.x.shape.dim(2)];
    let params = HeadRmsNormParams {
        m: word(m)?,
        h: word(h)?,
        d: word(d)?,
        x_offset: b.write("x", &op.x)?,
        x_stride: stride(&op.x)?,
        weight_offset: b.read("weight", &op.weight)?,
        eps: op.eps,
    };
    Ok(vec![b.finish(params, m * h)?])
}
