//! What must hold in a round, checked before anyone indexes with a file's numbers.

use super::TraceRound;
use crate::spec::{NodeOutcome, RoundOutcome, Source, Verdict};

/// Most nodes of a round that a reader takes.
const MOST_NODES: usize = 4096;
/// How far a sum of rounded probabilities may exceed 1.
const P_SLACK: f32 = 1e-3;

/// Checks that a round is a tree with a kept path in it and verdicts that match.
///
/// # Errors
/// What is wrong, with the values.
pub fn check_round(round: &RoundOutcome) -> Result<(), String> {
    let nodes = &round.nodes;
    if nodes.is_empty() || nodes.len() > MOST_NODES {
        return Err(format!("a round of {} nodes, wanted 1 to {MOST_NODES}", nodes.len()));
    }
    for (i, node) in nodes.iter().enumerate() {
        check_node(i, node, nodes)?;
    }
    if round.path.first() != Some(&0) {
        return Err(format!("path {:?} does not start at the root", round.path));
    }
    for step in round.path.windows(2) {
        let child = nodes.get(step[1] as usize).ok_or_else(|| {
            format!("path {:?} has a node beyond the round's {}", round.path, nodes.len())
        })?;
        if child.parent != Some(step[0]) {
            return Err(format!("path {:?}: {} is no child of {}", round.path, step[1], step[0]));
        }
    }
    for (i, node) in nodes.iter().enumerate().skip(1) {
        let kept = round.path.contains(&(i as u32));
        if kept != (node.verdict == Verdict::Accepted) {
            return Err(format!(
                "node {i} is {} the kept path, but its verdict is {:?}",
                if kept { "on" } else { "not on" },
                node.verdict
            ));
        }
    }
    Ok(())
}

fn check_node(i: usize, node: &NodeOutcome, nodes: &[NodeOutcome]) -> Result<(), String> {
    for (name, p) in [("draft_p", node.draft_p), ("target_p", node.target_p)] {
        if let Some(p) = p.filter(|p| !(0.0..=1.0 + P_SLACK).contains(p)) {
            return Err(format!("node {i} has {name} {p}, wanted a probability"));
        }
    }
    if i == 0 {
        let is_root = node.parent.is_none() && node.depth == 0 && node.verdict == Verdict::Root;
        return if is_root { Ok(()) } else { Err("node 0 is no root".into()) };
    }
    let parent = node
        .parent
        .filter(|&parent| (parent as usize) < i)
        .ok_or_else(|| format!("node {i} has parent {:?}, wanted an earlier node", node.parent))?;
    if Some(node.depth) != nodes[parent as usize].depth.checked_add(1) {
        return Err(format!(
            "node {i} has depth {} below a parent of depth {}",
            node.depth, nodes[parent as usize].depth
        ));
    }
    if node.verdict == Verdict::Root || node.source == Source::Root {
        return Err(format!("node {i} says that it is the root"));
    }
    Ok(())
}

/// [`check_round`], and a text for each node.
pub(super) fn check_traced(round: &TraceRound) -> Result<(), String> {
    check_round(&round.outcome)?;
    let (texts, nodes) = (round.texts.len(), round.outcome.nodes.len());
    if texts == nodes { Ok(()) } else { Err(format!("{texts} texts for {nodes} nodes")) }
}
