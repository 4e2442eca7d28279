//! The GPU tester and the doctor as built: faults, reports, exit codes.

#[path = "support/command.rs"]
mod command;

use command::{Outcome, Sandbox};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// Runs `gpu-test` on one thread of the processor.
fn test(sandbox: &Sandbox, args: &[&str]) -> Outcome {
    let common = ["gpu-test", "--device", "cpu", "-t", "1"];
    sandbox.run(common.iter().chain(args))
}

/// Statuses of all records of a report.
fn statuses(report: &Value) -> Vec<String> {
    let records = report["records"].as_array().expect("a list");
    records.iter().map(|r| r["status"].as_str().expect("a word").to_owned()).collect()
}

#[test]
fn selected_cases_pass_and_others_are_errors() {
    let sandbox = Sandbox::new();
    let test_add = test(&sandbox, &["--op", "add,copy", "--json"]);
    assert_eq!(test_add.code, Some(0), "{}{}", test_add.stdout, test_add.stderr);
    let report = json(&test_add.stdout);
    assert_eq!(report["schema_version"], 1);
    let statuses = statuses(&report);
    assert!(statuses.len() == 8 && statuses.iter().all(|status| status == "passed"));
    assert_eq!(report["adapters"][0]["verdict"], "healthy");
    for wrong in [
        &["--op", "no_such_op"][..],
        &["--case", "nothing"],
        &["--timeout", "0"],
        &["--replay", "add"],
        &["--plant", "gremlin"],
        &["--plant", "slow=no_such_op"],
        &["-o", "report.doc"],
        &["--form", "round"],
    ] {
        assert_eq!(test(&sandbox, wrong).code, Some(2), "{wrong:?}");
    }
    let list = test(&sandbox, &["--list", "--op", "add"]);
    assert_eq!((list.code, list.stdout.lines().count()), (Some(0), 4));
    let none = sandbox.run(["gpu-test", "--device", "wgpu:99"]);
    assert_eq!(none.code, Some(3), "{}", none.stderr);
}

#[test]
fn wrong_devices_are_found_and_the_run_goes_on() {
    let sandbox = Sandbox::new();
    for (fault, status, code) in [
        ("wrong-tail", "failed", 1),
        ("unwritten", "failed", 1),
        ("nan", "failed", 1),
        ("write-after", "failed", 1),
        ("row-count", "failed", 1),
        ("crash", "crashed", 1),
        ("lost", "device_lost", 1),
    ] {
        let run = test(&sandbox, &["--op", "rms_norm", "--json", "--plant", fault]);
        assert_eq!(run.code, Some(code), "{fault}: {}{}", run.stdout, run.stderr);
        let statuses = statuses(&json(&run.stdout));
        assert_eq!(statuses.len(), 5, "every case was tried, {fault}: {statuses:?}");
        assert!(statuses.iter().any(|s| s == status), "{fault}: {statuses:?}");
    }
}

#[test]
fn a_hang_ends_one_case() {
    let sandbox = Sandbox::new();
    let args = ["--op", "add", "--plant", "hang", "--timeout", "1.5", "--json"];
    let run = test(&sandbox, &args);
    assert_eq!(run.code, Some(124), "{}{}", run.stdout, run.stderr);
    assert_eq!(statuses(&json(&run.stdout)), ["timeout"; 4]);
}

/// A laptop that sleeps, a debugger, a batch system that holds jobs back.
#[cfg(unix)]
#[test]
fn time_in_which_the_tester_is_stopped_is_not_a_cases() {
    use std::{os::unix::process::CommandExt as _, process::Stdio, thread::sleep, time::Duration};

    let sandbox = Sandbox::new();
    let args = ["gpu-test", "--device", "cpu", "-t", "1", "--op", "verify_tree,tree_attention"];
    let mut command = sandbox.command(args.into_iter().chain(["--timeout", "3", "--json"]));
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the binary runs");
    let group = format!("-{}", child.id());
    let signal = |name: &str| {
        let kill = std::process::Command::new("kill").args([name, "--", group.as_str()]).status();
        assert!(kill.expect("there is a kill").success(), "{name}");
    };
    sleep(Duration::from_millis(700));
    signal("-STOP");
    sleep(Duration::from_secs(5));
    signal("-CONT");
    let run = command::outcome(child.wait_with_output().expect("it ends"));
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(json(&run.stdout)["seconds"].as_f64().is_some_and(|seconds| seconds > 5.0));
}

#[test]
fn a_device_that_always_crashes_is_given_up() {
    let sandbox = Sandbox::new();
    let run = test(&sandbox, &["--op", "qmatmul", "--plant", "crash", "--json"]);
    assert_eq!(run.code, Some(1));
    let statuses = statuses(&json(&run.stdout));
    assert_eq!(statuses.iter().filter(|status| *status == "crashed").count(), 12);
    assert_eq!(statuses.last().map(String::as_str), Some("harness_error"));
}

#[test]
fn random_failures_are_shrunk_and_replayed() {
    let sandbox = Sandbox::new();
    let clean = test(&sandbox, &["--fuzz", "26", "--seed", "3", "--json"]);
    assert_eq!(clean.code, Some(0), "{}{}", clean.stdout, clean.stderr);
    assert_eq!(statuses(&json(&clean.stdout)).len(), 26);
    let fuzz = ["--fuzz", "3", "--op", "gate_mul", "--plant", "nan", "--json"];
    let run = test(&sandbox, &fuzz);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    let report = json(&run.stdout);
    for record in report["records"].as_array().expect("a list") {
        // One row of one element is the smallest there is.
        assert_eq!(record["name"], "gate_mul(silu, m=1, f=1, gap=0)", "{record}");
        let replay = record["replay"].as_str().expect("a command");
        let case = replay.split(' ').next_back().expect("a word");
        assert_eq!(test(&sandbox, &["--replay", case]).code, Some(0), "{case}");
        assert_eq!(test(&sandbox, &["--replay", case, "--plant", "nan"]).code, Some(1), "{case}");
    }
}

#[test]
fn known_failures_are_excused_and_unexpected_passes_are_not() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("expect.toml");
    let entry = "[[expect]]\napi = 'cpu'\nop = 'add'\nreason = 'r'\nlink = 'l'\n";
    std::fs::write(&file, entry).expect("the folder can be written");
    let file = file.to_str().expect("a UTF-8 path");
    let excused = test(&sandbox, &["--op", "add", "--plant", "nan", "--expect", file, "--json"]);
    assert_eq!(excused.code, Some(0), "{}{}", excused.stdout, excused.stderr);
    assert_eq!(statuses(&json(&excused.stdout)), ["expected_failure"; 4]);
    let passing = test(&sandbox, &["--op", "add", "--expect", file, "--json"]);
    assert_eq!(passing.code, Some(1));
    assert_eq!(statuses(&json(&passing.stdout)), ["unexpected_pass"; 4]);
    std::fs::write(file, "[[expect]]\nop = 'add'\n").expect("the folder can be written");
    assert_eq!(test(&sandbox, &["--op", "add", "--expect", file]).code, Some(2));
}

#[test]
fn reports_are_written_in_every_form_and_never_replaced_by_accident() {
    let sandbox = Sandbox::new();
    let forms = ["r.json", "r.xml", "r.csv", "r.md", "r.html"];
    let mut args = vec!["--op", "add", "--mode", "all"];
    args.extend(forms.iter().flat_map(|form| ["-o", form]));
    let run = test(&sandbox, &args);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let read = |name: &str| std::fs::read_to_string(sandbox.path().join(name)).expect(name);
    let report = json(&read("r.json"));
    assert!(report["perf"].as_array().is_some_and(|perf| !perf.is_empty()), "{report}");
    assert!(report["support"][0]["ops"].as_array().is_some_and(|ops| ops.len() > 20));
    assert!(report["adapters"][0]["peaks"]["copy_gb_s"].as_f64().is_some_and(|x| x > 0.0));
    assert!(read("r.xml").starts_with("<?xml") && read("r.html").starts_with("<!doctype html>"));
    assert!(read("r.md").contains("## Speed") && read("r.csv").starts_with("device,form"));
    let again = test(&sandbox, &["--op", "add", "-o", "r.json"]);
    assert_eq!(again.code, Some(2), "an existing file is kept");
    assert!(again.stderr.contains("r.json is there already"), "{}", again.stderr);
    // A run against its own report compares every measurement; whether a busy machine was slower by
    // then is not the matter here.
    let args = ["--op", "add", "--mode", "perf", "--baseline", "r.json", "--json"];
    let compared = json(&test(&sandbox, &args).stdout);
    assert_eq!(compared["baseline"]["changes"].as_array().map(Vec::len), Some(2), "{compared}");
    let mut faster = report;
    for measured in faster["perf"].as_array_mut().expect("a list") {
        let level = measured["level"]["us"].as_f64().expect("a time");
        measured["level"]["us"] = (level / 1000.0).into();
    }
    std::fs::write(sandbox.path().join("faster.json"), faster.to_string())
        .expect("it can be written");
    let args = ["--op", "add", "--mode", "perf", "--baseline", "faster.json"];
    let slower = test(&sandbox, &args);
    assert_eq!(slower.code, Some(1), "{}{}", slower.stdout, slower.stderr);
    let told = slower.stdout.lines().filter(|line| line.contains("times as long"));
    assert!(told.count() >= 2, "{}", slower.stdout);
    let folder = sandbox.path().join("all");
    std::fs::create_dir(&folder).expect("the folder can be written");
    assert_eq!(
        test(&sandbox, &["--op", "add", "-o", "all", "-o", "r.md", "--force"]).code,
        Some(0)
    );
    assert_eq!(std::fs::read_dir(folder).expect("made above").count(), forms.len());
}

#[test]
fn two_devices_are_compared() {
    let sandbox = Sandbox::new();
    let run = test(&sandbox, &["--op", "add", "--against", "reference", "--json"]);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let report = json(&run.stdout);
    // One addition has the same bits everywhere.
    assert_eq!(report["records"][0]["differences"][0]["differing"], 0, "{report}");
}

#[test]
fn the_synthetic_model_decodes_alike_by_every_method() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(["gpu-test", "--device", "cpu", "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = json(&run.stdout);
    let models: Vec<&Value> = report["records"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|record| record["suite"] == "model")
        .collect();
    assert_eq!(models.len(), 6);
    assert!(models.iter().all(|record| record["status"] == "passed"), "{models:?}");
}

#[cfg(feature = "wgpu")]
#[test]
fn every_variant_is_validated_without_a_driver() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(["gpu-test", "--device", "noop", "--json"]);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let statuses = statuses(&json(&run.stdout));
    assert!(statuses.len() > 200, "{}", statuses.len());
    assert!(statuses.iter().all(|status| status == "passed"));
}

#[test]
fn the_doctor_says_what_works_and_blanks_who_asks() {
    let sandbox = Sandbox::new();
    let home = sandbox.path().join("home-of-somebody");
    let mut command = sandbox.command(["doctor"]);
    command.env("HOME", &home).env("USER", "somebody").env("VK_TEST", home.join("x"));
    let outcome = command::outcome(command.output().expect("the binary runs"));
    assert!(matches!(outcome.code, Some(0 | 3)), "{}{}", outcome.stdout, outcome.stderr);
    let row = outcome.stdout.lines().find(|line| line.starts_with("| cpu"));
    assert!(row.is_some_and(|row| row.contains("**healthy**")), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("VK_TEST=~/x"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("home-of-somebody"), "{}", outcome.stdout);
    let report = json(&sandbox.run(["doctor", "--json"]).stdout);
    assert!(report["devices"].as_array().is_some_and(|devices| !devices.is_empty()));
    assert!(report["config"].as_str().is_some_and(|config| config.contains("temp = ")));
}
