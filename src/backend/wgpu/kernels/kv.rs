//! Writing and moving rows of the paged cache.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{KvCommit, KvFormat, KvWrite},
    quant::BLOCK,
};

/// Define that chooses the code for a page format.
pub(super) fn format_define(format: KvFormat) -> &'static str {
    match format {
        KvFormat::F32 => "KV_F32",
        KvFormat::F16 => "KV_F16",
        KvFormat::Q8_0 => "KV_Q8_0",
    }
}

params!(WriteParams {
    m: u32,
    s: u32,
    row: u32,
    units: u32,
    k_offset: u32,
    k_stride: u32,
    v_offset: u32,
    v_stride: u32,
    slots_offset: u32,
    slots_stride: u32,
    k_pages_offset: u32,
    v_pages_offset: u32,
    k_scale_offset: u32,
    v_scale_offset: u32,
});

pub(super) fn write(op: &KvWrite, caps: &Caps) -> Plan {
    let mut b = Builder::new("kv_write", caps);
    let [s, g, d] = op.cache.dims();
    let m = op.slots.shape.dim(0);
    // What one invocation writes of a row.
    let units = match op.cache.format {
        KvFormat::F32 => g * d,
        KvFormat::F16 => g * d / 2,
        KvFormat::Q8_0 => g * d / BLOCK,
    };
    b.define(format_define(op.cache.format), "");
    let mut params = WriteParams {
        m: word(m)?,
        s: word(s)?,
        row: word(g * d)?,
        units: word(units)?,
        k_offset: b.read("k", &op.k)?,
        k_stride: stride(&op.k)?,
        v_offset: b.read("v", &op.v)?,
        v_stride: stride(&op.v)?,
        slots_offset: b.read("slots", &op.slots)?,
        slots_stride: stride(&op.slots)?,
        k_pages_offset: b.write("k_pages", &op.cache.k)?,
        v_pages_offset: b.write("v_pages", &op.cache.v)?,
        k_scale_offset: 0,
        v_scale_offset: 0,
    };
    if let (Some(k), Some(v)) = (&op.cache.k_scale, &op.cache.v_scale) {
        params.k_scale_offset = b.write("k_scale", k)?;
        params.v_scale_offset = b.write("v_scale", v)?;
    }
    Ok(vec![b.finish_elements(params, m * units)?])
}

params!(CommitParams {
    m: u32,
    s: u32,
    slot_words: u32,
    slot_scales: u32,
    src_offset: u32,
    src_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
    k_offset: u32,
    v_offset: u32,
    k_scale_offset: u32,
    v_scale_offset: u32,
});

pub(super) fn commit(op: &KvCommit, caps: &Caps) -> Plan {
    let mut b = Builder::new("kv_commit", caps);
    let [s, g, d] = op.cache.dims();
    let words = g * d * op.cache.k.dtype.size() / 4;
    let mut params = CommitParams {
        m: word(op.src.shape.dim(0))?,
        s: word(s)?,
        slot_words: word(words)?,
        slot_scales: word(g * d / BLOCK)?,
        src_offset: b.read("src", &op.src)?,
        src_stride: stride(&op.src)?,
        dst_offset: b.read("dst", &op.dst)?,
        dst_stride: stride(&op.dst)?,
        k_offset: b.write("k_pages", &op.cache.k)?,
        v_offset: b.write("v_pages", &op.cache.v)?,
        k_scale_offset: 0,
        v_scale_offset: 0,
    };
    if let (Some(k), Some(v)) = (&op.cache.k_scale, &op.cache.v_scale) {
        b.define("SCALES", "");
        params.k_scale_offset = b.write("k_scale", k)?;
        params.v_scale_offset = b.write("v_scale", v)?;
    }
    Ok(vec![b.finish_elements(params, words)?])
}
