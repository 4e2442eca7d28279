//! What a run found: plain data, written as JSON, JUnit, CSV, Markdown and HTML.
//!
//! The JSON form is the whole of it and is read back for comparisons; the others are views.

mod baseline;
mod csv;
mod html;
mod junit;
mod markdown;
mod names;
mod redact;
mod status;
mod support_table;
mod tool;

pub use baseline::{Change, Comparison, compare};
pub use csv::csv;
pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
pub use names::file_stem;
pub use redact::Redactor;
pub use status::{Status, Verdict};
pub use support_table::support_table;
pub(super) use tool::os_release;
pub use tool::{Host, PciDisplay, Tool, now};

use serde::{Deserialize, Serialize};

use super::{
    numbers::{Difference, Numbers},
    outcome::Failure,
    perf::{Curve, Latency, Timing},
    work::{Adapter, SupportDone},
};
use crate::{
    backend::Peaks,
    error::{Error, Result},
};

/// Raised when the meaning of a field changes.
pub const SCHEMA_VERSION: u32 = 1;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suite {
    /// Opening the device and one op.
    Probe,
    /// A row of the op table.
    Table,
    /// A drawn case.
    Fuzz,
    /// The synthetic model.
    Model,
    /// A measurement.
    Perf,
    /// A measurement against an earlier one.
    Baseline,
}

/// Something that was tried on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it belongs to.
    pub suite: Suite,
    /// The device, as the user selects it.
    pub device: String,
    /// Its form; `usual` as the program opens it.
    pub form: String,
    /// The op, or what else was tried.
    pub op: String,
    /// The case.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What is wrong; why it was skipped. Empty where all is well.
    pub message: String,
    /// The check that failed, with the worst element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why a failure was expected, with a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Kernels that ran it.
    pub variant: String,
    /// Outputs against the reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<Numbers>,
    /// Outputs against the other device of a differential run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Time in milliseconds.
    pub ms: f64,
    /// Command that runs it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
}

/// An adapter with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// The adapter.
    #[serde(flatten)]
    pub adapter: Adapter,
    /// How it did.
    pub verdict: Verdict,
    /// Another selector for the same hardware.
    pub same_hardware_as: Option<String>,
    /// What it can do at most, where that was measured.
    pub peaks: Option<Peaks>,
    /// Latencies, where they were measured.
    pub latency: Option<Latency>,
}

/// A measurement on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The device.
    pub device: String,
    /// What was measured.
    #[serde(flatten)]
    pub timing: Timing,
    /// Throughput at the median.
    pub gb_s: f64,
    /// Throughput at the median.
    pub gflop_s: f64,
    /// Part of the copy peak, of 1.
    pub share_of_copy: Option<f64>,
    /// Part of the arithmetic peak of the op's precision, of 1.
    pub share_of_arithmetic: Option<f64>,
}

impl Measured {
    /// A timing against the peaks of its device.
    pub fn new(device: &str, timing: Timing, peaks: Option<&Peaks>) -> Self {
        let (gb_s, gflop_s) = (timing.gb_s(), timing.gflop_s());
        let int8 = timing.case.contains("x=q8") || timing.case.contains("x=q12");
        let most = peaks.and_then(|p| if int8 { p.int8_gops } else { p.f32_gflops });
        Self {
            device: device.into(),
            gb_s,
            gflop_s,
            share_of_copy: peaks.and_then(|p| p.copy_gb_s).map(|most| gb_s / most),
            share_of_arithmetic: most.filter(|_| timing.flops > 0).map(|most| gflop_s / most),
            timing,
        }
    }

    /// The larger share and what it is of: how near the op is to what limits it.
    pub fn share(&self) -> Option<(f64, &'static str)> {
        let copy = self.share_of_copy.map(|share| (share, "copy"));
        let arithmetic = self.share_of_arithmetic.map(|share| (share, "arithmetic"));
        copy.into_iter().chain(arithmetic).max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

/// A verify curve of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceCurve {
    /// The device.
    pub device: String,
    /// Its curve.
    #[serde(flatten)]
    pub curve: Curve,
}

/// Support on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceSupport {
    /// The device.
    pub device: String,
    /// Each op.
    pub ops: Vec<SupportDone>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Modes.
    pub modes: Vec<String>,
    /// All forms and real shapes.
    pub full: bool,
    /// Limit of a case in seconds.
    pub timeout_s: f64,
    /// Seed of drawn cases.
    pub seed: u64,
    /// Drawn cases a device.
    pub fuzz: usize,
}

/// How many ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Counts by status; absent ones are none.
    pub counts: Vec<(Status, usize)>,
    /// What should be looked at, worst first.
    pub findings: Vec<String>,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What ran.
    pub tool: Tool,
    /// Where.
    pub host: Host,
    /// When it began, UTC.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The user stopped it.
    pub interrupted: bool,
    /// What was asked for.
    pub settings: Settings,
    /// Devices.
    pub adapters: Vec<Tested>,
    /// Why an API has no device.
    pub missing: Vec<(String, String)>,
    /// All that was tried.
    pub records: Vec<Record>,
    /// Measurements.
    pub perf: Vec<Measured>,
    /// Verify curves.
    pub verify_curves: Vec<DeviceCurve>,
    /// Support tables.
    pub support: Vec<DeviceSupport>,
    /// Comparison with an earlier report.
    pub baseline: Option<Comparison>,
    /// How many ended how.
    pub summary: Summary,
}

impl Report {
    /// Reads a report that was written as JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a text that is no report, or one of another version.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("no report: {error}")))?;
        match value["schema_version"].as_u64() {
            Some(version) if version == u64::from(SCHEMA_VERSION) => {}
            Some(version) => {
                return Err(Error::invalid(format!(
                    "a report of version {version}; this program reads {SCHEMA_VERSION}"
                )));
            }
            None => return Err(Error::invalid("no report: it has no `schema_version`")),
        }
        serde_json::from_value(value).map_err(|error| Error::invalid(format!("no report: {error}")))
    }

    /// As JSON, with what identifies a person blanked.
    pub fn to_json(&self, redactor: &Redactor) -> String {
        serde_json::to_string_pretty(&self.redacted(redactor)).expect("reports are plain data")
    }

    /// With what identifies a person blanked, wherever a path or a name can come from outside.
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        let mut report = self.clone();
        report.tool.redact(redactor);
        report.missing.iter_mut().for_each(|(_, reason)| redactor.blank(reason));
        report.summary.findings.iter_mut().for_each(|finding| redactor.blank(finding));
        for record in &mut report.records {
            redactor.blank(&mut record.message);
            record.expected.iter_mut().chain(&mut record.replay).for_each(|s| redactor.blank(s));
            record.failure.iter_mut().for_each(|failure| redactor.blank(&mut failure.note));
        }
        report
    }

    /// How many ended so.
    pub fn count(&self, status: Status) -> usize {
        self.records.iter().filter(|record| record.status == status).count()
    }

    /// Sets verdicts and summary from all that was tried.
    pub fn conclude(&mut self) {
        for tested in &mut self.adapters {
            let own = self.records.iter().filter(|r| r.device == tested.adapter.selector);
            tested.verdict = Verdict::of(own.map(|record| record.status));
        }
        let counts = Status::ALL.into_iter().map(|status| (status, self.count(status)));
        self.summary.counts = counts.filter(|(_, count)| *count > 0).collect();
        self.summary.findings = self.findings();
    }

    fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let bad = self.records.iter().filter(|record| !record.status.is_fine());
        for record in bad {
            found.push(format!(
                "{} [{}{}] {}: {}",
                record.status.name(),
                record.device,
                if record.form == "usual" { String::new() } else { format!(" {}", record.form) },
                record.name,
                record.message
            ));
        }
        for of in &self.verify_curves {
            for cliff in &of.curve.cliffs {
                found.push(format!(
                    "cliff [{}] a step of {} rows takes {:.1} times as long as one of {}",
                    of.device, cliff.rows, cliff.factor, cliff.faster_rows
                ));
            }
        }
        found
    }

    /// Code with which the program ends: 0 nothing is wrong, 1 something is, 3 there was no device, 4 the
    /// tester went wrong, 124 something did not end in time. What says more goes first.
    pub fn exit_code(&self) -> u8 {
        let any = |wanted: fn(Status) -> bool| self.records.iter().any(|r| wanted(r.status));
        if any(Status::is_fault) {
            1
        } else if any(|status| status == Status::HarnessError) {
            4
        } else if any(|status| status == Status::Timeout) {
            124
        } else if self.adapters.is_empty() {
            3
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests;
