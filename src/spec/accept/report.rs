//! What is said of each node after a rule has decided.

use super::{Acceptance, NodeReport, TargetRows, chosen::Walk};
use crate::spec::{Draft, Verdict};

/// The report of a node without its threshold.
pub(super) fn node(
    draft: &Draft,
    rows: TargetRows<'_>,
    node: usize,
    verdict: Verdict,
) -> NodeReport {
    let tree = draft.tree();
    let target_p = tree.parents()[node].and_then(|parent| rows.p(parent, tree.tokens()[node]));
    NodeReport { target_p, entropy: rows.stats[node].entropy, threshold: None, verdict }
}

/// The acceptance of a walk on which one token was chosen at each node.
pub(super) fn of_walk(draft: &Draft, rows: TargetRows<'_>, walk: Walk) -> Acceptance {
    let tree = draft.tree();
    // The token chosen at each node that was reached.
    let mut chosen = vec![None; draft.len()];
    for (&node, &token) in walk.path.iter().zip(&walk.chosen) {
        chosen[node] = Some(token);
    }
    let nodes = (0..draft.len()).map(|n| {
        let verdict = match tree.parents()[n] {
            None => Verdict::Root,
            Some(_) if chosen[n].is_some() => Verdict::Accepted,
            Some(parent) => match chosen[parent] {
                None => Verdict::Unreached,
                Some(wanted) if wanted == tree.tokens()[n] => Verdict::Outrun,
                Some(wanted) => Verdict::Rejected { wanted },
            },
        };
        node(draft, rows, n, verdict)
    });
    let nodes = nodes.collect();
    let bonus = *walk.chosen.last().expect("a token is chosen at the root at least");
    Acceptance { path: walk.path, bonus, nodes }
}
