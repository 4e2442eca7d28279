//! `coppice gpu-test`: the op table on every device.

use std::{io::Write as _, process::ExitCode};

use serde::Serialize;

use super::{FAILED, high, low, term::Term};
use crate::{
    backend::cpu::Cpu,
    check::{Outcome, Report, cases, run},
    engine::{DeviceSpec, list_adapters, open_variants},
    error::Error,
};

#[derive(Serialize)]
struct Summary {
    schema: u32,
    passed: usize,
    failed: usize,
    unsupported: usize,
    devices: Vec<Report>,
}

pub(super) fn main(args: &low::GpuTest, term: &Term) -> anyhow::Result<ExitCode> {
    let wanted = |name: &str, op: &str| {
        args.op.as_deref().is_none_or(|wanted| wanted == op)
            && args.case.as_deref().is_none_or(|text| name.contains(text))
    };
    let selected: Vec<_> = cases().into_iter().filter(|case| wanted(&case.name, case.op)).collect();
    let mut stdout = std::io::stdout().lock();
    if args.list {
        for case in &selected {
            writeln!(stdout, "{}", case.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if selected.is_empty() {
        return Err(Error::Invalid {
            message: "no case is selected".into(),
            hint: Some("`coppice gpu-test --list` prints all".into()),
        }
        .into());
    }
    let threads = high::threads(args.threads)?;
    let devices: Vec<DeviceSpec> = match &args.device {
        Some(name) => vec![name.parse()?],
        None => list_adapters(threads)?
            .iter()
            .filter(|report| report.selector != "reference")
            .map(|report| report.selector.parse())
            .collect::<Result<_, _>>()?,
    };
    let reference = Cpu::reference();
    let mut reports = Vec::new();
    for spec in devices {
        for (label, backend) in open_variants(spec, threads)? {
            term.detail(&format!("{label}: {} cases", selected.len()));
            let mut report = Report { adapter: label.clone(), results: Vec::new() };
            for case in &selected {
                let outcome = run(case, &*backend, &reference);
                if !args.json && outcome != Outcome::Pass {
                    writeln!(stdout, "[{label}] {}: {outcome}", case.name)?;
                }
                let lost = matches!(outcome, Outcome::Lost { .. });
                report.results.push((case.name.clone(), outcome));
                if lost {
                    break;
                }
            }
            if !args.json {
                let failed = report.results.len() - report.passed() - report.unsupported();
                writeln!(
                    stdout,
                    "[{label}] {} passed, {failed} failed, {} unsupported",
                    report.passed(),
                    report.unsupported()
                )?;
            }
            reports.push(report);
        }
    }
    let ok = reports.iter().all(Report::is_ok);
    if args.json {
        let sum = |f: fn(&Report) -> usize| reports.iter().map(f).sum::<usize>();
        let (all, passed) = (sum(|r| r.results.len()), sum(Report::passed));
        let unsupported = sum(Report::unsupported);
        let summary = Summary {
            schema: 1,
            passed,
            failed: all - passed - unsupported,
            unsupported,
            devices: reports,
        };
        writeln!(stdout, "{}", serde_json::to_string(&summary)?)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
