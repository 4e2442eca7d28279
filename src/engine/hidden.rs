//! What the heads of a model read: its hidden states.

use std::sync::atomic::AtomicBool;

use super::Engine;
use crate::{
    error::Result,
    model::{Model, Want},
};

/// Texts are computed in pieces of these many rows, the largest that fits first, since a step pays
/// for the rows of its bucket that it does not use.
const PIECES: [usize; 4] = [512, 256, 128, 64];

impl Engine {
    /// Final-normed hidden states of every token, `[ids, D]`: what the output matrix reads.
    ///
    /// # Errors
    /// No ids, ids beyond the vocabulary or the context; [`crate::Error::Cancelled`].
    pub fn hidden_states(&mut self, ids: &[u32], cancel: &AtomicBool) -> Result<Vec<f32>> {
        self.check_ids(ids)?;
        self.reset()?;
        let mut states = Vec::with_capacity(ids.len() * self.model.config().d_model);
        let mut left = ids;
        while !left.is_empty() {
            let piece = PIECES.into_iter().find(|&piece| piece <= left.len());
            let (now, rest) = left.split_at(piece.unwrap_or(left.len()));
            let output = self.extend(now, Want::AllHidden, cancel)?;
            states.extend(output.hidden.unwrap_or_default());
            left = rest;
        }
        self.reset()?;
        Ok(states)
    }

    /// The model on its device.
    pub fn model(&self) -> &Model {
        &self.model
    }
}
