//! Trees of candidates: one unit each, since a few dozen nodes are not worth sharing.

use super::{
    stage::{Stage, Stages},
    stats::Reduce,
    tensor::Tensor,
};
use crate::{
    backend::{
        BackendResult, View,
        cpu::tree::{Candidates, Grown},
    },
    ops::{BuildTree, GrowTree, VerifyRule, VerifyTree},
};

/// First elements of all rows: a vector.
///
/// # Safety
/// Nobody writes the view meanwhile.
unsafe fn column<T: bytemuck::Pod>(tensor: Tensor<T>) -> Vec<T> {
    // SAFETY: the caller's.
    (0..tensor.rows()).map(|i| unsafe { tensor.row(i) }[0]).collect()
}

/// Sets all rows: those of `from`, then `padding`.
///
/// # Safety
/// The caller owns the view.
unsafe fn put<T: bytemuck::Pod>(tensor: Tensor<T>, from: &[T], padding: T) {
    for i in 0..tensor.rows() {
        // SAFETY: the caller's.
        let row = unsafe { tensor.row_mut(i) };
        row[0] = from.get(i).copied().unwrap_or(padding);
    }
}

fn words(view: &View) -> BackendResult<Tensor<u32>> {
    Tensor::new(view)
}

/// Stages of [`BuildTree`]: one unit.
pub fn build_tree(op: &BuildTree) -> BackendResult<Stages> {
    let (ids, logprobs) = (words(&op.ids)?, Tensor::<f32>::new(&op.logprobs)?);
    let map = op.map.as_ref().map(words).transpose()?;
    let (template, tokens) = (words(&op.template)?, words(&op.tokens)?);
    let draft_logprobs = Tensor::<f32>::new(&op.draft_logprobs)?;
    let stage = Stage::new(1, 10 * tokens.rows(), move |_, _| {
        // SAFETY: the only unit owns the outputs; the rest is only read.
        unsafe {
            let map = map.map(|map| map.dense());
            for m in 0..tokens.rows() {
                let [row, rank] = [0, 1].map(|i| template.row(m)[i] as usize);
                if row >= ids.rows() || rank >= ids.width() {
                    continue;
                }
                if let Some(token) = mapped(ids.row(row)[rank], map) {
                    tokens.row_mut(m)[0] = token;
                    draft_logprobs.row_mut(m)[0] = logprobs.row(row)[rank];
                }
            }
        }
        Ok(())
    });
    Ok(stage.into())
}

/// The target's id of a draft's id.
fn mapped(id: u32, map: Option<&[u32]>) -> Option<u32> {
    map.map_or(Some(id), |map| map.get(id as usize).copied())
}

/// Stages of [`GrowTree`]: one unit.
pub fn grow_tree(op: &GrowTree) -> BackendResult<Stages> {
    let (ids, logprobs) = (words(&op.ids)?, Tensor::<f32>::new(&op.logprobs)?);
    let map = op.map.as_ref().map(words).transpose()?;
    let (root, prefix, nodes) = (words(&op.root)?, words(&op.prefix)?, words(&op.nodes)?);
    let (slots, tokens, parents) = (words(&op.slots)?, words(&op.tokens)?, words(&op.parents)?);
    let draft_logprobs = Tensor::<f32>::new(&op.draft_logprobs)?;
    let (positions, path) = (words(&op.positions)?, words(&op.path)?);
    let path_slots = words(&op.path_slots)?;
    let m = tokens.rows();
    let stage = Stage::new(1, 2 * m * m, move |_, _| {
        // SAFETY: the only unit owns the outputs; the rest is only read.
        unsafe {
            let map = map.map(|map| map.dense());
            let slots = column(slots);
            let guesses: Vec<_> = (0..ids.rows()).map(|r| (ids.row(r), logprobs.row(r))).collect();
            let nodes = (nodes.row(0)[0] as usize).min(m);
            let mut tree = Grown::new(&guesses, root.row(0)[0], nodes);
            for token in tree.tokens.iter_mut().skip(1) {
                *token = mapped(*token, map).unwrap_or(u32::MAX);
            }
            put(tokens, &tree.tokens, u32::MAX);
            put(draft_logprobs, &tree.logprobs, 0.0);
            // the root's parent is `usize::MAX`
            let rows: Vec<u32> = tree.parents.iter().map(|&parent| parent as u32).collect();
            put(parents, &rows, u32::MAX);
            let depths = tree.depths.iter().map(|&depth| depth as u32);
            let at: Vec<u32> = depths.clone().map(|d| prefix.row(0)[0].wrapping_add(d)).collect();
            put(positions, &at, 0);
            let lengths: Vec<u32> = depths.map(|depth| depth + 1).collect();
            put(path, &lengths, 0);
            for row in 0..m {
                let line = path_slots.row_mut(row);
                line.fill(0);
                if row < tree.tokens.len() {
                    for (slot, node) in line.iter_mut().zip(tree.path(row)) {
                        *slot = slots[node];
                    }
                }
            }
        }
        Ok(())
    });
    Ok(stage.into())
}

/// Time of one logit in one visited row, in nanoseconds.
const LOGIT_NS: usize = 2;

/// Stages of [`VerifyTree`]: one unit.
pub fn verify_tree(op: &VerifyTree) -> BackendResult<Stages> {
    let (logits, stats) = (Tensor::<f32>::new(&op.logits)?, words(&op.stats)?);
    let (tokens, parents) = (words(&op.tokens)?, words(&op.parents)?);
    let (positions, slots) = (words(&op.positions)?, words(&op.slots)?);
    let (nodes, params) = (words(&op.nodes)?, words(&op.params)?);
    let (out, report) = (words(&op.out)?, words(&op.report)?);
    let (src, dst) = (words(&op.src)?, words(&op.dst)?);
    let (rule, m) = (op.rule, tokens.rows());
    let reading = if rule == VerifyRule::Greedy { 0 } else { 2 * LOGIT_NS * logits.width() };
    let stage = Stage::new(1, reading + 20 * m, move |context, _| {
        // SAFETY: the only unit owns the outputs; the rest is only read.
        unsafe {
            let params: Vec<u32> = column(params);
            let candidates = Candidates {
                rule,
                params: params.try_into().expect("the op's check wants four words"),
                nodes: (nodes.row(0)[0] as usize).min(m),
                logits: (0..m).map(|i| logits.row(i)).collect(),
                stats: (0..m).map(|i| stats.row(i)).collect(),
                tokens: column(tokens),
                parents: column(parents),
                positions: column(positions),
                slots: column(slots),
            };
            let done = candidates.verify(&|logits, temperature| {
                let scaled: Vec<f32> = logits.iter().map(|&l| l / temperature).collect();
                let stats = context.isa.run(Reduce(&scaled));
                (stats.log_sum_exp, stats.entropy)
            });
            put(out, &done.out, 0);
            for (i, from) in done.report.iter().enumerate() {
                report.row_mut(i).copy_from_slice(from);
            }
            put(src, &done.src, 0);
            put(dst, &done.dst, 0);
        }
        Ok(())
    });
    Ok(stage.into())
}
