//! A whole run: which devices, which modes, in which order, and the report of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::{
    cases,
    expect::{self, Excuse, Expected, Who, status_of},
    fuzz,
    isolate::{Ran, Runner},
    outcome::Outcome,
    perf,
    report::{
        DeviceCurve, DeviceSupport, Host, Measured, Record, Report, SCHEMA_VERSION, Settings,
        Status, Suite, Summary, Tested, Tool, Verdict, compare, now,
    },
    target::Target,
    work::{Adapter, CaseId, Done, Work},
};
use crate::{
    engine::{DeviceForm, DeviceSpec},
    error::{Error, Result},
    spec::Method,
};

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

/// Attempts at a measurement that seems slower than an earlier one: a neighbour's load passes.
const RETRIES: usize = 3;
/// Contexts of the verify curve.
const CONTEXTS: [usize; 2] = [64, 1024];
/// Cases beside which a device is given up that hangs, crashes or is lost each time.
const MOST_BAD_ENDS: usize = 12;

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
    let (adapters, missing) = adapters(plan, runner)?;
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

/// Devices of the plan with what they say of themselves, and why an API has none.
#[allow(clippy::type_complexity, reason = "devices, and APIs with reasons")]
fn adapters(
    plan: &Plan,
    runner: &mut dyn Runner,
) -> Result<(Vec<(DeviceSpec, Adapter)>, Vec<(String, String)>)> {
    let nowhere = Target { threads: plan.threads, ..Target::new(DeviceSpec::Reference) };
    let (all, missing) = match runner.run(&nowhere, &Work::List, plan.limit) {
        Ran::Done(Done::Adapters { adapters, missing }) => (adapters, missing),
        Ran::Done(Done::Error { message, .. }) => return Err(Error::invalid(message)),
        Ran::Done(_) => return Err(Error::invalid("the worker does not list devices")),
        Ran::Timeout => (processor_only(plan)?, vec![hung(plan)]),
        Ran::Crashed { how, stderr } => {
            let reason = format!("listing the adapters ended the process ({how}) {stderr}");
            (processor_only(plan)?, vec![("wgpu".into(), reason)])
        }
    };
    // A software driver must be asked for by its number.
    let first = |api: &str| all.iter().find(|a| a.selector.starts_with(api) && !a.is_software);
    let found = |spec: DeviceSpec| -> Result<(DeviceSpec, Adapter)> {
        if spec == DeviceSpec::Noop {
            let adapter = Adapter {
                selector: "noop".into(),
                name: "wgpu's validation".into(),
                api: "noop".into(),
                kind: "validation".into(),
                forms: vec!["usual".into()],
                ..Adapter::default()
            };
            return Ok((spec, adapter));
        }
        let wanted = match spec {
            DeviceSpec::Wgpu(None) => first("wgpu"),
            DeviceSpec::Cuda(None) => first("cuda"),
            DeviceSpec::Auto => first("cuda").or_else(|| first("wgpu")).or_else(|| first("cpu")),
            _ => all.iter().find(|a| a.selector == spec.to_string()),
        };
        let Some(adapter) = wanted else {
            let reasons = missing.iter().map(|(api, reason)| format!("{api}: {reason}"));
            let names: Vec<&str> = all.iter().map(|a| a.selector.as_str()).collect();
            let reason = reasons.chain([format!("there are {}", names.join(", "))]);
            return Err(crate::backend::BackendError::NoAdapter {
                wanted: spec.to_string(),
                reason: reason.collect::<Vec<_>>().join("; "),
            }
            .into());
        };
        Ok((adapter.selector.parse()?, adapter.clone()))
    };
    let chosen: Vec<(DeviceSpec, Adapter)> = match &plan.devices {
        Some(specs) => specs.iter().map(|spec| found(*spec)).collect::<Result<_>>()?,
        None => all
            .iter()
            .filter(|adapter| adapter.selector != "reference")
            .map(|adapter| Ok((adapter.selector.parse()?, adapter.clone())))
            .collect::<Result<_>>()?,
    };
    let of_api = |adapter: &Adapter| {
        plan.api.as_ref().is_none_or(|api| adapter.api.eq_ignore_ascii_case(api))
    };
    let chosen: Vec<_> = chosen.into_iter().filter(|(_, adapter)| of_api(adapter)).collect();
    match (&plan.api, chosen.is_empty()) {
        (Some(api), true) => Err(crate::backend::BackendError::NoAdapter {
            wanted: api.clone(),
            reason: "no device has that API".into(),
        }
        .into()),
        _ => Ok((chosen, missing)),
    }
}

fn hung(plan: &Plan) -> (String, String) {
    let reason = format!("listing the adapters did not end within {} s", plan.limit.as_secs());
    ("wgpu".into(), reason)
}

/// What there is where the graphics drivers cannot even be listed.
fn processor_only(plan: &Plan) -> Result<Vec<Adapter>> {
    let device = crate::engine::open_device(DeviceSpec::Cpu, plan.threads)?;
    let report = device.adapter();
    let forms = DeviceForm::all(report).iter().map(DeviceForm::to_string).collect();
    Ok(vec![Adapter {
        selector: "cpu".into(),
        name: report.name.clone(),
        api: "cpu".into(),
        driver: report.driver.clone(),
        kind: report.kind.name().into(),
        tier: report.tier.name().into(),
        forms,
        ..Adapter::default()
    }])
}

struct Running<'a> {
    plan: &'a Plan,
    runner: &'a mut dyn Runner,
    cancel: &'a AtomicBool,
    on_event: &'a mut dyn FnMut(Event<'_>),
    report: Report,
    /// Ops and names of the selected cases.
    names: Vec<(String, String)>,
    done: usize,
    total: usize,
    /// Hangs, crashes and losses in a row on the present target.
    bad_ends: usize,
}

impl Running<'_> {
    fn forms(&self, adapter: &Adapter) -> Vec<DeviceForm> {
        let forms = adapter.forms.iter().filter_map(|form| form.parse().ok());
        match (&self.plan.form, self.plan.full) {
            (Some(wanted), _) => forms.filter(|form| form == wanted).collect(),
            (None, true) => forms.collect(),
            (None, false) => forms.take(1).collect(),
        }
    }

    /// Tasks of a device, for the progress bar.
    fn tasks(&self, adapter: &Adapter) -> usize {
        let plan = self.plan;
        let mut tasks = 1;
        if plan.modes.correctness {
            let table = match (&plan.replay, plan.fuzz) {
                (Some(_), _) => 1,
                (None, 0) => self.names.len(),
                (None, n) => n,
            };
            tasks += table * self.forms(adapter).len();
            if plan.whole_table() && plan.fuzz == 0 {
                tasks += Method::ALL.len();
            }
        }
        if plan.modes.perf && adapter.kind != "validation" {
            tasks += self.timed().len() + 1 + CONTEXTS.len();
        }
        tasks + usize::from(plan.modes.support)
    }

    fn timed(&self) -> Vec<String> {
        let wanted = |case: &super::Case| {
            let op = self.plan.ops.is_empty() || self.plan.ops.iter().any(|op| op == case.op);
            op && self.plan.case.as_ref().is_none_or(|text| case.name.contains(text))
        };
        perf::cases(self.plan.full).into_iter().filter(wanted).map(|case| case.name).collect()
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn device(&mut self, spec: DeviceSpec, adapter: &Adapter) -> Result<()> {
        let same = |tested: &&Tested| {
            adapter.pci.is_some()
                && tested.adapter.pci == adapter.pci
                && tested.adapter.vendor == adapter.vendor
        };
        let same_hardware_as =
            self.report.adapters.iter().find(same).map(|t| t.adapter.selector.clone());
        self.report.adapters.push(Tested {
            adapter: adapter.clone(),
            verdict: Verdict::Untested,
            same_hardware_as,
            peaks: None,
            latency: None,
        });
        let plan = self.plan;
        let target =
            Target { threads: plan.threads, fault: plan.fault.clone(), ..Target::new(spec) };
        if plan.modes.support {
            self.support(&target, adapter);
        }
        if plan.modes.correctness {
            for form in self.forms(adapter) {
                self.bad_ends = 0;
                let target = target.in_form(form);
                match (&plan.replay, plan.fuzz) {
                    (Some(case), _) => self.case(&target, adapter, case, Suite::Fuzz),
                    (None, 0) => {
                        for (_, name) in self.names.clone() {
                            self.case(&target, adapter, &CaseId::Named(name), Suite::Table);
                        }
                    }
                    (None, n) => {
                        for case in (0..n).filter_map(|i| fuzz::drawn(&plan.ops, plan.seed, i)) {
                            self.case(&target, adapter, &case, Suite::Fuzz);
                        }
                    }
                }
            }
            if plan.whole_table() && plan.fuzz == 0 && adapter.kind != "validation" {
                self.models(&target, adapter);
            }
        }
        if plan.modes.perf && adapter.kind != "validation" {
            self.bad_ends = 0;
            self.perf(&target, adapter);
        }
        Ok(())
    }

    /// Runs a task, unless the user has stopped or the device was given up.
    fn task(&mut self, target: &Target, work: &Work, name: &str) -> Option<Ran> {
        self.done += 1;
        if self.cancelled() || self.bad_ends >= MOST_BAD_ENDS {
            return None;
        }
        let (done, total) = (self.done - 1, self.total.max(self.done));
        (self.on_event)(Event::Task { done, total, target, name });
        let ran = self.runner.run(target, work, self.plan.limit);
        // Ctrl-C ends the worker as well.
        if self.cancelled() {
            return None;
        }
        match ran {
            Ran::Timeout | Ran::Crashed { .. } => self.bad_ends += 1,
            Ran::Done(_) => self.bad_ends = 0,
        }
        Some(ran)
    }

    /// Judges a record by the known failures and keeps it.
    fn keep(&mut self, mut record: Record, adapter: &Adapter) {
        let who = Who::of(adapter, &record.form);
        let excuse = expect::judge(
            &self.plan.expect,
            &who,
            &record.op,
            &record.name,
            record.status,
            &record.message,
        );
        match excuse {
            Excuse::None => {}
            Excuse::Expected(reason) => {
                record.status = Status::ExpectedFailure;
                record.expected = Some(reason);
            }
            Excuse::UnexpectedPass(reason) => {
                record.status = Status::UnexpectedPass;
                record.message = format!("it is listed as failing: {reason}");
            }
        }
        (self.on_event)(Event::Record(&record));
        self.report.records.push(record);
        if self.bad_ends == MOST_BAD_ENDS {
            let last = self.report.records.last().expect("pushed above");
            let mut given_up = Record::of(last.suite, &last.device, &last.form, "given up");
            given_up.status = Status::HarnessError;
            given_up.message =
                format!("{MOST_BAD_ENDS} cases in a row ended badly; the rest was not run");
            (self.on_event)(Event::Record(&given_up));
            self.report.records.push(given_up);
        }
    }

    fn case(&mut self, target: &Target, adapter: &Adapter, id: &CaseId, suite: Suite) {
        let Some(record) = self.run_case(target, id, suite) else { return };
        let bad = record.status.is_fault() || record.status == Status::Timeout;
        let drawn = matches!(id, CaseId::Drawn { .. });
        if !(bad && drawn && self.plan.replay.is_none()) {
            return self.keep(record, adapter);
        }
        // Wrong in the same way: a smaller case that is wrong in another is another finding.
        let same = |other: &Record| {
            let check = |r: &Record| r.failure.as_ref().map(|failure| failure.check);
            other.status == record.status && check(other) == check(&record)
        };
        let mut smallest = record.clone();
        let small = fuzz::shrink(id, |candidate| match self.run_case(target, candidate, suite) {
            Some(other) if same(&other) => {
                smallest = other;
                true
            }
            _ => false,
        });
        smallest.replay = Some(self.replay(target, &small));
        smallest.message = format!("{} (shrunk from {})", smallest.message, record.name);
        self.bad_ends = 0;
        self.keep(smallest, adapter);
    }

    fn replay(&self, target: &Target, case: &CaseId) -> String {
        let form = match &target.form {
            DeviceForm::Usual => String::new(),
            form => format!(" --form {form}"),
        };
        match case {
            CaseId::Named(name) => {
                format!("coppice gpu-test --device {}{form} --case '{name}'", target.device)
            }
            CaseId::Drawn { .. } => {
                format!("coppice gpu-test --device {}{form} --replay {case}", target.device)
            }
        }
    }

    fn run_case(&mut self, target: &Target, id: &CaseId, suite: Suite) -> Option<Record> {
        let name = match id {
            CaseId::Named(name) => name.clone(),
            CaseId::Drawn { .. } => id.case().map_or_else(|_| id.to_string(), |case| case.name),
        };
        let other = |spec| Target { threads: self.plan.threads, ..Target::new(spec) };
        let work = Work::Case { case: id.clone(), against: self.plan.against.map(other) };
        let started = Instant::now();
        let ran = self.task(target, &work, &name)?;
        let mut record =
            Record::of(suite, &target.device.to_string(), &target.form.to_string(), &name);
        record.ms = started.elapsed().as_secs_f64() * 1e3;
        match ran {
            Ran::Done(Done::Case(done)) => {
                record.status = status_of(&done.outcome);
                record.message = match &done.outcome {
                    Outcome::Pass => String::new(),
                    Outcome::Unsupported { reason } => reason.clone(),
                    outcome => outcome.to_string(),
                };
                if let Outcome::Fail(failure) = done.outcome {
                    record.failure = Some(*failure);
                }
                record.ms = done.ms;
                record.variant = done.variant;
                record.numbers = done.numbers;
                record.differences = done.differences;
            }
            other => self.badly(&mut record, other),
        }
        if !record.status.is_fine() {
            record.replay = Some(self.replay(target, id));
        }
        Some(record)
    }

    /// What an end without the wanted answer means.
    fn badly(&self, record: &mut Record, ran: Ran) {
        (record.status, record.message) = match ran {
            Ran::Timeout => {
                let limit = self.plan.limit.as_secs_f64();
                (Status::Timeout, format!("no end within {limit} s; the process was ended"))
            }
            Ran::Crashed { how, stderr } if stderr.is_empty() => {
                (Status::Crashed, format!("the process ended: {how}"))
            }
            Ran::Crashed { how, stderr } => {
                (Status::Crashed, format!("the process ended: {how}; it said: {stderr}"))
            }
            Ran::Done(Done::Error { message, lost: true, .. }) => (Status::DeviceLost, message),
            Ran::Done(Done::Error { message, unsupported: true, .. }) => (Status::Skipped, message),
            Ran::Done(Done::Error { message, .. }) => (Status::HarnessError, message),
            Ran::Done(other) => (Status::HarnessError, format!("another answer: {other:?}")),
        };
    }

    fn support(&mut self, target: &Target, adapter: &Adapter) {
        let Some(ran) = self.task(target, &Work::Support, "support") else { return };
        match ran {
            Ran::Done(Done::Support(ops)) => {
                let device = target.device.to_string();
                self.report.support.push(DeviceSupport { device, ops });
            }
            other => {
                let mut record = self.record(Suite::Probe, target, "support");
                self.badly(&mut record, other);
                self.keep(record, adapter);
            }
        }
    }

    fn record(&self, suite: Suite, target: &Target, name: &str) -> Record {
        Record::of(suite, &target.device.to_string(), &target.form.to_string(), name)
    }

    fn models(&mut self, target: &Target, adapter: &Adapter) {
        for method in Method::ALL {
            let name = format!("model({})", method.name());
            let started = Instant::now();
            let Some(ran) = self.task(target, &Work::Model { method }, &name) else { return };
            let mut record = self.record(Suite::Model, target, &name);
            record.ms = started.elapsed().as_secs_f64() * 1e3;
            match ran {
                Ran::Done(Done::Model(done)) => {
                    if let Some(fault) = done.fault() {
                        record.status = Status::Failed;
                        record.message = fault;
                    }
                }
                other => self.badly(&mut record, other),
            }
            self.keep(record, adapter);
        }
    }

    fn perf(&mut self, target: &Target, adapter: &Adapter) {
        let device = target.device.to_string();
        let mut peaks = None;
        if let Some(ran) = self.task(target, &Work::Peaks, "peaks") {
            let mut record = self.record(Suite::Perf, target, "peaks");
            match ran {
                Ran::Done(Done::Peaks { peaks: most, latency }) => {
                    peaks = Some(most);
                    let tested = self.report.adapters.last_mut().expect("pushed before");
                    (tested.peaks, tested.latency) = (Some(most), Some(latency));
                }
                other => self.badly(&mut record, other),
            }
            self.keep(record, adapter);
        }
        for case in self.timed() {
            let Some(record) = self.time(target, &case, peaks.as_ref()) else { return };
            self.keep(record, adapter);
        }
        if !self.plan.whole_table() {
            self.done += CONTEXTS.len();
            return;
        }
        for context in CONTEXTS {
            let name = format!("verify curve(context={context})");
            let Some(ran) = self.task(target, &Work::Curve { context }, &name) else { return };
            let mut record = self.record(Suite::Perf, target, &name);
            match ran {
                Ran::Done(Done::Curve(curve)) => {
                    self.report.verify_curves.push(DeviceCurve { device: device.clone(), curve });
                }
                other => self.badly(&mut record, other),
            }
            self.keep(record, adapter);
        }
    }

    /// Times a case; where it seems slower than in the earlier report, again, and the fastest counts.
    fn time(
        &mut self,
        target: &Target,
        case: &str,
        peaks: Option<&crate::backend::Peaks>,
    ) -> Option<Record> {
        let device = target.device.to_string();
        let full = self.plan.full;
        let mut record = self.record(Suite::Perf, target, case);
        for attempt in 0..=RETRIES {
            let work = Work::Time { case: case.into(), full };
            let started = Instant::now();
            let ran = self.task(target, &work, case)?;
            record.ms += started.elapsed().as_secs_f64() * 1e3;
            let timing = match ran {
                Ran::Done(Done::Timing(timing)) => timing,
                other => {
                    self.badly(&mut record, other);
                    return Some(record);
                }
            };
            record.variant.clone_from(&timing.variant);
            let measured = Measured::new(&device, timing, peaks);
            let same = |m: &Measured| m.device == device && m.timing.case == case;
            match self.report.perf.iter().position(same) {
                None => self.report.perf.push(measured),
                Some(at) => {
                    let before = &mut self.report.perf[at];
                    if measured.timing.level.us < before.timing.level.us {
                        *before = measured;
                    }
                }
            }
            let Some(baseline) = &self.plan.baseline else { break };
            let comparison = compare(baseline, &self.report);
            let slower = comparison.regressions().any(|c| c.device == device && c.case == case);
            if !slower || attempt == RETRIES {
                break;
            }
            // It is no step of the plan.
            self.done -= 1;
            std::thread::sleep(Duration::from_millis(300));
        }
        Some(record)
    }
}
