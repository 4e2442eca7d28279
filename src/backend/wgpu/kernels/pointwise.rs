//! Ops without a reduction: one invocation per element, or per pair.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{Add, Copy, Fill, Gate, GateMul, GatherRows, Rope, RopeStyle, SiluAdd},
};

params!(CopyParams {
    m: u32,
    c: u32,
    src_offset: u32,
    src_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
});

pub(super) fn copy(op: &Copy, caps: &Caps) -> Plan {
    let mut b = Builder::new("copy", caps);
    let (m, c) = (op.dst.shape.dim(0), op.dst.shape.dim(1));
    let params = CopyParams {
        m: word(m)?,
        c: word(c)?,
        src_offset: b.read("src", &op.src)?,
        src_stride: stride(&op.src)?,
        dst_offset: b.write("dst", &op.dst)?,
        dst_stride: stride(&op.dst)?,
    };
    Ok(vec![b.finish_elements(params, m * c)?])
}

params!(FillParams {
    m: u32,
    c: u32,
    dst_offset: u32,
    dst_stride: u32,
    bits: u32,
    keep: u32,
    seed_low: u32,
    seed_high: u32,
});

pub(super) fn fill(op: &Fill, caps: &Caps) -> Plan {
    let mut b = Builder::new("fill", caps);
    let (m, c) = (op.dst.shape.dim(0), op.dst.shape.dim(1));
    let params = FillParams {
        m: word(m)?,
        c: word(c)?,
        dst_offset: b.write("dst", &op.dst)?,
        dst_stride: stride(&op.dst)?,
        bits: op.bits,
        keep: op.random.map_or(0, |random| random.keep),
        seed_low: op.random.map_or(0, |random| random.seed as u32),
        seed_high: op.random.map_or(0, |random| (random.seed >> 32) as u32),
    };
    if op.random.is_some() {
        b.define("RANDOM", "");
    }
    Ok(vec![b.finish_elements(params, m * c)?])
}

params!(AddParams { m: u32, c: u32, x_offset: u32, x_stride: u32, y_offset: u32, y_stride: u32 });

pub(super) fn add(op: &Add, caps: &Caps) -> Plan {
    let mut b = Builder::new("add", caps);
    let (m, c) = (op.y.shape.dim(0), op.y.shape.dim(1));
    let params = AddParams {
        m: word(m)?,
        c: word(c)?,
        x_offset: b.read("x", &op.x)?,
        x_stride: stride(&op.x)?,
        y_offset: b.write("y", &op.y)?,
        y_stride: stride(&op.y)?,
    };
    Ok(vec![b.finish_elements(params, m * c)?])
}

params!(GatherRowsParams {
    m: u32,
    c: u32,
    r: u32,
    src_offset: u32,
    src_stride: u32,
    rows_offset: u32,
    rows_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
});

pub(super) fn gather_rows(op: &GatherRows, caps: &Caps) -> Plan {
    let mut b = Builder::new("gather_rows", caps);
    let (m, c) = (op.dst.shape.dim(0), op.dst.shape.dim(1));
    let params = GatherRowsParams {
        m: word(m)?,
        c: word(c)?,
        r: word(op.src.shape.dim(0))?,
        src_offset: b.read("src", &op.src)?,
        src_stride: stride(&op.src)?,
        rows_offset: b.read("rows", &op.rows)?,
        rows_stride: stride(&op.rows)?,
        dst_offset: b.write("dst", &op.dst)?,
        dst_stride: stride(&op.dst)?,
    };
    Ok(vec![b.finish_elements(params, m * c)?])
}

params!(GateMulParams {
    m: u32,
    f: u32,
    gate_up_offset: u32,
    gate_up_stride: u32,
    out_offset: u32,
    out_stride: u32,
});

pub(super) fn gate_mul(op: &GateMul, caps: &Caps) -> Plan {
    let mut b = Builder::new("gate_mul", caps);
    match op.gate {
        Gate::Silu => {}
        Gate::GeluTanh => b.define("GELU", ""),
    }
    let (m, f) = (op.out.shape.dim(0), op.out.shape.dim(1));
    let params = GateMulParams {
        m: word(m)?,
        f: word(f)?,
        gate_up_offset: b.read("gate_up", &op.gate_up)?,
        gate_up_stride: stride(&op.gate_up)?,
        out_offset: b.write("out", &op.out)?,
        out_stride: stride(&op.out)?,
    };
    Ok(vec![b.finish_elements(params, m * f)?])
}

params!(RopeParams {
    m: u32,
    h: u32,
    d: u32,
    pairs: u32,
    t: u32,
    x_offset: u32,
    x_stride: u32,
    positions_offset: u32,
    positions_stride: u32,
    cos_offset: u32,
    sin_offset: u32,
});

pub(super) fn rope(op: &Rope, caps: &Caps) -> Plan {
    let mut b = Builder::new("rope", caps);
    match op.style {
        RopeStyle::Interleaved => {}
        RopeStyle::Halved => b.define("HALVED", ""),
    }
    let [m, h, d] = [op.x.shape.dim(0), op.x.shape.dim(1), op.x.shape.dim(2)];
    let [t, pairs] = [op.cos.shape.dim(0), op.cos.shape.dim(1)];
    let params = RopeParams {
        m: word(m)?,
        h: word(h)?,
        d: word(d)?,
        pairs: word(pairs)?,
        t: word(t)?,
        x_offset: b.write("x", &op.x)?,
        x_stride: stride(&op.x)?,
        positions_offset: b.read("positions", &op.positions)?,
        positions_stride: stride(&op.positions)?,
        cos_offset: b.read("cos_table", &op.cos)?,
        sin_offset: b.read("sin_table", &op.sin)?,
    };
    Ok(vec![b.finish_elements(params, m * h * pairs)?])
}

params!(SiluAddParams {
    m: u32,
    d: u32,
    y_offset: u32,
    y_stride: u32,
    x_offset: u32,
    x_stride: u32,
});

pub(super) fn silu_add(op: &SiluAdd, caps: &Caps) -> Plan {
    let mut b = Builder::new("silu_add", caps);
    let (m, d) = (op.x.shape.dim(0), op.x.shape.dim(1));
    let params = SiluAddParams {
        m: word(m)?,
        d: word(d)?,
        y_offset: b.read("y", &op.y)?,
        y_stride: stride(&op.y)?,
        x_offset: b.write("x", &op.x)?,
        x_stride: stride(&op.x)?,
    };
    Ok(vec![b.finish_elements(params, m * d)?])
}
