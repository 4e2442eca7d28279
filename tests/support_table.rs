//! The documentation's table of ops by device is what the devices say.

use std::path::Path;

use coppice::{
    check::{
        isolate::InProcess,
        plan::{self, Modes, Plan},
        report::support_table,
    },
    engine::{DeviceSpec, list_adapters},
};

#[test]
fn the_support_table_is_not_stale() {
    let adapters = list_adapters(Some(1)).expect("the processor is there");
    let lavapipe = adapters.iter().find(|adapter| adapter.name.starts_with("llvmpipe"));
    let Some(lavapipe) = lavapipe else {
        assert!(
            std::env::var_os("ALLOW_NO_GPU").is_some_and(|v| v == "1"),
            "no lavapipe: install mesa-vulkan-drivers"
        );
        return;
    };
    let lavapipe = lavapipe.selector.parse().expect("a selector");
    let plan = Plan {
        modes: Modes { support: true, ..Modes::default() },
        devices: Some(vec![DeviceSpec::Reference, DeviceSpec::Cpu, lavapipe]),
        threads: Some(1),
        ..Plan::default()
    };
    let mut runner = InProcess::default();
    let report = plan::run(&plan, &mut runner, &false.into(), &mut |_| {}).expect("it runs");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/support.md");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        kept,
        support_table(&report),
        "assets/support.md is stale; write it with `coppice gpu-test --mode support --device \
         reference,cpu,{} --support-table assets/support.md --force`",
        report.adapters[2].adapter.selector
    );
}
