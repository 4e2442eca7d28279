//! What a round costs, so that a draft is no longer than it pays.

use crate::{
    error::{Error, Result},
    spec::{Draft, DraftNode, MAX_NODES, policy::VerifyCurve},
};

/// Time of the parts of a round, all in one unit of any size.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundCosts {
    verify: Vec<f64>,
    /// What drafting adds to a round where it takes time worth counting: by heads or a model.
    pub drafting: f64,
}

impl RoundCosts {
    /// From the times of verifying `1, 2, …` nodes, root included; more nodes than there are times
    /// for cost in proportion to the last.
    ///
    /// # Errors
    /// No times, or times that are not positive numbers ([`Error::Invalid`]).
    pub fn new(verify: Vec<f64>, drafting: f64) -> Result<Self> {
        let wrong = verify.iter().find(|time| !time.is_finite() || **time <= 0.0);
        if verify.is_empty() || wrong.is_some() || !drafting.is_finite() || drafting < 0.0 {
            return Err(Error::invalid(format!(
                "times of {} verifications{}, {drafting} for drafting: wanted positive numbers",
                verify.len(),
                wrong.map(|time| format!(", among them {time}")).unwrap_or_default()
            )));
        }
        Ok(Self { verify, drafting })
    }

    /// Of a device as it was measured. Drafting counts at the depth of the deepest draft measured.
    pub fn of_curve(curve: &VerifyCurve) -> Self {
        let more = (2..=MAX_NODES).map(|nodes| curve.verify_ms(nodes));
        let verify = std::iter::once(curve.plain_ms()).chain(more).collect();
        Self { verify, drafting: curve.draft_ms(MAX_NODES) }
    }

    /// Time of verifying so many nodes, root included.
    pub fn verify(&self, nodes: usize) -> f64 {
        let known = self.verify.len();
        match nodes {
            0 | 1 => self.verify[0],
            n if n <= known => self.verify[n - 1],
            n => self.verify[known - 1] * n as f64 / known as f64,
        }
    }

    /// Most tokens a unit of time from the first nodes of a draft, and how many nodes that takes:
    /// 1 if plain decoding is best. The nodes' probabilities count `trust` times.
    pub(super) fn best(&self, draft: &Draft, trust: f64) -> Promise {
        let mut best = Promise { rate: 1.0 / self.verify(1), nodes: 1 };
        let mut tokens = 1.0;
        for (node, p) in reached(draft).into_iter().enumerate().skip(1) {
            tokens += trust * f64::from(p);
            let rate = tokens / self.verify(node + 1);
            if rate > best.rate {
                best = Promise { rate, nodes: node + 1 };
            }
        }
        best
    }
}

/// What a draft promises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Promise {
    /// Tokens a unit of time.
    pub(super) rate: f64,
    /// Nodes it takes, root included.
    pub(super) nodes: usize,
}

/// As much of a draft as pays, where costs are known.
pub(super) fn worthwhile(draft: Draft, costs: Option<&RoundCosts>) -> Draft {
    match costs {
        Some(costs) => first_nodes(&draft, costs.best(&draft, 1.0).nodes),
        None => draft,
    }
}

/// Probability that each node is reached; nodes without one of their own are not counted on.
pub(super) fn reached(draft: &Draft) -> Vec<f32> {
    let mut all: Vec<f32> = Vec::with_capacity(draft.len());
    for (node, parent) in draft.nodes().iter().zip(draft.tree().parents()) {
        all.push(match parent {
            None => 1.0,
            Some(parent) => all[*parent] * node.p.unwrap_or(0.0),
        });
    }
    all
}

/// The first `nodes` nodes of a draft.
pub(super) fn first_nodes(draft: &Draft, nodes: usize) -> Draft {
    let tree = draft.tree();
    let mut cut = Draft::new(tree.tokens()[0]);
    for node in 1..nodes.min(draft.len()) {
        let known: DraftNode = draft.nodes()[node];
        let parent = tree.parents()[node].expect("only the root has none");
        cut.push(tree.tokens()[node], parent, known);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Source;

    fn chain(p: &[f32]) -> Draft {
        let mut draft = Draft::new(0);
        for (i, &p) in p.iter().enumerate() {
            draft.push(1, i, DraftNode { source: Source::Lookup, rank: 0, p: Some(p) });
        }
        draft
    }

    #[test]
    fn a_draft_is_as_long_as_it_pays() {
        // A node more costs a fifth of a plain step.
        let costs = RoundCosts::new((0..16).map(|n| 1.0 + 0.2 * f64::from(n)).collect(), 0.0)
            .expect("positive");
        let sure = costs.best(&chain(&[0.99; 8]), 1.0);
        assert_eq!(sure.nodes, 9);
        assert!((sure.rate - 8.65 / 2.6).abs() < 0.02, "{sure:?}");
        // 1 + 0.5, + 0.25, + 0.125 against 1.2, 1.4, 1.6
        let unsure = costs.best(&chain(&[0.5; 8]), 1.0);
        assert_eq!(unsure.nodes, 2);
        assert_eq!(costs.best(&chain(&[0.1; 8]), 1.0), Promise { rate: 1.0, nodes: 1 });
        assert_eq!(costs.best(&chain(&[0.5; 8]), 0.2).nodes, 1, "not believed");
    }

    #[test]
    fn times_are_checked_and_extended() {
        let costs = RoundCosts::new(vec![2.0, 3.0], 0.5).expect("positive");
        let times: Vec<f64> = [1, 2, 4].map(|n| costs.verify(n)).to_vec();
        assert_eq!(times, [2.0, 3.0, 6.0]);
        for (verify, drafting) in
            [(vec![], 0.0), (vec![1.0, 0.0], 0.0), (vec![f64::NAN], 0.0), (vec![1.0], -1.0)]
        {
            RoundCosts::new(verify, drafting).expect_err("no such times");
        }
    }

    #[test]
    fn a_cut_keeps_the_first_nodes() {
        let draft = chain(&[0.9, 0.8, 0.7]);
        let cut = first_nodes(&draft, 3);
        assert_eq!(cut.nodes(), &draft.nodes()[..3]);
        assert_eq!(first_nodes(&draft, 9), draft);
    }
}
