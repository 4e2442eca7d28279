//! Rejection sampling with the residual distribution, for chains and trees.
//!
//! At a node with the target's distribution p the tokens drawn there are looked at in the order they
//! were drawn. Token x, drawn from q, is kept with probability `min(1, p(x) / q(x))`; if it is not,
//! p becomes `norm(max(0, p - q))` and the next one is looked at. If none is kept, the token is drawn
//! from what p has become. Whatever q is, each step leaves the token's law at p, because a token is
//! kept with probability `min(p, q)` and refused draws are made good from exactly what is missing; so
//! q may depend on earlier draws, which is what drawing without replacement needs (q loses the token
//! and is renormalised).
//!
//! p is the sampler's whole chain along the node's path, so temperature, filters and penalties hold.

use super::{
    AcceptRule, Acceptance, Chance, Keyed, Law, TargetRows, along, check_rows, chosen::Walk, report,
};
use crate::{
    error::{Error, Result},
    sample::Sampler,
    spec::Draft,
};

/// Whether a token can be drawn twice below a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// Draws are independent (SpecInfer, arXiv 2305.09781).
    With,
    /// A drawn token is out for the draws after it (Sequoia, arXiv 2402.12374).
    Without,
}

/// How the children of a node were drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// What they were drawn from; absent for guesses that were no draws, which count as certain.
    pub law: Option<Law>,
    /// Tokens in the order they were drawn, also those drawn twice; each is a child of the node.
    pub tokens: Vec<u32>,
    /// How they were drawn.
    pub replacement: Replacement,
}

impl Drawn {
    /// For each node of a draft that was not sampled: its children, in order, as certain guesses.
    pub fn certain(draft: &Draft) -> Vec<Self> {
        let none = || Self { law: None, tokens: vec![], replacement: Replacement::Without };
        let mut all: Vec<Self> = (0..draft.len()).map(|_| none()).collect();
        let tree = draft.tree();
        for (parent, &token) in tree.parents().iter().zip(tree.tokens()) {
            if let Some(parent) = *parent {
                all[parent].tokens.push(token);
            }
        }
        all
    }
}

/// Draws up to `count` tokens below a node for the place `position`; fewer where `law` runs out of
/// tokens. `first` is the number of draws made for the same position before, below other nodes.
pub fn draw_children(
    law: Law,
    count: usize,
    replacement: Replacement,
    position: u64,
    first: u32,
    chance: &mut dyn Chance,
) -> Drawn {
    let mut tokens = Vec::with_capacity(count);
    let mut left = Some(law.clone());
    for draw in (first..).take(count) {
        let Some(from) = &left else { break };
        let token = chance.draft(position, draw, from);
        tokens.push(token);
        if replacement == Replacement::Without {
            left = from.without(token);
        }
    }
    Drawn { law: Some(law), tokens, replacement }
}

/// Applies [`AcceptRule::Residual`] to a sampled draft; `drawn` has one entry for each node, and
/// `history` is every token so far, the root last. Chance is keyed by the sampler's seed.
///
/// # Errors
/// [`Error::Invalid`] if rows or history do not fit the draft, if there are no logits, or if `drawn`
/// does not fit it: another number of nodes, a drawn token that is no child, a child that was not
/// drawn, or one that its law cannot give.
pub fn accept_sampled(
    sampler: &Sampler,
    draft: &Draft,
    drawn: &[Drawn],
    rows: TargetRows<'_>,
    history: &[u32],
) -> Result<Acceptance> {
    check_rows(AcceptRule::Residual, draft, rows, history)?;
    check_drawn(draft, drawn)?;
    let mut ids = history.to_vec();
    let mut law = |node: usize, path: &[usize]| {
        along(draft, history.len(), path, &mut ids);
        let row = rows.row(node).expect("the logits were checked");
        Law::new(sampler.probabilities(row, &ids)).expect("the sampler gives a distribution")
    };
    let mut chance = Keyed { seed: sampler.params().seed };
    let walk = walk(draft, drawn, history.len() as u64, &mut law, &mut chance);
    Ok(report::of_walk(draft, rows, walk))
}

/// Descends from the root; `law` gives the target's distribution at (node, path to it), `first` is
/// the position of the token behind the root.
pub(super) fn walk(
    draft: &Draft,
    drawn: &[Drawn],
    first: u64,
    law: &mut dyn FnMut(usize, &[usize]) -> Law,
    chance: &mut dyn Chance,
) -> Walk {
    let mut walk = Walk { path: vec![0], chosen: vec![] };
    loop {
        let node = *walk.path.last().expect("the path starts with the root");
        let position = first + draft.tree().depth(node) as u64;
        let target = law(node, &walk.path);
        match descend(&drawn[node], target, position, chance) {
            Decided::Kept(token) => {
                walk.chosen.push(token);
                let child = draft.tree().child(Some(node), token);
                walk.path.push(child.expect("every drawn token is a child"));
            }
            Decided::Drawn(token) => {
                walk.chosen.push(token);
                return walk;
            }
        }
    }
}

enum Decided {
    /// One of the drawn tokens.
    Kept(u32),
    /// A token of the residual distribution, which holds none that was refused.
    Drawn(u32),
}

/// One node.
fn descend(drawn: &Drawn, mut target: Law, position: u64, chance: &mut dyn Chance) -> Decided {
    let mut left = drawn.law.clone();
    for (draw, &token) in (0..).zip(&drawn.tokens) {
        let from = match &drawn.law {
            None => Law::certain(token),
            // Laws that run out of tokens were refused.
            Some(_) => left.clone().expect("a drawn token comes from a law"),
        };
        let keep = (target.p(token) / from.p(token)).min(1.0);
        if chance.happens(position, draw, keep) {
            return Decided::Kept(token);
        }
        // Nothing is left only where p <= q everywhere, so p = q and the draw is refused by a
        // rounding error at most; p itself is then as good.
        target = target.minus(&from).unwrap_or(target);
        if drawn.replacement == Replacement::Without {
            left = from.without(token);
        }
    }
    Decided::Drawn(chance.pick(position, &target))
}

fn check_drawn(draft: &Draft, drawn: &[Drawn]) -> Result<()> {
    if drawn.len() != draft.len() {
        return Err(Error::invalid(format!(
            "draws of {} nodes for a draft of {}",
            drawn.len(),
            draft.len()
        )));
    }
    let tree = draft.tree();
    for (node, drawn) in drawn.iter().enumerate() {
        let mut left = drawn.law.clone();
        for &token in &drawn.tokens {
            if tree.child(Some(node), token).is_none() {
                return Err(Error::invalid(format!(
                    "token {token} was drawn below node {node} but is no child of it"
                )));
            }
            if drawn.law.is_some() && left.as_ref().is_none_or(|left| left.p(token) == 0.0) {
                return Err(Error::invalid(format!(
                    "token {token} was drawn below node {node} from a law that cannot give it"
                )));
            }
            if drawn.replacement == Replacement::Without {
                left = left.and_then(|left| left.without(token));
            }
        }
        let children = (0..tree.len()).filter(|&n| tree.parents()[n] == Some(node));
        for child in children {
            let token = tree.tokens()[child];
            if !drawn.tokens.contains(&token) {
                return Err(Error::invalid(format!(
                    "node {child} holds token {token}, which was not drawn below node {node}"
                )));
            }
        }
    }
    Ok(())
}
