//! Many generations at once: one step gives each of them a token.
//!
//! On a processor a step of 64 rows costs little more than a few of one row, so this is how a model
//! writes a lot of text. Sequences join and leave at any step; what a sequence gets does not depend
//! on its neighbours.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::{Engine, StopReason};
use crate::{
    error::{Error, Result},
    kv::Sequence,
    model::{MAX_TREE_ROWS, Want},
    sample::{Sampler, SamplerParams},
};

/// Prompts are computed in pieces of these many rows, the largest that fits first, since a step pays
/// for the rows of its bucket that it does not use.
const PIECES: [usize; 4] = [512, 256, 128, 64];

/// A generation to add to a [`Batch`].
#[derive(Debug)]
pub struct Turn {
    /// The caller's name for it.
    pub key: usize,
    /// Prompt: everything so far.
    pub ids: Vec<u32>,
    /// What an earlier turn left, if this one continues it: a beginning of `ids` is in the cache.
    pub sequence: Option<Sequence>,
    /// How tokens are chosen.
    pub sampler: SamplerParams,
    /// Most tokens to generate, at least 1.
    pub max_tokens: usize,
}

/// A generation that has ended.
#[derive(Debug)]
pub struct Finished {
    /// As in [`Turn::key`].
    pub key: usize,
    /// Prompt and what was generated, an end token included.
    pub ids: Vec<u32>,
    /// Length of the prompt.
    pub prompt: usize,
    /// To continue with.
    pub sequence: Sequence,
    /// Why it ended.
    pub stop_reason: StopReason,
}

/// Generations that run together.
pub struct Batch<'e> {
    engine: &'e mut Engine,
    lanes: Vec<Lane>,
}

/// One generation: the sequence lacks the last of `ids`.
struct Lane {
    key: usize,
    ids: Vec<u32>,
    prompt: usize,
    limit: usize,
    sequence: Sequence,
    sampler: Sampler,
    over: Option<StopReason>,
}

impl Engine {
    /// A batch without generations. The cache must have room for them:
    /// [`super::LoadOptions::sequences`].
    pub fn batch(&mut self) -> Batch<'_> {
        Batch { engine: self, lanes: Vec::new() }
    }
}

impl Batch<'_> {
    /// Most generations at once.
    pub const MAX: usize = MAX_TREE_ROWS;

    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.engine
    }

    /// Generations that run.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// True if nothing runs.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Computes a turn's prompt and its first token.
    ///
    /// # Errors
    /// [`Self::MAX`] generations already, an empty prompt, one that fills the context, a cached
    /// sequence that is no beginning of it, or sampler settings out of range ([`Error::Invalid`]);
    /// a full cache ([`Error::Kv`]); [`Error::Cancelled`].
    pub fn start(&mut self, turn: Turn, cancel: &AtomicBool) -> Result<()> {
        let Turn { key, ids, sequence, sampler, max_tokens } = turn;
        self.engine.check_ids(&ids)?;
        let sampler = Sampler::new(sampler)?;
        let model = &mut self.engine.model;
        let mut sequence = sequence.unwrap_or_else(|| Sequence::new(model.pool()));
        let cached = sequence.len();
        let problem = if self.lanes.len() >= Self::MAX {
            Some(format!("{} generations already run", Self::MAX))
        } else if cached >= ids.len() || sequence.common_prefix(&ids) < cached {
            Some(format!("the {cached} tokens in the cache do not begin the prompt"))
        } else if ids.len() >= self.engine.context {
            Some(format!(
                "a prompt of {} tokens leaves no room in a context of {}",
                ids.len(),
                self.engine.context
            ))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Error::invalid(problem));
        }
        let mut left = &ids[cached..];
        while let Some(&rows) = PIECES.iter().find(|&&rows| rows < left.len()) {
            model.prefill(&mut sequence, &left[..rows], Want::Nothing, cancel)?;
            left = &left[rows..];
        }
        let want = if sampler.needs_logits() { Want::LastLogits } else { Want::LastStats };
        let output = model.prefill(&mut sequence, left, want, cancel)?;
        let prompt = ids.len();
        let limit = max_tokens.max(1);
        let mut lane = Lane { key, ids, prompt, limit, sequence, sampler, over: None };
        let greedy = output.stats.last().map_or(0, |stat| stat.argmax);
        let token = lane.choose(output.logits.as_deref(), greedy);
        lane.push(token, self.engine);
        self.lanes.push(lane);
        Ok(())
    }

    /// Gives every generation its next token and returns those that have ended, in the order they
    /// were started in.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn step(&mut self) -> Result<Vec<Finished>> {
        let mut active: Vec<&mut Lane> =
            self.lanes.iter_mut().filter(|lane| lane.over.is_none()).collect();
        if !active.is_empty() {
            let sampled = active.iter().any(|lane| lane.sampler.needs_logits());
            let want = if sampled { Want::AllLogits } else { Want::AllStats };
            let last: Vec<u32> = active.iter().map(|lane| lane.ids[lane.ids.len() - 1]).collect();
            let mut sequences: Vec<&mut Sequence> =
                active.iter_mut().map(|lane| &mut lane.sequence).collect();
            let output = self.engine.model.batch_decode(&mut sequences, &last, want)?;
            let vocab = self.engine.vocab();
            let tokens: Vec<u32> = active
                .par_iter()
                .zip(&output.stats)
                .enumerate()
                .map(|(row, (lane, stat))| {
                    let logits = output.logits.as_ref().map(|all| &all[row * vocab..][..vocab]);
                    lane.choose(logits, stat.argmax)
                })
                .collect();
            for (lane, token) in active.into_iter().zip(tokens) {
                lane.push(token, self.engine);
            }
        }
        let (over, running) = std::mem::take(&mut self.lanes)
            .into_iter()
            .partition::<Vec<_>, _>(|lane| lane.over.is_some());
        self.lanes = running;
        let finished = over.into_iter().filter_map(|lane| {
            let Lane { key, ids, prompt, sequence, over, .. } = lane;
            over.map(|stop_reason| Finished { key, ids, prompt, sequence, stop_reason })
        });
        Ok(finished.collect())
    }
}

impl Lane {
    /// The next token, from logits if the sampler needs them.
    fn choose(&self, logits: Option<&[f32]>, greedy: u32) -> u32 {
        match logits {
            Some(logits) if self.sampler.needs_logits() => {
                self.sampler.token(logits, &self.ids, self.ids.len() as u64)
            }
            _ => greedy,
        }
    }

    fn push(&mut self, token: u32, engine: &Engine) {
        self.ids.push(token);
        self.over = if engine.tokenizer().is_end_of_generation(token) {
            Some(StopReason::Eos)
        } else if self.ids.len() - self.prompt >= self.limit {
            Some(StopReason::Length)
        } else if self.ids.len() > engine.context() {
            Some(StopReason::Context)
        } else {
            None
        };
    }
}
