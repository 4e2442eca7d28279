//! The op table on every adapter: `[adapter] case ... ok`.
//!
//! The reference is judged by each case's own naive implementation, every other adapter by the
//! reference. Without any wgpu adapter the suite fails, unless `ALLOW_NO_GPU=1`: tests that skip in
//! silence rot. Known failures are in `expected_failures.toml`.

use std::{process::ExitCode, sync::Arc};

use coppice::{
    backend::{SharedBackend, cpu::Cpu},
    check::{
        self, Case, Check, Outcome,
        expect::{self, Excuse, Expected, Who, status_of},
        faulty::{Fault, Faulty},
        report::Status,
    },
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod support;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let entries = Arc::new(expect::known());
    let reference: SharedBackend = Arc::new(Cpu::reference());
    let mut trials = self_checks(&reference);
    let on_itself = Arc::clone(&reference);
    let open = Arc::new(move || Ok(Arc::clone(&on_itself)));
    trials.extend(adapter_trials("reference", open, &reference, &entries));
    for adapter in support::adapters::fast() {
        let label = adapter.label.clone();
        let open = Arc::new(move || adapter.get());
        trials.extend(adapter_trials(&label, open, &reference, &entries));
    }
    trials.extend(wgpu_trials(&reference, &entries));
    trials.extend(cuda_trials(&reference, &entries));
    trials.extend(planted_faults(&reference));
    libtest_mimic::run(&args, trials).exit_code()
}

/// The reference against the naive implementation of each case.
fn self_checks(reference: &SharedBackend) -> Vec<Trial> {
    let trial = |case: Case| {
        let reference = Arc::clone(reference);
        Trial::test(format!("[self-check] {}", case.name), move || {
            match check::self_check(&case, &*reference) {
                Outcome::Pass => Ok(()),
                outcome => Err(Failed::from(outcome.to_string())),
            }
        })
    };
    check::cases().into_iter().map(trial).collect()
}

/// All cases on every wgpu adapter, or one failure that says that there is none.
#[cfg(feature = "wgpu")]
fn wgpu_trials(reference: &SharedBackend, entries: &Arc<Vec<Expected>>) -> Vec<Trial> {
    let adapters = support::adapters::wgpu();
    if adapters.is_empty() {
        let allowed = std::env::var_os("ALLOW_NO_GPU").is_some_and(|v| v == "1");
        return vec![Trial::ignorable_test("[wgpu] an adapter exists", move || {
            if allowed {
                return Ok(Completion::ignored_with("no adapter, and ALLOW_NO_GPU=1"));
            }
            Err("no wgpu adapter: install a driver (mesa-vulkan-drivers has a software one) or set \
                 ALLOW_NO_GPU=1"
                .into())
        })];
    }
    let trials = adapters.into_iter().flat_map(|adapter| {
        let label = adapter.label.clone();
        adapter_trials(&label, Arc::new(move || adapter.get()), reference, entries)
    });
    trials.collect()
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_trials(_: &SharedBackend, _: &Arc<Vec<Expected>>) -> Vec<Trial> {
    Vec::new()
}

/// All cases on the CUDA kernels run by the processor, or one failure that says that they cannot be.
#[cfg(feature = "cuda")]
fn cuda_trials(reference: &SharedBackend, entries: &Arc<Vec<Expected>>) -> Vec<Trial> {
    if !support::cuda_host::available() {
        return vec![Trial::test("[cuda on the processor] a C++ compiler exists", || {
            Err("no C++ compiler: install g++ or clang, as `c++`".into())
        })];
    }
    let device = support::cuda_host::open();
    let open = Arc::new(move || Ok(Arc::clone(&device)));
    adapter_trials("cuda on the processor", open, reference, entries)
}

#[cfg(not(feature = "cuda"))]
fn cuda_trials(_: &SharedBackend, _: &Arc<Vec<Expected>>) -> Vec<Trial> {
    Vec::new()
}

/// Gives a device, or says why it cannot be opened.
type Open = Arc<dyn Fn() -> Result<SharedBackend, String> + Send + Sync>;

/// All cases on one adapter.
fn adapter_trials(
    label: &str,
    open: Open,
    reference: &SharedBackend,
    entries: &Arc<Vec<Expected>>,
) -> Vec<Trial> {
    let trial = |case: Case| {
        let (open, reference) = (Arc::clone(&open), Arc::clone(reference));
        let entries = Arc::clone(entries);
        Trial::ignorable_test(format!("[{label}] {}", case.name), move || {
            let backend = open()?;
            let outcome = check::run(&case, &*backend, &*reference);
            let (status, message) = (status_of(&outcome), outcome.to_string());
            let who = Who::from(backend.adapter());
            match expect::judge(&entries, &who, case.op, &case.name, status, &message) {
                Excuse::None if status == Status::Passed => Ok(Completion::Completed),
                Excuse::None => Err(Failed::from(message)),
                Excuse::Expected(reason) => Ok(Completion::ignored_with(reason)),
                Excuse::UnexpectedPass(reason) => Err(Failed::from(format!(
                    "passes, but tests/expected_failures.toml says that it fails: {reason}"
                ))),
            }
        })
    };
    check::cases().into_iter().map(trial).collect()
}

/// The harness must notice each fault, and name it rightly.
fn planted_faults(reference: &SharedBackend) -> Vec<Trial> {
    let fault = |planted: Fault, case: &'static str, wanted: fn(&Outcome) -> bool| {
        let reference = Arc::clone(reference);
        Trial::test(format!("[harness] {planted:?} in {case}"), move || {
            let device = Faulty::new(Arc::new(Cpu::reference()), planted);
            let case = check::cases().into_iter().find(|c| c.name == case);
            let case = case.ok_or("no such case")?;
            let outcome = check::run(&case, &device, &*reference);
            if wanted(&outcome) {
                Ok(())
            } else {
                Err(format!("{planted:?} gave: {outcome}").into())
            }
        })
    };
    macro_rules! caught {
        ($check:ident) => {
            |o| matches!(o, Outcome::Fail(f) if f.check == Check::$check)
        };
    }
    const NORM: &str = "rms_norm(m=64, d=96, gap=0)";
    const ROWS: &str = "rms_norm(m=2, d=1021, gap=3)";
    const MATMUL: &str = "qmatmul(q4_k, m=64, n=33, k=512, then=store, x=f32, bias=false, gap=0)";
    const TREE: &str = "tree_attention(f16, tree equals path, h=2, g=1, d=32, window=0)";
    const IDS: &str = "top_k(m=64, v=101, k=5, logits=Plain)";
    let mut trials = Vec::new();
    for case in [NORM, ROWS, MATMUL] {
        trials.push(fault(Fault::None, case, |o| *o == Outcome::Pass));
        trials.push(fault(Fault::WrongTail, case, caught!(Reference)));
        trials.push(fault(Fault::Unwritten, case, caught!(Unwritten)));
        trials.push(fault(Fault::Ones, case, caught!(Reference)));
        trials.push(fault(Fault::Nan, case, caught!(Reference)));
        trials.push(fault(Fault::WriteAfter, case, caught!(Guard)));
        trials.push(fault(Fault::WriteBefore, case, caught!(Guard)));
        trials.push(fault(Fault::ChangedInput, case, caught!(Input)));
        trials.push(fault(Fault::NotRepeatable, case, caught!(Repeat)));
        trials.push(fault(Fault::StaleReplay, case, caught!(Replay)));
        trials.push(fault(Fault::Refused, case, |o| matches!(o, Outcome::Unsupported { .. })));
        trials.push(fault(Fault::Lost, case, |o| matches!(o, Outcome::Lost { .. })));
        trials.push(fault(Fault::Failing, case, caught!(Device)));
    }
    for case in [NORM, MATMUL] {
        trials.push(fault(Fault::RowCount, case, caught!(Rows)));
    }
    trials.push(fault(Fault::RowCount, IDS, caught!(Reference)));
    // of a tree, recordings 1 and 2 are plain decoding of its paths and 3 has its own placement
    trials.push(fault(Fault::None, TREE, |o| *o == Outcome::Pass));
    trials.push(fault(Fault::Recording(1), TREE, caught!(Same)));
    trials.push(fault(Fault::Recording(2), TREE, caught!(Same)));
    trials.push(fault(Fault::Recording(3), TREE, caught!(Placement)));
    trials
}
