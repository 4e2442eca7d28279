//! Rounds, one after the other: propose, verify, accept, commit.
//!
//! Plain decoding is the round whose draft is the root alone, so there is one loop for all methods
//! and nothing that only one of them does. What is kept is committed to the cache; the bonus is not,
//! since it is the next round's root.
//!
//! Who decides follows from rule and sampler alone, never from the method: the device where it knows
//! the rule (drafting by heads, verification, acceptance and commit are then one submission), and
//! the host where the sampler's chain has filters or penalties. So the same tokens are chosen
//! whatever drafts.

use std::time::Instant;

use super::{
    AcceptRule, Acceptance, Draft, DraftContext, DraftNode, Method, NodeOutcome, NodeReport,
    Proposal, Proposer, RoundOutcome, Source, StageTimes, TargetRows, TreeTemplate, Verdict,
    accept,
    policy::{Gate, Step},
};
use crate::{
    error::{Error, Result},
    kv::Sequence,
    model::{Candidates, DeviceRule, Drafted, Model, RowStat, Verified, Want},
    ops::VerdictCode,
    sample::Sampler,
};

/// The model whose text it is, and what it has seen of it.
pub struct Target<'a> {
    /// Model.
    pub model: &'a mut Model,
    /// All tokens but the root.
    pub sequence: &'a mut Sequence,
}

/// Who drafts, and how much.
pub struct Drafting<'a> {
    /// Who.
    pub proposer: &'a mut dyn Proposer,
    /// Falls back to plain steps where drafting does not pay.
    pub gate: Option<&'a mut Gate>,
    /// Most nodes of a tree with its root.
    pub max_nodes: usize,
    /// Heads place the nodes of a tree where they are confident, as many and as deep as its
    /// proposed shape has.
    pub grow: bool,
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
    drafting: Option<Drafting<'a>>,
    sampler: Sampler,
    rule: AcceptRule,
    device_rule: Option<DeviceRule>,
    rounds: u64,
}

/// A round after acceptance.
struct Decided {
    draft: Draft,
    accepted: Acceptance,
    verify_ms: f64,
    commit_ms: f64,
}

impl<'a> Driver<'a> {
    /// A driver for a prompt; with nobody to draft it decodes plainly.
    ///
    /// # Errors
    /// A rule that does not go with the sampler ([`Error::Invalid`]), and those of the proposer.
    pub fn new(
        mut drafting: Option<Drafting<'a>>,
        sampler: Sampler,
        rule: AcceptRule,
        prompt: &[u32],
    ) -> Result<Self> {
        rule.check(sampler.params())?;
        if let Some(drafting) = &mut drafting {
            drafting.proposer.begin(prompt)?;
        }
        let device_rule = device_rule(rule, &sampler);
        Ok(Self { drafting, sampler, rule, device_rule, rounds: 0 })
    }

    /// What the last row of the prompt must give for [`Self::first`].
    pub fn wants_of_prompt(&self) -> Want {
        match self.draws() {
            true => Want::LastLogits,
            false => Want::LastStats,
        }
    }

    /// The first token of the answer, chosen as a bonus is.
    pub fn first(&self, stat: RowStat, logits: Option<&[f32]>, prompt: &[u32]) -> u32 {
        match logits {
            Some(logits) if self.draws() => {
                self.sampler.choose(logits, prompt, prompt.len() as u64).token
            }
            _ => stat.argmax,
        }
    }

    /// True if more than the largest logit decides.
    fn draws(&self) -> bool {
        matches!(self.rule, AcceptRule::Seeded | AcceptRule::Residual)
            && self.sampler.needs_logits()
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
        let gate = self.drafting.as_ref().and_then(|drafting| drafting.gate.as_ref());
        let step = gate.map_or(Step::Speculative, |gate| gate.next(prefix));
        let proposal = match step {
            Step::Speculative => self.propose(target, start)?,
            Step::Plain => Proposal::Tokens(Draft::new(root_of(start))),
        };
        let draft_ms = ms_since(started);
        let is_drafted = matches!(step, Step::Speculative);
        let decided = self.decide(target, proposal, start)?;
        let mut outcome = self.outcome(prefix, &decided);
        if is_drafted && outcome.drafted() > 0 {
            let drafting = self.drafting.as_ref();
            outcome.expected = drafting.and_then(|drafting| drafting.proposer.expected());
        }
        let total = ms_since(started);
        outcome.times = StageTimes {
            draft_ms,
            verify_ms: decided.verify_ms,
            commit_ms: decided.commit_ms,
            host_ms: total - draft_ms - decided.verify_ms - decided.commit_ms,
        };
        self.rounds += 1;
        if let Some(drafting) = &mut self.drafting {
            drafting.proposer.observe(&outcome);
            // A round that had no room for a draft says nothing of drafting.
            if let Some(gate) = &mut drafting.gate
                && start.max_depth > 0
            {
                match step {
                    Step::Speculative if outcome.drafted() == 0 => {
                        gate.record_without_draft(prefix, total, draft_ms);
                    }
                    step => gate.record(step, prefix, total, outcome.tokens()),
                }
            }
        }
        Ok(outcome)
    }

    /// Candidates that the target can verify now.
    fn propose(&mut self, target: &Target<'_>, start: RoundStart<'_>) -> Result<Proposal> {
        let root = root_of(start);
        let Some(drafting) = self.drafting.as_mut().filter(|_| start.max_depth > 0) else {
            return Ok(Proposal::Tokens(Draft::new(root)));
        };
        let context = DraftContext {
            ids: start.ids,
            prompt: start.prompt,
            max_nodes: drafting.max_nodes,
            max_depth: start.max_depth,
        };
        let method = drafting.proposer.method().name();
        let proposal = drafting.proposer.propose(&context)?;
        let (nodes, depth) = match &proposal {
            Proposal::Tokens(draft) => {
                let tree = draft.tree();
                if tree.tokens()[0] != root {
                    return Err(Error::invalid(format!(
                        "--spec {method} drafted behind token {}, wanted {root}",
                        tree.tokens()[0]
                    )));
                }
                let depth = (0..draft.len()).map(|node| tree.depth(node)).max().unwrap_or(0);
                (draft.len(), depth)
            }
            Proposal::Heads(template) => (template.len(), template.max_depth()),
        };
        if nodes > context.max_nodes || depth > context.max_depth {
            return Err(Error::invalid(format!(
                "--spec {method} drafted {nodes} nodes of depth {depth}, wanted at most {} of \
                 depth {}",
                context.max_nodes, context.max_depth
            )));
        }
        Ok(match proposal {
            Proposal::Heads(template) => {
                let template = template.cut(nodes, target.model.draft_depth());
                match template.len() > 1 && target.model.can_draft(target.sequence) {
                    true => Proposal::Heads(template),
                    false => Proposal::Tokens(Draft::new(root)),
                }
            }
            tokens => tokens,
        })
    }

    /// Verifies, accepts and commits.
    fn decide(
        &self,
        target: &mut Target<'_>,
        proposal: Proposal,
        start: RoundStart<'_>,
    ) -> Result<Decided> {
        let grow = self.drafting.as_ref().is_some_and(|drafting| drafting.grow);
        let root = root_of(start);
        let candidates = match &proposal {
            Proposal::Tokens(draft) => Candidates::Known(draft.tree()),
            Proposal::Heads(template) if grow => {
                Candidates::Grown { root, nodes: template.len(), depth: template.max_depth() }
            }
            Proposal::Heads(template) => Candidates::Heads { root, template },
        };
        let started = Instant::now();
        // For one greedy row the statistics say all.
        let single = matches!(&proposal, Proposal::Tokens(draft) if draft.len() == 1);
        if let Some(rule) = self.device_rule
            && !(single && rule == DeviceRule::Greedy)
        {
            let verified = target.model.round(target.sequence, candidates, rule)?;
            let verify_ms = ms_since(started);
            let accepted = acceptance(&verified);
            let draft = draft_of(proposal, &verified.drafted);
            return Ok(Decided { draft, accepted, verify_ms, commit_ms: 0.0 });
        }
        let want = if self.rule.needs_logits() { Want::AllLogits } else { Want::AllStats };
        let step = target.model.candidate_step(target.sequence, candidates, want)?;
        let verify_ms = ms_since(started);
        let draft = draft_of(proposal, &step.drafted);
        let rows = TargetRows { stats: &step.output.stats, logits: step.output.logits.as_deref() };
        let accepted = accept(self.rule, &self.sampler, &draft, rows, start.ids)?;
        let decided = Instant::now();
        step.commit(&accepted.path)?;
        Ok(Decided { draft, accepted, verify_ms, commit_ms: ms_since(decided) })
    }

    fn outcome(&self, prefix: u64, decided: &Decided) -> RoundOutcome {
        let Decided { draft, accepted, .. } = decided;
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
        let drafting = self.drafting.as_ref().filter(|_| draft.len() > 1);
        RoundOutcome {
            round: self.rounds,
            prefix,
            method: drafting.map_or(Method::Plain, |drafting| drafting.proposer.method()),
            nodes: nodes.collect(),
            path: accepted.path.iter().map(|&node| node as u32).collect(),
            bonus: accepted.bonus,
            expected: None,
            times: StageTimes::default(),
        }
    }
}

/// The rule by which the device can decide, if it can.
fn device_rule(rule: AcceptRule, sampler: &Sampler) -> Option<DeviceRule> {
    let params = sampler.params();
    match rule {
        AcceptRule::Greedy => Some(DeviceRule::Greedy),
        AcceptRule::Seeded if params.has_penalties() => None,
        AcceptRule::Seeded if params.temperature == 0.0 => Some(DeviceRule::Greedy),
        AcceptRule::Seeded if params.has_filters() => None,
        AcceptRule::Seeded => {
            Some(DeviceRule::Seeded { seed: params.seed, temperature: params.temperature })
        }
        AcceptRule::Typical { eps, alpha } => {
            Some(DeviceRule::Typical { eps, alpha, temperature: params.temperature })
        }
        AcceptRule::Residual => None,
    }
}

/// What the device decided, as the host's rules put it.
fn acceptance(verified: &Verified) -> Acceptance {
    let parents = verified.drafted.tree.parents();
    let nodes = verified.nodes.iter().zip(parents).map(|(node, parent)| NodeReport {
        target_p: parent.map(|_| node.target_p),
        entropy: node.stat.entropy,
        threshold: node.threshold,
        verdict: match node.verdict {
            VerdictCode::Root => Verdict::Root,
            VerdictCode::Accepted => Verdict::Accepted,
            VerdictCode::Rejected => Verdict::Rejected {
                wanted: parent
                    .and_then(|parent| verified.nodes[parent].chosen)
                    .unwrap_or(verified.bonus),
            },
            VerdictCode::BelowThreshold => Verdict::BelowThreshold,
            VerdictCode::Outrun => Verdict::Outrun,
            VerdictCode::Unreached | VerdictCode::Padding => Verdict::Unreached,
        },
    });
    Acceptance { path: verified.path.clone(), bonus: verified.bonus, nodes: nodes.collect() }
}

/// The proposal as it was verified.
fn draft_of(proposal: Proposal, drafted: &Drafted) -> Draft {
    let template: TreeTemplate = match proposal {
        Proposal::Tokens(draft) => return draft,
        Proposal::Heads(template) => template,
    };
    let tree = &drafted.tree;
    let mut draft = Draft::new(tree.tokens()[0]);
    // A grown tree has the size of its template, but not its shape.
    let shaped = (1..tree.len()).all(|node| tree.parents()[node] == template.parent(node));
    let mut children = vec![0; tree.len()];
    for node in 1..tree.len() {
        let parent = tree.parents()[node].unwrap_or(0);
        let rank = if shaped { template.rank(node) } else { children[parent] };
        children[parent] += 1;
        let p = drafted.logprobs.as_ref().map(|all| all[node].exp());
        let source = Source::Head((tree.depth(node) - 1) as u8);
        draft.push(tree.tokens()[node], parent, DraftNode { source, rank: rank as u16, p });
    }
    draft
}

fn root_of(start: RoundStart<'_>) -> u32 {
    *start.ids.last().expect("a round starts from a root")
}

fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
