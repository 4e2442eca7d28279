//! Trees of candidates.

use super::stats::{entropy, log_sum_exp};
use crate::{
    backend::cpu::{
        Operands, Rows, RowsMut,
        tree::{Candidates, Grown},
    },
    ops::{BuildTree, GrowTree, VerifyTree},
};

pub(super) fn build_tree<'e>(op: &'e BuildTree, operands: &Operands<'e>) {
    let ids = operands.read::<u32>(&op.ids);
    let logprobs = operands.read::<f32>(&op.logprobs);
    let map = op.map.as_ref().map(|map| operands.read::<u32>(map));
    let template = operands.read::<u32>(&op.template);
    let mut tokens = operands.write::<u32>(&op.tokens);
    let mut draft_logprobs = operands.write::<f32>(&op.draft_logprobs);
    for m in 0..template.len() {
        let (row, rank) = (template.row(m)[0] as usize, template.row(m)[1] as usize);
        if row >= ids.len() || rank >= ids.width() {
            continue;
        }
        if let Some(token) = mapped(ids.row(row)[rank], map) {
            tokens.row_mut(m)[0] = token;
            draft_logprobs.row_mut(m)[0] = logprobs.row(row)[rank];
        }
    }
}

/// The target's id of a draft's id.
fn mapped(id: u32, map: Option<Rows<'_, u32>>) -> Option<u32> {
    match map {
        None => Some(id),
        Some(map) => ((id as usize) < map.len()).then(|| map.at(id as usize)),
    }
}

pub(super) fn grow_tree<'e>(op: &'e GrowTree, operands: &Operands<'e>) {
    let ids = operands.read::<u32>(&op.ids);
    let logprobs = operands.read::<f32>(&op.logprobs);
    let map = op.map.as_ref().map(|map| operands.read::<u32>(map));
    let root = operands.read::<u32>(&op.root).at(0);
    let prefix = operands.read::<u32>(&op.prefix).at(0);
    let nodes = operands.read::<u32>(&op.nodes).at(0) as usize;
    let slots = operands.read::<u32>(&op.slots);
    let mut tokens = operands.write::<u32>(&op.tokens);
    let mut draft_logprobs = operands.write::<f32>(&op.draft_logprobs);
    let mut parents = operands.write::<u32>(&op.parents);
    let mut positions = operands.write::<u32>(&op.positions);
    let mut path = operands.write::<u32>(&op.path);
    let mut path_slots = operands.write::<u32>(&op.path_slots);
    fill(&mut tokens, u32::MAX);
    fill(&mut draft_logprobs, 0.0);
    fill(&mut parents, u32::MAX);
    fill(&mut positions, 0);
    fill(&mut path, 0);
    fill(&mut path_slots, 0);
    let guesses: Vec<_> = ids.iter().zip(logprobs.iter()).collect();
    let tree = Grown::new(&guesses, root, nodes.min(slots.len()));
    for m in 0..tree.tokens.len() {
        let token = tree.tokens[m];
        let token = if m == 0 { token } else { mapped(token, map).unwrap_or(u32::MAX) };
        tokens.row_mut(m)[0] = token;
        draft_logprobs.row_mut(m)[0] = tree.logprobs[m];
        if m > 0 {
            parents.row_mut(m)[0] = tree.parents[m] as u32;
        }
        positions.row_mut(m)[0] = prefix.wrapping_add(tree.depths[m] as u32);
        let ancestors = tree.path(m);
        path.row_mut(m)[0] = ancestors.len() as u32;
        for (slot, &node) in path_slots.row_mut(m).iter_mut().zip(&ancestors) {
            *slot = slots.at(node);
        }
    }
}

fn fill<T: bytemuck::Pod + Send + Sync>(rows: &mut RowsMut<'_, T>, value: T) {
    for row in rows.iter_mut() {
        row.fill(value);
    }
}

pub(super) fn verify_tree<'e>(op: &'e VerifyTree, operands: &Operands<'e>) {
    let tokens = operands.read::<u32>(&op.tokens).to_vec();
    let nodes = operands.read::<u32>(&op.nodes).at(0) as usize;
    let params = operands.read::<u32>(&op.params).dense();
    let candidates = Candidates {
        rule: op.rule,
        params: params.try_into().expect("the op's check wants four words"),
        nodes: nodes.min(tokens.len()),
        logits: operands.read::<f32>(&op.logits).iter().collect(),
        stats: operands.read::<u32>(&op.stats).iter().collect(),
        tokens,
        parents: operands.read::<u32>(&op.parents).to_vec(),
        positions: operands.read::<u32>(&op.positions).to_vec(),
        slots: operands.read::<u32>(&op.slots).to_vec(),
    };
    let done = candidates.verify(&|logits, temperature| {
        let scaled: Vec<f64> =
            logits.iter().map(|&l| f64::from(l) / f64::from(temperature)).collect();
        let total = log_sum_exp(&scaled);
        (total, entropy(&scaled, total))
    });
    operands.write::<u32>(&op.out).dense_mut().copy_from_slice(&done.out);
    for (to, from) in operands.write::<u32>(&op.report).iter_mut().zip(&done.report) {
        to.copy_from_slice(from);
    }
    for (view, moves) in [(&op.src, &done.src), (&op.dst, &done.dst)] {
        for (to, &from) in operands.write::<u32>(view).iter_mut().zip(moves) {
            to[0] = from;
        }
    }
}
