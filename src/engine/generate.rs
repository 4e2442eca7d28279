//! The loop from prompt ids to text.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use super::{Engine, Timings, emitter::Emitter, timings::Counts};
use crate::{
    error::{Error, Result},
    sample::{Sampler, SamplerParams},
    spec::{
        AcceptRule, Drafting, Driver, Method, Proposer, RoundOutcome, RoundStart, Speculation,
        Target, policy::Gate,
    },
};

/// What to generate.
#[derive(Clone, Debug)]
pub struct Request {
    /// Prompt, not empty.
    pub prompt: Vec<u32>,
    /// Most tokens to generate; `None` until the model stops or the context is full.
    pub max_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampler: SamplerParams,
    /// Texts that end the answer and are no part of it.
    pub stop: Vec<String>,
    /// Go on after the model's end tokens.
    pub ignore_eos: bool,
    /// Who drafts, and what is kept.
    pub spec: Speculation,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model ended its turn.
    Eos,
    /// As many tokens as asked for.
    Length,
    /// A stop text appeared.
    Stop,
    /// The context is full.
    Context,
    /// The caller raised the flag.
    Cancelled,
}

/// What happens while generating.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The prompt is computed; so many of its tokens.
    Prompt {
        /// Tokens of the prompt.
        tokens: usize,
    },
    /// Text that is certain; tokens and texts do not match one to one.
    Text(&'a str),
    /// A round is over; the text of its tokens comes after it.
    Round(&'a RoundOutcome),
}

/// A finished generation.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Generated ids, including an end token.
    pub ids: Vec<u32>,
    /// Text, without end tokens and stop texts.
    pub text: String,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Counts and times.
    pub timings: Timings,
}

impl Engine {
    /// Generates from a prompt. The part of the prompt that equals what is in the cache from the
    /// last call is not computed again; a row's bits do not depend on the rows it runs with, so the
    /// text is the same either way. For the same reason speculation under a lossless rule gives the
    /// text of plain decoding: end tokens, stop texts and limits act within a round as between
    /// single tokens.
    ///
    /// # Errors
    /// An empty prompt, one longer than the context or with ids beyond the vocabulary, a method
    /// without its proposer, a rule that does not go with the sampler ([`Error::Invalid`]), and
    /// whatever the device reports.
    pub fn generate(
        &mut self,
        request: &Request,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Generation> {
        self.check(request)?;
        let sampler = Sampler::new(request.sampler.clone())?;
        let rule = request.spec.accept.unwrap_or_else(|| AcceptRule::lossless_for(&sampler));
        rule.check(sampler.params())?;
        let cached = self.reuse_prefix(&request.prompt)?;
        let context = self.context();
        let started = Instant::now();
        let method = request.spec.method;
        if let Some(proposer) = self.proposers.get_mut(&method) {
            proposer.set_tree(&request.spec.tree);
        }
        // A kept price may be of an hour when the machine was slower: the gate times some steps first.
        let curve = self.curve.as_ref().filter(|_| self.curve_is_new);
        let plain = curve.map(|curve| (curve.plain_ms(), self.curve_depth() as u64));
        let gate = match request.spec.gate {
            true => Some(self.gates.entry(method).or_insert_with(|| Gate::new(plain))),
            false => None,
        };
        let proposer = self.proposers.get_mut(&method).filter(|_| method != Method::Plain);
        let drafting = proposer.map(|proposer| Drafting {
            proposer: &mut **proposer as &mut dyn Proposer,
            gate,
            max_nodes: request.spec.max_nodes,
            grow: request.spec.grow,
        });
        let mut driver = Driver::new(drafting, sampler, rule, &request.prompt)?;
        let mut target = Target { model: &mut self.model, sequence: &mut self.sequence };
        let rest = &request.prompt[cached..];
        let row = target.model.prefill(target.sequence, rest, driver.wants_of_prompt(), cancel)?;
        let prompt_time = started.elapsed();
        on_event(Event::Prompt { tokens: request.prompt.len() });

        let ends: HashSet<u32> = match request.ignore_eos {
            true => HashSet::new(),
            false => self.tokenizer.end_of_generation().iter().copied().collect(),
        };
        let mut out = Emitter::new(&self.tokenizer, &request.stop);
        let mut history = request.prompt.clone();
        let mut ids = Vec::new();
        let mut first_token = None;
        let mut counts = Counts::default();
        let limit = request.max_tokens.unwrap_or(usize::MAX);
        let mut chosen = Vec::new();
        let stop_reason = 'answer: loop {
            if ids.len() >= limit {
                break StopReason::Length;
            }
            if cancel.load(Ordering::Relaxed) {
                break StopReason::Cancelled;
            }
            if ids.is_empty() {
                let stat = *row.stats.last().ok_or_else(|| Error::invalid("a step gave no row"))?;
                chosen.push(driver.first(stat, row.logits.as_deref(), &history));
            } else {
                let start = RoundStart {
                    ids: &history,
                    prompt: request.prompt.len(),
                    // The root and all below it have positions within the context, and the bonus
                    // comes on top of what is accepted.
                    max_depth: (context - history.len()).min(limit - ids.len() - 1),
                };
                let outcome = driver.round(&mut target, start)?;
                counts.add(&outcome);
                on_event(Event::Round(&outcome));
                chosen = outcome.added();
            }
            first_token.get_or_insert_with(|| started.elapsed());
            for token in chosen.drain(..) {
                ids.push(token);
                history.push(token);
                if ends.contains(&token) {
                    break 'answer StopReason::Eos;
                }
                if out.push(token, on_event) {
                    break 'answer StopReason::Stop;
                }
            }
            if ids.len() >= limit {
                break StopReason::Length;
            }
            if history.len() > context {
                break StopReason::Context;
            }
        };
        if stop_reason != StopReason::Stop {
            out.finish(on_event);
        }
        // As after plain decoding, the last token is not in the cache, nor is what a round kept
        // behind it.
        let seen = target.sequence.len().min(history.len() - usize::from(!ids.is_empty()));
        target.model.truncate(target.sequence, seen)?;
        let total = started.elapsed();
        let timings = Timings::new(
            cached,
            (request.prompt.len() - cached, prompt_time),
            (ids.len(), total - prompt_time),
            first_token.unwrap_or(total),
            &counts,
        );
        Ok(Generation { ids, text: out.into_text(), stop_reason, timings })
    }

    /// What can be said of a request before anything is computed.
    fn check(&self, request: &Request) -> Result<()> {
        self.check_ids(&request.prompt)?;
        if request.prompt.len() > self.context() {
            return Err(Error::Invalid {
                message: format!(
                    "the prompt has {} tokens, the context {}",
                    request.prompt.len(),
                    self.context()
                ),
                hint: Some("shorten the prompt or raise --ctx".into()),
            });
        }
        request.spec.check()?;
        let method = request.spec.method;
        if !self.methods().contains(&method) {
            let names: Vec<_> = self.methods().into_iter().map(Method::name).collect();
            return Err(Error::Invalid {
                message: format!("--spec {}: nothing here drafts that way", method.name()),
                hint: Some(format!("possible now: {}", names.join(", "))),
            });
        }
        Ok(())
    }
}
