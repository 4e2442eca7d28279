//! Bytes on disk: GGUF and safetensors.

/// A file that cannot be read as what it claims to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {}

impl FormatError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
