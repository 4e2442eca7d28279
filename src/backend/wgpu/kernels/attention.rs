//! Attention of tree nodes: one workgroup per head of a row, over chunks of absolute positions.

use super::{Builder, Plan, kv::format_define, params, stride, word};
use crate::{backend::wgpu::caps::Caps, ops::TreeAttention, quant::BLOCK};

/// Positions that share a running maximum, where they share workgroup memory.
const CHUNK: u32 = 64;

/// Lanes of a workgroup on a GPU.
const LANES: u32 = 64;

/// Lanes on a processor, and positions of a chunk where scores stay in lanes.
const BROADCAST_LANES: u32 = 8;

params!(Params {
    m: u32,
    h: u32,
    g: u32,
    q_offset: u32,
    q_stride: u32,
    k_offset: u32,
    v_offset: u32,
    k_scale_offset: u32,
    v_scale_offset: u32,
    table_offset: u32,
    table_heads: u32,
    table_pages: u32,
    seqs: u32,
    seq_offset: u32,
    seq_stride: u32,
    prefix_offset: u32,
    prefix_heads: u32,
    path_offset: u32,
    path_stride: u32,
    path_slots_offset: u32,
    path_len: u32,
    out_offset: u32,
    out_stride: u32,
    slots: u32,
    page: u32,
    window: u32,
    scale: f32,
});

pub(super) fn plan(op: &TreeAttention, caps: &Caps) -> Plan {
    let mut b = Builder::new("tree_attention", caps);
    let [slots, g, d] = op.cache.dims();
    let [m, h] = [op.q.shape.dim(0), op.q.shape.dim(1)];
    b.define(format_define(op.cache.format), "");
    b.define("HEAD", format!("{d}u"));
    let rows = &op.rows;
    let mut params = Params {
        m: word(m)?,
        h: word(h)?,
        g: word(g)?,
        q_offset: b.read("q", &op.q)?,
        q_stride: stride(&op.q)?,
        k_offset: b.read("k_pages", &op.cache.k)?,
        v_offset: b.read("v_pages", &op.cache.v)?,
        k_scale_offset: 0,
        v_scale_offset: 0,
        table_offset: b.read("table", &op.table)?,
        table_heads: word(op.table.shape.dim(1))?,
        table_pages: word(op.table.shape.dim(2))?,
        seqs: word(op.table.shape.dim(0))?,
        seq_offset: b.read("seq", &rows.seq)?,
        seq_stride: stride(&rows.seq)?,
        prefix_offset: b.read("prefix", &rows.prefix)?,
        prefix_heads: word(rows.prefix.shape.dim(1))?,
        path_offset: b.read("path", &rows.path)?,
        path_stride: stride(&rows.path)?,
        path_slots_offset: b.read("path_slots", &rows.path_slots)?,
        path_len: word(rows.path_slots.shape.dim(1))?,
        out_offset: b.write("out", &op.out)?,
        out_stride: stride(&op.out)?,
        slots: word(slots)?,
        page: word(op.page_slots)?,
        window: word(op.window)?,
        scale: op.scale,
    };
    if let (Some(k), Some(v)) = (&op.cache.k_scale, &op.cache.v_scale) {
        params.k_scale_offset = b.read("k_scale", k)?;
        params.v_scale_offset = b.read("v_scale", v)?;
    }
    let vectors = params.k_offset.is_multiple_of(4) && params.v_offset.is_multiple_of(4);
    if caps.software && caps.broadcasts_eight() && vectors && d.is_multiple_of(BLOCK) {
        b.constant("WG", BROADCAST_LANES);
        b.define("BROADCAST", "");
        b.define("BLOCKS", format!("{}u", d / BLOCK));
        b.define("PARTS", format!("{}u", (d / 8).div_ceil(BROADCAST_LANES as usize)));
    } else {
        let lanes = if caps.software { BROADCAST_LANES } else { LANES };
        b.constant("WG", lanes);
        b.define("CHUNK", format!("{CHUNK}u"));
        b.define("PAIRS", format!("{}u", (d / 2).div_ceil(lanes as usize)));
    }
    Ok(vec![b.finish(params, m * h)?])
}
