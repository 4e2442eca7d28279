//! Conversations: a tree of messages each, kept in SQLite.
//!
//! [`Conversation`] is the tree that the window works on, plain data without a database; [`Store`]
//! is the file; [`History`] is the thread between the two, so that no frame waits for a disk. Ids are
//! given out by the window ([`fresh_id`]), so that a message has its id before it is written.

mod conversation;
mod schema;
mod store;
mod thread;
mod transfer;

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

pub use conversation::Conversation;
use coppice::{
    engine::{StopReason, Timings},
    sample::SamplerParams,
};
use serde::{Deserialize, Serialize};
pub use store::{Hit, Store, StoreError};
pub use thread::{Asked, History, HistoryNews};
pub use transfer::{ExportFormat, markdown};

/// Id of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChatId(pub i64);

/// Id of a message; rises with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub i64);

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}

/// An id that no other row has: the time, and a count where several fall into one tick.
pub fn fresh_id() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let micros = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 2));
    let next = |last: i64| Some(micros.max(last + 1));
    let last =
        LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).unwrap_or_else(|last| last);
    micros.max(last + 1)
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Name in files and in chat templates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Assistant].into_iter().find(|role| role.name() == name)
    }
}

/// Whether a message is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Whole.
    #[default]
    Complete,
    /// The model is writing it.
    Writing,
    /// The user stopped it.
    Stopped,
    /// The app ended while it was written.
    Interrupted,
    /// The model or the device failed.
    Failed,
}

impl MessageState {
    /// All.
    pub const ALL: [Self; 5] =
        [Self::Complete, Self::Writing, Self::Stopped, Self::Interrupted, Self::Failed];

    /// Name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Writing => "writing",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// What is known of how an answer came about; stays with the message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Model.
    pub model: String,
    /// Device.
    pub device: String,
    /// Who drafted.
    pub method: String,
    /// Tokens generated.
    pub tokens: usize,
    /// Generated tokens a second.
    pub tokens_per_second: f64,
    /// From the request to the first token.
    pub first_token_ms: f64,
    /// Tokens of the prompt, those found in the cache included.
    pub prompt_tokens: usize,
    /// Tokens drafted.
    pub drafted: usize,
    /// Those of them that were accepted.
    pub accepted: usize,
    /// Forward passes behind the prompt's.
    pub rounds: usize,
    /// Tokens a round.
    pub tokens_per_round: f64,
    /// Why it ended; absent for an answer that failed.
    pub stop_reason: Option<String>,
    /// Tokens of prompt and answer together.
    pub context_used: usize,
    /// Most tokens of prompt and answer together.
    pub context: usize,
    /// How tokens were chosen, with the seed.
    pub sampler: SamplerParams,
}

impl Figures {
    /// Takes over what the engine measured.
    pub fn measure(&mut self, timings: &Timings, stop: StopReason, context_used: usize) {
        self.tokens = timings.predicted_n;
        self.tokens_per_second = timings.predicted_per_second;
        self.first_token_ms = timings.first_token_ms;
        self.prompt_tokens = timings.prompt_n + timings.cache_n;
        self.drafted = timings.draft_n;
        self.accepted = timings.draft_n_accepted;
        self.rounds = timings.rounds_n;
        self.tokens_per_round = timings.tokens_per_round;
        self.context_used = context_used;
        self.stop_reason = Some(
            match stop {
                StopReason::Eos => "end of turn",
                StopReason::Length => "length limit",
                StopReason::Stop => "stop text",
                StopReason::Context => "context full",
                StopReason::Cancelled => "stopped",
            }
            .into(),
        );
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Id.
    pub id: MessageId,
    /// The message it answers; absent for the first of a conversation.
    pub parent: Option<MessageId>,
    /// Who speaks.
    pub role: Role,
    /// What was said, as Markdown.
    pub content: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Whether it is whole.
    #[serde(default)]
    pub state: MessageState,
    /// How it came about; answers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

impl Message {
    /// A new message.
    pub fn new(parent: Option<MessageId>, role: Role, content: impl Into<String>) -> Self {
        Self {
            id: MessageId(fresh_id()),
            parent,
            role,
            content: content.into(),
            created_ms: now_ms(),
            state: MessageState::Complete,
            figures: None,
        }
    }
}

/// A conversation without its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chat {
    /// Id.
    pub id: ChatId,
    /// Title; empty until there is a first message.
    pub title: String,
    /// System prompt.
    #[serde(default)]
    pub system: String,
    /// The last message of the branch on screen.
    pub head: Option<MessageId>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Of the last change.
    pub updated_ms: i64,
    /// Put away; can be restored.
    #[serde(default)]
    pub deleted: bool,
}

impl Chat {
    /// A new conversation.
    pub fn new(system: impl Into<String>) -> Self {
        let now = now_ms();
        Self {
            id: ChatId(fresh_id()),
            title: String::new(),
            system: system.into(),
            head: None,
            created_ms: now,
            updated_ms: now,
            deleted: false,
        }
    }
}
