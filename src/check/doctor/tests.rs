use std::time::Duration;

use super::*;
use crate::check::{isolate::InProcess, report::PciDisplay};

/// A runner with answers of its own.
struct Told(Vec<Ran>);

impl Runner for Told {
    fn run(&mut self, _: &Target, _: &Work, _: Duration) -> Ran {
        self.0.remove(0)
    }
}

const LIMIT: Duration = Duration::from_secs(60);

fn adapter(selector: &str, api: &str, software: bool) -> Adapter {
    Adapter {
        selector: selector.into(),
        name: format!("card {selector}"),
        api: api.into(),
        is_software: software,
        ..Adapter::default()
    }
}

fn working() -> Ran {
    let outcome = Outcome::Pass;
    Ran::Done(Done::Probe(Probe {
        name: "x".into(),
        open_ms: 1.0,
        first_ms: 2.0,
        again_ms: 1.0,
        outcome,
    }))
}

fn told(adapters: Vec<Adapter>, mut answers: Vec<Ran>) -> Examination {
    answers.insert(0, Ran::Done(Done::Adapters { adapters, missing: Vec::new() }));
    examine(&mut Told(answers), None, LIMIT)
}

#[test]
fn the_processor_works_here() {
    let all = examine(&mut InProcess::default(), Some(1), LIMIT);
    let cpu = all.devices.iter().find(|device| device.adapter.selector == "cpu").expect("listed");
    assert_eq!((cpu.verdict, cpu.status), (Verdict::Healthy, Status::Passed), "{cpu:?}");
    let text = markdown(&all, &Redactor::default());
    assert!(text.contains("| cpu") && text.contains("**healthy**"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&all.to_json(&Redactor::default())).expect("JSON");
    assert_eq!(json["schema_version"], 1);
}

#[test]
fn a_device_that_hangs_or_crashes_does_not_hide_the_others() {
    let adapters = vec![
        adapter("wgpu:0", "vulkan", false),
        adapter("wgpu:1", "vulkan", false),
        adapter("cpu", "cpu", false),
    ];
    let crash = Ran::Crashed { how: "ended by signal 11 (SIGSEGV)".into(), stderr: "boom".into() };
    let all = told(adapters, vec![Ran::Timeout, crash, working()]);
    let verdicts: Vec<Verdict> = all.devices.iter().map(|device| device.verdict).collect();
    assert_eq!(verdicts, [Verdict::Unhealthy, Verdict::Unhealthy, Verdict::Healthy]);
    assert_eq!(all.chosen.as_deref(), Some("cpu"));
    assert_eq!(all.exit_code(), 1);
    let text = markdown(&all, &Redactor::default());
    assert!(text.contains("SIGSEGV") && text.contains("boom") && text.contains("no answer within"));
}

#[test]
fn hardware_is_chosen_before_the_processor_and_software_never() {
    let software = || adapter("wgpu:1", "vulkan", true);
    let cpu = || adapter("cpu", "cpu", false);
    let all = told(vec![cpu(), software()], vec![working(), working()]);
    assert_eq!((all.chosen.as_deref(), all.exit_code()), (Some("cpu"), 0));
    assert!(all.findings.iter().any(|finding| finding.evidence.contains("only drivers that run")));
    let hardware = adapter("wgpu:0", "vulkan", false);
    let all = told(vec![cpu(), hardware, software()], vec![working(), working(), working()]);
    assert_eq!(all.chosen.as_deref(), Some("wgpu:0"));
    let all = told(vec![cpu()], vec![working()]);
    assert_eq!(all.exit_code(), 3);
}

#[test]
fn a_listing_that_fails_is_a_finding() {
    let all = examine(&mut Told(vec![Ran::Timeout]), None, LIMIT);
    assert_eq!(all.findings[0].severity, Severity::Error);
    assert_eq!(all.exit_code(), 4);
}

#[test]
fn cards_without_a_device_are_named_with_a_remedy() {
    let mut all = told(vec![adapter("cpu", "cpu", false)], vec![working()]);
    all.findings.clear();
    all.host.pci_displays = vec![PciDisplay {
        address: "0000:01:00.0".into(),
        vendor: "0x10de".into(),
        device: "0x2204".into(),
        driver: None,
    }];
    all.missing = vec![("cuda".into(), "no CUDA library".into())];
    findings::find(&mut all);
    let of = |probe: &str| all.findings.iter().find(|f| f.probe == probe).expect(probe);
    assert_eq!(of("cuda").severity, Severity::Warning);
    assert!(of("cuda").remedy.as_ref().is_some_and(|text| text.contains("NVRTC")));
    if cfg!(target_os = "linux") {
        assert!(of("hardware").evidence.contains("NVIDIA card 0x2204 at 0000:01:00.0"));
    }
}
