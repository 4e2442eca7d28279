//! A run under way: the tasks of each device, and what becomes of their answers.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::{Event, Plan};
use crate::{
    backend::Peaks,
    check::{
        Case,
        expect::{self, Excuse, Who, status_of},
        fuzz,
        isolate::{Ran, Runner},
        outcome::Outcome,
        perf,
        report::{
            DeviceCurve, DeviceSupport, Measured, Record, Report, Status, Suite, Tested, Verdict,
            compare,
        },
        target::Target,
        work::{Adapter, CaseId, Done, Work},
    },
    engine::{DeviceForm, DeviceSpec},
    error::Result,
    spec::Method,
};

/// Attempts at a measurement that seems slower than an earlier one: a neighbour's load passes.
const RETRIES: usize = 3;
/// Contexts of the verify curve.
const CONTEXTS: [usize; 2] = [64, 1024];
/// Cases beside which a device is given up that hangs, crashes or is lost each time.
const MOST_BAD_ENDS: usize = 12;

/// What a run knows while it goes on.
pub(super) struct Running<'a> {
    pub plan: &'a Plan,
    pub runner: &'a mut dyn Runner,
    pub cancel: &'a AtomicBool,
    pub on_event: &'a mut dyn FnMut(Event<'_>),
    pub report: Report,
    /// Ops and names of the selected cases.
    pub names: Vec<(String, String)>,
    pub done: usize,
    pub total: usize,
    /// Hangs, crashes and losses in a row on the present target.
    pub bad_ends: usize,
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
    pub fn tasks(&self, adapter: &Adapter) -> usize {
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
        let wanted = |case: &Case| {
            let op = self.plan.ops.is_empty() || self.plan.ops.iter().any(|op| op == case.op);
            op && self.plan.case.as_ref().is_none_or(|text| case.name.contains(text))
        };
        perf::cases(self.plan.full).into_iter().filter(wanted).map(|case| case.name).collect()
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    pub fn device(&mut self, spec: DeviceSpec, adapter: &Adapter) -> Result<()> {
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
    fn time(&mut self, target: &Target, case: &str, peaks: Option<&Peaks>) -> Option<Record> {
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
