//! Attention of tree nodes and prompts: a warp per row, KV head and block of query heads.

use super::{Builder, Plan, kv::format_define, part};
use crate::{
    backend::View,
    ops::{KvFormat, TreeAttention},
};

/// Positions of a span; `SPAN` in `cuda/shared/softmax.cuh`.
const SPAN: usize = 256;
/// Query heads that a warp computes side by side, at most.
const HEADS: usize = 4;
/// Rows of a thread block.
const ROWS: usize = 4;
/// With this many warps or more the device is busy without splitting the context.
const BUSY_WARPS: usize = 4096;

/// Rows of a thread block of `prompt_attention`.
const PROMPT_ROWS: usize = 8;
/// With more rows than a tree has, rows share the keys that they read.
const MOST_TREE_ROWS: usize = 64;
/// Largest head whose tiles and queries fit the static shared memory of `prompt_attention`.
const MOST_TILE_HEAD: usize = 128;

/// Whether keys and values can come in pieces of 16 bytes.
fn fits_tiles(op: &TreeAttention, d: usize) -> bool {
    let aligned = |view: &View| view.offset.is_multiple_of(16);
    op.cache.format == KvFormat::F16
        && d.is_multiple_of(8)
        && d <= MOST_TILE_HEAD
        && aligned(&op.cache.k)
        && aligned(&op.cache.v)
}

pub(super) fn plan(op: &TreeAttention) -> Result<Plan, String> {
    let [_, g, d] = op.cache.dims();
    let [m, h] = [op.q.shape.dim(0), op.q.shape.dim(1)];
    if m == 0 || h == 0 {
        return Ok(Plan::default());
    }
    let spans = op.max_context.div_ceil(SPAN);
    let heads = (h / g).min(HEADS);
    let blocks = (h / g).div_ceil(heads);
    let prompt = m > MOST_TREE_ROWS && fits_tiles(op, d);
    let split = !prompt && spans > 1 && m * g * blocks < BUSY_WARPS;
    let mut scratch_bytes = 0;
    let states = if split { m * h * spans } else { 0 };
    let maxima = part(&mut scratch_bytes, states, 4);
    let totals = part(&mut scratch_bytes, states, 4);
    let parts = part(&mut scratch_bytes, states * d, 4);

    let rows = &op.rows;
    let seen = |b: Builder| {
        b.dense("prefix", &rows.prefix)
            .rows("path", "path_stride", &rows.path)
            .rows("out", "out_stride", &op.out)
            .u32("h", h)
            .u32("g", g)
            .u32("prefix_heads", rows.prefix.shape.dim(1))
            .u32("window", op.window)
    };
    let mut b = Builder::new(if prompt { "prompt_attention" } else { "tree_attention" })
        .define("KV", format_define(op.cache.format))
        .define("D", format!("{d}u"))
        .define("HEADS", format!("{heads}u"))
        .define_if(split, "SPLIT");
    b = match (&op.cache.k_scale, &op.cache.v_scale) {
        (Some(k), Some(v)) => b
            .define("K_SCALES", "p.k_scale")
            .define("V_SCALES", "p.v_scale")
            .dense("k_scale", k)
            .dense("v_scale", v),
        _ => b.define("K_SCALES", "0").define("V_SCALES", "0"),
    };
    let left = |b: Builder| {
        b.scratch("float*", "maxima", maxima)
            .scratch("float*", "totals", totals)
            .scratch("float*", "parts", parts)
            .u32("spans", spans)
    };
    b = seen(b)
        .rows("q", "q_stride", &op.q)
        .view("k_pages", &op.cache.k)
        .view("v_pages", &op.cache.v)
        .dense("table", &op.table)
        .rows("seq", "seq_stride", &rows.seq)
        .dense("path_slots", &rows.path_slots)
        .u32("m", m)
        .u32("table_heads", op.table.shape.dim(1))
        .u32("pages", op.table.shape.dim(2))
        .u32("longest", rows.path_slots.shape.dim(1))
        .u32("page", op.page_slots)
        .f32("scale", op.scale);
    if prompt {
        return b.only([m.div_ceil(PROMPT_ROWS), g * blocks, 1], 32 * PROMPT_ROWS as u32);
    }
    if split {
        b = left(b);
    }
    let across = if split { spans } else { 1 };
    let mut launches = vec![b.launch([m.div_ceil(ROWS), g * blocks, across], 32 * ROWS as u32)?];
    if split {
        let merge = left(seen(Builder::new("merge_attention"))).u32("d", d);
        launches.push(merge.launch([h, m, 1], 128)?);
    }
    Ok(Plan { launches, scratch_bytes })
}
