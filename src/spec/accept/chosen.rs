//! Rules that choose one token at each node they reach, and follow it.

use super::{Acceptance, TargetRows, report};
use crate::spec::Draft;

/// Chosen tokens along a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Walk {
    /// Kept nodes from the root down.
    pub path: Vec<usize>,
    /// The token chosen at each of them; the last one is the bonus.
    pub chosen: Vec<u32>,
}

/// Descends from the root as long as a child holds the token that `choose` gives for (node, path
/// from the root to it); the first child added wins where several do.
pub(super) fn walk(draft: &Draft, choose: &mut dyn FnMut(usize, &[usize]) -> u32) -> Walk {
    let mut walk = Walk { path: vec![0], chosen: vec![] };
    loop {
        let node = *walk.path.last().expect("the path starts with the root");
        let token = choose(node, &walk.path);
        walk.chosen.push(token);
        match draft.tree().child(Some(node), token) {
            Some(child) => walk.path.push(child),
            None => return walk,
        }
    }
}

/// Walks and reports.
pub(super) fn accept(
    draft: &Draft,
    rows: TargetRows<'_>,
    choose: &mut dyn FnMut(usize, &[usize]) -> u32,
) -> Acceptance {
    let walk = walk(draft, choose);
    report::of_walk(draft, rows, walk)
}
