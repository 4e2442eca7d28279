//! Ops that write the paged cache.

use super::{Builder, Plan};
use crate::{
    ops::{KvCommit, KvFormat, KvLayer, KvWrite},
    quant::BLOCK,
};

/// Value of the define `KV`.
pub(super) fn format_define(format: KvFormat) -> u32 {
    match format {
        KvFormat::F32 => 0,
        KvFormat::F16 => 1,
        KvFormat::Q8_0 => 2,
    }
}

fn pages(mut b: Builder, cache: &KvLayer) -> Builder {
    b = b
        .define("KV", format_define(cache.format))
        .view("k_pages", &cache.k)
        .view("v_pages", &cache.v);
    if let (Some(k), Some(v)) = (&cache.k_scale, &cache.v_scale) {
        b = b.dense("k_scale", k).dense("v_scale", v);
    }
    b
}

pub(super) fn write(op: &KvWrite) -> Result<Plan, String> {
    let [s, g, d] = op.cache.dims();
    let blocks = match op.cache.format {
        KvFormat::Q8_0 => (g * d / BLOCK).div_ceil(4),
        KvFormat::F32 | KvFormat::F16 => (g * d).div_ceil(128),
    };
    pages(Builder::new("kv_write"), &op.cache)
        .rows("k", "k_stride", &op.k)
        .rows("v", "v_stride", &op.v)
        .rows("slots", "slots_stride", &op.slots)
        .u32("s", s)
        .u32("g", g)
        .u32("d", d)
        .only([blocks, op.slots.shape.dim(0), 1], 128)
}

pub(super) fn commit(op: &KvCommit) -> Result<Plan, String> {
    let [s, g, d] = op.cache.dims();
    // a slot as halves, whatever they stand for: heads have an even number of elements
    let words = g * d * op.cache.k.dtype.size() / 2;
    pages(Builder::new("kv_commit"), &op.cache)
        .rows("src", "src_stride", &op.src)
        .rows("dst", "dst_stride", &op.dst)
        .u32("m", op.src.shape.dim(0))
        .u32("s", s)
        .u32("words", words)
        .u32("halves", g * d / BLOCK)
        .only([words.div_ceil(128), 1, 1], 128)
}
