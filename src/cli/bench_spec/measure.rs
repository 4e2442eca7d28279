//! Answers questions by each method in turn, from an empty cache each time.

use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use super::questions::Question;
use crate::{
    engine::{Engine, Event, Generation, Request, StopReason},
    error::{Error, Result},
    sample::SamplerParams,
    spec::{Method, SpecStats, Speculation},
    text::{AddSpecial, ChatInput, Message, ParseSpecial},
};

/// What was measured of one method on one question, over its turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// Ids of each turn.
    pub(super) turns: Vec<Vec<u32>>,
    /// Tokens of the prompts.
    pub(super) prompt_tokens: usize,
    /// Wall time of the calls, prompts included.
    pub(super) wall: Duration,
    /// The part of it behind the prompts.
    pub(super) decode: Duration,
    /// Rounds of all turns.
    pub(super) stats: SpecStats,
}

impl Answer {
    /// Tokens generated.
    pub(super) fn tokens(&self) -> usize {
        self.turns.iter().map(Vec::len).sum()
    }
}

/// Why a question has no answer.
pub(super) enum Missing {
    /// A prompt that the context cannot hold; the question is left out for all methods.
    TooLong(String),
    /// The user stopped it.
    Cancelled,
}

/// An engine and what is the same for all questions.
pub(super) struct Runner<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) sampler: SamplerParams,
    pub(super) max_tokens: usize,
    pub(super) cancel: &'a AtomicBool,
}

impl Runner<'_> {
    /// Answers a question turn by turn. The method's own answers are in the later prompts, as in
    /// Spec-Bench, so a lossy method may get other prompts than plain decoding.
    ///
    /// # Errors
    /// Those of the engine.
    pub(super) fn answer(
        &mut self,
        question: &Question,
        spec: &Speculation,
    ) -> Result<Result<Answer, Missing>> {
        let mut answer = Answer::default();
        let mut messages: Vec<Message> = Vec::new();
        for turn in &question.turns {
            messages.push(Message::new("user", turn));
            let prompt = self.prompt(&messages)?;
            if prompt.len() >= self.engine.context() {
                return Ok(Err(Missing::TooLong(format!(
                    "question {}: turn {} has {} tokens, the context {}",
                    question.question_id,
                    answer.turns.len() + 1,
                    prompt.len(),
                    self.engine.context()
                ))));
            }
            let (generation, wall, stats) = self.generate(prompt, spec, self.max_tokens)?;
            if generation.stop_reason == StopReason::Cancelled {
                return Ok(Err(Missing::Cancelled));
            }
            answer.prompt_tokens += generation.timings.prompt_n;
            answer.wall += wall;
            answer.decode += Duration::from_secs_f64(generation.timings.predicted_ms / 1e3);
            answer.stats.merge(&stats);
            messages.push(Message::new("assistant", &generation.text));
            answer.turns.push(generation.ids);
        }
        Ok(Ok(answer))
    }

    /// A few tokens whose time does not count.
    ///
    /// # Errors
    /// Those of the engine.
    pub(super) fn warm_up(&mut self, question: &Question, spec: &Speculation) -> Result<()> {
        const TOKENS: usize = 8;
        let turn = question.turns.iter().take(1).map(|turn| Message::new("user", turn));
        let mut prompt = self.prompt(&turn.collect::<Vec<_>>())?;
        prompt.truncate(self.engine.context().saturating_sub(TOKENS).max(1));
        self.generate(prompt, spec, TOKENS).map(|_| ())
    }

    /// Generates from an empty cache, so that every method computes the whole prompt.
    fn generate(
        &mut self,
        prompt: Vec<u32>,
        spec: &Speculation,
        max_tokens: usize,
    ) -> Result<(Generation, Duration, SpecStats)> {
        let request = Request {
            prompt,
            max_tokens: Some(max_tokens),
            sampler: self.sampler.clone(),
            stop: Vec::new(),
            ignore_eos: false,
            spec: spec.clone(),
        };
        self.engine.reset()?;
        let mut stats = SpecStats::default();
        let started = Instant::now();
        let generated = self.engine.generate(&request, self.cancel, &mut |event| {
            if let Event::Round(round) = event {
                stats.add(round);
            }
        });
        let wall = started.elapsed();
        let generation = match generated {
            Err(Error::Cancelled) => Generation {
                ids: Vec::new(),
                text: String::new(),
                stop_reason: StopReason::Cancelled,
                timings: crate::engine::Timings::default(),
            },
            generated => generated?,
        };
        Ok((generation, wall, stats))
    }

    /// Ids of a conversation in the model's template; its turns line by line without one.
    fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let tokenizer = self.engine.tokenizer();
        let ids = match self.engine.chat_template() {
            Some(template) => {
                let text = template.render(&ChatInput::new(messages))?;
                tokenizer.encode(&text, AddSpecial::No, ParseSpecial::Yes)?
            }
            None => {
                let turns: Vec<&str> = messages.iter().map(|m| m.content.as_str()).collect();
                tokenizer.encode(&turns.join("\n"), AddSpecial::Yes, ParseSpecial::No)?
            }
        };
        Ok(ids)
    }
}

/// An answer that differs from plain decoding's.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Mismatch {
    pub(super) method: Method,
    pub(super) question_id: u64,
    /// From 1.
    pub(super) turn: usize,
    /// Token of the turn, from 0.
    pub(super) position: usize,
    /// Id of plain decoding; absent where it had ended.
    pub(super) plain: Option<u32>,
    /// Id of the method; absent where it had ended.
    pub(super) got: Option<u32>,
}

/// The first place where an answer's ids leave plain decoding's. Later turns follow from it.
pub(super) fn first_mismatch(
    (method, question_id): (Method, u64),
    plain: &Answer,
    answer: &Answer,
) -> Option<Mismatch> {
    let turns = plain.turns.len().max(answer.turns.len());
    (0..turns).find_map(|turn| {
        let ids = |answer: &Answer| answer.turns.get(turn).cloned().unwrap_or_default();
        let (plain, got) = (ids(plain), ids(answer));
        let position = (0..plain.len().max(got.len())).find(|&i| plain.get(i) != got.get(i))?;
        let (plain, got) = (plain.get(position).copied(), got.get(position).copied());
        Some(Mismatch { method, question_id, turn: turn + 1, position, plain, got })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        let answer = |turns: &[&[u32]]| Answer {
            turns: turns.iter().map(|turn| turn.to_vec()).collect(),
            ..Answer::default()
        };
        let plain = answer(&[&[1, 2, 3], &[4]]);
        let find = |other: &Answer| {
            let found = first_mismatch((Method::Lookup, 7), &plain, other)?;
            Some((found.turn, found.position, found.plain, found.got))
        };
        assert_eq!(find(&plain), None);
        assert_eq!(find(&answer(&[&[1, 2, 9], &[4]])), Some((1, 2, Some(3), Some(9))));
        assert_eq!(find(&answer(&[&[1, 2, 3], &[4, 5]])), Some((2, 1, None, Some(5))));
        assert_eq!(find(&answer(&[&[1, 2, 3]])), Some((2, 0, Some(4), None)));
    }
}
