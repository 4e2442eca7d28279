//! Faults planted in kernels, by changing the text of a shader: the op table must find each, and say what
//! kind it is. The same cases pass on the unchanged kernels in `ops.rs`.
#![cfg(feature = "wgpu")]

use coppice::{
    backend::{
        cpu::Cpu,
        wgpu::{self, Options, shader::Mutation},
    },
    check::{self, Check, Outcome},
};

/// Runs a case on every adapter with a changed shader; each must fail by one of `wanted`. Where
/// `gpu_kernels` is set, software drivers run the kernels of hardware, whose workgroups have many
/// subgroups.
fn found(file: &str, from: &str, to: &str, gpu_kernels: bool, case: &str, wanted: &[Check]) {
    let adapters = wgpu::list();
    if adapters.is_empty() {
        assert!(std::env::var_os("ALLOW_NO_GPU").is_some_and(|v| v == "1"), "no wgpu adapter");
        return;
    }
    let case = check::cases().into_iter().find(|c| c.name == case).expect("the case exists");
    let text = wgpu::shader::FILES.iter().find(|(path, _)| *path == file).expect("a file").1;
    assert!(text.contains(from), "{file} has no `{from}`");
    let reference = Cpu::reference();
    for (index, adapter) in adapters.iter().enumerate() {
        let options = |mutation| Options { gpu_kernels, mutation, ..Options::default() };
        let device = wgpu::open(index, &options(None)).expect("a listed adapter opens");
        let sound = check::run(&case, &device, &reference);
        assert_eq!(sound, Outcome::Pass, "{} without a fault", adapter.name);
        let mutation = Mutation { file: file.into(), from: from.into(), to: to.into() };
        let device = wgpu::open(index, &options(Some(mutation))).expect("a listed adapter opens");
        let outcome = check::run(&case, &device, &reference);
        let caught = matches!(&outcome, Outcome::Fail(f) if wanted.contains(&f.check));
        assert!(caught, "{}: {outcome}", adapter.name);
    }
}

const GATE: &str = "gate_mul(silu, m=3, f=7, gap=5)";
const NORM: &str = "rms_norm(m=64, d=96, gap=0)";

#[test]
fn a_wrong_tail() {
    let from = "let v = gate_up[at];";
    let to = "let v = gate_up[at - select(0u, 1u, i == p.m * p.f - 1u)];";
    found("gate_mul", from, to, false, GATE, &[Check::Reference]);
}

#[test]
fn a_window_that_is_off_by_one() {
    let case = "tree_attention(f16, m=9, h=4, g=2, d=32, page=16, pages=9, path=5, window=7, \
                per_head=false, gap=0)";
    let (from, to) = ("end - min(p.window, end)", "end - min(p.window + 1u, end)");
    found("tree_attention", from, to, false, case, &[Check::Reference]);
}

#[test]
fn a_path_that_begins_one_too_early() {
    let case = "tree_attention(f16, tree equals path, h=2, g=1, d=32, window=0)";
    let (from, to) = ("if position < seen.before {", "if position + 1u < seen.before {");
    found("tree_attention", from, to, false, case, &[Check::Reference, Check::Same]);
}

#[test]
fn a_missing_barrier() {
    // A race can show first in any run.
    let checks = [Check::Reference, Check::Repeat, Check::Replay, Check::Rows, Check::Placement];
    found("shared/reduce", "workgroupBarrier();", "", true, NORM, &checks);
}

#[test]
fn an_element_that_is_never_written() {
    let (from, to) = ("if i >= p.m * p.f {", "if i >= p.m * p.f - 1u {");
    found("gate_mul", from, to, false, GATE, &[Check::Unwritten]);
}

#[test]
fn a_write_beyond_the_rows() {
    let (from, to) = ("if i >= p.m * p.c {", "if i > p.m * p.c {");
    found(
        "fill",
        from,
        to,
        false,
        "fill(u32, m=3, c=257, gap=0, bits=0xfffffffe)",
        &[Check::Guard],
    );
}

#[test]
fn a_write_into_a_gap_between_rows() {
    let from = "(i / p.c) * p.dst_stride + i % p.c] = value;";
    let to = "(i / p.c) * p.dst_stride + i % p.c + select(0u, 1u, i % p.c == p.c - 1u)] = value;";
    let case = "fill(f32, m=5, c=7, gap=3, bits=0xff800000)";
    found("fill", from, to, false, case, &[Check::Guard, Check::Unwritten]);
}

#[test]
fn a_sum_whose_order_depends_on_the_number_of_rows() {
    let from = "let v = x[row + i];";
    let to = "let v = x[row + select(i, p.d - 1u - i, p.m > 1u)];";
    found("rms_norm", from, to, false, NORM, &[Check::Rows]);
}

#[test]
fn a_nan() {
    let from = "= gated * up;";
    let to = "= select(gated * up, bitcast<f32>(0x7fc00000u + min(p.m, 0u)), i == 2u);";
    found("gate_mul", from, to, false, GATE, &[Check::Reference]);
}
