//! Ops on packed weights.

use super::{Builder, Launch, Plan, part};
use crate::{
    ops::{Activations, Embed, QMatMul, Then, Weight},
    quant::{BLOCK, Layout, QuantFormat, ROW_GROUP},
};

/// With more columns than this, a product waits for them unless many rows of the weight share each load.
const FEW_ROWS: usize = 16;
/// With as many thread blocks the device is busy without splitting K.
const BUSY_BLOCKS: usize = 128;
/// Parts along K in which coded products are added; `SLICES` in `cuda/qmatmul_s8.cu`.
const SLICES: usize = 4;
/// Most rows of a tree: beyond, columns alone keep the device busy.
const MAX_TREE_ROWS: usize = 64;

/// Value of the define `FORMAT`; `cuda/shared/formats.cuh` has the same list.
fn format_define(format: QuantFormat) -> &'static str {
    match format {
        QuantFormat::F32 => "0",
        QuantFormat::F16 => "1",
        QuantFormat::BF16 => "2",
        QuantFormat::Q8_0 => "3",
        QuantFormat::Q4_0 => "4",
        QuantFormat::Q4_1 => "5",
        QuantFormat::Q5_0 => "6",
        QuantFormat::Q5_1 => "7",
        QuantFormat::Q2_K => "8",
        QuantFormat::Q3_K => "9",
        QuantFormat::Q4_K => "10",
        QuantFormat::Q5_K => "11",
        QuantFormat::Q6_K => "12",
    }
}

/// The packed weight: address, planes, dimensions.
fn weight(b: Builder, w: &Weight) -> Builder {
    let Layout { format, n, k, codes, high, scales, supers, .. } = w.layout;
    let offset = |plane: Option<crate::quant::Plane>| plane.map_or(0, |plane| plane.offset);
    b.define("FORMAT", format_define(format))
        .dense("w", &w.data)
        .u64("w_codes", codes.offset)
        .u64("w_high", offset(high))
        .u64("w_scales", offset(scales))
        .u64("w_supers", offset(supers))
        .u32("n", n)
        .u32("k", k)
}

pub(super) fn embed(op: &Embed) -> Result<Plan, String> {
    weight(Builder::new("embed"), &op.table)
        .rows("ids", "ids_stride", &op.ids)
        .rows("out", "out_stride", &op.out)
        .f32("scale", op.scale)
        .only([op.ids.shape.dim(0), 1, 1], 128)
}

/// Result, bias and dimensions.
fn result(b: Builder, op: &QMatMul) -> Builder {
    let b = weight(b, &op.w)
        .define_if(op.then == Then::Add, "ADD")
        .define_if(op.bias.is_some(), "BIAS")
        .rows("y", "y_stride", &op.y)
        .u32("m", op.m());
    match &op.bias {
        Some(bias) => b.dense("bias", bias),
        None => b,
    }
}

pub(super) fn qmatmul(op: &QMatMul) -> Result<Plan, String> {
    let float = matches!(op.w.format(), QuantFormat::F32 | QuantFormat::F16 | QuantFormat::BF16);
    if op.m() == 0 {
        return Ok(Plan::default());
    }
    match op.activations {
        Activations::Q8 if !float => quantised(op, false),
        Activations::Q12 if !float => quantised(op, true),
        Activations::F32 | Activations::Q8 | Activations::Q12 => match op.w.format() {
            QuantFormat::F16 | QuantFormat::BF16 => half(op),
            _ => plain(op),
        },
    }
}

/// How a product of `m` columns is cut: tiles of 8 columns that share a weight's fragment, and groups of
/// rows that share the columns.
fn tiles(m: usize) -> (usize, usize) {
    let tiles = m.div_ceil(8).next_power_of_two().min(8);
    (tiles, if tiles >= 4 { 2 } else { 1 })
}

/// f16 or bf16 weights: f32 rows as sums of such floats, then tensor cores.
fn half(op: &QMatMul) -> Result<Plan, String> {
    let (m, k) = (op.m(), op.w.layout.k);
    let bf16 = op.w.format() == QuantFormat::BF16;
    let mut scratch_bytes = 0;
    let parts = part(&mut scratch_bytes, m * k * if bf16 { 3 } else { 2 }, 2);
    let unscale = part(&mut scratch_bytes, m, 4);
    let rows = |b: Builder| {
        b.scratch("unsigned short*", "parts", parts).scratch("float*", "unscale", unscale)
    };
    let split = rows(Builder::new("split_rows"))
        .define_if(bf16, "BF16_PARTS")
        .rows("x", "x_stride", &op.x)
        .u32("m", m)
        .u32("k", k)
        .launch([m, 1, 1], 256)?;
    let (tiles, groups) = tiles(m);
    let product = rows(result(Builder::new("qmatmul_half"), op))
        .define("TILES", format!("{tiles}u"))
        .define("GROUPS", format!("{groups}u"))
        .launch(
            [op.w.layout.n.div_ceil(ROW_GROUP * groups), m.div_ceil(8 * tiles), 1],
            128 * groups as u32,
        )?;
    Ok(Plan { launches: vec![split, product], scratch_bytes })
}

/// f32 rows: a block of four warps per 16 rows of the weight and some rows of x.
fn plain(op: &QMatMul) -> Result<Plan, String> {
    let columns = op.m().next_power_of_two().min(8);
    result(Builder::new("qmatmul_f32"), op)
        .define("COLUMNS", format!("{columns}u"))
        .rows("x", "x_stride", &op.x)
        .only([op.w.layout.groups(), op.m().div_ceil(columns), 1], 128)
}

/// More than a few coded rows: a block of threads for 128 rows of the weight and 32 or 64 columns, and a slice
/// of K each where the weight has too few rows to keep the device busy.
fn tiled(
    op: &QMatMul,
    quantize: Launch,
    rows: impl Fn(Builder) -> Builder,
    mut scratch_bytes: u64,
) -> Result<Plan, String> {
    let (m, n) = (op.m(), op.w.layout.n);
    let (tiles, groups) = (if m <= 32 { 4 } else { 8 }, 8);
    let across = [n.div_ceil(ROW_GROUP * groups), m.div_ceil(8 * tiles)];
    // The weight's shape decides, so that every tree is cut alike.
    let split = across[0] < BUSY_BLOCKS && m <= MAX_TREE_ROWS;
    let partials = part(&mut scratch_bytes, if split { SLICES * m * n } else { 0 }, 4);
    let product = rows(result(Builder::new("qmatmul_tile"), op))
        .define("TILES", format!("{tiles}u"))
        .define("GROUPS", format!("{groups}u"))
        .define_if(split, "SPLIT")
        .scratch("float*", "partials", partials)
        .launch([across[0], across[1], if split { SLICES } else { 1 }], 32 * groups as u32)?;
    let mut launches = vec![quantize, product];
    if split {
        let merge =
            result(Builder::new("merge_slices"), op).scratch("float*", "partials", partials);
        launches.push(merge.launch([n.div_ceil(256), m, 1], 256)?);
    }
    Ok(Plan { launches, scratch_bytes })
}

/// 8-bit or, `wide`, 12-bit rows: their codes, then tensor cores.
fn quantised(op: &QMatMul, wide: bool) -> Result<Plan, String> {
    let (m, k) = (op.m(), op.w.layout.k);
    let blocks = k / BLOCK;
    let mut scratch_bytes = 0;
    let codes = part(&mut scratch_bytes, m * k, 1);
    let lows = part(&mut scratch_bytes, if wide { m * k } else { 0 }, 1);
    let scales = part(&mut scratch_bytes, m * blocks, 4);
    let products = part(&mut scratch_bytes, m * blocks * 2, 4);
    let rows = |b: Builder| {
        b.define_if(wide, "WIDE")
            .scratch("signed char*", "codes", codes)
            .scratch("signed char*", "lows", lows)
            .scratch("float*", "scales", scales)
            .scratch("float*", "products", products)
    };
    let quantize = rows(Builder::new("quantize_rows"))
        .rows("x", "x_stride", &op.x)
        .u32("k", k)
        .launch([blocks.div_ceil(4), m, 1], 128)?;
    if m > FEW_ROWS {
        return tiled(op, quantize, rows, scratch_bytes);
    }
    let (tiles, groups) = tiles(m);
    let product = rows(result(Builder::new("qmatmul_s8"), op))
        .define("TILES", format!("{tiles}u"))
        .define("GROUPS", format!("{groups}u"))
        .launch(
            [op.w.layout.n.div_ceil(ROW_GROUP * groups), m.div_ceil(8 * tiles), 1],
            128 * groups as u32,
        )?;
    Ok(Plan { launches: vec![quantize, product], scratch_bytes })
}
