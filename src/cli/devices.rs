//! `coppice devices`.

use std::{io::Write as _, process::ExitCode};

use serde::Serialize;

use super::low;
use crate::{
    backend::AdapterReport,
    engine::{cuda_adapters, cuda_refused, list_adapters},
};

#[derive(Serialize)]
struct Entry<'a> {
    selector: &'a str,
    name: &'a str,
    api: &'a str,
    driver: &'a str,
    kind: &'static str,
    software: bool,
    tier: &'static str,
    f16: bool,
    subgroup: Option<(u32, u32)>,
    max_buffer_bytes: u64,
    max_binding_bytes: u64,
    workgroup_memory_bytes: u32,
}

impl<'a> Entry<'a> {
    fn new(report: &'a AdapterReport) -> Self {
        Self {
            selector: &report.selector,
            name: &report.name,
            api: &report.api,
            driver: &report.driver,
            kind: report.kind.name(),
            software: report.is_software(),
            tier: report.tier.name(),
            f16: report.f16,
            subgroup: report.subgroup,
            max_buffer_bytes: report.max_buffer_bytes,
            max_binding_bytes: report.max_binding_bytes,
            workgroup_memory_bytes: report.workgroup_memory_bytes,
        }
    }
}

#[derive(Serialize)]
struct Missing {
    api: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    devices: Vec<Entry<'a>>,
    missing: Vec<Missing>,
}

pub(super) fn main(args: &low::Devices) -> anyhow::Result<ExitCode> {
    let adapters = list_adapters(None)?;
    // Without any usable device the one reason says it all, else each refused device has its own.
    let cuda = match cuda_adapters() {
        Err(reason) => vec![reason],
        Ok(_) => cuda_refused(),
    };
    let mut missing: Vec<Missing> =
        cuda.into_iter().map(|reason| Missing { api: "cuda", reason }).collect();
    if !adapters.iter().any(|report| report.selector.starts_with("wgpu")) {
        let reason = if cfg!(feature = "wgpu") {
            "wgpu finds no adapter; install a Vulkan driver (Debian: mesa-vulkan-drivers)"
        } else {
            "this build lacks the feature `wgpu`"
        };
        missing.push(Missing { api: "wgpu", reason: reason.into() });
    }
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let devices = adapters.iter().map(Entry::new).collect();
        let report = Report { schema: 1, devices, missing };
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for report in &adapters {
        writeln!(stdout, "{:<10} {} [{}]", report.selector, report.name, report.kind)?;
        write!(stdout, "{:10} {}, {}; tier {}", "", report.api, report.driver, report.tier)?;
        if report.f16 {
            write!(stdout, ", f16")?;
        }
        if let Some((least, most)) = report.subgroup {
            write!(stdout, ", subgroups of {least} to {most}")?;
        }
        writeln!(stdout)?;
    }
    for missing in missing {
        writeln!(stdout, "{:<10} absent: {}", missing.api, missing.reason)?;
    }
    Ok(ExitCode::SUCCESS)
}
