//! A whole run: which devices, which modes, in which order, and the report of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

mod devices;
mod running;

use super::{
    cases,
    expect::{self, Expected},
    isolate::Runner,
    report::{
        Host, Record, Report, SCHEMA_VERSION, Settings, Status, Suite, Summary, Tool, compare, now,
    },
    target::Target,
    work::CaseId,
};
use crate::{
    engine::{DeviceForm, DeviceSpec},
    error::{Error, Result},
};
use running::Running;

/// What to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Whether results are right.
    pub correctness: bool,
    /// How fast ops are.
    pub perf: bool,
    /// Which ops run at all.
    pub support: bool,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to look at.
    pub modes: Modes,
    /// Devices; all but the reference if absent.
    pub devices: Option<Vec<DeviceSpec>>,
    /// Only devices of this API, such as `vulkan`.
    pub api: Option<String>,
    /// Only this form of the devices.
    pub form: Option<DeviceForm>,
    /// Only these ops; all if empty.
    pub ops: Vec<String>,
    /// Only cases whose name contains this.
    pub case: Option<String>,
    /// Every form of each device and real shapes.
    pub full: bool,
    /// Limit of each task.
    pub limit: Duration,
    /// Threads of the CPU device.
    pub threads: Option<usize>,
    /// Random cases a device, and their seed.
    pub fuzz: usize,
    /// Seed of random cases.
    pub seed: u64,
    /// Only this drawn case.
    pub replay: Option<CaseId>,
    /// Another device to compare each case with.
    pub against: Option<DeviceSpec>,
    /// Known failures.
    pub expect: Vec<Expected>,
    /// An earlier report to compare measurements with.
    pub baseline: Option<Report>,
    /// A fault to plant in every device: for tests of the tester.
    pub fault: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            modes: Modes { correctness: true, ..Modes::default() },
            devices: None,
            api: None,
            form: None,
            ops: Vec::new(),
            case: None,
            full: false,
            limit: Duration::from_secs(60),
            threads: None,
            fuzz: 0,
            seed: 0,
            replay: None,
            against: None,
            expect: expect::known(),
            baseline: None,
            fault: None,
        }
    }
}

/// What happens in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A task begins: so many are done, of so many known of now, and its words.
    Task {
        /// Tasks done.
        done: usize,
        /// Tasks known of.
        total: usize,
        /// The device.
        target: &'a Target,
        /// The task.
        name: &'a str,
    },
    /// Something was tried.
    Record(&'a Record),
}

/// Runs a plan; each task is done by `runner`.
///
/// # Errors
/// A selection that nothing matches ([`Error::Invalid`]), a device that does not exist
/// ([`BackendError::NoAdapter`](crate::backend::BackendError::NoAdapter)), and a runner that cannot even list devices.
pub fn run(
    plan: &Plan,
    runner: &mut dyn Runner,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Report> {
    let started = Instant::now();
    let names = plan.selected()?;
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        host: Host::this(),
        started: now(),
        seconds: 0.0,
        interrupted: false,
        settings: plan.settings(),
        adapters: Vec::new(),
        missing: Vec::new(),
        records: Vec::new(),
        perf: Vec::new(),
        verify_curves: Vec::new(),
        support: Vec::new(),
        baseline: None,
        summary: Summary::default(),
    };
    let (adapters, missing) = devices::adapters(plan, runner)?;
    report.missing = missing;
    let mut run =
        Running { plan, runner, cancel, on_event, report, names, done: 0, total: 0, bad_ends: 0 };
    run.total = adapters.iter().map(|(_, adapter)| run.tasks(adapter)).sum();
    for (spec, adapter) in &adapters {
        run.device(*spec, adapter)?;
    }
    let mut report = run.report;
    report.interrupted = cancel.load(Ordering::Relaxed);
    if let Some(baseline) = &plan.baseline {
        let comparison = compare(baseline, &report);
        for change in comparison.regressions() {
            let mut record = Record::of(Suite::Baseline, &change.device, "usual", &change.case);
            record.status = Status::Failed;
            record.message = format!(
                "{:.2} µs, was {:.2} µs: {:.2} times as long",
                change.after_us, change.before_us, change.ratio
            );
            (run.on_event)(Event::Record(&record));
            report.records.push(record);
        }
        report.baseline = Some(comparison);
    }
    report.seconds = started.elapsed().as_secs_f64();
    report.conclude();
    Ok(report)
}

impl Plan {
    /// Names of the cases that are asked for.
    fn selected(&self) -> Result<Vec<(String, String)>> {
        let all = cases();
        if let Some(op) = self.ops.iter().find(|op| !all.iter().any(|case| case.op == **op)) {
            return Err(Error::Invalid {
                message: format!("there is no op `{op}`"),
                hint: Some("`coppice gpu-test --list` prints all cases".into()),
            });
        }
        let selected: Vec<(String, String)> = all
            .into_iter()
            .filter(|case| self.ops.is_empty() || self.ops.iter().any(|op| op == case.op))
            .filter(|case| self.case.as_ref().is_none_or(|text| case.name.contains(text)))
            .map(|case| (case.op.to_owned(), case.name))
            .collect();
        if selected.is_empty() {
            return Err(Error::Invalid {
                message: "no case is selected".into(),
                hint: Some("`coppice gpu-test --list` prints all".into()),
            });
        }
        Ok(selected)
    }

    fn settings(&self) -> Settings {
        let Modes { correctness, perf, support } = self.modes;
        let modes = [(correctness, "correctness"), (perf, "perf"), (support, "support")];
        Settings {
            modes: modes.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).into()).collect(),
            full: self.full,
            timeout_s: self.limit.as_secs_f64(),
            seed: self.seed,
            fuzz: self.fuzz,
        }
    }

    fn whole_table(&self) -> bool {
        self.ops.is_empty() && self.case.is_none() && self.replay.is_none()
    }
}

impl Record {
    fn of(suite: Suite, device: &str, form: &str, name: &str) -> Self {
        Self {
            suite,
            device: device.into(),
            form: form.into(),
            op: name.split('(').next().unwrap_or_default().into(),
            name: name.into(),
            status: Status::Passed,
            message: String::new(),
            failure: None,
            expected: None,
            variant: String::new(),
            numbers: Vec::new(),
            differences: Vec::new(),
            ms: 0.0,
            replay: None,
        }
    }
}
