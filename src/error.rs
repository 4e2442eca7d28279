//! The crate's error: one enum a module boundary, joined here, each able to offer a hint.

use std::{fmt, panic::Location, path::PathBuf};

pub use crate::backend::BackendError;
pub use crate::format::FormatError;
pub use crate::hub::HubError;
pub use crate::kv::KvError;
pub use crate::spec::trace::TraceError;
pub use crate::text::TextError;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong in the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model file, head file or configuration.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Tokenizer or chat template.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A device or one of its kernels.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Finding or fetching a model.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The key/value cache.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A trace that cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A model whose parts do not fit together.
    #[error("{model}: {message}")]
    Model {
        /// File or repository the model came from.
        model: String,
        /// What does not fit, with values.
        message: String,
        /// What to do about it, if known.
        hint: Option<String>,
    },
    /// Input that a caller passed and that cannot be served.
    #[error("{message}")]
    Invalid {
        /// What is wrong, with values.
        message: String,
        /// What to do about it, if known.
        hint: Option<String>,
    },
    /// A file or stream.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// Verb phrase, such as `cannot read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Stopped by the user.
    #[error("stopped")]
    Cancelled,
}

impl Error {
    /// Error about a value that a caller passed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: None }
    }

    /// What the reader can do about it, where known; shown as a line of its own.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Format(e) => e.hint(),
            Self::Text(e) => e.hint(),
            Self::Backend(e) => e.hint(),
            Self::Hub(e) => e.hint(),
            Self::Kv(e) => e.hint(),
            Self::Trace(e) => e.hint.clone(),
            Self::Model { hint, .. } | Self::Invalid { hint, .. } => hint.clone(),
            Self::Io { .. } | Self::Cancelled => None,
        }
    }
}

/// Where in our source an op was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// Source file.
    pub file: &'static str,
    /// Line in it.
    pub line: u32,
}

impl Site {
    /// The caller of the function that calls this.
    #[track_caller]
    pub fn caller() -> Self {
        let at = Location::caller();
        Self { file: at.file(), line: at.line() }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
