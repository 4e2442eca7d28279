//! Which shape of tree pays most.
//!
//! A node is kept if its parent is and its guess is right there, so with probability
//! `p(r_1) p(r_2 | r_1) p(r_3 | r_1 r_2) …`, where `r_k` is which guess of head `k` its path takes
//! ([`Chances`]); a round gives one token more than the nodes it keeps, so on average one more than
//! the sum of these products. The tree of N nodes with the largest sum is grown greedily: a node is
//! never likelier than its parent, nor than the siblings before it (arXiv 2401.10774, section 2.3.3).
//! Which N pays most is a matter of the device (Sequoia, arXiv 2402.12374): the one with the largest
//! ratio of tokens to the time of a round.

use super::VerifyCurve;
use crate::spec::{MAX_NODES, TreeTemplate};

/// Bounds of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most nodes with the root, 1 to [`MAX_NODES`].
    pub nodes: usize,
    /// Most edges between the root and a node.
    pub depth: usize,
    /// Most guesses of a head.
    pub ranks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { nodes: MAX_NODES, depth: MAX_NODES - 1, ranks: MAX_NODES }
    }
}

/// How likely guesses are right.
pub trait Chances {
    /// How likely each guess of head `path.len()` is right if those of `path` were, by rank; empty
    /// where there is no such head.
    fn behind(&self, path: &[usize]) -> Vec<f32>;
}

/// `[head][rank]`: guesses whose chances do not depend on the path before them.
impl Chances for [Vec<f32>] {
    fn behind(&self, path: &[usize]) -> Vec<f32> {
        self.get(path.len()).cloned().unwrap_or_default()
    }
}

/// A shape with what it promises.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The tree.
    pub template: TreeTemplate,
    /// Probability that each node is kept.
    pub reach: Vec<f64>,
    /// Tokens a round, the bonus included.
    pub tokens: f64,
    /// Milliseconds a round.
    pub round_ms: f64,
    /// Speed over plain decoding.
    pub speedup: f64,
}

impl Shape {
    /// What a given tree promises. Heads and ranks of unknown chances count as never right.
    pub fn of(
        template: TreeTemplate,
        chances: &(impl Chances + ?Sized),
        curve: &VerifyCurve,
    ) -> Self {
        let mut p = vec![1.0];
        for node in 1..template.len() {
            let choice = template.choice(node);
            let (rank, path) = choice.split_last().expect("only the root has no choice");
            let known = chances.behind(path).get(*rank).copied().filter(|p| *p > 0.0);
            let above = p[template.parent(node).expect("only the root has no parent")];
            p.push(above * known.map_or(0.0, |p| f64::from(p.min(1.0))));
        }
        let tokens: f64 = p.iter().sum();
        let round_ms = curve.round_ms(template.len(), template.max_depth());
        Self { template, reach: p, tokens, round_ms, speedup: tokens * curve.plain_ms() / round_ms }
    }
}

/// The shape that gives most tokens a unit of time: the root alone where no tree pays. Of equals the
/// smaller one.
pub fn best_tree(chances: &(impl Chances + ?Sized), curve: &VerifyCurve, limits: Limits) -> Shape {
    let mut best = shape(&[], curve);
    // A depth costs all heads up to it, so each depth has a search of its own.
    for depth in 1..=limits.depth.min(MAX_NODES) {
        let nodes = likeliest(chances, Limits { depth, ..limits });
        if nodes.iter().all(|node| node.choice.len() < depth) {
            break;
        }
        for n in 1..=nodes.len() {
            if speedup(&nodes[..n], curve) > best.speedup {
                best = shape(&nodes[..n], curve);
            }
        }
    }
    best
}

/// The shape of up to `nodes` nodes with the root that gives most tokens a round; fewer where the
/// heads have no more guesses that are ever right.
pub fn tree_of(
    chances: &(impl Chances + ?Sized),
    nodes: usize,
    curve: &VerifyCurve,
    limits: Limits,
) -> Shape {
    shape(&likeliest(chances, Limits { nodes: nodes.min(limits.nodes), ..limits }), curve)
}

/// A node below the root.
#[derive(Clone, Debug, PartialEq)]
struct Node {
    /// Ranks along its path.
    choice: Vec<usize>,
    /// Probability that it is kept.
    p: f64,
}

/// A node whose next likeliest child is a candidate.
struct Open {
    /// Index of the node; none for the root.
    parent: Option<usize>,
    level: usize,
    /// Probability that the parent is kept.
    above: f64,
    /// The children, the likeliest last.
    children: Vec<(usize, f64)>,
}

impl Open {
    fn new(
        parent: Option<usize>,
        (choice, above): (&[usize], f64),
        chances: &(impl Chances + ?Sized),
        limits: Limits,
    ) -> Option<Self> {
        if choice.len() >= limits.depth {
            return None;
        }
        let mut children = ranked(&chances.behind(choice), limits.ranks);
        children.reverse();
        (!children.is_empty()).then_some(Self { parent, level: choice.len(), above, children })
    }

    /// Probability that the next child is kept.
    fn p(&self) -> f64 {
        self.above * self.children.last().map_or(0.0, |&(_, p)| p)
    }
}

/// Nodes below the root, likeliest first; of equals the less deep, then the one below the earlier
/// parent, then the lower rank. Every prefix of the list is a tree.
fn likeliest(chances: &(impl Chances + ?Sized), limits: Limits) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut open: Vec<Open> = Open::new(None, (&[], 1.0), chances, limits).into_iter().collect();
    while nodes.len() + 1 < limits.nodes.min(MAX_NODES) && !open.is_empty() {
        let order = |o: &Open| (o.level, o.parent);
        let best = (1..open.len()).fold(0, |best, i| {
            let (a, b) = (&open[i], &open[best]);
            if a.p() > b.p() || (a.p() == b.p() && order(a) < order(b)) { i } else { best }
        });
        let (p, parent) = (open[best].p(), open[best].parent);
        let (rank, _) = open[best].children.pop().expect("open nodes have children");
        if open[best].children.is_empty() {
            open.swap_remove(best);
        }
        let mut choice = parent.map_or(vec![], |parent| nodes[parent].choice.clone());
        choice.push(rank);
        open.extend(Open::new(Some(nodes.len()), (&choice, p), chances, limits));
        nodes.push(Node { choice, p });
    }
    nodes
}

/// The guesses that are ever right, as (rank, chance), the best first. Measured accuracies need not
/// fall with the rank.
fn ranked(ranks: &[f32], most: usize) -> Vec<(usize, f64)> {
    let known = ranks.iter().take(most.min(MAX_NODES)).map(|&a| f64::from(a)).enumerate();
    let mut all: Vec<(usize, f64)> =
        known.filter(|&(_, a)| a > 0.0).map(|(rank, a)| (rank, a.min(1.0))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

fn tokens(nodes: &[Node]) -> f64 {
    1.0 + nodes.iter().map(|node| node.p).sum::<f64>()
}

fn round_ms(nodes: &[Node], curve: &VerifyCurve) -> f64 {
    let depth = nodes.iter().map(|node| node.choice.len()).max().unwrap_or(0);
    curve.round_ms(nodes.len() + 1, depth)
}

fn speedup(nodes: &[Node], curve: &VerifyCurve) -> f64 {
    tokens(nodes) * curve.plain_ms() / round_ms(nodes, curve)
}

fn shape(nodes: &[Node], curve: &VerifyCurve) -> Shape {
    let choices: Vec<Vec<usize>> = nodes.iter().map(|node| node.choice.clone()).collect();
    Shape {
        template: TreeTemplate::from_choices(&choices)
            .expect("a search makes at most 63 nodes of ranks below 64"),
        reach: std::iter::once(1.0).chain(nodes.iter().map(|node| node.p)).collect(),
        tokens: tokens(nodes),
        round_ms: round_ms(nodes, curve),
        speedup: speedup(nodes, curve),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::curve::tests::key, *};
    use crate::spec::policy::Between;

    fn flat(rows: &[(usize, f64)], draft: &[f64]) -> VerifyCurve {
        VerifyCurve::new(key(), 10.0, rows.to_vec(), Between::Linear, draft.to_vec())
            .expect("valid")
    }

    #[test]
    fn the_likeliest_nodes_come_first() {
        let accuracy = [vec![0.5, 0.25], vec![0.5, 0.125]];
        let tree = tree_of(&accuracy[..], 5, &flat(&[(1, 10.0)], &[]), Limits::default());
        // .5 | .25 below it (before its equal, being... deeper) | .25 second guess | .125 | ...
        assert_eq!(tree.template.choices(), [vec![0], vec![1], vec![0, 0], vec![1, 0]]);
        assert!((tree.tokens - (1.0 + 0.5 + 0.25 + 0.25 + 0.125)).abs() < 1e-12);
        let all = tree_of(&accuracy[..], 64, &flat(&[(1, 10.0)], &[]), Limits::default());
        assert_eq!(all.template.len(), 7);
        let again = Shape::of(tree.template.clone(), &accuracy[..], &flat(&[(1, 10.0)], &[]));
        assert!((again.tokens - tree.tokens).abs() < 1e-12 && again.template == tree.template);
        let narrow = Limits { ranks: 1, ..Limits::default() };
        let chain = tree_of(&accuracy[..], 64, &flat(&[(1, 10.0)], &[]), narrow);
        assert_eq!(chain.template, TreeTemplate::chain(2).expect("valid"));
    }

    /// Guesses that go on where one has begun.
    struct Streaks;

    impl Chances for Streaks {
        fn behind(&self, path: &[usize]) -> Vec<f32> {
            match path {
                [] => vec![0.5, 0.25],
                [.., 0] if path.len() < 3 => vec![0.75, 0.125],
                _ if path.len() < 3 => vec![0.125],
                _ => vec![],
            }
        }
    }

    #[test]
    fn chances_may_depend_on_the_path() {
        let curve = flat(&[(1, 10.0)], &[]);
        let tree = tree_of(&Streaks, 5, &curve, Limits::default());
        let wanted: [&[usize]; 4] = [&[0], &[1], &[0, 0], &[0, 0, 0]];
        assert_eq!(tree.template.choices(), wanted);
        let tokens = 1.0 + 0.5 + 0.375 + 0.28125 + 0.25;
        assert!((tree.tokens - tokens).abs() < 1e-12, "{}", tree.tokens);
        let again = Shape::of(tree.template, &Streaks, &curve);
        assert!((again.tokens - tokens).abs() < 1e-12);
        // Each head costs a step: one is all that pays.
        let dear = flat(&[(1, 10.0), (64, 10.0)], &[4.0, 14.0, 24.0]);
        assert_eq!(best_tree(&Streaks, &dear, Limits::default()).template.max_depth(), 1);
    }

    #[test]
    fn ranks_need_not_fall_and_useless_ones_are_left_out() {
        let accuracy = [vec![0.1, 0.0, 0.6, f32::NAN]];
        let tree = tree_of(&accuracy[..], 64, &flat(&[(1, 10.0)], &[]), Limits::default());
        assert_eq!(tree.template.choices(), [[0], [2]]);
        let one = tree_of(&accuracy[..], 2, &flat(&[(1, 10.0)], &[]), Limits::default());
        assert_eq!(one.template.choices(), [[2]]);
    }

    #[test]
    fn the_device_decides_how_many_nodes_pay() {
        let accuracy = vec![vec![0.6, 0.15, 0.06, 0.03]; 3];
        let free = flat(&[(1, 10.0), (64, 10.0)], &[]);
        assert_eq!(best_tree(&accuracy[..], &free, Limits::default()).template.len(), 64);
        let dear = flat(&[(1, 10.0), (2, 20.0), (64, 640.0)], &[]);
        let best = best_tree(&accuracy[..], &dear, Limits::default());
        assert_eq!((best.template, best.speedup), (TreeTemplate::root(), 1.0));
        // Two rows are nearly free, more are not: a chain of one.
        let cliff = flat(&[(1, 10.0), (2, 10.5), (3, 30.0), (64, 640.0)], &[]);
        let best = best_tree(&accuracy[..], &cliff, Limits::default());
        assert_eq!(best.template, TreeTemplate::chain(1).expect("valid"));
        assert!((best.speedup - 1.6 * 10.0 / 10.5).abs() < 1e-6);
    }

    #[test]
    fn padded_steps_are_used_in_full() {
        let accuracy = vec![vec![0.5, 0.2, 0.1, 0.05, 0.02]; 4];
        let points = vec![(1, 10.0), (8, 12.0), (16, 14.0), (64, 60.0)];
        let curve = VerifyCurve::new(key(), 10.0, points, Between::Padded, vec![]).expect("valid");
        let best = best_tree(&accuracy[..], &curve, Limits::default());
        assert_eq!(best.template.len(), 16);
    }

    #[test]
    fn deep_heads_that_cost_more_than_they_give_are_left_out() {
        let accuracy = [vec![0.6], vec![0.6], vec![0.3]];
        let rows = [(1, 10.0), (64, 10.0)];
        let at = |draft: &[f64]| {
            best_tree(&accuracy[..], &flat(&rows, draft), Limits::default()).template.max_depth()
        };
        assert_eq!(at(&[]), 3);
        assert_eq!(at(&[1.0, 2.0, 9.0]), 2);
        assert_eq!(at(&[1.0, 6.0, 9.0]), 1);
        assert_eq!(at(&[9.0, 12.0, 15.0]), 0);
        let shallow = Limits { depth: 1, ..Limits::default() };
        assert_eq!(best_tree(&accuracy[..], &flat(&rows, &[]), shallow).template.max_depth(), 1);
    }

    /// Every tree of up to `nodes` nodes with contiguous ranks, by trying all.
    fn exhaustive(accuracy: &[Vec<f32>], nodes: usize) -> f64 {
        fn extend(
            tree: &mut Vec<(Vec<usize>, f64)>,
            from: usize,
            left: usize,
            all: &[(Vec<usize>, f64)],
            best: &mut f64,
        ) {
            *best = best.max(1.0 + tree.iter().map(|node| node.1).sum::<f64>());
            for at in from..all.len() {
                let (choice, p) = &all[at];
                let (_, parent) = choice.split_last().expect("not the root");
                let has_parent = parent.is_empty() || tree.iter().any(|node| node.0 == parent);
                if left > 0 && has_parent {
                    tree.push((choice.clone(), *p));
                    extend(tree, at + 1, left - 1, all, best);
                    tree.pop();
                }
            }
        }
        let mut all: Vec<(Vec<usize>, f64)> = vec![(vec![], 1.0)];
        let mut at = 0;
        while at < all.len() {
            let (choice, p) = all[at].clone();
            for (rank, &a) in accuracy.get(choice.len()).into_iter().flatten().enumerate() {
                let mut choice = choice.clone();
                choice.push(rank);
                all.push((choice, p * f64::from(a)));
            }
            at += 1;
        }
        all.remove(0);
        let mut best = 0.0;
        extend(&mut vec![], 0, nodes - 1, &all, &mut best);
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn greedy_growth_is_optimal(
            accuracy in prop::collection::vec(prop::collection::vec(0.0f32..0.6, 3), 2),
            nodes in 1usize..6,
        ) {
            let found = tree_of(&accuracy[..], nodes, &flat(&[(1, 10.0)], &[]), Limits::default());
            prop_assert!((found.tokens - exhaustive(&accuracy, nodes)).abs() < 1e-9);
        }

        #[test]
        fn nothing_panics(
            accuracy in prop::collection::vec(prop::collection::vec(any::<f32>(), 0..70), 0..6),
            (nodes, depth, ranks) in (0usize..80, 0usize..80, 0usize..80),
        ) {
            let curve = flat(&[(1, 10.0), (64, 20.0)], &[1.0]);
            let best = best_tree(&accuracy[..], &curve, Limits { nodes, depth, ranks });
            prop_assert!(best.template.len() <= nodes.clamp(1, 64));
            prop_assert!(best.template.max_depth() <= depth && best.speedup >= 1.0);
        }
    }
}
