//! Tokenizer, chat templates, streaming detokeniser.

/// Tokenizer or chat template.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {}

impl TextError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
