//! One round, judged again.

use std::collections::HashMap;

use coppice::spec::{NodeOutcome, RoundOutcome, Source, TreeTemplate, Verdict};

use super::{Change, Rule, Trees};
use crate::tree_view::path_p;

/// A round with another tree or rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Rows that would be verified, the root included.
    pub rows: usize,
    /// Depth of the tree.
    pub depth: usize,
    /// Tokens that the round would give at least, the bonus included.
    pub low: usize,
    /// And at most.
    pub high: usize,
    /// False for rounds that the change does not touch.
    pub touched: bool,
}

/// Judges a round with a change.
pub fn judge(round: &RoundOutcome, change: &Change) -> Judged {
    let nodes = &round.nodes;
    let by_heads = nodes[1..].iter().any(|node| matches!(node.source, Source::Head(_)));
    let template = match &change.trees {
        Trees::Template(template) if by_heads => Some(template),
        Trees::Template(_) => return as_recorded(round),
        Trees::Recorded => None,
    };
    if nodes.len() == 1 {
        return as_recorded(round);
    }
    let (mut kept, missing) = match template {
        Some(template) => of_template(nodes, template, change),
        None => (vec![true; nodes.len()], Missing::default()),
    };
    cut(nodes, change, &mut kept);
    let known = (0..nodes.len()).filter(|&n| kept[n]);
    let (low, high) = match change.rule {
        Rule::Recorded => recorded(round, &kept, &missing),
        Rule::Typical { eps, alpha } => typical(nodes, &kept, &missing, (eps, alpha)),
    };
    Judged {
        rows: known.clone().count() + missing.count,
        depth: known.map(|n| nodes[n].depth as usize).max().unwrap_or(0).max(missing.depth),
        low: 1 + low,
        high: 1 + high,
        touched: true,
    }
}

fn as_recorded(round: &RoundOutcome) -> Judged {
    Judged {
        rows: round.nodes.len(),
        depth: round.nodes.iter().map(|node| node.depth as usize).max().unwrap_or(0),
        low: round.tokens(),
        high: round.tokens(),
        touched: false,
    }
}

/// Nodes of a template that a trace does not have.
#[derive(Default)]
struct Missing {
    count: usize,
    depth: usize,
    /// By recorded parent: how deep they go below it.
    below: HashMap<usize, usize>,
}

impl Missing {
    fn below(&self, node: usize) -> usize {
        self.below.get(&node).copied().unwrap_or(0)
    }
}

/// Which recorded nodes a template within the limits has, and what it has besides.
fn of_template(
    nodes: &[NodeOutcome],
    template: &TreeTemplate,
    change: &Change,
) -> (Vec<bool>, Missing) {
    let mut children: HashMap<(usize, u16), usize> = HashMap::new();
    for (n, node) in nodes.iter().enumerate() {
        if let Some(parent) = node.parent {
            children.entry((parent as usize, node.rank)).or_insert(n);
        }
    }
    let mut kept = vec![false; nodes.len()];
    kept[0] = true;
    let mut missing = Missing::default();
    // What each node of the template is in the trace: a node, or depths below one.
    let mut found: Vec<Option<Result<usize, (usize, usize)>>> = vec![Some(Ok(0))];
    let template = template.cut(change.nodes, change.depth);
    for n in 1..template.len() {
        let (parent, rank) = (template.parent(n).unwrap_or(0), template.rank(n));
        let place = match found[parent] {
            _ if rank >= change.ranks => None,
            None => None,
            Some(Ok(parent)) => match children.get(&(parent, rank as u16)) {
                Some(&node) => Some(Ok(node)),
                None => Some(Err((parent, 1))),
            },
            Some(Err((above, depth))) => Some(Err((above, depth + 1))),
        };
        match place {
            Some(Ok(node)) => kept[node] = true,
            Some(Err((above, depth))) => {
                missing.count += 1;
                missing.depth = missing.depth.max(template.depth(n));
                let below = missing.below.entry(above).or_default();
                *below = (*below).max(depth);
            }
            None => {}
        }
        found.push(place);
    }
    (kept, missing)
}

/// Leaves out nodes beyond the limits, and then all but the likeliest.
fn cut(nodes: &[NodeOutcome], change: &Change, kept: &mut [bool]) {
    let mut likely: Vec<(f32, usize)> = Vec::new();
    for n in 1..nodes.len() {
        let node = &nodes[n];
        let p = path_p(nodes, n);
        let parent = node.parent.map_or(0, |parent| parent as usize);
        kept[n] &= kept[parent]
            && node.depth as usize <= change.depth
            && usize::from(node.rank) < change.ranks
            && p.is_none_or(|p| p >= change.path_p);
        if kept[n] {
            likely.push((p.unwrap_or(1.0), n));
        }
    }
    if likely.len() + 1 > change.nodes {
        // A child is never likelier than its parent and comes after it, so what is left is a tree.
        likely.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        likely[change.nodes.saturating_sub(1)..].iter().for_each(|&(_, n)| kept[n] = false);
    }
}

/// Candidates kept, at least and at most, by the verdicts of the trace.
fn recorded(round: &RoundOutcome, kept: &[bool], missing: &Missing) -> (usize, usize) {
    let passed = |n: usize| {
        matches!(round.nodes[n].verdict, Verdict::Root | Verdict::Accepted | Verdict::Outrun)
    };
    let chosen = round.path.iter().all(|&n| passed(n as usize));
    debug_assert!(chosen, "traces are checked when they are read");
    if round.nodes.iter().any(|node| node.threshold.is_some()) {
        // Several children may pass: the longest path that is left.
        return longest(&round.nodes, kept, missing, &|n| (passed(n), passed(n)));
    }
    let low = round.path[1..].iter().take_while(|&&n| kept[n as usize]).count();
    let end = round.path[low] as usize;
    // Where the trace has the right token, no other guess can be right.
    let more = if low + 1 == round.path.len() { missing.below(end) } else { 0 };
    (low, low + more)
}

/// Candidates kept, at least and at most, by typical acceptance.
fn typical(
    nodes: &[NodeOutcome],
    kept: &[bool],
    missing: &Missing,
    (eps, alpha): (f32, f32),
) -> (usize, usize) {
    let passes = |n: usize| {
        let parent = nodes[n].parent.map_or(0, |parent| parent as usize);
        match (nodes[n].target_p, nodes[parent].entropy) {
            (Some(p), Some(h)) => {
                let passes = p > eps.min(alpha * (-h).exp());
                (passes, passes)
            }
            _ => (false, true),
        }
    };
    longest(nodes, kept, missing, &passes)
}

/// Length of the longest path of passing nodes, at least and at most.
fn longest(
    nodes: &[NodeOutcome],
    kept: &[bool],
    missing: &Missing,
    passes: &dyn Fn(usize) -> (bool, bool),
) -> (usize, usize) {
    let mut reached = vec![(true, true); nodes.len()];
    let (mut low, mut high) = (0, missing.below(0));
    for n in 1..nodes.len() {
        let parent = nodes[n].parent.map_or(0, |parent| parent as usize);
        let (surely, maybe) = if kept[n] { passes(n) } else { (false, false) };
        reached[n] = (reached[parent].0 && surely, reached[parent].1 && maybe);
        let depth = nodes[n].depth as usize;
        if reached[n].0 {
            low = low.max(depth);
        }
        if reached[n].1 {
            high = high.max(depth + missing.below(n));
        }
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use coppice::spec::{Method, StageTimes};

    use super::*;

    /// Root; below it "a" (kept) and "b"; below "a" "c" (kept) and "d"; below "b" "e".
    fn round() -> RoundOutcome {
        let node =
            |token, parent: Option<u32>, depth, rank, p: f32, target: f32, verdict| NodeOutcome {
                token,
                parent,
                depth,
                source: if depth == 0 { Source::Root } else { Source::Head(depth as u8 - 1) },
                rank,
                draft_p: (depth > 0).then_some(p),
                target_p: (depth > 0).then_some(target),
                entropy: Some(1.0),
                threshold: None,
                verdict,
            };
        let rejected = Verdict::Rejected { wanted: 0 };
        RoundOutcome {
            round: 0,
            prefix: 10,
            method: Method::Medusa,
            nodes: vec![
                node(9, None, 0, 0, 0.0, 0.0, Verdict::Root),
                node(0, Some(0), 1, 0, 0.5, 0.6, Verdict::Accepted),
                node(1, Some(0), 1, 1, 0.4, 0.3, rejected),
                node(2, Some(1), 2, 1, 0.3, 0.5, Verdict::Accepted),
                node(3, Some(1), 2, 0, 0.6, 0.2, rejected),
                node(4, Some(2), 2, 0, 0.9, 0.9, Verdict::Unreached),
            ],
            path: vec![0, 1, 3],
            bonus: 7,
            expected: None,
            times: StageTimes::default(),
        }
    }

    fn tokens(change: &Change) -> (usize, usize, usize) {
        let judged = judge(&round(), change);
        (judged.rows, judged.low, judged.high)
    }

    #[test]
    fn nothing_changed_is_what_was_recorded() {
        assert_eq!(tokens(&Change::default()), (6, 3, 3));
        for log in crate::demo::trace().rounds {
            let judged = judge(&log.outcome, &Change::default());
            assert_eq!((judged.low, judged.high), (log.outcome.tokens(), log.outcome.tokens()));
            assert_eq!(judged.rows, log.outcome.nodes.len());
        }
    }

    #[test]
    fn limits_leave_known_trees_with_known_counts() {
        let change = Change::default();
        assert_eq!(tokens(&Change { depth: 1, ..change.clone() }), (3, 2, 2));
        assert_eq!(tokens(&Change { depth: 0, ..change.clone() }), (1, 1, 1));
        // Without second guesses the token that was right at depth 2 is gone.
        assert_eq!(tokens(&Change { ranks: 1, ..change.clone() }), (3, 2, 2));
        // The likeliest paths: a .5, b .4, b e .36, a d .3, a c .15.
        assert_eq!(tokens(&Change { nodes: 5, ..change.clone() }), (5, 2, 2));
        assert_eq!(tokens(&Change { nodes: 2, ..change.clone() }), (2, 2, 2));
        assert_eq!(tokens(&Change { path_p: 0.2, ..change.clone() }), (5, 2, 2));
        assert_eq!(tokens(&Change { path_p: 0.45, ..change }), (2, 2, 2));
    }

    #[test]
    fn candidates_that_were_not_drafted_make_a_range_only_where_they_matter() {
        let with = |choices: &[&[usize]]| {
            let choices: Vec<Vec<usize>> = choices.iter().map(|c| c.to_vec()).collect();
            let trees = Trees::Template(TreeTemplate::from_choices(&choices).expect("valid"));
            tokens(&Change { trees, ..Change::default() })
        };
        // All of it was drafted.
        assert_eq!(with(&[&[0], &[0, 1]]), (3, 3, 3));
        // A third guess at the root cannot be right: the first one was.
        assert_eq!(with(&[&[0], &[0, 1], &[2], &[2, 0]]), (5, 3, 3));
        // Two more levels below the end of the kept path may both be right.
        assert_eq!(with(&[&[0], &[0, 1], &[0, 1, 0], &[0, 1, 0, 0]]), (5, 3, 5));
        // They are not reached where the path to them is cut.
        assert_eq!(with(&[&[0], &[0, 0], &[0, 0, 0]]), (4, 2, 2));
    }

    #[test]
    fn typical_acceptance_takes_the_longest_path_that_passes() {
        let typical = |eps, alpha| {
            tokens(&Change { rule: Rule::Typical { eps, alpha }, ..Change::default() })
        };
        // exp(-1) = 0.368: everything above 0.37 alpha passes, or above eps.
        assert_eq!(typical(0.9, 1.0), (6, 3, 3), "a and c");
        assert_eq!(typical(0.55, 1.0), (6, 3, 3));
        assert_eq!(typical(1.0, 1.8), (6, 1, 1), "0.66 is passed by none below the root");
        assert_eq!(typical(0.25, 1.0), (6, 3, 3), "b and e as well, no longer");
        let mut unread = round();
        unread.nodes[1].target_p = None;
        unread.nodes[2].target_p = None;
        let rule = Rule::Typical { eps: 0.25, alpha: 1.0 };
        let judged = judge(&unread, &Change { rule, ..Change::default() });
        assert_eq!((judged.low, judged.high), (1, 3));
    }

    #[test]
    fn rounds_without_heads_are_not_touched_by_templates() {
        let mut plain = round();
        plain.nodes.truncate(1);
        plain.path.truncate(1);
        let trees = Trees::Template(TreeTemplate::chain(3).expect("short"));
        let judged = judge(&plain, &Change { trees, ..Change::default() });
        assert_eq!(judged, Judged { rows: 1, depth: 0, low: 1, high: 1, touched: false });
    }
}
