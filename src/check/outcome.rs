//! What came of a case.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, backend::BackendError};

/// Which check found a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The result differs from the reference's.
    Reference,
    /// An element was never written.
    Unwritten,
    /// Memory beside a view was written.
    Guard,
    /// An input was changed.
    Input,
    /// A second run gave other bits.
    Repeat,
    /// A row depends on how many rows run with it.
    Rows,
    /// A recording that must agree does not.
    Same,
    /// The replay on other contents differs from the reference's.
    Replay,
    /// With all operands in one buffer the bits differ.
    Placement,
    /// The backend reported an error.
    Device,
}

/// A fault, with the worst element.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Which check found it.
    pub check: Check,
    /// The operand; empty if there is none.
    pub operand: String,
    /// Index of the worst element.
    pub index: Vec<usize>,
    /// Its value.
    pub got: String,
    /// The value wanted.
    pub wanted: String,
    /// What else is known.
    pub note: String,
}

impl Failure {
    pub(super) fn device(error: &BackendError) -> Box<Self> {
        Box::new(Self {
            check: Check::Device,
            operand: String::new(),
            index: Vec::new(),
            got: String::new(),
            wanted: String::new(),
            note: error.to_string(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.check {
            Check::Reference => "differs from the reference",
            Check::Unwritten => "was never written",
            Check::Guard => "has writes beside it",
            Check::Input => "is an input and was changed",
            Check::Repeat => "differs in a second run",
            Check::Rows => "depends on the number of rows",
            Check::Same => "differs from a recording that must agree",
            Check::Replay => "differs from the reference in a replay",
            Check::Placement => "differs with all operands in one buffer",
            Check::Device => return write!(f, "the device failed: {}", self.note),
        };
        write!(
            f,
            "`{}` {what} at {:?}: got {}, wanted {}",
            self.operand, self.index, self.got, self.wanted
        )?;
        if self.note.is_empty() { Ok(()) } else { write!(f, " ({})", self.note) }
    }
}

/// What came of a case on a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// All checks passed.
    Pass,
    /// A check failed.
    Fail(Box<Failure>),
    /// The backend says that it cannot run the op.
    Unsupported {
        /// Why.
        reason: String,
    },
    /// The device was lost; nothing that follows on it means anything.
    Lost {
        /// What the driver said.
        reason: String,
    },
    /// The harness itself went wrong: a malformed case, or the reference failed.
    Harness {
        /// What happened.
        message: String,
    },
}

impl Outcome {
    /// The outcome that an error of the backend under test amounts to.
    pub(super) fn from_backend(error: &BackendError) -> Self {
        match error {
            BackendError::Unsupported { reason, .. } => {
                Self::Unsupported { reason: reason.clone() }
            }
            BackendError::Lost { reason, .. } => Self::Lost { reason: reason.clone() },
            BackendError::Operand { .. }
            | BackendError::Range { .. }
            | BackendError::ForeignDevice { .. }
            | BackendError::NoAdapter { .. } => Self::Harness { message: error.to_string() },
            BackendError::Device { .. }
            | BackendError::Shader { .. }
            | BackendError::TooLarge { .. }
            | BackendError::OutOfMemory { .. } => Self::Fail(Failure::device(error)),
        }
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        match error {
            Error::Backend(error) => Self::from_backend(&error),
            other => Self::Harness { message: other.to_string() },
        }
    }
}

impl From<BackendError> for Outcome {
    fn from(error: BackendError) -> Self {
        Self::from_backend(&error)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("ok"),
            Self::Fail(failure) => failure.fmt(f),
            Self::Unsupported { reason } => write!(f, "unsupported: {reason}"),
            Self::Lost { reason } => write!(f, "device lost: {reason}"),
            Self::Harness { message } => write!(f, "harness error: {message}"),
        }
    }
}
