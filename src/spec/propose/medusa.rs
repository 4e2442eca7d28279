//! Shapes for the heads of the target to fill.

use super::{DraftContext, Method, Proposer};
use crate::{
    error::Result,
    format::heads::HeadRecord,
    spec::{
        Draft, Proposal, RoundOutcome, TreeChoice,
        policy::{Belief, HeadAccuracy, Limits, Shape, VerifyCurve, best_tree, tree_of},
    },
};

/// Rounds after which the search is made anew with what was seen since.
const REFRESH: u32 = 128;

/// Rounds after which what was seen counts half, so that shapes follow the text.
const MEMORY: u64 = 1024;

/// Proposes trees for heads on the target's last hidden state (arXiv 2401.10774, 2402.05109): of
/// the shape that the heads' accuracies and the device's verify curve make best.
#[derive(Debug)]
pub struct Medusa {
    /// What the head file says of itself.
    belief: Belief,
    seen: HeadAccuracy,
    curve: VerifyCurve,
    choice: TreeChoice,
    /// The last shape found, the nodes it was allowed, and the rounds since.
    shape: Option<(usize, Shape)>,
    rounds: u32,
    /// Tokens that the last proposal promised.
    expected: Option<f64>,
}

impl Medusa {
    /// Of so many heads, of which their file says `record`.
    pub fn new(heads: usize, record: &HeadRecord, curve: VerifyCurve) -> Self {
        let (belief, seen) = (Belief::of(heads, record), HeadAccuracy::new());
        let choice = TreeChoice::Auto;
        Self { belief, seen, curve, choice, shape: None, rounds: 0, expected: None }
    }

    /// How often each guess was right so far.
    pub fn seen(&self) -> &HeadAccuracy {
        &self.seen
    }

    /// The shape for trees of at most so many nodes, and what it promises by what is known now.
    pub fn shape(&mut self, max_nodes: usize) -> &Shape {
        let known = self.shape.as_ref().is_some_and(|(nodes, _)| *nodes == max_nodes);
        if !known || self.rounds >= REFRESH {
            self.rounds = 0;
            let limits = Limits { nodes: max_nodes, ..Limits::default() };
            let (chances, curve) = (self.seen.chances(&self.belief), &self.curve);
            let shape = match &self.choice {
                TreeChoice::Auto => best_tree(&chances, curve, limits),
                TreeChoice::Nodes(nodes) => tree_of(&chances, *nodes, curve, limits),
                TreeChoice::Shape(template) => Shape::of(template.clone(), &chances, curve),
            };
            self.shape = Some((max_nodes, shape));
        }
        &self.shape.as_ref().expect("made above").1
    }
}

impl Proposer for Medusa {
    fn method(&self) -> Method {
        Method::Medusa
    }

    fn begin(&mut self, _: &[u32]) -> Result<()> {
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        let shape = self.shape(context.max_nodes);
        let template = shape.template.cut(context.max_nodes, context.max_depth);
        let whole = (template.len() == shape.template.len()).then_some(shape.tokens);
        self.expected = Some(whole.unwrap_or_else(|| {
            let chances = self.seen.chances(&self.belief);
            Shape::of(template.clone(), &chances, &self.curve).tokens
        }));
        Ok(match template.len() {
            1 => Proposal::Tokens(Draft::new(context.root())),
            _ => Proposal::Heads(template),
        })
    }

    fn expected(&self) -> Option<f64> {
        self.expected
    }

    fn observe(&mut self, outcome: &RoundOutcome) {
        self.seen.observe(outcome);
        if self.seen.rounds() >= MEMORY {
            self.seen.halve();
        }
        self.rounds += 1;
    }

    fn set_tree(&mut self, tree: &TreeChoice) {
        if self.choice != *tree {
            self.choice = tree.clone();
            self.shape = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{
        TreeTemplate,
        policy::{Between, CurveKey},
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
}
