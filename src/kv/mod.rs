//! The paged key/value cache.

/// The cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {}

impl KvError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
