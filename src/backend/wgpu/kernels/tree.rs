//! Trees of candidates: one workgroup each, but for the independent nodes of a static tree.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{BuildTree, GrowTree, VerifyRule, VerifyTree},
};

params!(BuildParams {
    m: u32,
    r: u32,
    k: u32,
    map_len: u32,
    ids_offset: u32,
    ids_stride: u32,
    logprobs_offset: u32,
    logprobs_stride: u32,
    map_offset: u32,
    template_offset: u32,
    template_stride: u32,
    tokens_offset: u32,
    tokens_stride: u32,
    draft_logprobs_offset: u32,
    draft_logprobs_stride: u32,
});

pub(super) fn build(op: &BuildTree, caps: &Caps) -> Plan {
    let mut b = Builder::new("build_tree", caps);
    let m = op.tokens.shape.dim(0);
    let mut params = BuildParams {
        m: word(m)?,
        r: word(op.ids.shape.dim(0))?,
        k: word(op.ids.shape.dim(1))?,
        map_len: 0,
        ids_offset: b.read("ids", &op.ids)?,
        ids_stride: stride(&op.ids)?,
        logprobs_offset: b.read("logprobs", &op.logprobs)?,
        logprobs_stride: stride(&op.logprobs)?,
        map_offset: 0,
        template_offset: b.read("template_rows", &op.template)?,
        template_stride: stride(&op.template)?,
        tokens_offset: b.write("tokens", &op.tokens)?,
        tokens_stride: stride(&op.tokens)?,
        draft_logprobs_offset: b.write("draft_logprobs", &op.draft_logprobs)?,
        draft_logprobs_stride: stride(&op.draft_logprobs)?,
    };
    if let Some(map) = &op.map {
        b.define("MAP", "");
        params.map_len = word(map.shape.dim(0))?;
        params.map_offset = b.read("map", map)?;
    }
    Ok(vec![b.finish_elements(params, m)?])
}

params!(GrowParams {
    m: u32,
    r: u32,
    k: u32,
    l: u32,
    map_len: u32,
    ids_offset: u32,
    ids_stride: u32,
    logprobs_offset: u32,
    logprobs_stride: u32,
    map_offset: u32,
    root_offset: u32,
    prefix_offset: u32,
    slots_offset: u32,
    slots_stride: u32,
    nodes_offset: u32,
    tokens_offset: u32,
    tokens_stride: u32,
    draft_logprobs_offset: u32,
    draft_logprobs_stride: u32,
    parents_offset: u32,
    parents_stride: u32,
    positions_offset: u32,
    positions_stride: u32,
    path_offset: u32,
    path_stride: u32,
    path_slots_offset: u32,
    path_slots_stride: u32,
});

pub(super) fn grow(op: &GrowTree, caps: &Caps) -> Plan {
    let mut b = Builder::new("grow_tree", caps);
    b.constant("WG", if caps.software { caps.reduce_lanes() } else { NODE_LANES });
    let mut params = GrowParams {
        m: word(op.tokens.shape.dim(0))?,
        r: word(op.ids.shape.dim(0))?,
        k: word(op.ids.shape.dim(1))?,
        l: word(op.path_slots.shape.dim(1))?,
        map_len: 0,
        ids_offset: b.read("ids", &op.ids)?,
        ids_stride: stride(&op.ids)?,
        logprobs_offset: b.read("logprobs", &op.logprobs)?,
        logprobs_stride: stride(&op.logprobs)?,
        map_offset: 0,
        root_offset: b.read("root", &op.root)?,
        prefix_offset: b.read("prefix", &op.prefix)?,
        slots_offset: b.read("slots", &op.slots)?,
        slots_stride: stride(&op.slots)?,
        nodes_offset: b.read("nodes", &op.nodes)?,
        tokens_offset: b.write("tokens", &op.tokens)?,
        tokens_stride: stride(&op.tokens)?,
        draft_logprobs_offset: b.write("draft_logprobs", &op.draft_logprobs)?,
        draft_logprobs_stride: stride(&op.draft_logprobs)?,
        parents_offset: b.write("parents", &op.parents)?,
        parents_stride: stride(&op.parents)?,
        positions_offset: b.write("positions", &op.positions)?,
        positions_stride: stride(&op.positions)?,
        path_offset: b.write("path", &op.path)?,
        path_stride: stride(&op.path)?,
        path_slots_offset: b.write("path_slots", &op.path_slots)?,
        path_slots_stride: stride(&op.path_slots)?,
    };
    if let Some(map) = &op.map {
        b.define("MAP", "");
        params.map_len = word(map.shape.dim(0))?;
        params.map_offset = b.read("map", map)?;
    }
    Ok(vec![b.finish(params, 1)?])
}

/// A lane for each node of the largest tree.
const NODE_LANES: u32 = 64;

params!(VerifyParams {
    m: u32,
    v: u32,
    logits_offset: u32,
    logits_stride: u32,
    stats_offset: u32,
    stats_stride: u32,
    tokens_offset: u32,
    tokens_stride: u32,
    parents_offset: u32,
    parents_stride: u32,
    positions_offset: u32,
    positions_stride: u32,
    slots_offset: u32,
    slots_stride: u32,
    nodes_offset: u32,
    params_offset: u32,
    out_offset: u32,
    report_offset: u32,
    report_stride: u32,
    src_offset: u32,
    src_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
});

pub(super) fn verify(op: &VerifyTree, caps: &Caps) -> Plan {
    let mut b = Builder::new("verify_tree", caps);
    b.constant("WG", caps.reduce_lanes());
    match op.rule {
        VerifyRule::Greedy => {}
        VerifyRule::Seeded => b.define("SEEDED", ""),
        VerifyRule::Typical => b.define("TYPICAL", ""),
    }
    let params = VerifyParams {
        m: word(op.tokens.shape.dim(0))?,
        v: word(op.logits.shape.dim(1))?,
        logits_offset: b.read("logits", &op.logits)?,
        logits_stride: stride(&op.logits)?,
        stats_offset: b.read("stats", &op.stats)?,
        stats_stride: stride(&op.stats)?,
        tokens_offset: b.read("tokens", &op.tokens)?,
        tokens_stride: stride(&op.tokens)?,
        parents_offset: b.read("parents", &op.parents)?,
        parents_stride: stride(&op.parents)?,
        positions_offset: b.read("positions", &op.positions)?,
        positions_stride: stride(&op.positions)?,
        slots_offset: b.read("slots", &op.slots)?,
        slots_stride: stride(&op.slots)?,
        nodes_offset: b.read("nodes", &op.nodes)?,
        params_offset: b.read("params", &op.params)?,
        out_offset: b.write("out", &op.out)?,
        report_offset: b.write("report", &op.report)?,
        report_stride: stride(&op.report)?,
        src_offset: b.write("src", &op.src)?,
        src_stride: stride(&op.src)?,
        dst_offset: b.write("dst", &op.dst)?,
        dst_stride: stride(&op.dst)?,
    };
    Ok(vec![b.finish(params, 1)?])
}
