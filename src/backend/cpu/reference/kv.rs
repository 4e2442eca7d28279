//! Ops that write the paged key/value cache, and access to its formats.

use std::collections::HashSet;

use half::f16;

use crate::{
    backend::{
        View,
        cpu::{Operands, Rows, RowsMut},
    },
    ops::{KvCommit, KvFormat, KvLayer, KvWrite},
    quant::BLOCK,
};

const SCALED: &str = "the op's check wants scales with q8_0 pages";

/// Keys or values to read; rows are slots.
pub(super) enum Pages<'e> {
    F32(Rows<'e, f32>),
    F16(Rows<'e, f16>),
    Q8 { codes: Rows<'e, i8>, scales: Rows<'e, f16> },
}

impl<'e> Pages<'e> {
    pub(super) fn keys(cache: &'e KvLayer, operands: &Operands<'e>) -> Self {
        Self::new(cache.format, &cache.k, cache.k_scale.as_ref(), operands)
    }

    pub(super) fn values(cache: &'e KvLayer, operands: &Operands<'e>) -> Self {
        Self::new(cache.format, &cache.v, cache.v_scale.as_ref(), operands)
    }

    fn new(
        format: KvFormat,
        pages: &'e View,
        scales: Option<&'e View>,
        operands: &Operands<'e>,
    ) -> Self {
        match format {
            KvFormat::F32 => Self::F32(operands.read(pages)),
            KvFormat::F16 => Self::F16(operands.read(pages)),
            KvFormat::Q8_0 => Self::Q8 {
                codes: operands.read(pages),
                scales: operands.read(scales.expect(SCALED)),
            },
        }
    }

    /// Head `g` of the given slots, one after the other: `[slots, d]`.
    pub(super) fn gather(&self, slots: &[usize], g: usize, d: usize) -> Vec<f64> {
        let head = g * d..(g + 1) * d;
        match self {
            Self::F32(rows) => {
                slots.iter().flat_map(|&s| &rows.row(s)[head.clone()]).map(|&x| x.into()).collect()
            }
            Self::F16(rows) => {
                slots.iter().flat_map(|&s| &rows.row(s)[head.clone()]).map(|&x| x.into()).collect()
            }
            Self::Q8 { codes, scales } => {
                let value = |s: usize, i: usize| {
                    f64::from(codes.row(s)[i]) * f64::from(scales.row(s)[i / BLOCK])
                };
                slots.iter().flat_map(|&s| head.clone().map(move |i| value(s, i))).collect()
            }
        }
    }
}

/// Keys or values to write; rows are slots.
enum PagesMut<'e> {
    F32(RowsMut<'e, f32>),
    F16(RowsMut<'e, f16>),
    Q8 { codes: RowsMut<'e, i8>, scales: RowsMut<'e, f16> },
}

impl<'e> PagesMut<'e> {
    fn new(
        format: KvFormat,
        pages: &'e View,
        scales: Option<&'e View>,
        operands: &Operands<'e>,
    ) -> Self {
        match format {
            KvFormat::F32 => Self::F32(operands.write(pages)),
            KvFormat::F16 => Self::F16(operands.write(pages)),
            KvFormat::Q8_0 => Self::Q8 {
                codes: operands.write(pages),
                scales: operands.write(scales.expect(SCALED)),
            },
        }
    }

    fn store(&mut self, slot: usize, x: &[f32]) {
        match self {
            Self::F32(rows) => rows.row_mut(slot).copy_from_slice(x),
            Self::F16(rows) => {
                for (y, &x) in rows.row_mut(slot).iter_mut().zip(x) {
                    *y = f16::from_f32(x);
                }
            }
            Self::Q8 { codes, scales } => {
                let codes = codes.row_mut(slot).chunks_exact_mut(BLOCK);
                let blocks = codes.zip(scales.row_mut(slot)).zip(x.chunks_exact(BLOCK));
                for ((codes, scale), x) in blocks {
                    *scale = quantize(x, codes);
                }
            }
        }
    }

    fn move_slot(&mut self, src: usize, dst: usize) {
        match self {
            Self::F32(rows) => move_row(rows, src, dst),
            Self::F16(rows) => move_row(rows, src, dst),
            Self::Q8 { codes, scales } => {
                move_row(codes, src, dst);
                move_row(scales, src, dst);
            }
        }
    }
}

fn move_row<T: bytemuck::Pod + Send + Sync>(rows: &mut RowsMut<'_, T>, src: usize, dst: usize) {
    let row = rows.row(src).to_vec();
    rows.row_mut(dst).copy_from_slice(&row);
}

/// One block as [`KvFormat::Q8_0`] defines it; gives its scale.
fn quantize(x: &[f32], codes: &mut [i8]) -> f16 {
    let max = x.iter().fold(0f32, |max, x| max.max(x.abs()));
    let scale = f16::from_f32(max / 127.0);
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = if scale == f16::ZERO {
            0
        } else {
            (x / scale.to_f32()).round_ties_even().clamp(-127.0, 127.0) as i8
        };
    }
    scale
}

pub(super) fn kv_write<'e>(op: &'e KvWrite, operands: &Operands<'e>) -> Result<(), String> {
    let (k, v) = (operands.read::<f32>(&op.k), operands.read::<f32>(&op.v));
    let slots = operands.read::<u32>(&op.slots);
    let cache = &op.cache;
    let mut keys = PagesMut::new(cache.format, &cache.k, cache.k_scale.as_ref(), operands);
    let mut values = PagesMut::new(cache.format, &cache.v, cache.v_scale.as_ref(), operands);
    let mut seen = HashSet::new();
    for m in 0..slots.len() {
        let slot = slots.at(m) as usize;
        if slot >= cache.dims()[0] {
            continue;
        }
        if !seen.insert(slot) {
            return Err(format!("row {m} writes slot {slot}, which an earlier row has written"));
        }
        keys.store(slot, k.row(m));
        values.store(slot, v.row(m));
    }
    Ok(())
}

pub(super) fn kv_commit<'e>(op: &'e KvCommit, operands: &Operands<'e>) {
    let (src, dst) = (operands.read::<u32>(&op.src), operands.read::<u32>(&op.dst));
    let cache = &op.cache;
    let mut keys = PagesMut::new(cache.format, &cache.k, cache.k_scale.as_ref(), operands);
    let mut values = PagesMut::new(cache.format, &cache.v, cache.v_scale.as_ref(), operands);
    for i in 0..src.len() {
        let (src, dst) = (src.at(i) as usize, dst.at(i) as usize);
        if src < cache.dims()[0] && dst < cache.dims()[0] {
            keys.move_slot(src, dst);
            values.move_slot(src, dst);
        }
    }
}
