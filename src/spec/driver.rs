//! Rounds, one after the other: propose, verify, accept, commit.
//!
//! Plain decoding is the round whose draft is the root alone, so there is one loop for all methods
//! and nothing that only one of them does. What is kept is committed to the cache; the bonus is not,
//! since it is the next round's root.

use std::time::Instant;

use super::{
    AcceptRule, Acceptance, Draft, DraftContext, Method, NodeOutcome, Proposal, Proposer,
    RoundOutcome, StageTimes, TargetRows, accept,
};
use crate::{
    error::{Error, Result},
    kv::Sequence,
    model::{Model, RowStat, Want},
    sample::Sampler,
};

/// The model whose text it is, and what it has seen of it.
pub struct Target<'a> {
    /// Model.
    pub model: &'a mut Model,
    /// All tokens but the root.
    pub sequence: &'a mut Sequence,
}

/// What a round starts from.
#[derive(Clone, Copy, Debug)]
pub struct RoundStart<'a> {
    /// Every token so far: prompt, answer, and last the root, which the cache does not hold yet.
    pub ids: &'a [u32],
    /// How many of them are the prompt.
    pub prompt: usize,
    /// Most edges between the root and a node: what the context and the tokens asked for leave.
    pub max_depth: usize,
}

/// Runs the rounds of one generation.
pub struct Driver<'a> {
    proposer: Option<&'a mut dyn Proposer>,
    sampler: Sampler,
    rule: AcceptRule,
    max_nodes: usize,
    rounds: u64,
}

impl<'a> Driver<'a> {
    /// A driver for a prompt; without a proposer it decodes plainly.
    ///
    /// # Errors
    /// A rule that does not go with the sampler ([`Error::Invalid`]), and those of the proposer.
    pub fn new(
        mut proposer: Option<&'a mut dyn Proposer>,
        sampler: Sampler,
        rule: AcceptRule,
        max_nodes: usize,
        prompt: &[u32],
    ) -> Result<Self> {
        rule.check(sampler.params())?;
        if let Some(proposer) = &mut proposer {
            proposer.begin(prompt)?;
        }
        Ok(Self { proposer, sampler, rule, max_nodes, rounds: 0 })
    }

    /// What the last row of the prompt must give for [`Self::first`].
    pub fn wants_of_prompt(&self) -> Want {
        match self.rule.needs_logits() {
            true => Want::LastLogits,
            false => Want::LastStats,
        }
    }

    /// The first token of the answer, chosen as a bonus is.
    pub fn first(&self, stat: RowStat, logits: Option<&[f32]>, prompt: &[u32]) -> u32 {
        match (self.rule, logits) {
            (AcceptRule::Seeded | AcceptRule::Residual, Some(logits)) => {
                self.sampler.choose(logits, prompt, prompt.len() as u64).token
            }
            _ => stat.argmax,
        }
    }

    /// One round. The kept nodes are committed; the bonus is the next root.
    ///
    /// # Errors
    /// A draft that starts from another root or leaves the limits ([`Error::Invalid`], naming the
    /// method), and those of proposer and device.
    pub fn round(
        &mut self,
        target: &mut Target<'_>,
        start: RoundStart<'_>,
    ) -> Result<RoundOutcome> {
        let started = Instant::now();
        let prefix = target.sequence.len() as u64;
        let draft = self.draft(start)?;
        let drafted = Instant::now();
        let want = if self.rule.needs_logits() { Want::AllLogits } else { Want::AllStats };
        let tree = draft.tree();
        let step = target.model.tree_step(target.sequence, tree.tokens(), tree.parents(), want)?;
        let verified = Instant::now();
        let rows = TargetRows { stats: &step.output.stats, logits: step.output.logits.as_deref() };
        let accepted = accept(self.rule, &self.sampler, &draft, rows, start.ids)?;
        let decided = Instant::now();
        step.commit(&accepted.path)?;
        let times = StageTimes {
            draft_ms: ms(started, drafted),
            verify_ms: ms(drafted, verified),
            commit_ms: ms(decided, Instant::now()),
            host_ms: ms(verified, decided),
        };
        let outcome = self.outcome(prefix, &draft, &accepted, times);
        self.rounds += 1;
        if let Some(proposer) = &mut self.proposer {
            proposer.observe(&outcome);
        }
        Ok(outcome)
    }

    fn draft(&mut self, start: RoundStart<'_>) -> Result<Draft> {
        let context = DraftContext {
            ids: start.ids,
            prompt: start.prompt,
            max_nodes: self.max_nodes,
            max_depth: start.max_depth,
        };
        let root = context.root();
        let Some(proposer) = self.proposer.as_mut().filter(|_| start.max_depth > 0) else {
            return Ok(Draft::new(root));
        };
        let method = proposer.method().name();
        let draft = match proposer.propose(&context)? {
            Proposal::Tokens(draft) => draft,
            Proposal::Heads(_) => {
                return Err(Error::invalid(format!("--spec {method}: the model has no heads")));
            }
        };
        let tree = draft.tree();
        let depth = (0..draft.len()).map(|node| tree.depth(node)).max().unwrap_or(0);
        if tree.tokens()[0] != root || draft.len() > self.max_nodes || depth > start.max_depth {
            return Err(Error::invalid(format!(
                "--spec {method} drafted {} nodes of depth {depth} behind token {}, wanted at most \
                 {} of depth {} behind {root}",
                draft.len(),
                tree.tokens()[0],
                self.max_nodes,
                start.max_depth
            )));
        }
        Ok(draft)
    }

    fn outcome(
        &self,
        prefix: u64,
        draft: &Draft,
        accepted: &Acceptance,
        times: StageTimes,
    ) -> RoundOutcome {
        let tree = draft.tree();
        let nodes = (0..draft.len()).map(|n| {
            let (known, said) = (draft.nodes()[n], accepted.nodes[n]);
            NodeOutcome {
                token: tree.tokens()[n],
                parent: tree.parents()[n].map(|parent| parent as u32),
                depth: tree.depth(n) as u32,
                source: known.source,
                rank: known.rank,
                draft_p: known.p,
                target_p: said.target_p,
                entropy: Some(said.entropy),
                threshold: said.threshold,
                verdict: said.verdict,
            }
        });
        let method = self.proposer.as_ref().filter(|_| draft.len() > 1);
        RoundOutcome {
            round: self.rounds,
            prefix,
            method: method.map_or(Method::Plain, |proposer| proposer.method()),
            nodes: nodes.collect(),
            path: accepted.path.iter().map(|&node| node as u32).collect(),
            bonus: accepted.bonus,
            times,
        }
    }
}

fn ms(from: Instant, to: Instant) -> f64 {
    (to - from).as_secs_f64() * 1e3
}
