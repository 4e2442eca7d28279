//! Trees of candidates: one block each.

use super::{Builder, Plan};
use crate::{
    backend::View,
    ops::{BuildTree, GrowTree, VerifyRule, VerifyTree},
};

fn map(b: Builder, map: Option<&View>) -> Builder {
    match map {
        Some(map) => b.define("MAP", "").dense("map", map).u32("map_len", map.shape.dim(0)),
        None => b,
    }
}

pub(super) fn build(op: &BuildTree) -> Result<Plan, String> {
    map(Builder::new("build_tree"), op.map.as_ref())
        .rows("ids", "ids_stride", &op.ids)
        .rows("logprobs", "logprobs_stride", &op.logprobs)
        .rows("rows", "rows_stride", &op.template)
        .rows("tokens", "tokens_stride", &op.tokens)
        .rows("draft_logprobs", "draft_logprobs_stride", &op.draft_logprobs)
        .u32("m", op.tokens.shape.dim(0))
        .u32("r", op.ids.shape.dim(0))
        .u32("k", op.ids.shape.dim(1))
        .only([1, 1, 1], 64)
}

pub(super) fn grow(op: &GrowTree) -> Result<Plan, String> {
    map(Builder::new("grow_tree"), op.map.as_ref())
        .rows("ids", "ids_stride", &op.ids)
        .rows("logprobs", "logprobs_stride", &op.logprobs)
        .view("root", &op.root)
        .view("prefix", &op.prefix)
        .view("nodes", &op.nodes)
        .rows("slots", "slots_stride", &op.slots)
        .rows("tokens", "tokens_stride", &op.tokens)
        .rows("draft_logprobs", "draft_logprobs_stride", &op.draft_logprobs)
        .rows("parents", "parents_stride", &op.parents)
        .rows("positions", "positions_stride", &op.positions)
        .rows("path", "path_stride", &op.path)
        .rows("path_slots", "path_slots_stride", &op.path_slots)
        .u32("m", op.tokens.shape.dim(0))
        .u32("r", op.ids.shape.dim(0))
        .u32("k", op.ids.shape.dim(1))
        .u32("l", op.path_slots.shape.dim(1))
        .only([1, 1, 1], 64)
}

pub(super) fn verify(op: &VerifyTree) -> Result<Plan, String> {
    let rule = match op.rule {
        VerifyRule::Greedy => 0,
        VerifyRule::Seeded => 1,
        VerifyRule::Typical => 2,
    };
    Builder::new("verify_tree")
        .define("RULE", rule)
        .rows("logits", "logits_stride", &op.logits)
        .rows("stats", "stats_stride", &op.stats)
        .rows("tokens", "tokens_stride", &op.tokens)
        .rows("parents", "parents_stride", &op.parents)
        .rows("positions", "positions_stride", &op.positions)
        .rows("slots", "slots_stride", &op.slots)
        .view("nodes", &op.nodes)
        .dense("params", &op.params)
        .dense("out", &op.out)
        .rows("report", "report_stride", &op.report)
        .rows("src", "src_stride", &op.src)
        .rows("dst", "dst_stride", &op.dst)
        .u32("m", op.tokens.shape.dim(0))
        .u32("v", op.logits.shape.dim(1))
        .only([1, 1, 1], 256)
}
