//! Checking devices from the window.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use coppice::check::report::Status;
use coppice_app::{
    app::Start,
    layout::View,
    panels::devices::report,
    worker::{CheckKind, Checking, LocalMachine, Machine as _},
};
use egui_kittest::kittest::{NodeT as _, Queryable as _};

use crate::common::{AppHarness, Fake, app, start, until};

fn devices(folder: &std::path::Path, fake: &Arc<Fake>) -> AppHarness {
    let with = Start { view: Some(View::Devices), ..Start::default() };
    let mut harness = start(folder, fake, with);
    until(&mut harness, "devices are listed", |app| app.state.devices.list.is_some());
    harness
}

/// Tops of labels, so that their order on screen can be compared.
fn top(harness: &AppHarness, label: &str) -> f32 {
    harness.get_by_label(label).rect().top()
}

#[test]
fn the_op_table_runs_sorts_and_is_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = devices(folder.path(), &fake);
    harness.get_by_label("Run op table on wgpu:0").click();
    harness.step();
    until(&mut harness, "two cases are done", |app| app.state.devices.rows.len() == 2);
    // It goes on while one looks: progress, and what is known already.
    harness.get_by_label("matmul_f16_m8");
    let copied = report(&app(&harness).state.devices);
    assert!(copied.contains("not finished") && copied.contains("rope_long: failed"), "{copied}");
    assert!(harness.get_by_label("Run op table on cpu").accesskit_node().is_disabled());
    fake.check_goes_on.store(true, Ordering::SeqCst);
    until(&mut harness, "it is done", |app| app.state.devices.running.is_none());
    harness.get_by_label("1 passed, 1 failed, 1 skipped");
    assert!(app(&harness).state.status.contains("done: 1 passed"));
    // What failed is on top, then what the column says.
    assert!(top(&harness, "rope_long") < top(&harness, "matmul_q4_k_m1"));
    harness.get_by_label("Sort by Case").click();
    harness.step();
    harness.step();
    assert!(top(&harness, "matmul_f16_m8") < top(&harness, "matmul_q4_k_m1"));
    assert!(top(&harness, "matmul_q4_k_m1") < top(&harness, "rope_long"));
    harness.get_by_label("Sort by Case").click();
    harness.step();
    harness.step();
    assert!(top(&harness, "rope_long") < top(&harness, "matmul_f16_m8"));
    harness.get_by_label("Only what did not pass").click();
    harness.step();
    harness.step();
    assert!(harness.query_by_label("matmul_q4_k_m1").is_none());
    let copied = report(&app(&harness).state.devices);
    assert!(copied.contains("### Test card") && copied.contains("# coppice gpu-test"), "{copied}");
}

#[test]
fn speed_is_measured_and_a_check_can_be_stopped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = devices(folder.path(), &fake);
    harness.get_by_label("Measure speed on cpu").click();
    harness.step();
    until(&mut harness, "two cases are done", |app| app.state.devices.rows.len() == 2);
    harness.get_by_label("100.0 µs");
    harness.get_by_label("10 % of copy");
    harness.get_by_label("20 % of copy");
    harness.get_by_label("Stop check").click();
    harness.step();
    until(&mut harness, "it is stopped", |app| app.state.devices.running.is_none());
    assert!(app(&harness).state.status.contains("stopped"), "{}", app(&harness).state.status);
    assert_eq!(app(&harness).state.devices.rows.len(), 2, "what was measured stays");
}

#[test]
fn a_device_that_cannot_be_checked_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    fake.devices_fail.store(true, Ordering::SeqCst);
    let mut harness = devices(folder.path(), &fake);
    harness.get_by_label("Run op table on wgpu:0").click();
    harness.step();
    until(&mut harness, "it failed", |app| app.state.devices.problem.is_some());
    harness.get_by_label("Test card was lost: unplugged");
    harness.get_by_label("plug it in and look again");
}

/// The real op table on the real processor, through the real binary as its worker.
#[test]
fn checks_run_in_a_process_of_their_own() {
    let machine = LocalMachine { checker: Some(env!("CARGO_BIN_EXE_coppice-app").into()) };
    let cancel = AtomicBool::new(false);
    let mut rows = Vec::new();
    let report = machine.check("cpu", CheckKind::Results, &cancel, &mut |checking| {
        if let Checking::Row(row) = checking {
            rows.push(row.record);
            if rows.len() == 3 {
                cancel.store(true, Ordering::SeqCst);
            }
        }
    });
    let report = report.expect("there is a processor");
    assert!(report.interrupted);
    assert_eq!(rows.len(), 3);
    assert_eq!(report.records, rows);
    assert!(rows.iter().all(|record| record.status == Status::Passed), "{rows:?}");
    let nowhere = machine.check("wgpu:99", CheckKind::Speed, &AtomicBool::new(false), &mut |_| ());
    assert!(nowhere.expect_err("there is none").what.contains("wgpu:99"));
}
