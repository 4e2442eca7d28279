//! What was measured: peaks, speed, the verify curve, errors.

use std::fmt::Write as _;

use super::{escape, table};
use crate::{
    check::report::{Measured, Report},
    draw::{LineChart, LineSeries},
};

/// A bar for a share of 1, full from there on.
fn bar(share: f64, over_is_bad: bool) -> String {
    let class = if over_is_bad && share > 1.0 { "bar over" } else { "bar" };
    let width = 100.0 * share.clamp(0.0, 1.0);
    format!("<span class=\"{class}\"><i style=\"width:{width:.0}%\"></i></span>")
}

pub(super) fn peaks(out: &mut String, report: &Report) {
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
        "matrix, GFLOP/s",
        "dispatch, µs",
        "sync, µs",
        "readback, µs",
        "up and down, GB/s",
    ];
    let rows = measured.into_iter().map(|(tested, peaks, latency)| {
        let figure = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.1}"));
        vec![
            escape(&tested.adapter.selector),
            figure(peaks.copy_gb_s),
            figure(peaks.f32_gflops),
            figure(peaks.f16_gflops),
            figure(peaks.int8_gops),
            figure(peaks.matrix_gflops),
            format!("{:.2}", latency.dispatch_us),
            format!("{:.1}", latency.sync_us),
            format!("{:.1}", latency.readback_us),
            format!("{:.1}, {:.1}", latency.upload_gb_s, latency.download_gb_s),
        ]
    });
    table(out, &header, 1, rows);
}

pub(super) fn speed(out: &mut String, report: &Report) {
    if report.perf.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Speed</h2>\n<p>The bar is the share of what limits the op on that device: its copy bandwidth \
         or its arithmetic, whichever is nearer. Above 100 % of copy, operands stay in caches. An asterisk \
         marks times that no second round confirmed.</p>\n",
    );
    for tested in &report.adapters {
        let selector = &tested.adapter.selector;
        let own: Vec<&Measured> = report.perf.iter().filter(|p| p.device == *selector).collect();
        if own.is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "<details open><summary>{}, {}: {} measurements</summary>",
            escape(selector),
            escape(&tested.adapter.name),
            own.len()
        );
        let rows = own.into_iter().map(|perf| {
            let time = &perf.timing.time;
            vec![
                format!("<code>{}</code>", escape(&short(&perf.timing.case))),
                escape(&perf.timing.variant),
                format!(
                    "{}{}",
                    microseconds(time.median_us),
                    if perf.timing.level.is_settled() { "" } else { "*" }
                ),
                format!("{} to {}", microseconds(time.p10_us), microseconds(time.p90_us)),
                format!("{:.2}", perf.gb_s),
                format!("{:.2}", perf.gflop_s),
                share(perf),
            ]
        });
        let header =
            ["case", "kernel", "median, µs", "p10 to p90", "GB/s", "GFLOP/s", "of its peak"];
        table(out, &header, 2, rows);
        out.push_str("</details>\n");
    }
}

fn share(perf: &Measured) -> String {
    perf.share().map_or("–".into(), |(share, of)| {
        let bar = bar(share, false);
        format!("{bar}{:.0} % <span class=\"faint\">{of}</span>", 100.0 * share)
    })
}

/// Three or four figures that count, whatever the size.
fn microseconds(us: f64) -> String {
    match us {
        ..10.0 => format!("{us:.2}"),
        ..100.0 => format!("{us:.1}"),
        _ => format!("{us:.0}"),
    }
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

pub(super) fn curves(out: &mut String, report: &Report) {
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
    let rows = report.verify_curves.iter().map(|of| {
        let at = |rows: usize| {
            let point = of.curve.points.iter().find(|(r, _)| *r == rows);
            point.map_or("–".into(), |(_, spread)| format!("{:.2}", spread.median_us / 1e3))
        };
        let mut cells = vec![escape(&of.device), of.curve.context.to_string()];
        cells.extend(SHOWN_ROWS.map(at));
        cells.push(of.curve.cliffs.len().to_string());
        cells
    });
    let rows_of = SHOWN_ROWS.map(|rows| match rows {
        1 => "1 row, ms".to_owned(),
        rows => format!("{rows} rows"),
    });
    let mut header = vec!["device", "context"];
    header.extend(rows_of.iter().map(String::as_str));
    header.push("cliffs");
    table(out, &header, 1, rows);
}

/// Rows of the verify curve whose times are written out.
const SHOWN_ROWS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

pub(super) fn accuracy(out: &mut String, report: &Report) {
    let devices: Vec<&str> =
        report.adapters.iter().map(|tested| tested.adapter.selector.as_str()).collect();
    let mut worst: Vec<(&str, Vec<Option<f64>>)> = Vec::new();
    for record in report.records.iter().filter(|record| !record.numbers.is_empty()) {
        let most = record.numbers.iter().map(|n| n.worst_of_bound).fold(0.0, f64::max);
        let Some(device) = devices.iter().position(|device| *device == record.device) else {
            continue;
        };
        let at = worst.iter().position(|(op, _)| *op == record.op).unwrap_or_else(|| {
            worst.push((&record.op, vec![None; devices.len()]));
            worst.len() - 1
        });
        let so_far = &mut worst[at].1[device];
        *so_far = Some(so_far.map_or(most, |so_far: f64| so_far.max(most)));
    }
    if worst.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Accuracy</h2>\n<p>Largest error of each op over what rounding explains; above 1 is a failure. \
         Ops that are compared bit for bit are left out.</p>\n",
    );
    let rows = worst.iter().map(|(op, of)| {
        let cells = of
            .iter()
            .map(|most| most.map_or("–".into(), |most| format!("{}{most:.2}", bar(most, true))));
        [format!("<code>{op}</code>")].into_iter().chain(cells).collect()
    });
    let mut header = vec!["op"];
    header.extend(devices.iter().copied());
    table(out, &header, usize::MAX, rows);
}
