//! The report as one HTML page that needs nothing else: no scripts, no network, charts as inline SVG and as
//! bars in tables.

use std::fmt::Write as _;

use super::{Redactor, Report, Status, Verdict};

mod figures;

use figures::{accuracy, curves, peaks, speed};

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
th.n { text-align: right; } td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: 12.5px ui-monospace, Consolas, 'DejaVu Sans Mono', monospace; overflow-wrap: anywhere; }
.verdict { font-weight: 600; white-space: nowrap; }
.verdict::before { content: ''; display: inline-block; width: 10px; height: 10px; margin-right: 6px; }
.healthy::before { background: #009e73; border-radius: 5px; }
.degraded::before { background: #d99400; transform: rotate(45deg); }
.unhealthy::before { background: #d55e00; }
.untested::before { border: 1px solid var(--faint); }
figure { margin: 12px 0; overflow-x: auto; width: fit-content; max-width: 100%; box-sizing: border-box; border: 1px solid var(--line); border-radius: 6px; }
figure svg { display: block; max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { figure svg { filter: invert(0.91) hue-rotate(180deg); } }
.bar { display: inline-block; width: 88px; height: 9px; margin-right: 8px; border-radius: 2px; background: var(--soft); vertical-align: baseline; }
.bar > i { display: block; height: 100%; border-radius: 2px; background: #0072b2; }
.bar.over > i { background: #d55e00; }
td.b { white-space: nowrap; font-variant-numeric: tabular-nums; } td.b .faint { font-size: 12px; }
details { margin: 8px 0; } summary { cursor: pointer; }
";

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
    records(&mut out, report);
    curves(&mut out, report);
    accuracy(&mut out, report);
    peaks(&mut out, report);
    speed(&mut out, report);
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

/// A table; cells are HTML already, those from `numbers` on are right-aligned but for bars.
fn table(
    out: &mut String,
    header: &[&str],
    numbers: usize,
    rows: impl Iterator<Item = Vec<String>>,
) {
    let rows: Vec<Vec<String>> = rows.collect();
    let class = |column: usize, cell: &str| match (cell.contains("class=\"bar"), column >= numbers)
    {
        (true, _) => " class=\"b\"",
        (false, true) => " class=\"n\"",
        (false, false) => "",
    };
    out.push_str("<div class=\"scroll\"><table>\n<tr>");
    for (i, name) in header.iter().enumerate() {
        // As the column below it.
        let cell = rows.first().and_then(|row| row.get(i)).map_or("", String::as_str);
        let _ = write!(out, "<th{}>{name}</th>", class(i, cell));
    }
    out.push_str("</tr>\n");
    for row in &rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{cell}</td>", class(i, cell));
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
