//! Products of dense matrices: one workgroup per tile of the output.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{MatMul, Side, Then},
};

/// Rows and columns of a tile; the same in the shader.
const TILE: usize = 64;

params!(Params {
    m: u32,
    n: u32,
    k: u32,
    a_offset: u32,
    a_row: u32,
    a_column: u32,
    b_offset: u32,
    b_row: u32,
    b_column: u32,
    y_offset: u32,
    y_stride: u32,
    bias_offset: u32,
});

pub(super) fn mat_mul(op: &MatMul, caps: &Caps) -> Plan {
    let mut b = Builder::new("mat_mul", caps);
    if op.then == Then::Add {
        b.define("ADD", "");
    }
    // A transposed matrix differs in which of its strides is one.
    let strides = |side: Side, stride: u32| match side {
        Side::Plain => (stride, 1),
        Side::Transposed => (1, stride),
    };
    let (a_row, a_column) = strides(op.a_side, stride(&op.a)?);
    let (b_row, b_column) = strides(op.b_side, stride(&op.b)?);
    let [m, n, k] = op.dims();
    let bias_offset = match &op.bias {
        Some(bias) => {
            b.define("BIAS", "");
            b.read("bias", bias)?
        }
        None => 0,
    };
    let params = Params {
        m: word(m)?,
        n: word(n)?,
        k: word(k)?,
        a_offset: b.read("a", &op.a)?,
        a_row,
        a_column,
        b_offset: b.read("b", &op.b)?,
        b_row,
        b_column,
        y_offset: b.write("y", &op.y)?,
        y_stride: stride(&op.y)?,
        bias_offset,
    };
    Ok(vec![b.finish(params, m.div_ceil(TILE) * n.div_ceil(TILE))?])
}
