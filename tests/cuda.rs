//! Every CUDA kernel compiles for every architecture, without a GPU: NVRTC is a library of its own.
//!
//! The kernels are those of the op table, and the matrix products of all numbers of rows.
//! Beside them are the kernels that measure, and the one that shows what each primitive does.
//! Registers, shared memory and spills of each go to `cuda-kernels-sm_NN.md` in the tests' temporary folder. Without
//! NVRTC the test fails, unless `ALLOW_NO_NVRTC=1`; `tests/run` fetches it.
#![cfg(feature = "cuda")]

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

use coppice::{
    backend::{
        Backend as _, BufferDesc, Usage,
        cpu::Cpu,
        cuda::{
            kernels::{self, Unit},
            library,
            nvrtc::{Compiler, Resources},
            source,
        },
    },
    check,
    dtype::DType,
    ops::{Op, QMatMul},
};

/// Beginnings of names of kernels that may spill, the most bytes, and why.
const MAY_SPILL: &[(&str, u32, &str)] = &[(
    "qmatmul_tile(",
    24,
    "64 sums a thread at 128 registers, so that two blocks fit a multiprocessor: a few are put aside once a \
         slice of K",
)];

/// The op with fewer rows, for every variant of a kernel that depends on them.
fn narrower(op: &Op) -> Vec<Op> {
    let Op::QMatMul(op) = op else { return Vec::new() };
    let rows = [1, 2, 4, 8, 16, 32, 64].into_iter().filter(|&m| m < op.m());
    rows.map(|m| {
        let cut =
            |view: &coppice::backend::View| view.rows(0, m).expect("fewer rows than there are");
        QMatMul { x: cut(&op.x), y: cut(&op.y), ..op.clone() }.into()
    })
    .collect()
}

fn units() -> BTreeSet<Unit> {
    let device = Cpu::reference();
    let mut units = BTreeSet::new();
    for case in check::cases() {
        let ops = check::ops(&case, &device).expect("the reference has memory");
        for op in ops.iter().flat_map(narrower).chain(ops.iter().cloned()) {
            let plan = kernels::plan(&op).expect("every op has a CUDA kernel");
            units.extend(plan.launches.into_iter().map(|launch| launch.unit));
        }
    }
    let desc = BufferDesc { label: "any".into(), bytes: 4096, usage: Usage::Scratch };
    let any = device.alloc(&desc).expect("the reference has memory");
    let any = any.view(0, DType::U32, [1024]).expect("it fits");
    let rest = [
        kernels::peaks::copy(&any, &any, 1),
        kernels::peaks::fma(&any, 1, 1),
        kernels::peaks::mma(&any, 1, 1),
        kernels::primitives::launch(&any, &any),
    ];
    units.extend(rest.map(|launch| launch.expect("a possible launch").unit));
    units
}

#[test]
fn every_text_is_used() {
    let used: BTreeSet<String> = units().iter().map(|unit| format!("{}.cu", unit.stem)).collect();
    let all: BTreeSet<String> = source::FILES
        .iter()
        .map(|(path, _)| (*path).to_owned())
        .filter(|p| p.ends_with(".cu"))
        .collect();
    assert_eq!(used, all);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
    let on_disk = |folder: &Path, prefix: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        let names = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names
            .filter(|n| n.ends_with(".cu") || n.ends_with(".cuh"))
            .map(|n| format!("{prefix}{n}"))
            .collect()
    };
    let mut files = on_disk(&folder, "");
    files.extend(on_disk(&folder.join("shared"), "shared/"));
    let embedded: BTreeSet<String> =
        source::FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(files, embedded, "files under cuda/ and the table in source.rs");
}

/// Compiles all kernels for one architecture.
fn compile_all(arch: u32) {
    if let Err(reason) = library::nvrtc() {
        let allowed = env::var_os("ALLOW_NO_NVRTC").is_some_and(|v| v == "1");
        assert!(allowed, "{reason}; or set ALLOW_NO_NVRTC=1");
        return;
    }
    let compiler = Compiler::new(arch, None).expect("NVRTC is there");
    let mut report = String::from(
        "| kernel | registers | shared bytes | spilled bytes |\n|---|---:|---:|---:|\n",
    );
    let mut faults = Vec::new();
    let units = units();
    for unit in &units {
        let name = unit.name();
        let Resources { registers, shared_bytes, spill_bytes } = match compiler.resources(unit) {
            Ok(resources) => resources,
            Err(error) => {
                faults.push(error.to_string());
                continue;
            }
        };
        writeln!(report, "| {name} | {registers} | {shared_bytes} | {spill_bytes} |")
            .expect("a string takes everything");
        let allowed = MAY_SPILL.iter().find(|(start, ..)| name.starts_with(start));
        if spill_bytes > allowed.map_or(0, |&(_, bytes, _)| bytes) {
            faults.push(format!("{name} spills {spill_bytes} bytes"));
        }
        if shared_bytes > 48 << 10 {
            faults.push(format!("{name} has {shared_bytes} bytes of shared memory"));
        }
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cuda-kernels-sm_{arch}.md"));
    fs::write(&path, report).expect("the temporary folder can be written");
    println!("{} kernels for sm_{arch}: {}", units.len(), path.display());
    assert!(faults.is_empty(), "sm_{arch}:\n{}", faults.join("\n"));
}

#[test]
fn every_kernel_compiles_for_turing() {
    compile_all(75);
}

#[test]
fn every_kernel_compiles_for_ampere() {
    compile_all(80);
}

#[test]
fn every_kernel_compiles_for_hopper() {
    compile_all(90);
}
