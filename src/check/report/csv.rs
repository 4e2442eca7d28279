//! The report as one table for spreadsheets: what was tried, then what was measured.

use super::{Redactor, Report};

const HEADER: [&str; 17] = [
    "device",
    "form",
    "suite",
    "op",
    "case",
    "status",
    "variant",
    "ms",
    "max_abs",
    "nmse",
    "worst_of_bound",
    "median_us",
    "p10_us",
    "p90_us",
    "gb_s",
    "gflop_s",
    "message",
];

/// `report` as comma-separated values (RFC 4180), with what identifies a person blanked.
pub fn csv(report: &Report, redactor: &Redactor) -> String {
    let report = &report.redacted(redactor);
    let mut out = line(&HEADER.map(str::to_owned));
    for record in &report.records {
        let measured = report.perf.iter().find(|perf| {
            record.suite == super::Suite::Perf
                && perf.device == record.device
                && perf.timing.case == record.name
        });
        let worst = |of: fn(&crate::check::Numbers) -> f64| {
            let most = record.numbers.iter().map(of).max_by(f64::total_cmp);
            most.map_or(String::new(), |x| format!("{x:e}"))
        };
        let time = |of: fn(&super::Measured) -> f64| {
            measured.map_or(String::new(), |perf| format!("{:.4}", of(perf)))
        };
        out.push_str(&line(&[
            record.device.clone(),
            record.form.clone(),
            format!("{:?}", record.suite).to_lowercase(),
            record.op.clone(),
            record.name.clone(),
            record.status.name().into(),
            record.variant.clone(),
            format!("{:.3}", record.ms),
            worst(|n| n.max_abs),
            worst(|n| n.nmse),
            worst(|n| n.worst_of_bound),
            time(|perf| perf.timing.time.median_us),
            time(|perf| perf.timing.time.p10_us),
            time(|perf| perf.timing.time.p90_us),
            time(|perf| perf.gb_s),
            time(|perf| perf.gflop_s),
            record.message.clone(),
        ]));
    }
    out
}

fn line(fields: &[String; 17]) -> String {
    let quoted = fields.iter().map(|field| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}
