//! The side of a worker: one task a line in, one answer a line out, until the input ends.

use std::{
    io::{BufRead, Write},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{
    cases, differences, measure, model_check,
    outcome::Outcome,
    perf,
    target::Target,
    validate,
    work::{Adapter, CaseDone, CaseId, Done, Probe, SupportDone, SupportLevel, Work},
};
use crate::{
    backend::{Backend, SharedBackend, Support, cpu::Cpu},
    engine::{DeviceForm, cuda_adapters, list_adapters},
    error::Result,
    ops::Op,
};

/// Begins each answer, so that what drivers print on stdout is told apart.
pub(super) const MARK: &str = "coppice-answer ";

/// A task with the device to do it on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The device.
    pub target: Target,
    /// The task.
    pub work: Work,
}

/// Answers tasks until `input` ends.
///
/// # Errors
/// Those of the streams.
pub fn serve(input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
    let mut bench = Workbench::default();
    for line in input.lines() {
        let done = match serde_json::from_str::<Task>(&line?) {
            Ok(task) => bench.run(&task),
            Err(error) => Done::Error {
                message: format!("no task: {error}"),
                lost: false,
                unsupported: false,
            },
        };
        writeln!(output, "{MARK}{}", serde_json::to_string(&done)?)?;
        output.flush()?;
    }
    Ok(())
}

/// Opened devices; they stay open from task to task.
#[derive(Default)]
pub struct Workbench {
    open: Vec<(Target, SharedBackend)>,
}

impl Workbench {
    /// Does a task in this process.
    pub fn run(&mut self, task: &Task) -> Done {
        match self.answer(task) {
            Ok(done) => done,
            Err(error) => Done::error(&error),
        }
    }

    fn open(&mut self, target: &Target) -> Result<SharedBackend> {
        if let Some((_, device)) = self.open.iter().find(|(of, _)| of == target) {
            return Ok(device.clone());
        }
        let device = target.open()?;
        self.open.push((target.clone(), device.clone()));
        Ok(device)
    }

    fn answer(&mut self, task: &Task) -> Result<Done> {
        let target = &task.target;
        Ok(match &task.work {
            Work::List => list(target.threads)?,
            Work::Probe => {
                let started = Instant::now();
                let device = self.open(target)?;
                Done::Probe(probe(&*device, started.elapsed().as_secs_f64() * 1e3)?)
            }
            Work::Case { case, against } => {
                let device = self.open(target)?;
                let other = against.as_ref().map(|other| self.open(other)).transpose()?;
                Done::Case(run_case(case, &*device, other.as_deref())?)
            }
            Work::Support => Done::Support(support(&*self.open(target)?)),
            Work::Time { case, full } => {
                Done::Timing(perf::time(case, *full, &*self.open(target)?)?)
            }
            Work::Peaks => {
                let device = self.open(target)?;
                let latency = perf::latency(&*device)?;
                Done::Peaks { peaks: device.peaks()?, latency }
            }
            Work::Curve { context } => Done::Curve(perf::curve(self.open(target)?, *context)?),
            Work::Model { method } => Done::Model(model_check::run(target, *method)?),
        })
    }
}

fn list(threads: Option<usize>) -> Result<Done> {
    let adapters = list_adapters(threads)?;
    let cuda = cuda_adapters().err().map(|reason| ("cuda".to_owned(), reason));
    let mut missing: Vec<(String, String)> = cuda.into_iter().collect();
    if !adapters.iter().any(|report| report.selector.starts_with("wgpu")) {
        let reason = if cfg!(feature = "wgpu") {
            "wgpu finds no Vulkan, Metal or Direct3D 12 adapter"
        } else {
            "this build lacks the feature `wgpu`"
        };
        missing.push(("wgpu".into(), reason.into()));
    }
    let adapters = adapters.iter().map(|report| {
        let details = report.details.clone();
        Adapter {
            selector: report.selector.clone(),
            name: report.name.clone(),
            api: report.api.clone(),
            driver: report.driver.clone(),
            kind: report.kind.name().into(),
            is_software: report.is_software(),
            tier: report.tier.name().into(),
            f16: report.f16,
            subgroup: report.subgroup,
            max_buffer_bytes: report.max_buffer_bytes,
            max_binding_bytes: report.max_binding_bytes,
            workgroup_memory_bytes: report.workgroup_memory_bytes,
            vendor: details.vendor.map(|id| format!("{id:#06x}")),
            device: details.device.map(|id| format!("{id:#06x}")),
            pci: details.pci,
            features: details.features,
            limits: details.limits,
            forms: DeviceForm::all(report).iter().map(DeviceForm::to_string).collect(),
        }
    });
    Ok(Done::Adapters { adapters: adapters.collect(), missing })
}

/// The smallest proof that a device works: a real kernel, read back and judged.
const PROBE: &str = "rms_norm(m=5, d=576, gap=0)";

fn probe(device: &dyn Backend, open_ms: f64) -> Result<Probe> {
    let case = CaseId::Named(PROBE.into()).case()?;
    let reference = Cpu::reference();
    let mut times = [0.0; 2];
    let mut outcome = Outcome::Pass;
    for time in &mut times {
        let started = Instant::now();
        if outcome == Outcome::Pass {
            outcome = measure(&case, device, &reference).outcome;
        }
        *time = started.elapsed().as_secs_f64() * 1e3;
    }
    let name = device.adapter().to_string();
    Ok(Probe { name, open_ms, first_ms: times[0], again_ms: times[1], outcome })
}

fn run_case(id: &CaseId, device: &dyn Backend, other: Option<&dyn Backend>) -> Result<CaseDone> {
    let case = id.case()?;
    let reference = Cpu::reference();
    let started = Instant::now();
    let name = case.name.clone();
    if device.adapter().is_validation_only() {
        let outcome = validate(&case, device);
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let (numbers, differences) = (Vec::new(), Vec::new());
        return Ok(CaseDone { name, outcome, variant: String::new(), numbers, differences, ms });
    }
    let mut run = measure(&case, device, &reference);
    let mut between = Vec::new();
    if let (Some(other), Outcome::Pass) = (other, &run.outcome) {
        match differences(&case, device, other) {
            Ok(found) => between = found,
            Err(Outcome::Unsupported { .. }) => {}
            Err(outcome) => run.outcome = outcome,
        }
    }
    let ms = started.elapsed().as_secs_f64() * 1e3;
    Ok(CaseDone {
        name,
        outcome: run.outcome,
        variant: run.variant,
        numbers: run.numbers,
        differences: between,
        ms,
    })
}

/// Support of each op, from all of its cases.
fn support(device: &dyn Backend) -> Vec<SupportDone> {
    let all = cases();
    let of = |op: &&str| {
        let mut notes: Vec<String> = Vec::new();
        let (mut run, mut count, mut split) = (0, 0, false);
        for case in all.iter().filter(|case| case.op == *op) {
            count += 1;
            let ops = match super::ops(case, device) {
                Ok(ops) => ops,
                Err(error) => {
                    notes.push(error.to_string());
                    continue;
                }
            };
            let mut whole = true;
            for op in &ops {
                match device.support(op) {
                    Support::Native { variant } => notes.push(variant.into()),
                    Support::Split { .. } => split = true,
                    Support::No { reason } => {
                        whole = false;
                        notes.push(reason);
                    }
                }
            }
            run += usize::from(whole);
        }
        let level = match (run, split) {
            (0, _) => SupportLevel::No,
            _ if run < count => SupportLevel::Part,
            (_, true) => SupportLevel::Split,
            (_, false) => SupportLevel::Native,
        };
        notes.sort();
        notes.dedup();
        SupportDone { op: (*op).into(), level, cases: (run, count), notes }
    };
    Op::NAMES.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DeviceSpec;

    fn ask(work: Work) -> Done {
        let task = Task { target: Target::new(DeviceSpec::Cpu), work };
        let line = serde_json::to_string(&task).expect("plain data");
        let mut out = Vec::new();
        serve(line.as_bytes(), &mut out).expect("streams in memory");
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        let answer = text.trim_end().strip_prefix(MARK).expect("marked");
        serde_json::from_str(answer).expect("an answer")
    }

    #[test]
    fn tasks_are_answered_over_streams() {
        let Done::Adapters { adapters, .. } = ask(Work::List) else { panic!("a list") };
        assert!(adapters.iter().any(|adapter| adapter.selector == "cpu"));
        let Done::Probe(probe) = ask(Work::Probe) else { panic!("a probe") };
        assert_eq!(probe.outcome, Outcome::Pass);
        let case = CaseId::Named("add(m=1, c=1, gap=0)".into());
        let Done::Case(done) = ask(Work::Case { case, against: None }) else { panic!("a case") };
        assert_eq!((done.outcome, done.variant.is_empty()), (Outcome::Pass, false));
        let Done::Support(ops) = ask(Work::Support) else { panic!("support") };
        assert!(ops.len() == Op::NAMES.len() && ops.iter().all(|op| op.cases.1 > 0));
    }

    #[test]
    fn what_is_no_task_is_answered_too() {
        let mut out = Vec::new();
        serve("nonsense\n{}\n".as_bytes(), &mut out).expect("streams in memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text.lines().filter(|line| line.contains("no task")).count(), 2);
    }

    #[test]
    fn two_devices_are_compared_bit_for_bit() {
        let case = CaseId::Named("rms_norm(m=5, d=576, gap=0)".into());
        let against = Some(Target::new(DeviceSpec::Reference));
        let Done::Case(done) = ask(Work::Case { case, against }) else { panic!("a case") };
        let [difference] = &done.differences[..] else { panic!("one output: {done:?}") };
        assert_eq!((difference.operand.as_str(), difference.elements), ("y", 5 * 576));
        assert!(difference.worst_of_bound.is_some_and(|share| share <= 2.0));
    }
}
