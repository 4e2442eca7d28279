//! How a try ended, and what that says of an adapter.

use serde::{Deserialize, Serialize};

/// How something that was tried ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should.
    Passed,
    /// Wrong.
    Failed,
    /// The process that ran it ended.
    Crashed,
    /// The device was lost.
    DeviceLost,
    /// No end within the limit.
    Timeout,
    /// The tester itself went wrong.
    HarnessError,
    /// The device cannot do it, and says why.
    Skipped,
    /// Wrong, as is known of this driver.
    ExpectedFailure,
    /// Right, although it is listed as known to be wrong.
    UnexpectedPass,
}

impl Status {
    /// All, worst last but for the two of expectations.
    pub const ALL: [Self; 9] = [
        Self::Passed,
        Self::Failed,
        Self::Crashed,
        Self::DeviceLost,
        Self::Timeout,
        Self::HarnessError,
        Self::Skipped,
        Self::ExpectedFailure,
        Self::UnexpectedPass,
    ];

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::DeviceLost => "device lost",
            Self::Timeout => "timeout",
            Self::HarnessError => "harness error",
            Self::Skipped => "skipped",
            Self::ExpectedFailure => "expected failure",
            Self::UnexpectedPass => "unexpected pass",
        }
    }

    /// True if it is a fault of the device, its driver or a kernel.
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed | Self::DeviceLost | Self::UnexpectedPass)
    }

    /// True if nothing needs to be done about it.
    pub const fn is_fine(self) -> bool {
        matches!(self, Self::Passed | Self::Skipped | Self::ExpectedFailure)
    }
}

/// How well an adapter did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Healthy,
    /// Some things were skipped, are known to be wrong, or could not be tried.
    Degraded,
    /// Something is wrong.
    Unhealthy,
    /// Nothing was tried.
    Untested,
}

impl Verdict {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Untested => "untested",
        }
    }

    /// Of all that was tried on a device.
    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Self {
        let of = |status: Status| match status {
            Status::Passed => Self::Healthy,
            Status::Failed | Status::Crashed | Status::DeviceLost | Status::Timeout => {
                Self::Unhealthy
            }
            Status::HarnessError
            | Status::Skipped
            | Status::ExpectedFailure
            | Status::UnexpectedPass => Self::Degraded,
        };
        statuses.into_iter().map(of).max().unwrap_or(Self::Untested)
    }
}
