//! Rows of a packed table by id.

use super::{Builder, Plan, params, qmatmul::Slab, stride, word};
use crate::{backend::wgpu::caps::Caps, ops::Embed, quant::BLOCK};

params!(Params {
    m: u32,
    blocks: u32,
    first_row: u32,
    rows: u32,
    v: u32,
    ids_offset: u32,
    ids_stride: u32,
    out_offset: u32,
    out_stride: u32,
    scale: f32,
});

pub(super) fn plan(op: &Embed, caps: &Caps) -> Plan {
    let layout = &op.table.layout;
    let m = op.ids.shape.dim(0);
    let blocks = layout.k / BLOCK;
    let mut dispatches = Vec::new();
    for slab in Slab::split(layout, caps)? {
        let mut b = Builder::new("embed", caps);
        slab.bind(&mut b, &op.table)?;
        let params = Params {
            m: word(m)?,
            blocks: word(blocks)?,
            first_row: word(slab.first_row)?,
            rows: word(slab.rows)?,
            v: word(layout.n)?,
            ids_offset: b.read("ids", &op.ids)?,
            ids_stride: stride(&op.ids)?,
            out_offset: b.write("out", &op.out)?,
            out_stride: stride(&op.out)?,
            scale: op.scale,
        };
        dispatches.push(b.finish_elements(params, m * blocks)?);
    }
    Ok(dispatches)
}
