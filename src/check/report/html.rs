//! The report as one HTML page that needs nothing else: no scripts, no network, charts as inline SVG.

use std::fmt::Write as _;

use super::{Redactor, Report, Status, Verdict};
use crate::draw::{BarChart, BarSeries, LineChart, LineSeries};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1f2328; --faint: #6b7280; --line: #d9dde3; --paper: #fff; --soft: #f5f6f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --faint: #9aa1ab; --line: #3a3f47; --paper: #16181c; --soft: #1f2227; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 36px 0 8px; }
p, li { max-width: 80ch; } .faint { color: var(--faint); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; width: 100%; }
th, td { text-align: left; padding: 5px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; background: var(--soft); white-space: nowrap; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: 12.5px ui-monospace, Consolas, 'DejaVu Sans Mono', monospace; overflow-wrap: anywhere; }
.verdict { font-weight: 600; white-space: nowrap; }
.verdict::before { content: ''; display: inline-block; width: 10px; height: 10px; margin-right: 6px; }
.healthy::before { background: #009e73; border-radius: 5px; }
.degraded::before { background: #d99400; transform: rotate(45deg); }
.unhealthy::before { background: #d55e00; }
.untested::before { border: 1px solid var(--faint); }
figure { margin: 12px 0; overflow-x: auto; } figure svg { max-width: 100%; height: auto; border: 1px solid var(--line); }
details { margin: 8px 0; } summary { cursor: pointer; }
";

/// Bars of a chart beyond which it is cut into several.
const MOST_BARS: usize = 26;

/// `report` as HTML, with what identifies a person blanked.
pub fn html(report: &Report, redactor: &Redactor) -> String {
    let report = &report.redacted(redactor);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>coppice gpu-test, {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(&report.started)
    );
    head(&mut out, report);
    devices(&mut out, report);
    findings(&mut out, report);
    peaks(&mut out, report);
    speed(&mut out, report);
    curves(&mut out, report);
    accuracy(&mut out, report);
    records(&mut out, report);
    details(&mut out, report);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn head(out: &mut String, report: &Report) {
    let counts = report.summary.counts.iter().map(|(status, n)| format!("{n} {}", status.name()));
    let host = &report.host;
    let _ = writeln!(
        out,
        "<h1>coppice gpu-test</h1>\n<p>{}{}</p>\n<p class=\"faint\">coppice {} ({}), {}, {:.0} s. \
         {}, kernel {}, {}, {} cores. Nothing of this was uploaded.</p>",
        escape(&counts.collect::<Vec<_>>().join(" · ")),
        if report.interrupted { " · <b>stopped early</b>" } else { "" },
        escape(&report.tool.version),
        escape(&report.tool.profile),
        escape(&report.started),
        report.seconds,
        escape(&host.os),
        escape(&host.kernel),
        escape(&host.cpu),
        host.cores
    );
}

/// A table; cells are HTML already, those from `numbers` on are right-aligned.
fn table(
    out: &mut String,
    header: &[&str],
    numbers: usize,
    rows: impl Iterator<Item = Vec<String>>,
) {
    out.push_str("<div class=\"scroll\"><table>\n<tr>");
    for name in header {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let class = if i >= numbers { " class=\"n\"" } else { "" };
            let _ = write!(out, "<td{class}>{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn devices(out: &mut String, report: &Report) {
    out.push_str("<h2>Devices</h2>\n");
    let rows = report.adapters.iter().map(|tested| {
        let a = &tested.adapter;
        let verdict = tested.verdict.name();
        let count = |wanted: fn(Status) -> bool| {
            let own = report.records.iter().filter(|r| r.device == a.selector);
            own.filter(|r| wanted(r.status)).count().to_string()
        };
        vec![
            format!("<span class=\"verdict {verdict}\">{verdict}</span>"),
            escape(&a.selector),
            escape(&a.name),
            escape(&format!("{} {}", a.api, a.driver)),
            escape(&a.kind),
            count(|s| s == Status::Passed),
            count(|s| !s.is_fine()),
            count(|s| s == Status::Skipped || s == Status::ExpectedFailure),
        ]
    });
    let header = [
        "verdict",
        "device",
        "name",
        "driver",
        "kind",
        "passed",
        "not passed",
        "skipped or expected",
    ];
    table(out, &header, 5, rows);
    for (api, reason) in &report.missing {
        let _ =
            writeln!(out, "<p class=\"faint\">No {} device: {}</p>", escape(api), escape(reason));
    }
    if report.adapters.iter().any(|tested| tested.verdict == Verdict::Untested) {
        out.push_str("<p class=\"faint\">Untested devices were left out of this run.</p>\n");
    }
}

fn findings(out: &mut String, report: &Report) {
    out.push_str("<h2>Findings</h2>\n");
    if let Some(comparison) = &report.baseline {
        let _ = writeln!(
            out,
            "<p>Against the report of {}: {}</p>",
            escape(&comparison.started),
            escape(&comparison.describe())
        );
    }
    if report.summary.findings.is_empty() {
        out.push_str("<p>Nothing to report.</p>\n");
        return;
    }
    out.push_str("<ul>\n");
    for finding in &report.summary.findings {
        let _ = writeln!(out, "<li>{}</li>", escape(finding));
    }
    out.push_str("</ul>\n");
    let bad = report.records.iter().filter(|record| !record.status.is_fine());
    for replay in bad.filter_map(|record| record.replay.as_deref()).take(8) {
        let _ = writeln!(out, "<p><code>{}</code></p>", escape(replay));
    }
}

fn peaks(out: &mut String, report: &Report) {
    let measured = report.adapters.iter().filter_map(|t| Some((t, t.peaks?, t.latency?)));
    let measured: Vec<_> = measured.collect();
    if measured.is_empty() {
        return;
    }
    out.push_str("<h2>What each device can do at most</h2>\n");
    let header = [
        "device",
        "copy, GB/s",
        "f32, GFLOP/s",
        "f16, GFLOP/s",
        "int8, Gop/s",
        "dispatch, µs",
        "sync, µs",
        "readback, µs",
        "upload, GB/s",
        "download, GB/s",
    ];
    let rows = measured.into_iter().map(|(tested, peaks, latency)| {
        let figure = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.1}"));
        vec![
            escape(&tested.adapter.selector),
            figure(peaks.copy_gb_s),
            figure(peaks.f32_gflops),
            figure(peaks.f16_gflops),
            figure(peaks.int8_gops),
            format!("{:.2}", latency.dispatch_us),
            format!("{:.0}", latency.sync_us),
            format!("{:.0}", latency.readback_us),
            format!("{:.1}", latency.upload_gb_s),
            format!("{:.1}", latency.download_gb_s),
        ]
    });
    table(out, &header, 1, rows);
}

fn speed(out: &mut String, report: &Report) {
    if report.perf.is_empty() {
        return;
    }
    out.push_str("<h2>Speed</h2>\n<p>Each bar is the share of what limits the op on that device: its copy \
                  bandwidth or its arithmetic, whichever is nearer. Shares above 1 mean operands that stay \
                  in caches.</p>\n");
    let mut devices: Vec<&str> = report.perf.iter().map(|perf| perf.device.as_str()).collect();
    devices.dedup();
    let mut cases: Vec<&str> = Vec::new();
    for perf in &report.perf {
        if !cases.contains(&perf.timing.case.as_str()) {
            cases.push(&perf.timing.case);
        }
    }
    for part in cases.chunks(MOST_BARS / devices.len().clamp(1, MOST_BARS / 2)) {
        let series = devices.iter().map(|device| BarSeries {
            name: (*device).to_owned(),
            values: part
                .iter()
                .map(|case| {
                    let of = report.perf.iter();
                    of.clone().find(|p| p.device == *device && p.timing.case == *case)?.share()
                })
                .collect(),
        });
        let chart = BarChart {
            title: "Share of peak".into(),
            lines: Vec::new(),
            y_label: "share, of 1".into(),
            groups: part.iter().map(|case| short(case)).collect(),
            series: series.collect(),
            reference: Some(1.0),
        };
        let _ = writeln!(out, "<figure>{}</figure>", chart.svg());
    }
    out.push_str("<details><summary>All measurements</summary>\n");
    let rows = report.perf.iter().map(|perf| {
        let time = &perf.timing.time;
        let share = |x: Option<f64>| x.map_or("–".into(), |x| format!("{:.0} %", 100.0 * x));
        vec![
            escape(&perf.device),
            escape(&perf.timing.case),
            escape(&perf.timing.variant),
            format!("{:.2}", time.median_us),
            format!("{:.2} to {:.2}", time.p10_us, time.p90_us),
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
        "p10 to p90",
        "GB/s",
        "of copy",
        "GFLOP/s",
        "of arithmetic",
    ];
    table(out, &header, 3, rows);
    out.push_str("</details>\n");
}

/// A case's name without what is at its default.
fn short(case: &str) -> String {
    let mut text = case.to_owned();
    for usual in [
        ", gap=0",
        ", then=store",
        ", bias=false",
        ", window=0",
        ", per_head=false",
        ", logits=Plain",
    ] {
        text = text.replace(usual, "");
    }
    text
}

fn curves(out: &mut String, report: &Report) {
    if report.verify_curves.is_empty() {
        return;
    }
    out.push_str("<h2>Verify curve</h2>\n<p>Time of a decoding step by the rows it verifies, over that of one \
                  row. Flat is what speculation wants.</p>\n");
    let series = report.verify_curves.iter().map(|of| {
        let one = of.curve.points.first().map_or(1.0, |(_, spread)| spread.median_us);
        let points = of.curve.points.iter();
        LineSeries {
            name: format!("{}, context {}", of.device, of.curve.context),
            points: points.map(|(rows, s)| (*rows as f64, s.median_us / one)).collect(),
        }
    });
    let models: Vec<&str> = report.verify_curves.iter().map(|c| c.curve.model.as_str()).collect();
    let chart = LineChart {
        title: "Time of a step".into(),
        lines: models.first().map(|model| (*model).to_owned()).into_iter().collect(),
        x_label: "rows".into(),
        y_label: "times one row".into(),
        series: series.collect(),
    };
    let _ = writeln!(out, "<figure>{}</figure>", chart.svg());
}

fn accuracy(out: &mut String, report: &Report) {
    let mut worst: Vec<(&str, f64)> = Vec::new();
    for record in &report.records {
        let most = record.numbers.iter().map(|n| n.worst_of_bound).fold(0.0, f64::max);
        match worst.iter_mut().find(|(op, _)| *op == record.op) {
            Some((_, so_far)) => *so_far = so_far.max(most),
            None if !record.numbers.is_empty() => worst.push((&record.op, most)),
            None => {}
        }
    }
    if worst.is_empty() {
        return;
    }
    out.push_str("<h2>Accuracy</h2>\n<p>Largest error of each op on any device, over what rounding explains; \
                  above 1 is a failure. Ops that are compared bit for bit are left out.</p>\n");
    let chart = BarChart {
        title: "Largest error, of the bound".into(),
        lines: Vec::new(),
        y_label: "error / bound".into(),
        groups: worst.iter().map(|(op, _)| (*op).to_owned()).collect(),
        series: vec![BarSeries {
            name: "all devices".into(),
            values: worst.iter().map(|(_, most)| Some(most.min(2.0))).collect(),
        }],
        reference: Some(1.0),
    };
    let _ = writeln!(out, "<figure>{}</figure>", chart.svg());
}

fn records(out: &mut String, report: &Report) {
    let not_passed: Vec<_> = report.records.iter().filter(|r| r.status != Status::Passed).collect();
    if not_passed.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "<h2>Not passed</h2>\n<details open><summary>{} cases</summary>",
        not_passed.len()
    );
    let rows = not_passed.into_iter().map(|record| {
        vec![
            record.status.name().into(),
            escape(&format!("{} {}", record.device, record.form)),
            escape(&record.name),
            escape(record.expected.as_deref().unwrap_or(&record.message)),
        ]
    });
    table(out, &["status", "device", "case", "why"], usize::MAX, rows);
    out.push_str("</details>\n");
}

fn details(out: &mut String, report: &Report) {
    out.push_str("<h2>What ran</h2>\n");
    let tool = &report.tool;
    let packages = tool.packages.iter().map(|(name, version)| format!("{name} {version}"));
    let mut rows = vec![
        ("command".to_owned(), tool.argv.join(" ")),
        ("packages".to_owned(), packages.collect::<Vec<_>>().join(", ")),
        ("features".to_owned(), tool.features.join(", ")),
        ("limit of a case".to_owned(), format!("{} s", report.settings.timeout_s)),
        ("seed".to_owned(), report.settings.seed.to_string()),
    ];
    rows.extend(tool.environment.iter().cloned());
    let rows = rows
        .into_iter()
        .map(|(name, value)| vec![escape(&name), format!("<code>{}</code>", escape(&value))]);
    table(out, &["what", "value"], usize::MAX, rows);
    for tested in &report.adapters {
        let a = &tested.adapter;
        if a.limits.is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "<details><summary>Features and limits of {}</summary>\n<p><code>{}</code></p>",
            escape(&a.selector),
            escape(&a.features.join(", "))
        );
        let rows = a.limits.iter().map(|(name, value)| vec![escape(name), escape(value)]);
        table(out, &["limit", "value"], 1, rows);
        out.push_str("</details>\n");
    }
}
