//! Reductions over the vocabulary: one workgroup per row.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{RowStats, TopK},
};

/// Lanes on a processor: `top_k` rescans one lane's share of the row for each id, so shares are small.
const SOFTWARE_LANES: u32 = 64;

params!(RowStatsParams {
    m: u32,
    v: u32,
    logits_offset: u32,
    logits_stride: u32,
    out_offset: u32,
    out_stride: u32,
});

pub(super) fn row_stats(op: &RowStats, caps: &Caps) -> Plan {
    let mut b = Builder::new("row_stats", caps);
    b.constant("WG", caps.reduce_lanes());
    let m = op.logits.shape.dim(0);
    let params = RowStatsParams {
        m: word(m)?,
        v: word(op.logits.shape.dim(1))?,
        logits_offset: b.read("logits", &op.logits)?,
        logits_stride: stride(&op.logits)?,
        out_offset: b.write("out", &op.out)?,
        out_stride: stride(&op.out)?,
    };
    Ok(vec![b.finish(params, m)?])
}

params!(TopKParams {
    m: u32,
    v: u32,
    k: u32,
    logits_offset: u32,
    logits_stride: u32,
    ids_offset: u32,
    ids_stride: u32,
    logprobs_offset: u32,
    logprobs_stride: u32,
});

pub(super) fn top_k(op: &TopK, caps: &Caps) -> Plan {
    let mut b = Builder::new("top_k", caps);
    b.constant("WG", if caps.software { SOFTWARE_LANES } else { caps.reduce_lanes() });
    let m = op.logits.shape.dim(0);
    let params = TopKParams {
        m: word(m)?,
        v: word(op.logits.shape.dim(1))?,
        k: word(op.ids.shape.dim(1))?,
        logits_offset: b.read("logits", &op.logits)?,
        logits_stride: stride(&op.logits)?,
        ids_offset: b.write("ids", &op.ids)?,
        ids_stride: stride(&op.ids)?,
        logprobs_offset: b.write("logprobs", &op.logprobs)?,
        logprobs_stride: stride(&op.logprobs)?,
    };
    Ok(vec![b.finish(params, m)?])
}
