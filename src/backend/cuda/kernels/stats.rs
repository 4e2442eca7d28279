//! Reductions over the vocabulary.

use super::{Builder, Plan, part};
use crate::ops::{RowStats, TopK};

pub(super) fn row_stats(op: &RowStats) -> Result<Plan, String> {
    Builder::new("row_stats")
        .rows("logits", "logits_stride", &op.logits)
        .rows("out", "out_stride", &op.out)
        .u32("v", op.logits.shape.dim(1))
        .only([op.logits.shape.dim(0), 1, 1], 512)
}

/// Elements that one block of the first stage searches.
const SEGMENT: usize = 4096;

pub(super) fn top_k(op: &TopK) -> Result<Plan, String> {
    let [m, v] = [op.logits.shape.dim(0), op.logits.shape.dim(1)];
    let count = op.ids.shape.dim(1);
    let segments = v.div_ceil(SEGMENT);
    let mut scratch_bytes = 0;
    let values = part(&mut scratch_bytes, m * segments * count, 4);
    let picks = part(&mut scratch_bytes, m * segments * count, 4);
    let sums = part(&mut scratch_bytes, m * segments * 2, 4);
    let stage = |stage: u32| {
        Builder::new("top_k")
            .define("STAGE", stage)
            .rows("logits", "logits_stride", &op.logits)
            .rows("ids", "ids_stride", &op.ids)
            .rows("logprobs", "logprobs_stride", &op.logprobs)
            .scratch("float*", "values", values)
            .scratch("unsigned*", "picks", picks)
            .scratch("float*", "sums", sums)
            .u32("v", v)
            .u32("segment", SEGMENT)
            .u32("segments", segments)
            .u32("count", count)
    };
    let launches = vec![stage(1).launch([segments, m, 1], 256)?, stage(2).launch([1, m, 1], 256)?];
    Ok(Plan { launches, scratch_bytes })
}
