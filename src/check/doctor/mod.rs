//! Which devices work, which are missing and why: facts, a verdict from a real op on each device, and what
//! to do about it.

mod findings;
mod markdown;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use findings::{Finding, Severity};
pub use markdown::markdown;

use super::{
    expect::status_of,
    isolate::{Ran, Runner},
    outcome::Outcome,
    report::{Host, Redactor, Status, Tool, Verdict, now},
    target::Target,
    work::{Adapter, Done, Probe, Work},
};
use crate::engine::DeviceSpec;

/// A device with what came of one op on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Examined {
    /// The device.
    #[serde(flatten)]
    pub adapter: Adapter,
    /// Whether it works.
    pub verdict: Verdict,
    /// How the op ended.
    pub status: Status,
    /// What is wrong, if anything.
    pub message: String,
    /// Times, where it answered.
    pub probe: Option<Probe>,
}

/// Memory that a model takes beside what a device has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The model.
    pub model: String,
    /// Tokens of context.
    pub context: usize,
    /// Bytes of weights, key/value pages and all the rest.
    pub needed_bytes: u64,
    /// The device.
    pub device: String,
    /// What it has, where the system or the driver tells.
    pub available_bytes: Option<u64>,
    /// Whether the model fits; absent where that is not known.
    pub fits: Option<bool>,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Examination {
    /// Raised when the meaning of a field changes.
    pub schema_version: u32,
    /// The program.
    pub tool: Tool,
    /// The machine.
    pub host: Host,
    /// When, UTC.
    pub started: String,
    /// Devices.
    pub devices: Vec<Examined>,
    /// APIs without a device, with the reason.
    pub missing: Vec<(String, String)>,
    /// What stands out, worst first.
    pub findings: Vec<Finding>,
    /// Memory.
    pub fits: Vec<Fit>,
    /// The device that `--device auto` takes.
    pub chosen: Option<String>,
    /// Settings in effect, as TOML.
    pub config: String,
}

/// Looks at every device, each in a task of its own.
pub fn examine(runner: &mut dyn Runner, threads: Option<usize>, limit: Duration) -> Examination {
    let mut all = Examination {
        schema_version: 1,
        tool: Tool::this(),
        host: Host::this(),
        started: now(),
        devices: Vec::new(),
        missing: Vec::new(),
        findings: Vec::new(),
        fits: Vec::new(),
        chosen: None,
        config: String::new(),
    };
    let target = |spec| Target { threads, ..Target::new(spec) };
    let adapters = match runner.run(&target(DeviceSpec::Cpu), &Work::List, limit) {
        Ran::Done(Done::Adapters { adapters, missing }) => {
            all.missing = missing;
            adapters
        }
        other => {
            all.findings.push(findings::listing_failed(&other));
            Vec::new()
        }
    };
    for adapter in adapters.into_iter().filter(|adapter| adapter.selector != "reference") {
        let Ok(spec) = adapter.selector.parse::<DeviceSpec>() else { continue };
        let ran = runner.run(&target(spec), &Work::Probe, limit);
        all.devices.push(examined(adapter, ran, limit));
    }
    let works = |device: &&Examined| device.verdict == Verdict::Healthy;
    let hardware = |device: &&Examined| !device.adapter.is_software && device.adapter.api != "cpu";
    let cuda = |device: &&Examined| device.adapter.api == "cuda";
    let working = || all.devices.iter().filter(works);
    let chosen = working().find(cuda).or_else(|| working().find(hardware));
    let chosen = chosen.or_else(|| working().find(|device| device.adapter.api == "cpu"));
    all.chosen = chosen.map(|device| device.adapter.selector.clone());
    findings::find(&mut all);
    all
}

fn examined(adapter: Adapter, ran: Ran, limit: Duration) -> Examined {
    let (status, message, probe) = match ran {
        Ran::Done(Done::Probe(probe)) => {
            let message = match &probe.outcome {
                Outcome::Pass => String::new(),
                outcome => outcome.to_string(),
            };
            (status_of(&probe.outcome), message, Some(probe))
        }
        Ran::Done(Done::Error { message, lost: true, .. }) => (Status::DeviceLost, message, None),
        Ran::Done(Done::Error { message, .. }) => (Status::Failed, message, None),
        Ran::Done(other) => (Status::HarnessError, format!("another answer: {other:?}"), None),
        Ran::Timeout => {
            (Status::Timeout, format!("no answer within {} s", limit.as_secs_f64()), None)
        }
        Ran::Crashed { how, stderr } => {
            (Status::Crashed, format!("the process ended: {how} {stderr}").trim().into(), None)
        }
    };
    Examined { adapter, verdict: Verdict::of([status]), status, message, probe }
}

impl Examination {
    /// As JSON, with what identifies a person blanked.
    pub fn to_json(&self, redactor: &Redactor) -> String {
        serde_json::to_string_pretty(&self.redacted(redactor)).expect("plain data")
    }

    /// With what identifies a person blanked, wherever a path or a name can come from outside.
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        let mut all = self.clone();
        all.tool.redact(redactor);
        redactor.blank(&mut all.config);
        all.missing.iter_mut().for_each(|(_, reason)| redactor.blank(reason));
        all.devices.iter_mut().for_each(|device| redactor.blank(&mut device.message));
        all.fits.iter_mut().for_each(|fit| redactor.blank(&mut fit.model));
        for finding in &mut all.findings {
            redactor.blank(&mut finding.evidence);
            finding.remedy.iter_mut().for_each(|remedy| redactor.blank(remedy));
        }
        all
    }

    /// Code with which the program ends: 0 every device works, 1 one does not, 3 there is none but the
    /// processor, 4 the tester went wrong, 124 one did not answer in time.
    pub fn exit_code(&self) -> u8 {
        let any = |wanted: fn(Status) -> bool| self.devices.iter().any(|d| wanted(d.status));
        if any(Status::is_fault) {
            1
        } else if any(|status| status == Status::HarnessError) || self.devices.is_empty() {
            4
        } else if any(|status| status == Status::Timeout) {
            124
        } else if self.devices.iter().all(|device| device.adapter.api == "cpu") {
            3
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests;
