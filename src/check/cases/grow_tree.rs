//! Cases of `grow_tree`.

use crate::{
    check::{
        Draw, ModelSizes, Random,
        case::{Case, Expect, Tensor},
    },
    dtype::DType,
    ops::GrowTree,
};

/// Log-probabilities of guesses.
#[derive(Clone, Copy, Debug)]
enum Guesses {
    /// All different.
    Plain,
    /// Multiples of a half: ties everywhere, and all sums exact.
    Tied,
    /// The first guess is all but certain: deep trees.
    Sure,
    /// Beyond the second, guesses are impossible, and some are no numbers: fewer candidates than
    /// wanted.
    Few,
}

impl Guesses {
    /// `k` of them, falling.
    fn make(self, random: &mut Random, k: usize) -> Vec<f32> {
        let mut all: Vec<f32> = (0..k)
            .map(|rank| match self {
                Self::Plain | Self::Few => random.uniform(-6.0, -0.1),
                Self::Tied => -0.5 * (1 + random.below(4)) as f32,
                Self::Sure if rank == 0 => random.uniform(-0.01, 0.0),
                Self::Sure => random.uniform(-9.0, -4.0),
            })
            .collect();
        all.sort_by(|a, b| b.total_cmp(a));
        if let Self::Few = self {
            for (rank, logprob) in all.iter_mut().enumerate().skip(2) {
                *logprob = if rank % 2 == 0 { f32::NEG_INFINITY } else { f32::NAN };
            }
        }
        all
    }
}

/// Sizes of a case.
#[derive(Clone, Copy)]
struct Sizes {
    r: usize,
    k: usize,
    m: usize,
    l: usize,
    nodes: u32,
    gap: usize,
}

pub(super) fn cases() -> Vec<Case> {
    let case = |r, k, m, l, nodes, gap, guesses, mapped| {
        case(Sizes { r, k, m, l, nodes, gap }, guesses, mapped)
    };
    vec![
        case(4, 10, 64, 64, 64, 0, Guesses::Plain, false),
        case(4, 10, 64, 5, 64, 0, Guesses::Tied, true),
        case(16, 3, 32, 17, 26, 2, Guesses::Sure, false),
        case(63, 2, 64, 64, 64, 0, Guesses::Sure, true),
        case(3, 6, 16, 16, 12, 0, Guesses::Few, false),
        case(1, 2, 8, 2, 8, 1, Guesses::Plain, true),
        case(2, 64, 64, 3, 1000, 0, Guesses::Plain, false),
        case(1, 1, 1, 1, 1, 0, Guesses::Plain, false),
        case(2, 3, 4, 4, 0, 0, Guesses::Plain, false),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let (r, k, m) = (d.size(63), d.size(64), d.size(64));
    let l = m.min(r + 1) + d.below(4);
    let sizes = Sizes { r, k, m, l, nodes: d.below(m + 10) as u32, gap: d.gap() };
    let kinds = [Guesses::Plain, Guesses::Tied, Guesses::Sure, Guesses::Few];
    case(sizes, d.pick(&kinds), d.flag())
}

/// Those that are timed.
pub(super) fn timed(_: &ModelSizes, m: usize) -> Vec<Case> {
    let nodes = m as u32;
    vec![case(Sizes { r: 4, k: 10, m, l: 5, nodes, gap: 0 }, Guesses::Plain, false)]
}

/// A node: token, log-probability, depth and parent.
type Node = (u32, f32, usize, usize);

/// By the frontier: each candidate taken offers its next sibling and its first child.
fn grow(ids: &[u32], logprobs: &[f32], s: Sizes, root: u32) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    if s.nodes > 0 {
        nodes.push((root, 0.0, 0, usize::MAX));
    }
    // sum of the parent, depth, parent, rank
    let mut frontier = vec![(0f32, 1, 0, 0)];
    while !nodes.is_empty() && nodes.len() < s.m.min(s.nodes as usize) {
        let logprob = |depth: usize, rank: usize| logprobs[(depth - 1) * s.k + rank];
        frontier.retain(|&(sum, depth, _, rank): &(f32, usize, usize, usize)| {
            depth <= s.r && rank < s.k && sum + logprob(depth, rank) > f32::NEG_INFINITY
        });
        frontier.sort_by(|a, b| {
            let sum = |c: &(f32, usize, usize, usize)| c.0 + logprob(c.1, c.3) + 0.0;
            sum(b).total_cmp(&sum(a)).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
        });
        if frontier.is_empty() {
            break;
        }
        let (sum, depth, parent, rank) = frontier.remove(0);
        let logprob = logprob(depth, rank);
        frontier.push((sum, depth, parent, rank + 1));
        frontier.push((sum + logprob, depth + 1, nodes.len(), 0));
        nodes.push((ids[(depth - 1) * s.k + rank], logprob, depth, parent));
    }
    nodes
}

fn case(s: Sizes, kind: Guesses, mapped: bool) -> Case {
    let Sizes { r, k, m, l, nodes, gap } = s;
    let name = format!(
        "r={r}, k={k}, m={m}, l={l}, nodes={nodes}, gap={gap}, guesses={kind:?}, map={mapped}"
    );
    Case::new("grow_tree", name, move |b| {
        let ids: Vec<u32> = (0..r * k).map(|_| b.random.below(120) as u32).collect();
        let logprobs: Vec<f32> = (0..r).flat_map(|_| kind.make(&mut b.random, k)).collect();
        let map: Vec<u32> = (0..100).map(|_| b.random.below(50_000) as u32).collect();
        let (root, prefix) = (b.random.below(50_000) as u32, b.random.below(5000) as u32);
        let slots = b.random.permutation(300)[..m].to_vec();
        let tree = grow(&ids, &logprobs, s, root);

        let mut tokens = vec![u32::MAX; m];
        let mut draft = vec![0f32; m];
        let mut parents = vec![u32::MAX; m];
        let (mut positions, mut path) = (vec![0; m], vec![0; m]);
        let mut path_slots = vec![0; m * l];
        for (i, &(token, logprob, depth, parent)) in tree.iter().enumerate() {
            let known = map.get(token as usize).copied().unwrap_or(u32::MAX);
            tokens[i] = if mapped && i > 0 { known } else { token };
            draft[i] = logprob;
            positions[i] = prefix + depth as u32;
            path[i] = depth as u32 + 1;
            path_slots[i * l + depth] = slots[i];
            if i > 0 {
                parents[i] = parent as u32;
                let above = path_slots[parent * l..][..depth].to_vec();
                path_slots[i * l..][..depth].copy_from_slice(&above);
            }
        }

        let ids = b.push(Tensor::input("ids", &[r, k], &ids).gap(gap));
        let logprobs = b.push(Tensor::input("logprobs", &[r, k], &logprobs).gap(gap));
        let map = mapped.then(|| b.push(Tensor::input("map", &[map.len()], &map)));
        let [root, prefix, nodes] = [("root", root), ("prefix", prefix), ("nodes", nodes)]
            .map(|(name, value)| b.push(Tensor::input(name, &[1], &[value])));
        let slots = b.push(Tensor::input("slots", &[m], &slots).gap(gap));
        let mut output = |name, values: &[u32]| {
            b.push(Tensor::output(name, &[m], DType::U32, Expect::bits(values)).gap(gap))
        };
        let (tokens, parents) = (output("tokens", &tokens), output("parents", &parents));
        let (positions, path) = (output("positions", &positions), output("path", &path));
        let draft = Tensor::output("draft_logprobs", &[m], DType::F32, Expect::bits(&draft));
        let draft = b.push(draft.gap(gap));
        let paths = Tensor::output("path_slots", &[m, l], DType::U32, Expect::bits(&path_slots));
        let paths = b.push(paths.gap(gap));
        b.op(move |v| GrowTree {
            ids: v.at(ids),
            logprobs: v.at(logprobs),
            map: map.map(|map| v.at(map)),
            root: v.at(root),
            prefix: v.at(prefix),
            slots: v.at(slots),
            nodes: v.at(nodes),
            tokens: v.at(tokens),
            draft_logprobs: v.at(draft),
            parents: v.at(parents),
            positions: v.at(positions),
            path: v.at(path),
            path_slots: v.at(paths),
        });
    })
}
