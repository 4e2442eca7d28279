use super::*;
use crate::check::{
    Check,
    perf::{Level, Spread},
};

fn record(device: &str, name: &str, status: Status, message: &str) -> Record {
    Record {
        suite: Suite::Table,
        device: device.into(),
        form: "usual".into(),
        op: "add".into(),
        name: name.into(),
        status,
        message: message.into(),
        failure: None,
        expected: None,
        variant: "subgroup".into(),
        numbers: Vec::new(),
        differences: Vec::new(),
        ms: 1.5,
        replay: None,
    }
}

fn measured(device: &str, case: &str, times: &[f64]) -> Measured {
    let timing = Timing {
        case: case.into(),
        op: "add".into(),
        variant: "subgroup".into(),
        time: Spread::of(times.to_vec()),
        level: Level::of(times),
        repeats: 1,
        copies: 1,
        bytes: 1000,
        flops: 500,
    };
    let peaks = Peaks { copy_gb_s: Some(1.0), f32_gflops: Some(1.0), ..Peaks::default() };
    Measured::new(device, timing, Some(&peaks))
}

fn report() -> Report {
    let adapter = |selector: &str| Tested {
        adapter: Adapter {
            selector: selector.into(),
            name: "A <B> & C".into(),
            ..Default::default()
        },
        verdict: Verdict::Untested,
        same_hardware_as: None,
        peaks: None,
        latency: None,
    };
    let mut failed = record("wgpu:0", "add(m=1)", Status::Failed, "got \"1\", wanted <2> | of ada");
    failed.failure = Some(Failure {
        check: Check::Guard,
        operand: "y".into(),
        index: vec![0],
        got: "1".into(),
        wanted: "2".into(),
        note: String::new(),
    });
    failed.replay = Some("coppice gpu-test --replay add:1:2".into());
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        host: Host::default(),
        started: "2026-11-21T14:08:00Z".into(),
        seconds: 2.0,
        interrupted: false,
        settings: Settings::default(),
        adapters: vec![adapter("cpu"), adapter("wgpu:0")],
        missing: vec![("cuda".into(), "no driver".into())],
        records: vec![
            record("cpu", "add(m=1)", Status::Passed, ""),
            failed,
            record("wgpu:0", "add(m=2)", Status::Skipped, "no f16"),
        ],
        perf: vec![measured("cpu", "add(m=3)", &[1.0, 1.1, 1.2])],
        verify_curves: Vec::new(),
        support: Vec::new(),
        baseline: None,
        summary: Summary::default(),
    };
    report.conclude();
    report
}

fn with_status(status: Status) -> Report {
    let mut report = report();
    report.records = vec![record("cpu", "x", status, "")];
    report
}

#[test]
fn exit_codes_are_those_of_the_help() {
    for (status, code) in [
        (Status::Passed, 0),
        (Status::Skipped, 0),
        (Status::ExpectedFailure, 0),
        (Status::Failed, 1),
        (Status::Crashed, 1),
        (Status::DeviceLost, 1),
        (Status::UnexpectedPass, 1),
        (Status::HarnessError, 4),
        (Status::Timeout, 124),
    ] {
        assert_eq!(with_status(status).exit_code(), code, "{status:?}");
    }
    let mut both = with_status(Status::Timeout);
    both.records.push(record("cpu", "y", Status::Failed, ""));
    assert_eq!(both.exit_code(), 1);
    let mut none = with_status(Status::Passed);
    none.adapters.clear();
    assert_eq!(none.exit_code(), 3);
}

#[test]
fn verdicts_follow_from_what_was_tried() {
    let report = report();
    assert_eq!(report.adapters[0].verdict, Verdict::Healthy);
    assert_eq!(report.adapters[1].verdict, Verdict::Unhealthy);
    assert_eq!(Verdict::of([Status::Passed, Status::Skipped]), Verdict::Degraded);
    assert_eq!(Verdict::of([]), Verdict::Untested);
    assert_eq!(
        report.summary.counts,
        [(Status::Passed, 1), (Status::Failed, 1), (Status::Skipped, 1)]
    );
    assert!(report.summary.findings[0].starts_with("failed [wgpu:0] add(m=1): got"));
}

#[test]
fn json_is_read_back_and_other_versions_are_refused() {
    let report = report();
    let text = report.to_json(&Redactor::default());
    let read = Report::from_json(&text).expect("its own");
    // The last place of a float may differ.
    assert_eq!((&read.records, &read.adapters), (&report.records, &report.adapters));
    assert_eq!((read.perf.len(), &read.summary), (1, &report.summary));
    assert!((read.perf[0].gb_s - report.perf[0].gb_s).abs() < 1e-12);
    let newer = text.replacen("\"schema_version\": 1", "\"schema_version\": 99", 1);
    let error = Report::from_json(&newer).expect_err("newer").to_string();
    assert!(error.contains("version 99"), "{error}");
    for nonsense in ["", "{}", "[]", "{\"schema_version\": 1}"] {
        assert!(Report::from_json(nonsense).is_err(), "{nonsense}");
    }
}

#[test]
fn every_form_blanks_and_escapes() {
    let report = report();
    let redactor = Redactor::new(None, Some("ada".into()), None);
    let xml = junit(&report, &redactor);
    assert!(
        xml.contains("message=\"got &quot;1&quot;, wanted &lt;2&gt; | of &lt;user&gt;\""),
        "{xml}"
    );
    assert!(xml.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{xml}");
    assert!(xml.contains("<skipped message=\"no f16\"/>"));
    let rows = csv(&report, &redactor);
    assert_eq!(rows.lines().count(), 4);
    assert!(rows.contains("\"got \"\"1\"\", wanted <2> | of <user>\""), "{rows}");
    let md = markdown(&report, &redactor);
    assert!(md.contains("| **unhealthy** |") && md.contains("--replay add:1:2"), "{md}");
    assert!(md.contains("| wgpu:0 | skipped | 1 | add | no f16 |"), "{md}");
    let page = html(&report, &redactor);
    assert!(page.contains("A &lt;B&gt; &amp; C") && page.contains("class=\"bar\""), "{page}");
    for text in [&xml, &rows, &md, &page] {
        assert!(!text.contains("ada "), "{text}");
    }
    for forbidden in ["<script", "http-equiv", "src=", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn names_say_device_driver_and_date() {
    let mut report = report();
    report.adapters[0].adapter.name = "Quadro RTX/8000 (x)".into();
    report.adapters[0].adapter.driver = "NVIDIA 580.1".into();
    let name = file_stem(&report);
    assert_eq!(name, "coppice-gpu-test_quadro-rtx-8000-x_nvidia-580-1_20261121t140800z");
}

#[test]
fn only_what_exceeds_noise_is_a_regression() {
    let with = |times: &[f64]| {
        let mut report = report();
        report.perf = vec![measured("cpu", "add(m=3)", times)];
        report
    };
    let quiet = with(&[1.0, 1.01, 1.02]);
    let regressed = |after: &Report| compare(&quiet, after).regressions().count();
    assert_eq!(regressed(&quiet), 0);
    assert_eq!(regressed(&with(&[1.15, 1.16, 1.17])), 0, "an eighth is noise");
    assert_eq!(regressed(&with(&[1.01, 1.02, 1.6, 1.6, 1.7])), 0, "not all of the time");
    assert_eq!(regressed(&with(&[1.5, 1.51, 1.6])), 1);
    assert_eq!(regressed(&with(&[1.5, 2.0, 2.1])), 0, "its rounds do not agree");
    let disturbed = with(&[1.0, 1.6, 1.7]);
    assert!(!compare(&disturbed, &quiet).changes[0].settled);
    let faster = compare(&with(&[1.5, 1.51, 1.52]), &quiet);
    assert!(faster.changes[0].matters && !faster.changes[0].regressed);
    let mut other = quiet.clone();
    other.adapters[0].adapter.name = "another card".into();
    assert!(compare(&quiet, &other).changes.is_empty(), "devices of another name are not compared");
    let mut shared = quiet.clone();
    (shared.host.load, shared.host.cores) = (Some(3.0), 2);
    assert!(compare(&quiet, &shared).describe().ends_with("the answer may be another."));
    let same = compare(&quiet, &quiet);
    assert_eq!(same.drift("cpu"), Some(1.0));
    assert_eq!(
        same.describe(),
        "1 cases compared: 0 slower, 0 faster, the others within noise; the middle case of cpu took 1.00 \
         times as long."
    );
}

#[test]
fn shares_are_of_the_precision_in_use() {
    let peaks = Peaks {
        copy_gb_s: Some(10.0),
        f32_gflops: Some(100.0),
        int8_gops: Some(400.0),
        ..Peaks::default()
    };
    let timing = |case: &str| Timing {
        case: case.into(),
        flops: 200_000,
        ..measured("cpu", "", &[1.0]).timing
    };
    let share = |case: &str| Measured::new("cpu", timing(case), Some(&peaks)).share_of_arithmetic;
    assert_eq!(share("qmatmul(q4_k, x=f32)"), Some(2.0));
    assert_eq!(share("qmatmul(q4_k, x=q8)"), Some(0.5));
}
