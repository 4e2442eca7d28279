//! Times of one generation, under the names that llama.cpp's server made common.

use std::time::Duration;

use serde::Serialize;

use crate::spec::{RoundOutcome, StageTimes};

/// Counts and times; derived rates are zero where their count is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Prompt tokens found in the cache.
    pub cache_n: usize,
    /// Prompt tokens computed.
    pub prompt_n: usize,
    /// Time for them.
    pub prompt_ms: f64,
    /// `prompt_ms / prompt_n`.
    pub prompt_per_token_ms: f64,
    /// Prompt tokens a second.
    pub prompt_per_second: f64,
    /// Tokens generated.
    pub predicted_n: usize,
    /// Time from the end of the prompt to the last token.
    pub predicted_ms: f64,
    /// `predicted_ms / predicted_n`.
    pub predicted_per_token_ms: f64,
    /// Generated tokens a second.
    pub predicted_per_second: f64,
    /// From the request to the first token.
    pub first_token_ms: f64,
    /// Tokens drafted.
    pub draft_n: usize,
    /// Those of them that were accepted.
    pub draft_n_accepted: usize,
    /// Forward passes behind the prompt's.
    pub rounds_n: usize,
    /// Tokens that a round chose on average, the bonus included.
    pub tokens_per_round: f64,
    /// Time of all rounds by stage.
    pub stages: StageTimes,
}

/// What the rounds of a generation add up to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    drafted: usize,
    accepted: usize,
    rounds: usize,
    tokens: usize,
    stages: StageTimes,
}

impl Counts {
    pub fn add(&mut self, outcome: &RoundOutcome) {
        self.drafted += outcome.drafted();
        self.accepted += outcome.accepted();
        self.rounds += 1;
        self.tokens += outcome.tokens();
        self.stages.add(&outcome.times);
    }
}

impl Timings {
    pub(super) fn new(
        cached: usize,
        prompt: (usize, Duration),
        predicted: (usize, Duration),
        first_token: Duration,
        counts: &Counts,
    ) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let per = |total: f64, n: usize| if n == 0 { 0.0 } else { total / n as f64 };
        let rate = |n: usize, time: Duration| {
            let seconds = time.as_secs_f64();
            if n == 0 || seconds == 0.0 { 0.0 } else { n as f64 / seconds }
        };
        Self {
            cache_n: cached,
            prompt_n: prompt.0,
            prompt_ms: ms(prompt.1),
            prompt_per_token_ms: per(ms(prompt.1), prompt.0),
            prompt_per_second: rate(prompt.0, prompt.1),
            predicted_n: predicted.0,
            predicted_ms: ms(predicted.1),
            predicted_per_token_ms: per(ms(predicted.1), predicted.0),
            predicted_per_second: rate(predicted.0, predicted.1),
            first_token_ms: ms(first_token),
            draft_n: counts.drafted,
            draft_n_accepted: counts.accepted,
            rounds_n: counts.rounds,
            tokens_per_round: per(counts.tokens as f64, counts.rounds),
            stages: counts.stages,
        }
    }
}
