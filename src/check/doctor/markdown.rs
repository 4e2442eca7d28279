//! An examination as Markdown, to paste into an issue.

use std::fmt::Write as _;

use super::{Examination, Severity, findings::host_line};
use crate::check::report::Redactor;

/// `all` as Markdown, with what identifies a person blanked.
pub fn markdown(all: &Examination, redactor: &Redactor) -> String {
    let all = &all.redacted(redactor);
    let mut out = String::from("### coppice doctor\n\n");
    let tool = &all.tool;
    let packages = tool.packages.iter().map(|(name, version)| format!("{name} {version}"));
    let _ = writeln!(
        out,
        "coppice {} ({}; features {}; {}), {}\n\n{}\n",
        tool.version,
        tool.profile,
        tool.features.join(", "),
        packages.collect::<Vec<_>>().join(", "),
        all.started,
        host_line(&all.host)
    );
    let _ = writeln!(
        out,
        "| device | verdict | name | driver | kind | tier | f16 | subgroup | buffer, GiB | open, ms | op, ms |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    for device in &all.devices {
        let a = &device.adapter;
        let ms = |of: fn(&super::Probe) -> f64| {
            device.probe.as_ref().map_or("-".into(), |probe| format!("{:.1}", of(probe)))
        };
        let subgroup = a.subgroup.map_or("-".into(), |(least, most)| format!("{least} to {most}"));
        let buffer = match a.max_buffer_bytes {
            // The processor's memory is the only limit.
            bytes if bytes >= 1 << 60 => "-".to_owned(),
            bytes => format!("{:.1}", bytes as f64 / f64::from(1 << 30)),
        };
        let _ = writeln!(
            out,
            "| {}{} | **{}** | {} | {} {} | {} | {} | {} | {subgroup} | {buffer} | {} | {} |",
            a.selector,
            if all.chosen.as_deref() == Some(a.selector.as_str()) { " (auto)" } else { "" },
            device.verdict.name(),
            cell(&a.name),
            a.api,
            cell(&a.driver),
            a.kind,
            a.tier,
            if a.f16 { "yes" } else { "no" },
            ms(|probe| probe.open_ms),
            ms(|probe| probe.again_ms),
        );
    }
    out.push('\n');
    for finding in &all.findings {
        let mark = match finding.severity {
            Severity::Error => "**error**",
            Severity::Warning => "**warning**",
            Severity::Note => "note",
        };
        let _ = write!(out, "- {mark}, {}: {}", finding.probe, finding.evidence);
        if let Some(remedy) = &finding.remedy {
            let _ = write!(out, ". Remedy: {remedy}");
        }
        out.push('\n');
    }
    if !all.findings.is_empty() {
        out.push('\n');
    }
    fits(&mut out, all);
    details(&mut out, all);
    out
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn fits(out: &mut String, all: &Examination) {
    if all.fits.is_empty() {
        return;
    }
    let gib = |bytes: u64| format!("{:.2}", bytes as f64 / f64::from(1 << 30));
    out.push_str(
        "| model | context | needs, GiB | device | has, GiB | fits |\n|---|---|---|---|---|---|\n",
    );
    for fit in &all.fits {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            cell(&fit.model),
            fit.context,
            gib(fit.needed_bytes),
            fit.device,
            fit.available_bytes.map_or("unknown".into(), gib),
            match fit.fits {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "unknown",
            }
        );
    }
    out.push('\n');
}

fn details(out: &mut String, all: &Examination) {
    out.push_str("<details><summary>Environment, settings, features and limits</summary>\n\n");
    if !all.tool.environment.is_empty() {
        out.push_str("```sh\n");
        for (name, value) in &all.tool.environment {
            let _ = writeln!(out, "{name}={value}");
        }
        out.push_str("```\n\n");
    }
    for card in &all.host.pci_displays {
        let driver = card.driver.as_deref().unwrap_or("none");
        let _ = writeln!(
            out,
            "PCI {}: {} {}, kernel driver {driver}\n",
            card.address, card.vendor, card.device
        );
    }
    if !all.config.is_empty() {
        let _ = writeln!(out, "```toml\n{}\n```\n", all.config.trim());
    }
    for device in &all.devices {
        let a = &device.adapter;
        if a.limits.is_empty() {
            continue;
        }
        let id = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".into());
        let _ = writeln!(
            out,
            "{}: vendor {}, device {}, PCI {}\n\nFeatures: {}\n\nLimits: {}\n",
            a.selector,
            id(&a.vendor),
            id(&a.device),
            id(&a.pci),
            a.features.join(", "),
            a.limits.iter().map(|(n, v)| format!("{n} {v}")).collect::<Vec<_>>().join(", ")
        );
    }
    out.push_str("</details>\n");
}
