//! One conversation on its way: which turn is next, and what it becomes.

use super::{Frame, Job, Record, Settings, UserTurn};
use crate::{
    engine::{Finished, StopReason, Turn},
    error::Result,
    kv::Sequence,
    sample::SamplerParams,
    text::Tokenizer,
};

/// Fewest tokens, end included, of a user's turn that says something.
const SHORTEST: usize = 4;
/// Room that an answer needs at least.
const ROOM: usize = 16;

/// A conversation and who speaks.
#[derive(Debug)]
pub(super) struct Conversation {
    job: Job,
    frame: Frame,
    /// Index of the user's turn spoken or answered.
    turn: usize,
    user_speaks: bool,
    temperature: f32,
    seed: u64,
    record: Record,
}

/// What follows.
pub(super) enum Next {
    /// A turn to generate.
    Turn(Box<Turn>),
    /// Nothing: the conversation is over.
    Over(Record),
}

/// What conversations share.
pub(super) struct Rules<'a> {
    pub settings: &'a Settings,
    pub tokenizer: &'a Tokenizer,
}

impl Conversation {
    /// Starts with the first user's turn.
    pub fn start(slot: usize, job: Job, frame: Frame, rules: &Rules<'_>) -> Result<(Self, Next)> {
        let settings = rules.settings;
        // The upper half decides this, the lower the noise.
        let greedy = (job.hash() >> 32) as f64 / 2f64.powi(32) < f64::from(settings.greedy_share);
        let temperature = if greedy { 0.0 } else { settings.sampler.temperature };
        let record = Record {
            key: job.key.clone(),
            source: job.source.clone(),
            temperature,
            ids: Vec::new(),
            answers: Vec::new(),
            skipped: None,
        };
        let (seed, user_speaks) = (job.hash(), false);
        let mut new = Self { job, frame, turn: 0, user_speaks, temperature, seed, record };
        let (text, written) = new.user_text();
        let ids = new.frame.begin(&text, rules.tokenizer)?;
        new.user_speaks = written;
        let next = new.next(slot, ids, None, rules);
        Ok((new, next))
    }

    /// Goes on after a generated turn.
    pub fn go_on(&mut self, finished: Finished, rules: &Rules<'_>) -> Result<Next> {
        let Finished { key: slot, mut ids, prompt, sequence, stop_reason } = finished;
        let ended = stop_reason == StopReason::Eos;
        if self.user_speaks {
            if !ended {
                return Ok(self.over("the user's turn did not end"));
            }
            if ids.len() - prompt < SHORTEST {
                return Ok(self.over("the user's turn was empty"));
            }
            Frame::append(&mut ids, &self.frame.to_answer, rules.tokenizer)?;
            self.user_speaks = false;
            return Ok(self.next(slot, ids, Some(sequence), rules));
        }
        self.record.answers.push([prompt, ids.len()]);
        self.record.ids.clone_from(&ids);
        self.turn += 1;
        let (true, true, Some(to_user)) =
            (ended, self.turn < self.job.turns.len(), self.frame.to_user.clone())
        else {
            return Ok(self.over("no answer"));
        };
        let (text, written) = self.user_text();
        Frame::append(&mut ids, &format!("{to_user}{text}"), rules.tokenizer)?;
        self.user_speaks = written;
        Ok(self.next(slot, ids, Some(sequence), rules))
    }

    /// What is given of the user's turn, and whether the model writes the rest.
    fn user_text(&self) -> (String, bool) {
        match &self.job.turns[self.turn] {
            UserTurn::Given(text) => (format!("{text}{}", self.frame.to_answer), false),
            UserTurn::Written { begin } => (begin.clone(), true),
        }
    }

    fn next(
        &mut self,
        key: usize,
        ids: Vec<u32>,
        sequence: Option<Sequence>,
        rules: &Rules<'_>,
    ) -> Next {
        let settings = rules.settings;
        if ids.is_empty() {
            return self.over("the prompt is empty");
        }
        if ids.len() + ROOM > settings.context {
            return self.over("the prompt is too long");
        }
        let (base, max_tokens, temperature) = match self.user_speaks {
            true => {
                let sampler = &settings.user_sampler;
                (sampler, settings.user_max_tokens, sampler.temperature)
            }
            false => (&settings.sampler, settings.max_tokens, self.temperature),
        };
        // Noise belongs to the position, so the turns of a conversation share a seed.
        let seed = base.seed ^ self.seed;
        let sampler = SamplerParams { temperature, seed, ..base.clone() };
        Next::Turn(Box::new(Turn { key, ids, sequence, sampler, max_tokens }))
    }

    /// The record of what there is; without an answer, with a reason.
    fn over(&mut self, reason: &str) -> Next {
        let mut record = self.record.clone();
        if record.answers.is_empty() {
            record.skipped = Some(reason.to_owned());
        }
        Next::Over(record)
    }
}
