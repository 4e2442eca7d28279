//! The record of a run: one JSON object a line, readable without a model.
//!
//! | line | `kind` | holds |
//! |---|---|---|
//! | first | `header` | [`Header`]: schema, model, device, method, sampler |
//! | before the rounds of an answer | `prompt` | [`Prompt`]: number of the answer, its prompt |
//! | each round | `round` | [`TraceRound`]: the [`RoundOutcome`] and the texts of its tokens |
//! | last | `summary` | [`Summary`]: [`SpecStats`] over all rounds |
//!
//! A line is written whole and at once, so that whatever ends the process leaves a file that can be
//! read up to its last round; only the summary, which anyone can recompute, is then missing. Lines
//! rather than one document, because a document is only valid once it is closed. JSON rather than
//! something compact, because whoever reports a bug should see what they send.
//!
//! A reader of this schema accepts unknown fields and refuses a newer schema by name.

mod check;
mod read;
mod write;

use serde::{Deserialize, Serialize};

pub use check::check_round;
pub use read::{Trace, TraceError};
pub use write::TraceWriter;

use super::{Method, RoundOutcome, SpecStats};
use crate::sample::SamplerParams;

/// Version of the format; grows when a reader of the old one would misread the new one.
pub const SCHEMA: u32 = 1;

/// What a line is; the value of its `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Header`].
    Header,
    /// [`Prompt`].
    Prompt,
    /// [`TraceRound`].
    Round,
    /// [`Summary`].
    Summary,
}

/// The first line: what ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Version of Coppice that wrote it.
    pub coppice: String,
    /// Name of the model.
    pub model: String,
    /// Device it ran on.
    pub device: String,
    /// Method asked for; a round names its own, which may be another.
    pub method: Method,
    /// Acceptance rule, by its name on the command line.
    pub acceptance: String,
    /// Settings of the sampler with the seed.
    pub sampler: SamplerParams,
    /// Shape of the candidate tree in words, where it is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
}

/// The start of an answer. `run` has one, `chat` one a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Number of the answer, from 0.
    pub answer: u64,
    /// Tokens of its prompt.
    pub tokens: u64,
    /// Ids of the prompt, for those who want to run it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
}

/// A round with texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceRound {
    /// Number of the answer it belongs to.
    pub answer: u64,
    /// What happened.
    pub outcome: RoundOutcome,
    /// Text of each node's token; bytes that are no whole characters as `\xE2`.
    pub texts: Vec<String>,
    /// Text of the bonus.
    pub bonus_text: String,
}

impl TraceRound {
    /// The text the round added: accepted candidates, then the bonus.
    pub fn added_text(&self) -> String {
        let accepted = self.outcome.path[1..].iter().map(|&n| self.texts[n as usize].as_str());
        accepted.chain([self.bonus_text.as_str()]).collect()
    }

    /// Text of a token that the round knows: one of its nodes', or the bonus.
    pub fn text_of(&self, token: u32) -> Option<&str> {
        if token == self.outcome.bonus {
            return Some(&self.bonus_text);
        }
        let node = self.outcome.nodes.iter().position(|node| node.token == token)?;
        Some(&self.texts[node])
    }
}

/// The last line: the figures of all rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Answers.
    pub answers: u64,
    /// Ids generated, as counted by the engine: without what rounds added behind an end.
    pub generated: u64,
    /// Figures over the rounds of the file.
    pub stats: SpecStats,
}

/// A line with its kind in front.
#[derive(Serialize)]
struct Line<T> {
    kind: Kind,
    #[serde(flatten)]
    body: T,
}

/// Text of a token's bytes: as they are where they are whole characters, else escaped.
pub fn token_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| format!("\\x{byte:02X}")).collect(),
    }
}

#[cfg(test)]
mod tests;
