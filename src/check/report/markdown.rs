//! The report as Markdown, to paste into an issue.

use std::fmt::Write as _;

use super::{Record, Redactor, Report, Status};

/// Most findings that are listed; a driver that is wrong is often wrong a hundred times.
const MOST_FINDINGS: usize = 25;

/// `report` as Markdown, with what identifies a person blanked.
pub fn markdown(report: &Report, redactor: &Redactor) -> String {
    let report = &report.redacted(redactor);
    let mut out = String::from("# coppice gpu-test\n\n");
    let tool = &report.tool;
    let packages = tool.packages.iter().map(|(name, version)| format!("{name} {version}"));
    let _ = writeln!(
        out,
        "coppice {} ({}; {}), {}, {:.0} s{}\n",
        tool.version,
        tool.profile,
        packages.collect::<Vec<_>>().join(", "),
        report.started,
        report.seconds,
        if report.interrupted { ", **stopped early**" } else { "" }
    );
    let host = &report.host;
    let _ = writeln!(
        out,
        "{}, kernel {}, {}, {} ({} cores{}){}\n",
        host.os,
        host.kernel,
        host.arch,
        host.cpu,
        host.cores,
        host.load.map_or(String::new(), |load| format!(", load {load:.1}")),
        host.virtualisation.iter().fold(String::new(), |all, v| format!("{all}, {v}"))
    );
    settings(&mut out, report);
    devices(&mut out, report);
    findings(&mut out, report);
    left_out(&mut out, report);
    baseline(&mut out, report);
    peaks(&mut out, report);
    perf(&mut out, report);
    curves(&mut out, report);
    differences(&mut out, report);
    out
}

/// A table with escaped cells.
pub(super) fn table(
    out: &mut String,
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    let _ = writeln!(out, "| {} |\n|{}", header.join(" | "), "---|".repeat(header.len()));
    for row in rows {
        let cells: Vec<String> =
            row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

/// What was asked for, and what of the environment changes the answer.
fn settings(out: &mut String, report: &Report) {
    let words = report.tool.argv.iter().skip(1).map(String::as_str);
    let mut all = vec![format!("`coppice {}`", words.collect::<Vec<_>>().join(" "))];
    all.push(format!("limit of a case {} s", report.settings.timeout_s));
    all.extend(report.tool.environment.iter().map(|(name, value)| format!("`{name}={value}`")));
    let _ = writeln!(out, "{}\n", all.join(", "));
}

/// Cases that were skipped or excused for the same reason.
struct LeftOut<'a> {
    device: &'a str,
    status: Status,
    why: &'a str,
    ops: Vec<&'a str>,
    cases: usize,
}

/// Why cases were skipped or excused, each reason once.
fn left_out(out: &mut String, report: &Report) {
    let mut all: Vec<LeftOut<'_>> = Vec::new();
    let wanted = |r: &&Record| matches!(r.status, Status::Skipped | Status::ExpectedFailure);
    for record in report.records.iter().filter(wanted) {
        let (device, status) = (record.device.as_str(), record.status);
        let why = record.expected.as_deref().unwrap_or(&record.message);
        let same = |of: &LeftOut<'_>| (of.device, of.status, of.why) == (device, status, why);
        let at = all.iter().position(same).unwrap_or_else(|| {
            all.push(LeftOut { device, status, why, ops: Vec::new(), cases: 0 });
            all.len() - 1
        });
        all[at].cases += 1;
        if !all[at].ops.contains(&record.op.as_str()) {
            all[at].ops.push(&record.op);
        }
    }
    if all.is_empty() {
        return;
    }
    out.push_str("## Skipped or expected\n\n");
    let rows = all.into_iter().map(|of| {
        let status = of.status.name().to_owned();
        vec![of.device.into(), status, of.cases.to_string(), of.ops.join(", "), of.why.into()]
    });
    table(out, &["device", "status", "cases", "ops", "why"], rows);
}

fn devices(out: &mut String, report: &Report) {
    let rows = report.adapters.iter().map(|tested| {
        let a = &tested.adapter;
        let count = |wanted: &[Status]| {
            let own = report.records.iter().filter(|r| r.device == a.selector);
            own.filter(|r| wanted.contains(&r.status)).count().to_string()
        };
        vec![
            a.selector.clone(),
            format!("{} ({})", a.name, a.kind),
            format!("{} {}", a.api, a.driver),
            format!("**{}**", tested.verdict.name()),
            count(&[Status::Passed]),
            count(&[Status::Failed, Status::UnexpectedPass]),
            count(&[Status::Crashed, Status::DeviceLost, Status::Timeout, Status::HarnessError]),
            count(&[Status::Skipped]),
            count(&[Status::ExpectedFailure]),
        ]
    });
    let header = [
        "device",
        "name",
        "driver",
        "verdict",
        "passed",
        "failed",
        "ended badly",
        "skipped",
        "expected",
    ];
    table(out, &header, rows);
    for (api, reason) in &report.missing {
        let _ = writeln!(out, "No {api} device: {reason}\n");
    }
}

fn findings(out: &mut String, report: &Report) {
    let findings = &report.summary.findings;
    if findings.is_empty() {
        out.push_str("Nothing to report.\n\n");
        return;
    }
    let _ = writeln!(out, "## Findings ({})\n", findings.len());
    for finding in findings.iter().take(MOST_FINDINGS) {
        let _ = writeln!(out, "- {}", finding.replace('\n', " "));
    }
    if findings.len() > MOST_FINDINGS {
        let _ = writeln!(out, "- and {} more", findings.len() - MOST_FINDINGS);
    }
    out.push('\n');
    let replays = report.records.iter().filter(|r| !r.status.is_fine());
    let replays: Vec<&str> = replays.filter_map(|r| r.replay.as_deref()).take(5).collect();
    if !replays.is_empty() {
        let _ = writeln!(out, "```sh\n{}\n```\n", replays.join("\n"));
    }
}

fn baseline(out: &mut String, report: &Report) {
    let Some(comparison) = &report.baseline else { return };
    let _ = writeln!(
        out,
        "## Against the report of {}\n\n{}\n",
        comparison.started,
        comparison.describe()
    );
    let changed = comparison.changes.iter().filter(|change| change.matters);
    let rows: Vec<Vec<String>> = changed
        .map(|change| {
            vec![
                change.device.clone(),
                change.case.clone(),
                format!("{:.2}", change.before_us),
                format!("{:.2}", change.after_us),
                format!("{:.2}", change.ratio),
            ]
        })
        .collect();
    if !rows.is_empty() {
        table(out, &["device", "case", "before, µs", "now, µs", "ratio"], rows);
    }
}

fn peaks(out: &mut String, report: &Report) {
    let rows: Vec<Vec<String>> = report
        .adapters
        .iter()
        .filter_map(|tested| {
            let (peaks, latency) = (tested.peaks?, tested.latency?);
            let figure = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.1}"));
            Some(vec![
                tested.adapter.selector.clone(),
                figure(peaks.copy_gb_s),
                figure(peaks.f32_gflops),
                figure(peaks.f16_gflops),
                figure(peaks.int8_gops),
                figure(peaks.matrix_gflops),
                format!("{:.2}", latency.dispatch_us),
                format!("{:.0}", latency.sync_us),
                format!("{:.0}", latency.readback_us),
                format!("{:.1}", latency.upload_gb_s),
                format!("{:.1}", latency.download_gb_s),
            ])
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    out.push_str("## Peaks\n\n");
    let header = [
        "device",
        "copy, GB/s",
        "f32, GFLOP/s",
        "f16, GFLOP/s",
        "int8, Gop/s",
        "matrix, GFLOP/s",
        "dispatch, µs",
        "sync, µs",
        "readback, µs",
        "upload, GB/s",
        "download, GB/s",
    ];
    table(out, &header, rows);
}

fn perf(out: &mut String, report: &Report) {
    if report.perf.is_empty() {
        return;
    }
    out.push_str("## Speed\n\n");
    let rows = report.perf.iter().map(|perf| {
        let share = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.0} %", 100.0 * x));
        let time = &perf.timing.time;
        vec![
            perf.device.clone(),
            perf.timing.case.clone(),
            perf.timing.variant.clone(),
            format!("{:.2}", time.median_us),
            format!("{:.2}..{:.2}", time.p10_us, time.p90_us),
            format!("{:.2}", perf.gb_s),
            share(perf.share_of_copy),
            format!("{:.2}", perf.gflop_s),
            share(perf.share_of_arithmetic),
        ]
    });
    let header = [
        "device",
        "case",
        "kernel",
        "median, µs",
        "p10..p90",
        "GB/s",
        "of copy",
        "GFLOP/s",
        "of arithmetic",
    ];
    table(out, &header, rows);
}

fn curves(out: &mut String, report: &Report) {
    if report.verify_curves.is_empty() {
        return;
    }
    out.push_str(
        "## Verify curve\n\nTime of a step by the rows it verifies, over that of one row.\n\n",
    );
    const ROWS: [usize; 12] = [1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64];
    let header: Vec<String> = ["device", "context", "one row, ms"]
        .map(str::to_owned)
        .into_iter()
        .chain(ROWS.map(|r| r.to_string()))
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows = report.verify_curves.iter().map(|of| {
        let at = |rows: usize| {
            let point = of.curve.points.iter().find(|(r, _)| *r == rows);
            point.map(|(_, spread)| spread.median_us)
        };
        let one = at(1).unwrap_or(f64::NAN);
        let mut cells =
            vec![of.device.clone(), of.curve.context.to_string(), format!("{:.2}", one / 1e3)];
        let ratio = |rows| at(rows).map_or("-".into(), |us| format!("{:.2}", us / one));
        cells.extend(ROWS.map(ratio));
        cells
    });
    table(out, &header, rows);
}

fn differences(out: &mut String, report: &Report) {
    let compared: Vec<_> = report.records.iter().filter(|r| !r.differences.is_empty()).collect();
    if compared.is_empty() {
        return;
    }
    let differ = |r: &&&Record| r.differences.iter().any(|d| d.differing > 0);
    let count = compared.iter().filter(differ).count();
    let _ = writeln!(
        out,
        "## Between the two devices\n\n{} of {} cases differ in some bit.\n",
        count,
        compared.len()
    );
    let rows = compared.iter().filter(differ).flat_map(|record| {
        record.differences.iter().filter(|d| d.differing > 0).map(|d| {
            vec![
                record.name.clone(),
                d.operand.clone(),
                format!("{} of {}", d.differing, d.elements),
                d.worst_of_bound.map_or("bits".into(), |share| format!("{share:.3}")),
            ]
        })
    });
    table(out, &["case", "output", "elements that differ", "largest, of the bound"], rows.take(60));
}
