//! Joint training of heads and model (Medusa-2, arXiv 2401.10774, sections 2.2.2 and 2.3.2).
//!
//! Heads learn as in [`super`], and at the same time low-rank adapters (LoRA, arXiv 2106.09685) on the
//! model's matrices learn hidden states that are easier to draft from. What keeps the model what it
//! was: its divergence from the original, which is the same network with the adapters left out, is
//! part of the loss; heads learn at a multiple of the adapters' rate; and the heads' loss rises along
//! a sine, or heads were trained alone before. Nothing is learnt from labels but the tokens that the
//! model itself wrote.
//!
//! # Memory
//! Matrices are kept as f32 copies beside the model that runs: 4 bytes a weight. A window of T
//! positions keeps, of every layer, the rows from which its gradient is computed again:
//! `3 D + (2 H + 2 G) d + 2 F` numbers a position (more with norms on queries and outputs). Larger
//! batches are several windows whose gradients add up, so they take no more. [`estimate`] adds it up
//! before anything is allocated.

mod adapters;
mod backbone;
mod buffers;
mod decoder;
mod graph;
mod memory;
mod merge;
mod run;
#[cfg(test)]
mod tests;
mod windows;

pub use adapters::{Adapters, Matrix};
pub use backbone::Backbone;
pub use memory::{JointMemory, available_bytes, estimate};
pub use merge::merge;
pub use run::{Trainee, train_joint};

use serde::{Deserialize, Serialize};

use super::{Options, Targets};
use crate::error::{Error, Result};

/// How the weight of the heads' loss develops over the steps of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ramp {
    /// It stays: for heads that were trained alone before.
    Constant,
    /// `sin(pi/2 step / steps)` of it: for fresh heads, whose gradients would spoil the model.
    Sine,
}

impl Ramp {
    /// Factor at a step, counted from 1.
    fn at(self, step: u64, steps: u64) -> f32 {
        match self {
            Self::Constant => 1.0,
            Self::Sine => {
                (std::f64::consts::FRAC_PI_2 * step as f64 / steps.max(1) as f64).sin() as f32
            }
        }
    }
}

/// What joint training adds to [`Options`], whose rate is the adapters' and whose batch is a multiple
/// of the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointOptions {
    /// Rank of an adapter.
    pub rank: usize,
    /// An adapter adds `alpha / rank B A` to its matrix.
    pub alpha: f32,
    /// Matrices with adapters.
    pub matrices: Vec<Matrix>,
    /// Learning rate of heads over that of adapters.
    pub head_rate: f32,
    /// Weight of the heads' loss.
    pub head_loss: f32,
    /// How it develops.
    pub ramp: Ramp,
    /// Weight of the divergence from the original model.
    pub kl: f32,
    /// Positions of a window.
    pub window: usize,
}

impl Default for JointOptions {
    fn default() -> Self {
        Self {
            rank: 32,
            alpha: 16.0,
            matrices: Matrix::ALL.to_vec(),
            head_rate: 4.0,
            head_loss: 0.2,
            ramp: Ramp::Sine,
            kl: 1.0,
            window: 256,
        }
    }
}

impl JointOptions {
    /// Checks every value, and those that must agree with `options`.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the value and what is allowed.
    pub fn check(&self, options: &Options) -> Result<()> {
        let counts = [
            ("as rank of adapters", self.rank, 1, 1024),
            ("positions of a window", self.window, 2, 1 << 14),
            ("kinds of matrices with adapters", self.matrices.len(), 1, Matrix::ALL.len()),
        ];
        for (name, value, low, high) in counts {
            if !(low..=high).contains(&value) {
                return Err(Error::invalid(format!("{value} {name}: wanted {low} to {high}")));
            }
        }
        let numbers = [
            ("alpha of adapters", self.alpha, 1e-3, 1e4),
            ("rate of heads over adapters", self.head_rate, 0.0, 1e3),
            ("weight of the heads' loss", self.head_loss, 0.0, 1e3),
            ("weight of the divergence", self.kl, 0.0, 1e3),
        ];
        for (name, value, low, high) in numbers {
            if !(low..=high).contains(&value) {
                return Err(Error::invalid(format!("{name} {value}: wanted {low} to {high}")));
            }
        }
        for (i, matrix) in self.matrices.iter().enumerate() {
            if self.matrices[..i].contains(matrix) {
                return Err(Error::invalid(format!("matrix `{matrix}` is named twice")));
            }
        }
        if options.targets != Targets::Hard {
            return Err(Error::Invalid {
                message: "joint training has hard targets, the tokens of the answers".into(),
                hint: Some("leave --targets, --text and --all-tokens out".into()),
            });
        }
        if !options.batch.is_multiple_of(self.window) {
            return Err(Error::Invalid {
                message: format!(
                    "a step of {} positions is not a whole number of windows of {}",
                    options.batch, self.window
                ),
                hint: Some("choose --batch as a multiple of --window".into()),
            });
        }
        Ok(())
    }

    /// `alpha / rank`.
    fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }
}
