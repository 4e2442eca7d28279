//! What is known of devices, for bug trackers.

use coppice::check::report::{Redactor, Status, markdown};

use crate::{state::Devices, worker::CheckRow};

/// How many rows ended in each way, in words.
pub fn summary(rows: &[CheckRow]) -> String {
    let counts = Status::ALL.into_iter().filter_map(|status| {
        let count = rows.iter().filter(|row| row.record.status == status).count();
        (count > 0).then(|| format!("{count} {}", status.name()))
    });
    let text = counts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "nothing tried yet".into() } else { text }
}

/// All that is known, as Markdown.
pub fn report(devices: &Devices) -> String {
    let mut text = format!("## Coppice {} devices\n", env!("CARGO_PKG_VERSION"));
    if let Some(Ok(list)) = &devices.list {
        for device in list {
            text.push_str(&format!("\n### {}\n\n", device.name));
            for (name, value) in super::facts(device) {
                text.push_str(&format!("- {name}: {value}\n"));
            }
        }
    }
    let redactor = Redactor::from_environment();
    match &devices.report {
        Some(report) => text.push_str(&format!("\n{}", markdown(report, &redactor))),
        None if devices.rows.is_empty() => {}
        None => text.push_str(&redactor.redact(&unfinished(devices))),
    }
    text
}

/// Rows of a check that still runs.
fn unfinished(devices: &Devices) -> String {
    let mut text =
        format!("\n### Check of {}, not finished\n\n{}\n", devices.device, summary(&devices.rows));
    let faults = devices.rows.iter().filter(|row| row.record.status != Status::Passed);
    for CheckRow { record, .. } in faults {
        let message = record.message.replace('\n', " ");
        text.push_str(&format!("\n- {}: {}: {message}", record.name, record.status.name()));
    }
    text.push('\n');
    text
}
