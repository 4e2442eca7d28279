//! The loop from prompt ids to text.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use super::{Engine, Timings, load::LastRow};
use crate::{
    error::{Error, Result},
    sample::{Sampler, SamplerParams},
    text::{Begin, DecodeStream, Specials, StopMatcher, StopStep},
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
    /// text is the same either way.
    ///
    /// # Errors
    /// An empty prompt, one longer than the context or with ids beyond the vocabulary
    /// ([`Error::Invalid`]), and whatever the device reports.
    pub fn generate(
        &mut self,
        request: &Request,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Generation> {
        let started = Instant::now();
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
        let sampler = Sampler::new(request.sampler.clone())?;
        let want = if sampler.needs_logits() { LastRow::Logits } else { LastRow::Stats };
        let cached = self.reuse_prefix(&request.prompt)?;
        let (mut stat, mut logits) = self.extend_last(&request.prompt[cached..], want, cancel)?;
        let prompt_time = started.elapsed();
        on_event(Event::Prompt { tokens: request.prompt.len() });

        let ends: HashSet<u32> = if request.ignore_eos {
            HashSet::new()
        } else {
            self.tokenizer().end_of_generation().iter().copied().collect()
        };
        let mut out = Emitter {
            stream: DecodeStream::new(self.tokenizer(), Begin::Continuation, Specials::Hide),
            stops: StopMatcher::new(request.stop.iter().cloned()),
            text: String::new(),
        };
        let mut history = request.prompt.clone();
        let mut ids = Vec::new();
        let mut first_token = None;
        let limit = request.max_tokens.unwrap_or(usize::MAX);
        // Within the loop the flag is looked at in one place, so that what was generated is kept.
        let never = AtomicBool::new(false);
        let stop_reason = loop {
            if ids.len() >= limit {
                break StopReason::Length;
            }
            if cancel.load(Ordering::Relaxed) {
                break StopReason::Cancelled;
            }
            let position = history.len() as u64;
            let token = match &logits {
                Some(logits) => sampler.choose(logits, &history, position).token,
                None => stat.argmax,
            };
            first_token.get_or_insert_with(|| started.elapsed());
            ids.push(token);
            history.push(token);
            if ends.contains(&token) {
                break StopReason::Eos;
            }
            if out.push(self, token, on_event) {
                break StopReason::Stop;
            }
            if ids.len() >= limit {
                break StopReason::Length;
            }
            if history.len() > self.context() {
                break StopReason::Context;
            }
            (stat, logits) = self.extend_last(&[token], want, &never)?;
        };
        if stop_reason != StopReason::Stop {
            out.finish(on_event);
        }
        let total = started.elapsed();
        let timings = Timings::new(
            cached,
            (request.prompt.len() - cached, prompt_time),
            (ids.len(), total - prompt_time),
            first_token.unwrap_or(total),
        );
        Ok(Generation { ids, text: out.text, stop_reason, timings })
    }
}

/// Ids in, certain text out.
struct Emitter {
    stream: DecodeStream,
    stops: StopMatcher,
    text: String,
}

impl Emitter {
    /// True if a stop text is complete.
    fn push(&mut self, engine: &Engine, token: u32, on_event: &mut dyn FnMut(Event<'_>)) -> bool {
        let mut piece = String::new();
        self.stream.push(engine.tokenizer(), token, &mut piece);
        let (text, stopped) = match self.stops.push(&piece) {
            StopStep::Text(text) => (text, false),
            StopStep::Stopped { text, .. } => (text, true),
        };
        self.emit(&text, on_event);
        stopped
    }

    fn finish(&mut self, on_event: &mut dyn FnMut(Event<'_>)) {
        let mut rest = String::new();
        self.stream.clone().finish(&mut rest);
        let mut text = match self.stops.push(&rest) {
            StopStep::Text(text) | StopStep::Stopped { text, .. } => text,
        };
        text.push_str(&self.stops.finish());
        self.emit(&text, on_event);
    }

    fn emit(&mut self, text: &str, on_event: &mut dyn FnMut(Event<'_>)) {
        if !text.is_empty() {
            self.text.push_str(text);
            on_event(Event::Text(text));
        }
    }
}
