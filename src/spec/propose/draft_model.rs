//! Drafts by a smaller model with the same vocabulary (arXiv 2211.17192).
//!
//! The smaller model always says what it finds likeliest and never samples: a guess that is certain
//! to be made is accepted by the same draw that chooses the target's token, under any sampler and
//! with the same text for a seed (the lossless rule for point masses), and no other guess of one
//! token is accepted more often when the target is greedy.

use std::sync::atomic::AtomicBool;

use super::{DraftContext, Method, Proposer, RoundCosts};
use crate::{
    error::Result,
    kv::Sequence,
    model::{Model, StepOutput, Want},
    spec::{Draft, DraftNode, Proposal, RoundOutcome, Source, policy::DraftLength},
};

/// Observations that the model's own probabilities start with, all as they should be.
const PRIOR: f32 = 8.0;

/// What an observation is worth after one more.
const FADE: f32 = 0.98;

/// How often a small model of the same family is right, before it is known.
const USUAL: f64 = 0.6;

/// How to draft with a model.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftModelOptions {
    /// Least probability that a node is reached for it to be drafted; drafting stops there.
    pub min_p: f32,
    /// Guesses for each token: 1 makes a chain; with more, the likeliest goes on and the others
    /// are leaves beside it.
    pub width: usize,
}

impl Default for DraftModelOptions {
    fn default() -> Self {
        Self { min_p: 0.3, width: 1 }
    }
}

/// Proposes what a smaller model would say.
pub struct DraftModel {
    options: DraftModelOptions,
    model: Model,
    sequence: Sequence,
    /// Ids below this exist in the target too.
    target_vocab: usize,
    drafted: Option<Draft>,
    trust: Trust,
    /// How long drafts pay, once it is known what rounds cost.
    length: DraftLength,
    costs: Option<RoundCosts>,
}

/// How much more or less often guesses are right than the model says.
#[derive(Clone, Copy, Debug)]
struct Trust {
    said: f32,
    right: f32,
}

impl Trust {
    fn of(&self, p: f32) -> f32 {
        (p * (PRIOR + self.right) / (PRIOR + self.said)).min(1.0)
    }

    fn learn(&mut self, p: f32, right: bool) {
        self.said = self.said * FADE + p;
        self.right = self.right * FADE + if right { 1.0 } else { 0.0 };
    }
}

/// A guess before it is known whether it will be drafted.
struct Guess {
    token: u32,
    /// Index in the list of guesses; the root has none.
    parent: Option<usize>,
    rank: u16,
    p: f32,
    reached: f32,
}

impl DraftModel {
    /// Drafts with `model` for a target with `target_vocab` ids. Ids that both have must stand for
    /// the same pieces ([`compare_vocabularies`](super::compare_vocabularies)).
    pub fn new(model: Model, target_vocab: usize, options: DraftModelOptions) -> Self {
        let sequence = Sequence::new(model.pool());
        let trust = Trust { said: 0.0, right: 0.0 };
        let (drafted, length, costs) = (None, DraftLength::new(USUAL), None);
        Self { options, model, sequence, target_vocab, drafted, trust, length, costs }
    }

    /// Tokens that can be drafted behind `len`, with the cache and positions that there are.
    fn room(&self, len: usize) -> usize {
        let most = self.model.pool().capacity().min(self.model.config().max_context);
        most.saturating_sub(len)
    }

    /// Brings the cache behind all of `ids`; `None` if the model lacks one of them.
    fn catch_up(&mut self, ids: &[u32], want: Want) -> Result<Option<StepOutput>> {
        let common = self.sequence.common_prefix(ids).min(ids.len() - 1);
        let vocab = self.model.config().vocab;
        if ids[common..].iter().any(|&id| id as usize >= vocab) {
            return Ok(None);
        }
        self.model.truncate(&mut self.sequence, common)?;
        let never = AtomicBool::new(false);
        self.model.prefill(&mut self.sequence, &ids[common..], want, &never).map(Some)
    }

    /// The model's guesses behind `context`, a parent before its children.
    fn guesses(&mut self, context: &DraftContext<'_>, edges: usize) -> Result<Vec<Guess>> {
        let wide = self.options.width > 1;
        let want = if wide { Want::LastLogits } else { Want::LastStats };
        let mut guesses: Vec<Guess> = Vec::new();
        let Some(mut output) = self.catch_up(context.ids, want)? else { return Ok(guesses) };
        let (mut parent, mut reached) = (None, 1.0);
        for depth in 1..=edges {
            let first = guesses.len();
            for (rank, (token, p)) in likeliest(&output, self.options.width).into_iter().enumerate()
            {
                let p = self.trust.of(p);
                if (token as usize) < self.target_vocab && reached * p >= self.options.min_p {
                    let reached = reached * p;
                    guesses.push(Guess { token, parent, rank: rank as u16, p, reached });
                }
            }
            // The chain goes on only behind the very likeliest token.
            let Some(best) = guesses.get(first).filter(|guess| guess.rank == 0) else { break };
            (parent, reached) = (Some(first), best.reached);
            let token = best.token;
            if depth < edges {
                output = self.model.decode(&mut self.sequence, token, want)?;
            }
        }
        Ok(guesses)
    }
}

/// The ids with the largest logits and their probabilities, best first.
fn likeliest(output: &StepOutput, width: usize) -> Vec<(u32, f32)> {
    let Some(stat) = output.stats.last() else { return Vec::new() };
    let Some(logits) = &output.logits else {
        return vec![(stat.argmax, (stat.max - stat.logsumexp).exp())];
    };
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(width + 1);
    for (id, &logit) in logits.iter().enumerate() {
        // Equal logits keep the order of their ids, as the argmax does.
        let at = best.iter().position(|&(_, other)| logit > other).unwrap_or(best.len());
        if at < width {
            best.insert(at, (id as u32, logit));
            best.truncate(width);
        }
    }
    best.into_iter().map(|(id, logit)| (id, (logit - stat.logsumexp).exp())).collect()
}

impl Proposer for DraftModel {
    fn method(&self) -> Method {
        Method::Draft
    }

    fn begin(&mut self, _: &[u32]) -> Result<()> {
        // What the cache shares with the prompt is kept; the first round finds it.
        self.drafted = None;
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        let most = context.max_depth.min(context.max_nodes - 1).min(self.room(context.ids.len()));
        let edges = match &self.costs {
            // At least one, or nothing more would be learnt; whether to draft at all is the gate's.
            Some(costs) => self.length.best(|nodes| costs.verify(nodes), most).max(1).min(most),
            None => most,
        };
        let mut draft = Draft::new(context.root());
        if edges > 0 {
            let guesses = self.guesses(context, edges)?;
            // By falling probability; a child comes after its parent, being no likelier and later.
            let mut order: Vec<usize> = (0..guesses.len()).collect();
            order.sort_by(|&a, &b| {
                guesses[b].reached.total_cmp(&guesses[a].reached).then(a.cmp(&b))
            });
            let mut nodes = vec![0; guesses.len()];
            for &at in order.iter().take(context.max_nodes - 1) {
                let guess = &guesses[at];
                let parent = guess.parent.map_or(0, |parent| nodes[parent]);
                let (rank, p) = (guess.rank, Some(guess.p));
                let node = DraftNode { source: Source::Draft, rank, p };
                nodes[at] = draft.push(guess.token, parent, node);
            }
        }
        self.drafted = Some(draft.clone());
        Ok(Proposal::Tokens(draft))
    }

    fn set_costs(&mut self, costs: &RoundCosts) {
        self.costs = Some(costs.clone());
    }

    fn observe(&mut self, outcome: &RoundOutcome) {
        let Some(draft) = self.drafted.take() else { return };
        self.length.observe(outcome);
        let mut at = 0;
        for token in outcome.added() {
            for node in 1..draft.len() {
                if draft.tree().parents()[node] == Some(at)
                    && let Some(p) = draft.nodes()[node].p
                {
                    self.trust.learn(p, draft.tree().tokens()[node] == token);
                }
            }
            match draft.tree().child(Some(at), token) {
                Some(child) => at = child,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RowStat;

    #[test]
    fn the_likeliest_come_first_and_equals_by_id() {
        let logits = vec![0.0, 2.0, -1.0, 2.0, 1.0];
        let logsumexp = logits.iter().map(|l: &f32| l.exp()).sum::<f32>().ln();
        let stat = RowStat { max: 2.0, argmax: 1, logsumexp, entropy: 0.0 };
        let output = StepOutput { stats: vec![stat], logits: Some(logits), hidden: None };
        let ids: Vec<u32> = likeliest(&output, 3).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [1, 3, 4]);
        let total: f32 = likeliest(&output, 9).into_iter().map(|(_, p)| p).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
        let chain = likeliest(&StepOutput { stats: vec![stat], logits: None, hidden: None }, 1);
        assert_eq!(chain, likeliest(&output, 1));
    }

    #[test]
    fn trust_follows_how_often_guesses_are_right() {
        let mut trust = Trust { said: 0.0, right: 0.0 };
        assert!((trust.of(0.6) - 0.6).abs() < 1e-6);
        for i in 0..200 {
            trust.learn(0.8, i % 2 == 0);
        }
        assert!((trust.of(0.8) - 0.54).abs() < 0.05, "{}", trust.of(0.8));
        for _ in 0..400 {
            trust.learn(0.5, true);
        }
        assert!((trust.of(0.9) - 1.0).abs() < 1e-6, "never above 1");
    }
}
