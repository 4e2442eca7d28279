//! Where ops run.

/// A device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {}

impl BackendError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
