//! What a worker is asked to do, and what it answers: plain data for one line of JSON each.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Case, Draw, cases, draw,
    model_check::ModelDone,
    numbers::{Difference, Numbers},
    outcome::Outcome,
    perf::{Curve, Latency, Timing},
    target::Target,
};
use crate::{
    backend::Peaks,
    error::{Error, Result},
    spec::Method,
};

/// A case by name or by choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseId {
    /// A row of the op table.
    Named(String),
    /// A random case: see [`Draw`].
    Drawn {
        /// The op.
        op: String,
        /// Its choices.
        choices: Vec<u32>,
        /// Seed of its inputs.
        seed: u64,
    },
}

impl CaseId {
    /// The case.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or an op that does not exist.
    pub fn case(&self) -> Result<Case> {
        match self {
            Self::Named(name) => cases()
                .into_iter()
                .find(|case| case.name == *name)
                .ok_or_else(|| Error::invalid(format!("there is no case `{name}`"))),
            Self::Drawn { op, choices, seed } => draw(op, &mut Draw::replay(choices))
                .map(|case| case.seeded(*seed))
                .ok_or_else(|| Error::invalid(format!("there is no op `{op}`"))),
        }
    }
}

/// `op:choice,choice,…:seed` for drawn cases, as `--replay` takes it.
impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Drawn { op, choices, seed } => {
                let choices: Vec<String> = choices.iter().map(u32::to_string).collect();
                write!(f, "{op}:{}:{seed}", choices.join(","))
            }
        }
    }
}

impl FromStr for CaseId {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let parse = || {
            let (op, rest) = given.split_once(':')?;
            let (choices, seed) = rest.split_once(':')?;
            let choices = match choices {
                "" => Vec::new(),
                list => list.split(',').map(|n| n.parse().ok()).collect::<Option<_>>()?,
            };
            Some(Self::Drawn { op: op.into(), choices, seed: seed.parse().ok()? })
        };
        parse().ok_or_else(|| Error::Invalid {
            message: format!("`{given}` is no drawn case"),
            hint: Some("op:choice,choice,…:seed, as a fuzz run prints it".into()),
        })
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    /// What adapters there are; the target does not matter.
    List,
    /// Open the device, run one op, read it back.
    Probe,
    /// All checks of a case; on a device that only validates, whether it takes the case.
    Case {
        /// The case.
        case: CaseId,
        /// Another device to compare with, bit for bit.
        against: Option<Target>,
    },
    /// How each op is supported.
    Support,
    /// Time a measured case: its index in [`super::perf::cases`].
    Time {
        /// Name of the case.
        case: String,
        /// From the list of real shapes.
        full: bool,
    },
    /// What the device can do at most.
    Peaks,
    /// Time of a step by its rows.
    Curve {
        /// Tokens before it.
        context: usize,
    },
    /// The synthetic model, decoded plainly or drafted for.
    Model {
        /// Who drafts.
        method: Method,
    },
}

/// An adapter, as much as reports say of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Adapter {
    /// How the user selects it.
    pub selector: String,
    /// Name.
    pub name: String,
    /// API below.
    pub api: String,
    /// Driver and version.
    pub driver: String,
    /// Kind of hardware.
    pub kind: String,
    /// A driver that runs shaders on the processor.
    pub is_software: bool,
    /// Best tier of kernels.
    pub tier: String,
    /// 16-bit floats in kernels.
    pub f16: bool,
    /// Smallest and largest subgroup.
    pub subgroup: Option<(u32, u32)>,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Shared memory of a workgroup in bytes.
    pub workgroup_memory_bytes: u32,
    /// PCI vendor, hexadecimal.
    pub vendor: Option<String>,
    /// PCI device, hexadecimal.
    pub device: Option<String>,
    /// PCI address.
    pub pci: Option<String>,
    /// Features of the API that the adapter has.
    pub features: Vec<String>,
    /// Limits of the API on the adapter.
    pub limits: Vec<(String, String)>,
    /// The forms in which it can be tested, the usual one first.
    pub forms: Vec<String>,
}

/// A device that answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Name of the opened device.
    pub name: String,
    /// Time to open it, in milliseconds.
    pub open_ms: f64,
    /// Time of the first op with its readback, kernels compiled, in milliseconds.
    pub first_ms: f64,
    /// Time of the same op once more.
    pub again_ms: f64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseDone {
    /// Its name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Kernels that ran it.
    pub variant: String,
    /// Outputs against the reference.
    pub numbers: Vec<Numbers>,
    /// Outputs against the other device, where there is one.
    pub differences: Vec<Difference>,
    /// Time of all checks in milliseconds.
    pub ms: f64,
}

/// How a device supports an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupportLevel {
    /// All cases, each by one kernel.
    Native,
    /// All cases, some in several dispatches.
    Split,
    /// Some cases.
    Part,
    /// No case.
    No,
}

/// Support of an op.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportDone {
    /// The op.
    pub op: String,
    /// How far.
    pub level: SupportLevel,
    /// Cases it has a kernel for, of all.
    pub cases: (usize, usize),
    /// Kernels, and why others are missing.
    pub notes: Vec<String>,
}

/// The answer to a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "done", content = "is", rename_all = "snake_case")]
pub enum Done {
    /// To [`Work::List`]: adapters, and why an API has none.
    Adapters {
        /// Adapters.
        adapters: Vec<Adapter>,
        /// API and reason.
        missing: Vec<(String, String)>,
    },
    /// To [`Work::Probe`].
    Probe(Probe),
    /// To [`Work::Case`].
    Case(CaseDone),
    /// To [`Work::Support`].
    Support(Vec<SupportDone>),
    /// To [`Work::Time`].
    Timing(Timing),
    /// To [`Work::Peaks`].
    Peaks {
        /// Throughput.
        peaks: Peaks,
        /// Latencies.
        latency: Latency,
    },
    /// To [`Work::Curve`].
    Curve(Curve),
    /// To [`Work::Model`].
    Model(ModelDone),
    /// The task could not be done.
    Error {
        /// What happened.
        message: String,
        /// The device was lost.
        lost: bool,
        /// The device has no way to do it, or does not exist.
        unsupported: bool,
    },
}

impl Done {
    pub(super) fn error(error: &Error) -> Self {
        use crate::backend::BackendError as B;
        Self::Error {
            message: error.to_string(),
            lost: matches!(error, Error::Backend(B::Lost { .. })),
            unsupported: matches!(
                error,
                Error::Backend(B::Unsupported { .. } | B::NoAdapter { .. } | B::TooLarge { .. })
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_cases_print_and_parse_back() {
        for text in ["qmatmul:1,0,25:7", "add::0"] {
            let id: CaseId = text.parse().expect(text);
            assert_eq!(id.to_string(), text);
            assert!(id.case().is_ok());
        }
        for text in ["", "add", "add:1", "add:x:1", "add:1:-1"] {
            assert!(text.parse::<CaseId>().is_err(), "{text}");
        }
        let none: CaseId = "no_op::0".parse().expect("well formed");
        assert!(none.case().is_err());
    }
}
