//! The report as JUnit reads it: a suite for each device and form, a case for each thing tried.

use std::fmt::Write as _;

use super::{Record, Redactor, Report, Status};

/// `report` as XML, with what identifies a person blanked.
pub fn junit(report: &Report, redactor: &Redactor) -> String {
    let report = &report.redacted(redactor);
    let mut suites: Vec<(&str, &str)> = Vec::new();
    for record in &report.records {
        let key = (record.device.as_str(), record.form.as_str());
        if !suites.contains(&key) {
            suites.push(key);
        }
    }
    let of = |(device, form): (&str, &str)| -> Vec<&Record> {
        report.records.iter().filter(|r| r.device == device && r.form == form).collect()
    };
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let totals = counts(&report.records.iter().collect::<Vec<_>>());
    let _ = writeln!(
        out,
        "<testsuites name=\"coppice gpu-test\" {totals} time=\"{:.3}\">",
        report.seconds
    );
    for suite in suites {
        let records = of(suite);
        let seconds = records.iter().map(|record| record.ms).sum::<f64>() / 1e3;
        let name = report.adapters.iter().find(|t| t.adapter.selector == suite.0);
        let name = name.map_or(String::new(), |tested| format!(" {}", tested.adapter.name));
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" timestamp=\"{}\" {} time=\"{seconds:.3}\">",
            escape(&format!("{}{name} {}", suite.0, suite.1)),
            escape(report.started.trim_end_matches('Z')),
            counts(&records)
        );
        for record in records {
            case(&mut out, record);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn counts(records: &[&Record]) -> String {
    let count =
        |wanted: &[Status]| records.iter().filter(|record| wanted.contains(&record.status)).count();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
        records.len(),
        count(&[Status::Failed, Status::UnexpectedPass]),
        count(&[Status::Crashed, Status::DeviceLost, Status::Timeout, Status::HarnessError]),
        count(&[Status::Skipped, Status::ExpectedFailure])
    )
}

fn case(out: &mut String, record: &Record) {
    let _ = writeln!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">",
        escape(&record.op),
        escape(&record.name),
        record.ms / 1e3
    );
    let mut properties = vec![("status", record.status.name().to_owned())];
    if !record.variant.is_empty() {
        properties.push(("variant", record.variant.clone()));
    }
    for numbers in &record.numbers {
        properties.push(("operand", numbers.operand.clone()));
        properties.push(("max_abs", format!("{:e}", numbers.max_abs)));
        properties.push(("nmse", format!("{:e}", numbers.nmse)));
        properties.push(("worst_of_bound", format!("{:.4}", numbers.worst_of_bound)));
    }
    if let Some(replay) = &record.replay {
        properties.push(("replay", replay.clone()));
    }
    out.push_str("      <properties>\n");
    for (name, value) in properties {
        let _ = writeln!(out, "        <property name=\"{name}\" value=\"{}\"/>", escape(&value));
    }
    out.push_str("      </properties>\n");
    let message = escape(&record.message);
    let _ = match record.status {
        Status::Passed => Ok(()),
        Status::Failed | Status::UnexpectedPass => writeln!(
            out,
            "      <failure type=\"{}\" message=\"{message}\"/>",
            record.status.name()
        ),
        Status::Crashed | Status::DeviceLost | Status::Timeout | Status::HarnessError => {
            writeln!(out, "      <error type=\"{}\" message=\"{message}\"/>", record.status.name())
        }
        Status::Skipped => writeln!(out, "      <skipped message=\"{message}\"/>"),
        Status::ExpectedFailure => writeln!(
            out,
            "      <skipped message=\"expected failure: {}\"/>",
            escape(record.expected.as_deref().unwrap_or_default())
        ),
    };
    out.push_str("    </testcase>\n");
}

/// Text for attributes; characters that XML forbids become U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
