//! Training of draft heads on a frozen model (Medusa-1, arXiv 2401.10774; Hydra, arXiv 2402.05109).
//!
//! Hidden states of the answers are computed once by the model as it runs ([`features`]) and kept on
//! disk. A step is one recording: blocks, loss and gradients of every head and the optimiser, all of
//! them ops of [`crate::ops`], so heads train on whatever device the model runs on. On the CPU every
//! sum has one order, and a run that was interrupted and taken up again ends with the same bits as
//! one that was not.

pub mod accuracy;
mod batch;
mod checkpoint;
pub mod features;
mod graph;
pub mod joint;
mod parameters;
mod progress;
mod run;
mod schedule;
mod tape;
mod teacher;
#[cfg(test)]
mod tests;
pub mod vocabulary;

pub use run::{Evaluation, Event, Target, Trained, train};
pub use schedule::Schedule;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    format::heads::HeadKind,
};

/// What heads learn to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// The token that follows.
    Hard,
    /// The target's own best tokens at that place, with their probabilities.
    Soft {
        /// How many.
        top: usize,
    },
}

impl Targets {
    /// Targets of a row.
    fn count(self) -> usize {
        match self {
            Self::Hard => 1,
            Self::Soft { top } => top,
        }
    }
}

/// Everything that decides what becomes of heads, apart from model and data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// How heads depend on each other.
    pub kind: HeadKind,
    /// Number of heads.
    pub heads: usize,
    /// Residual blocks of a head.
    pub blocks: usize,
    /// Tokens that heads can guess: the most frequent.
    pub draft_vocab: usize,
    /// What they learn.
    pub targets: Targets,
    /// Weight of a head's loss relative to the head before.
    pub head_weight: f32,
    /// Positions of a step.
    pub batch: usize,
    /// Times that every position is seen.
    pub epochs: usize,
    /// Highest learning rate.
    pub lr: f32,
    /// Share of the steps in which the rate rises from zero; afterwards it falls as a cosine.
    pub warmup: f32,
    /// Decay of matrices.
    pub decay: f32,
    /// Largest norm of a step's gradient.
    pub max_norm: f32,
    /// Share of conversations kept from training.
    pub held_out: f64,
    /// Steps between evaluations, each of which leaves a checkpoint.
    pub every: usize,
    /// Most held-out positions of an evaluation.
    pub eval_positions: usize,
    /// Seed of the initial weights and of the order of positions.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: HeadKind::Sequential,
            heads: 4,
            blocks: 1,
            draft_vocab: 8192,
            targets: Targets::Hard,
            head_weight: 0.8,
            batch: 512,
            epochs: 3,
            lr: 1e-3,
            warmup: 0.03,
            decay: 0.0,
            max_norm: 1.0,
            held_out: 0.05,
            every: 500,
            eval_positions: 8192,
            seed: 0,
        }
    }
}

impl Options {
    /// Most heads: a tree is no deeper.
    pub const MAX_HEADS: usize = 16;

    /// Checks every value by itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the value and what is allowed.
    pub fn check(&self) -> Result<()> {
        let soft = match self.targets {
            Targets::Hard => 1,
            Targets::Soft { top } => top,
        };
        let counts = [
            ("heads", self.heads, 1, Self::MAX_HEADS),
            ("blocks of a head", self.blocks, 1, 8),
            ("tokens of the draft vocabulary", self.draft_vocab, 16, 1 << 22),
            ("targets of a position", soft, 1, 64),
            ("positions of a step", self.batch, 1, 1 << 16),
            ("epochs", self.epochs, 1, 10_000),
            ("steps between evaluations", self.every, 1, usize::MAX),
            ("held-out positions", self.eval_positions, 1, usize::MAX),
        ];
        for (name, value, low, high) in counts {
            if !(low..=high).contains(&value) {
                return Err(Error::invalid(format!("{value} {name}: wanted {low} to {high}")));
            }
        }
        let shares = [
            ("learning rate", f64::from(self.lr), 0.0, 10.0),
            ("share of warm-up", self.warmup.into(), 0.0, 1.0),
            ("decay", self.decay.into(), 0.0, 10.0),
            ("largest norm", self.max_norm.into(), 0.0, f64::INFINITY),
            ("weight of the next head", self.head_weight.into(), 0.0, 1.0),
            ("held-out share", self.held_out, 0.0, 0.9),
        ];
        for (name, value, low, high) in shares {
            if !(low..=high).contains(&value) {
                return Err(Error::invalid(format!("{name} {value}: wanted {low} to {high}")));
            }
        }
        Ok(())
    }
}
