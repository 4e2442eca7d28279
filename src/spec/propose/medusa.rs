//! Shapes for the heads of the target to fill.

use std::collections::BTreeMap;

use super::{DraftContext, Method, Proposer};
use crate::{
    error::Result,
    format::heads::HeadRecord,
    spec::{
        Draft, MAX_NODES, NodeOutcome, Proposal, RoundOutcome, Source, TreeChoice, TreeTemplate,
        Verdict,
        policy::{
            Belief, HeadAccuracy, Limits, Luck, Scaled, Shape, VerifyCurve, best_tree, tree_of,
        },
    },
};

/// Rounds after which the search is made anew with what was seen since.
const REFRESH: u32 = 512;

/// Rounds after which what was seen counts half, so that shapes follow the text.
const MEMORY: u64 = 1024;

/// Proposes trees for heads on the target's last hidden state (arXiv 2401.10774, 2402.05109): of
/// the shape that the heads' accuracies, in general and on the text at hand, and the device's verify
/// curve make best.
#[derive(Debug)]
pub struct Medusa {
    /// What the head file says of itself.
    belief: Belief,
    seen: HeadAccuracy,
    luck: Luck,
    curve: VerifyCurve,
    choice: TreeChoice,
    /// What was found for trees of at most so many nodes, by level of luck.
    found: BTreeMap<usize, Found>,
    max_nodes: usize,
    rounds: u32,
    proposed: Option<Proposed>,
}

/// The result of a search.
#[derive(Debug)]
struct Found {
    /// With what it promises at its level of luck.
    shape: Shape,
    /// Probability that each node is kept on text of the usual kind.
    usually: Vec<f64>,
}

/// The last proposal.
#[derive(Debug)]
struct Proposed {
    template: TreeTemplate,
    /// Probability that each node is kept on text of the usual kind.
    reach: Vec<f64>,
    /// Tokens that it promises.
    expected: f64,
}

impl Medusa {
    /// Of so many heads, of which their file says `record`.
    pub fn new(heads: usize, record: &HeadRecord, curve: VerifyCurve) -> Self {
        Self {
            belief: Belief::of(heads, record),
            seen: HeadAccuracy::new(),
            luck: Luck::default(),
            curve,
            choice: TreeChoice::Auto,
            found: BTreeMap::new(),
            max_nodes: MAX_NODES,
            rounds: 0,
            proposed: None,
        }
    }

    /// How often each guess was right so far.
    pub fn seen(&self) -> &HeadAccuracy {
        &self.seen
    }

    /// The shape for trees of at most so many nodes, and what it promises by what is known now.
    pub fn shape(&mut self, max_nodes: usize) -> &Shape {
        &self.found(max_nodes).shape
    }

    fn found(&mut self, max_nodes: usize) -> &Found {
        if self.max_nodes != max_nodes || self.rounds >= REFRESH {
            self.found.clear();
            self.max_nodes = max_nodes;
            self.rounds = 0;
        }
        let level = self.luck.level();
        self.found.entry(level).or_insert_with(|| {
            let limits = Limits { nodes: max_nodes, ..Limits::default() };
            let usual = self.seen.chances(&self.belief);
            let chances = Scaled { chances: &usual, factor: Luck::factor_of(level) };
            let shape = match &self.choice {
                TreeChoice::Auto => best_tree(&chances, &self.curve, limits),
                TreeChoice::Nodes(nodes) => tree_of(&chances, *nodes, &self.curve, limits),
                TreeChoice::Shape(template) => Shape::of(template.clone(), &chances, &self.curve),
            };
            let usually = Shape::of(shape.template.clone(), &usual, &self.curve).reach;
            Found { shape, usually }
        })
    }

    /// Learns how good the heads are here from the places of a round where they had guesses.
    fn judge(&mut self, proposed: &Proposed, round: &RoundOutcome) {
        let Proposed { template, reach, .. } = proposed;
        let parent = |node: usize| round.nodes[node].parent.map(|parent| parent as usize);
        let is_same = round.nodes.len() == template.len()
            && (1..template.len()).all(|node| parent(node) == template.parent(node));
        if !is_same {
            return;
        }
        for &kept in &round.path {
            let kept = kept as usize;
            let children = (1..template.len()).filter(|&node| parent(node) == Some(kept));
            let expected: f64 = children.clone().map(|node| reach[node]).sum::<f64>() / reach[kept];
            let hit = children.clone().any(|node| round.nodes[node].verdict == Verdict::Accepted);
            if expected.is_finite() && expected > 0.0 {
                self.luck.observe(hit, expected);
            }
        }
    }
}

impl Proposer for Medusa {
    fn method(&self) -> Method {
        Method::Medusa
    }

    fn begin(&mut self, _: &[u32]) -> Result<()> {
        self.luck.turn();
        self.proposed = None;
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        let Found { shape, usually } = self.found(context.max_nodes);
        let template = shape.template.cut(context.max_nodes, context.max_depth);
        let reach = if template.len() == usually.len() {
            usually.clone()
        } else {
            let chances = self.seen.chances(&self.belief);
            Shape::of(template.clone(), &chances, &self.curve).reach
        };
        let factor = self.luck.factor();
        let here = |(node, p): (usize, &f64)| p * factor.powi(template.depth(node) as i32);
        let expected = reach.iter().enumerate().map(here).sum();
        let proposal = match template.len() {
            1 => Proposal::Tokens(Draft::new(context.root())),
            _ => Proposal::Heads(template.clone()),
        };
        self.proposed = Some(Proposed { template, reach, expected });
        Ok(proposal)
    }

    fn expected(&self) -> Option<f64> {
        self.proposed.as_ref().map(|proposed| proposed.expected)
    }

    fn speedup(&mut self, context: &DraftContext<'_>) -> Option<f64> {
        Some(self.shape(context.max_nodes).speedup)
    }

    fn observe(&mut self, outcome: &RoundOutcome) {
        let by_heads = |node: &NodeOutcome| matches!(node.source, Source::Head(_));
        match self.proposed.take() {
            Some(proposed) if outcome.nodes.iter().any(by_heads) => self.judge(&proposed, outcome),
            _ => self.luck.idle(),
        }
        self.seen.observe(outcome);
        if self.seen.rounds() >= MEMORY {
            self.seen.halve();
        }
        self.rounds += 1;
    }

    fn set_tree(&mut self, tree: &TreeChoice) {
        if self.choice != *tree {
            self.choice = tree.clone();
            self.found.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{
        DraftNode,
        policy::{Between, CurveKey},
        propose::replay::verify,
    };

    fn curve(node_ms: f64) -> VerifyCurve {
        let key = CurveKey {
            device: "test".into(),
            driver: String::new(),
            model: String::new(),
            heads: None,
            threads: 1,
            program: String::new(),
        };
        let points = (1..=64).map(|rows| (rows, 10.0 + node_ms * (rows - 1) as f64)).collect();
        VerifyCurve::new(key, 10.0, points, Between::Linear, Vec::new()).expect("rising")
    }

    fn shape(medusa: &mut Medusa, max_nodes: usize, max_depth: usize) -> usize {
        let context = DraftContext { ids: &[1], prompt: 1, max_nodes, max_depth };
        match medusa.propose(&context).expect("no device") {
            Proposal::Heads(template) => {
                assert!(template.max_depth() <= max_depth);
                template.len()
            }
            Proposal::Tokens(draft) => draft.len(),
        }
    }

    #[test]
    fn the_tree_follows_request_limits_and_device() {
        let accuracy = vec![vec![0.5, 0.2, 0.1], vec![0.3, 0.1, 0.05], vec![0.2, 0.1, 0.05]];
        let record = HeadRecord { accuracy, ..HeadRecord::default() };
        let mut cheap = Medusa::new(3, &record, curve(0.01));
        assert!(shape(&mut cheap, 64, 60) > 12);
        assert!(shape(&mut cheap, 8, 60) <= 8);
        assert_eq!(shape(&mut cheap, 64, 0), 1);
        cheap.set_tree(&TreeChoice::Nodes(6));
        assert_eq!(shape(&mut cheap, 64, 60), 6);
        let chain = TreeTemplate::chain(3).expect("three");
        cheap.set_tree(&TreeChoice::Shape(chain));
        assert_eq!(shape(&mut cheap, 64, 60), 4);
        assert_eq!(shape(&mut cheap, 64, 2), 3);
        let mut dear = Medusa::new(3, &record, curve(9.0));
        assert_eq!(shape(&mut dear, 64, 60), 1, "no tree pays");
    }

    /// A round in which all guesses of the first head were wrong, or a first guess of each was right.
    fn round(medusa: &mut Medusa, is_right: bool) -> (usize, f64) {
        let context = DraftContext { ids: &[1], prompt: 1, max_nodes: 64, max_depth: 60 };
        let mut draft = Draft::new(1);
        if let Proposal::Heads(template) = medusa.propose(&context).expect("no device") {
            for node in 1..template.len() {
                let parent = template.parent(node).expect("not the root");
                let source = Source::Head(template.depth(node) as u8 - 1);
                let rank = template.rank(node) as u16;
                draft.push(10 + u32::from(rank), parent, DraftNode { source, rank, p: None });
            }
        }
        let answer = if is_right { [1, 10, 10, 10, 10, 10] } else { [1, 5, 5, 5, 5, 5] };
        let expected = medusa.expected().expect("of each proposal");
        medusa.observe(&verify(&draft, &answer, 1, Method::Medusa));
        (draft.len(), expected)
    }

    #[test]
    fn trees_shrink_where_guesses_fail_and_return() {
        let accuracy = vec![vec![0.6, 0.2, 0.05]; 3];
        let record = HeadRecord { accuracy, ..HeadRecord::default() };
        let mut medusa = Medusa::new(3, &record, curve(2.5));
        let (usual, promised) = round(&mut medusa, true);
        assert!(usual > 2 && promised > 1.4, "{usual} {promised}");
        let mut rounds = 0;
        while round(&mut medusa, false).0 > 1 {
            rounds += 1;
            assert!(rounds < 40, "nothing is learnt");
        }
        assert!(rounds > 4, "a few wrong guesses are no wrong text");
        let context = DraftContext { ids: &[1], prompt: 1, max_nodes: 64, max_depth: 60 };
        assert!(medusa.speedup(&context).expect("always") <= 1.0);
        // Rounds of the root alone: it is tried again.
        let mut rested = 0;
        while round(&mut medusa, false).0 == 1 {
            rested += 1;
            assert!(rested < 150, "never tried again");
        }
        assert!(rested > 5, "{rested}");
        for _ in 0..60 {
            round(&mut medusa, true);
        }
        assert!(round(&mut medusa, true).0 >= usual);
    }
}
