//! What followed earlier occurrences of a context, merged into a tree.
//!
//! Several continuations share their beginnings, so they form a tree whose nodes carry the weight
//! of the occurrences that run through them. Given a node, the next token is one of its children
//! with the probability that [`MatchRates`] has learnt for a match as long as the path makes it
//! (the match before the root and the tokens since), split among the children by weight.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
};

use super::{DraftContext, match_rates::MatchRates};
use crate::spec::{Draft, DraftNode, Source};

const NONE: u32 = u32::MAX;

/// A tree of continuations with weights; node 0 is the context's last token.
#[derive(Clone, Debug)]
pub(super) struct Continuations {
    nodes: Vec<Node>,
    /// Child by parent and token.
    children: HashMap<(u32, u32), u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    token: u32,
    depth: u32,
    /// Weight of the occurrences that run through here.
    weight: f32,
    /// Weight of those that go on.
    onward: f32,
    /// Longest match before the root among the occurrences that run through here.
    matched: u32,
    first_child: u32,
    next_sibling: u32,
}

impl Node {
    fn new(token: u32, depth: u32) -> Self {
        let (weight, onward) = (0.0, 0.0);
        Self { token, depth, weight, onward, matched: 0, first_child: NONE, next_sibling: NONE }
    }

    /// Tokens that agree with an earlier occurrence if the path to here is right.
    fn matched_here(&self) -> usize {
        (self.matched + self.depth) as usize
    }
}

/// A node on its way into a draft, ordered by the probability that it is reached.
struct Reached {
    p: f32,
    node: u32,
    parent: usize,
    given_parent: f32,
}

impl Ord for Reached {
    fn cmp(&self, other: &Self) -> Ordering {
        self.p.total_cmp(&other.p).then(other.node.cmp(&self.node))
    }
}

impl PartialOrd for Reached {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Reached {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Reached {}

impl Continuations {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::new(NONE, 0)], children: HashMap::new() }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.nodes.truncate(1);
        self.nodes[0] = Node::new(NONE, 0);
        self.children.clear();
    }

    /// Adds what followed one occurrence that agreed in `matched` tokens. Of equal weights those
    /// added first are preferred.
    pub(super) fn add(
        &mut self,
        continuation: impl IntoIterator<Item = u32>,
        matched: usize,
        weight: f32,
    ) {
        let matched = matched as u32;
        let mut at = 0;
        self.visit(at, matched, weight);
        for token in continuation {
            self.nodes[at as usize].onward += weight;
            at = match self.children.get(&(at, token)) {
                Some(&child) => child,
                None => self.grow(at, token),
            };
            self.visit(at, matched, weight);
        }
    }

    fn visit(&mut self, at: u32, matched: u32, weight: f32) {
        let node = &mut self.nodes[at as usize];
        node.weight += weight;
        node.matched = node.matched.max(matched);
    }

    fn grow(&mut self, parent: u32, token: u32) -> u32 {
        let child = self.nodes.len() as u32;
        let mut node = Node::new(token, self.nodes[parent as usize].depth + 1);
        node.next_sibling = self.nodes[parent as usize].first_child;
        self.nodes[parent as usize].first_child = child;
        self.nodes.push(node);
        self.children.insert((parent, token), child);
        child
    }

    /// The likeliest nodes as a draft, at most as the context allows and none that is reached with
    /// less than `min_p`. They come by falling probability, so the first nodes of the draft are
    /// the best draft of that size.
    pub(super) fn draft(
        &self,
        context: &DraftContext<'_>,
        source: Source,
        rates: &MatchRates,
        min_p: f32,
    ) -> Draft {
        let mut draft = Draft::new(context.root());
        let mut heap = BinaryHeap::new();
        let mut ranks = vec![0];
        self.offer(0, (0, 1.0), rates, &mut heap);
        while draft.len() < context.max_nodes {
            let Some(best) = heap.pop() else { break };
            let node = self.nodes[best.node as usize];
            if best.p < min_p {
                break;
            }
            let rank = ranks[best.parent];
            ranks[best.parent] += 1;
            let p = Some(best.given_parent);
            let index = draft.push(node.token, best.parent, DraftNode { source, rank, p });
            ranks.push(0);
            if (node.depth as usize) < context.max_depth {
                self.offer(best.node, (index, best.p), rates, &mut heap);
            }
        }
        draft
    }

    /// Puts the children of a node, which is reached with probability `p`, on the heap.
    fn offer(
        &self,
        node: u32,
        (index, p): (usize, f32),
        rates: &MatchRates,
        heap: &mut BinaryHeap<Reached>,
    ) {
        let parent = self.nodes[node as usize];
        let any = rates.p(parent.matched_here());
        let mut child = parent.first_child;
        while child != NONE {
            let at = self.nodes[child as usize];
            let given_parent = any * at.weight / parent.onward;
            heap.push(Reached { p: p * given_parent, node: child, parent: index, given_parent });
            child = at.next_sibling;
        }
    }

    /// Teaches `rates` what the continuations were worth, given the tokens that really came.
    /// Nodes that no draft took are judged too.
    pub(super) fn judge(&self, truth: &[u32], rates: &mut MatchRates) {
        let mut at = 0;
        for &token in truth {
            let node = self.nodes[at as usize];
            if node.first_child == NONE {
                return;
            }
            let child = self.children.get(&(at, token)).copied();
            rates.learn(node.matched_here(), child.is_some());
            match child {
                Some(child) => at = child,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(max_nodes: usize, max_depth: usize) -> DraftContext<'static> {
        DraftContext { ids: &[9], prompt: 1, max_nodes, max_depth }
    }

    fn shape(draft: &Draft) -> Vec<(u32, Option<usize>)> {
        let tree = draft.tree();
        tree.tokens().iter().copied().zip(tree.parents().iter().copied()).collect()
    }

    #[test]
    fn shared_beginnings_merge_and_the_most_frequent_come_first() {
        let mut tree = Continuations::new();
        tree.add([1, 2, 3], 8, 1.0);
        tree.add([1, 2, 4], 8, 1.0);
        tree.add([1, 5], 8, 1.0);
        tree.add([6], 8, 1.0);
        let rates = MatchRates::new(2.0);
        let draft = tree.draft(&context(4, 8), Source::Lookup, &rates, 0.0);
        assert_eq!(shape(&draft), [(9, None), (1, Some(0)), (2, Some(1)), (6, Some(0))]);
        // 8 of 10 by the prior, 3 of 4 occurrences; then 9 of 11, 2 of 3 of those that go on.
        let p: Vec<f32> = draft.nodes()[1..3].iter().filter_map(|n| n.p).collect();
        assert!((p[0] - 0.8 * 0.75).abs() < 1e-6, "{p:?}");
        assert!((p[1] - 9.0 / 11.0 * 2.0 / 3.0).abs() < 1e-6, "{p:?}");
        assert_eq!(draft.nodes()[3].rank, 1);
    }

    #[test]
    fn a_draft_keeps_to_nodes_depth_and_probability() {
        let mut tree = Continuations::new();
        tree.add(0..50, 4, 1.0);
        let rates = MatchRates::new(2.0);
        assert_eq!(tree.draft(&context(64, 7), Source::Rest, &rates, 0.0).len(), 8);
        assert_eq!(tree.draft(&context(5, 64), Source::Rest, &rates, 0.0).len(), 5);
        assert_eq!(tree.draft(&context(1, 64), Source::Rest, &rates, 0.0).len(), 1);
        let sure = tree.draft(&context(64, 64), Source::Rest, &rates, 0.3);
        assert!((3..20).contains(&sure.len()), "{}", sure.len());
        let reached: f32 = sure.nodes()[1..].iter().filter_map(|n| n.p).product();
        assert!(reached >= 0.3, "{reached}");
    }

    #[test]
    fn truth_is_judged_along_the_tree_up_to_the_first_miss() {
        let mut tree = Continuations::new();
        tree.add([1, 2, 3], 2, 1.0);
        let before = MatchRates::new(2.0);
        let mut after = before.clone();
        tree.judge(&[1, 2, 7, 3], &mut after);
        assert!(after.p(2) > before.p(2), "1 was right behind a match of 2");
        assert!(after.p(3) > before.p(3), "2 was right behind a match of 3");
        assert!(after.p(4) < before.p(4), "3 was wrong behind a match of 4");
        assert!((after.p(5) - before.p(5)).abs() < f32::EPSILON, "never reached");
        tree.clear();
        let mut untouched = before.clone();
        tree.judge(&[1], &mut untouched);
        assert!((untouched.p(2) - before.p(2)).abs() < f32::EPSILON, "nothing was expected");
    }
}
