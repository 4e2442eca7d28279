//! All checks of one case on one backend.

use super::{
    bench::{Bench, Images, Placement},
    case::{Build, Case, Record, Tensor, Views},
    compare::{identical, judge, values},
    numbers::{Difference, Numbers},
    outcome::{Check, Failure, Outcome},
};
use crate::{
    backend::{Backend, BackendResult, Prepared, Support, View},
    ops::Op,
};

/// Numbers of rows for which row invariance is checked: around every tile size in use.
pub const ROW_SWEEP: [usize; 12] = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64];

/// What outputs hold before a run: all ones, and for the repeated run an ordinary number.
const PATTERNS: [u32; 2] = [u32::MAX, 0x5a5a_5a5a];

/// Why a case stops early.
type Checked<T = ()> = Result<T, Box<Outcome>>;

fn harness(error: impl std::fmt::Display) -> Box<Outcome> {
    Box::new(Outcome::Harness { message: error.to_string() })
}

impl From<Box<Failure>> for Box<Outcome> {
    fn from(failure: Box<Failure>) -> Self {
        Box::new(Outcome::Fail(failure))
    }
}

fn backend<T, E: Into<Outcome>>(result: Result<T, E>) -> Checked<T> {
    result.map_err(|error| Box::new(error.into()))
}

/// What came of a case, with figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What came of it.
    pub outcome: Outcome,
    /// Kernels that ran it, in the order of its ops; empty if it did not come to that.
    pub variant: String,
    /// Outputs against the reference; those that are compared bit for bit are left out.
    pub numbers: Vec<Numbers>,
}

/// Runs all checks of `case` on `backend`, judged by `reference`.
pub fn run(case: &Case, backend: &dyn Backend, reference: &dyn Backend) -> Outcome {
    measure(case, backend, reference).outcome
}

/// As [`run`], with figures.
pub fn measure(case: &Case, backend: &dyn Backend, reference: &dyn Backend) -> Run {
    let mut run = Run { outcome: Outcome::Pass, variant: String::new(), numbers: Vec::new() };
    if let Err(outcome) = checks(case, backend, reference, &mut run) {
        run.outcome = *outcome;
    }
    run
}

/// Whether a device takes a case at all: all its recordings are prepared and run, their results not
/// looked at. For adapters that validate and do not compute.
pub fn validate(case: &Case, device: &dyn Backend) -> Outcome {
    let check = || -> Checked {
        let build = case.build(0);
        for placement in [Placement::Separate, Placement::Shared] {
            let bench = backend(Bench::new(device, &build.tensors, placement))?;
            for record in build.op.iter().chain(&build.same) {
                let ops = record(&bench.views);
                supported(&ops, device)?;
                let work = backend(bench.prepare(ops))?;
                backend(bench.run(&work, &bench.images(&build.tensors, PATTERNS[0])))?;
            }
        }
        Ok(())
    };
    match check() {
        Ok(()) => Outcome::Pass,
        Err(outcome) => *outcome,
    }
}

/// The outputs of `case` on two devices against each other.
pub fn differences(
    case: &Case,
    a: &dyn Backend,
    b: &dyn Backend,
) -> Result<Vec<Difference>, Outcome> {
    let build = case.build(0);
    let of = |device: &dyn Backend| -> Checked<Vec<Vec<u8>>> {
        let bench = backend(Bench::new(device, &build.tensors, Placement::Separate))?;
        let work = backend(bench.prepare(record(&build)?(&bench.views)))?;
        run_guarded(&bench, &work, &build.tensors, PATTERNS[0])
    };
    let (a, b) = (of(a).map_err(|o| *o)?, of(b).map_err(|o| *o)?);
    let pairs = build.tensors.iter().zip(a.iter().zip(&b));
    Ok(pairs.filter_map(|(tensor, (a, b))| Difference::of(tensor, a, b)).collect())
}

/// The ops that a case records, over buffers of `backend`.
pub fn ops(case: &Case, backend: &dyn Backend) -> BackendResult<Vec<Op>> {
    let build = case.build(0);
    let bench = Bench::new(backend, &build.tensors, Placement::Separate)?;
    Ok(build.op.iter().chain(&build.same).flat_map(|record| record(&bench.views)).collect())
}

/// Compares the reference's result with the case's own naive implementation.
pub fn self_check(case: &Case, reference: &dyn Backend) -> Outcome {
    let check = || -> Checked {
        let build = case.build(0);
        for (tensor, got) in build.tensors.iter().zip(outputs(&build, reference)?) {
            let wanted = tensor.expect.iter().flat_map(|e| e.values.clone()).collect::<Vec<_>>();
            judge(Check::Reference, tensor, &got, &wanted, Some(PATTERNS[0]))?;
        }
        Ok(())
    };
    match check() {
        Ok(()) => Outcome::Pass,
        Err(outcome) => *outcome,
    }
}

/// Fails if the device has no kernel for one of `ops`; gives the names of those it has.
fn supported(ops: &[Op], device: &dyn Backend) -> Checked<String> {
    let mut variants: Vec<String> = Vec::new();
    for op in ops {
        let variant = match device.support(op) {
            Support::No { reason } => return Err(Box::new(Outcome::Unsupported { reason })),
            Support::Native { variant } => variant.into(),
            Support::Split { parts } => format!("{parts} parts"),
        };
        if variants.last() != Some(&variant) {
            variants.push(variant);
        }
    }
    Ok(variants.join(", "))
}

fn checks(
    case: &Case,
    device: &dyn Backend,
    reference: &dyn Backend,
    figures: &mut Run,
) -> Checked {
    let (first, second) = (case.build(0), case.build(1));
    let bench = backend(Bench::new(device, &first.tensors, Placement::Separate))?;
    let ops = record(&first)?(&bench.views);
    figures.variant = supported(&ops, device)?;
    let work = backend(bench.prepare(ops))?;

    let result = judged(&bench, &work, &first, reference, Check::Reference, Some(figures))?;
    let again = run_guarded(&bench, &work, &first.tensors, PATTERNS[1])?;
    all_identical(Check::Repeat, &first, &again, &result, "")?;
    judged(&bench, &work, &second, reference, Check::Replay, None)?;

    for (i, same) in first.same.iter().enumerate() {
        let work = backend(bench.prepare(same(&bench.views)))?;
        let got = run_guarded(&bench, &work, &first.tensors, PATTERNS[0])?;
        all_identical(Check::Same, &first, &got, &result, &format!("recording {i}"))?;
    }
    if case.sweep {
        sweep(&first, &bench)?;
    }

    let shared = backend(Bench::new(device, &first.tensors, Placement::Shared))?;
    let work = backend(shared.prepare(record(&first)?(&shared.views)))?;
    let got = run_guarded(&shared, &work, &first.tensors, PATTERNS[0])?;
    all_identical(Check::Placement, &first, &got, &result, "")
}

fn record(build: &Build) -> Checked<&Record> {
    build.op.as_ref().ok_or_else(|| harness("the case sets no op"))
}

/// Results of all tensors on the reference.
fn outputs(build: &Build, reference: &dyn Backend) -> Checked<Vec<Vec<u8>>> {
    let run = || -> crate::Result<Vec<Vec<u8>>> {
        let bench = Bench::new(reference, &build.tensors, Placement::Separate)?;
        let op = build.op.as_ref().ok_or_else(|| crate::Error::invalid("the case sets no op"))?;
        let work = bench.prepare(op(&bench.views))?;
        let images = bench.run(&work, &bench.images(&build.tensors, PATTERNS[0]))?;
        Ok(build.tensors.iter().enumerate().map(|(i, t)| bench.get(&images, i, t)).collect())
    };
    run().map_err(|error| harness(format!("the reference: {error}")))
}

/// Runs `work` on the contents of `build` and judges it by the reference; gives the outputs.
fn judged(
    bench: &Bench<'_>,
    work: &Prepared,
    build: &Build,
    reference: &dyn Backend,
    check: Check,
    figures: Option<&mut Run>,
) -> Checked<Vec<Vec<u8>>> {
    let result = run_guarded(bench, work, &build.tensors, PATTERNS[0])?;
    let wanted = outputs(build, reference)?;
    if let Some(figures) = figures {
        let outputs = build.tensors.iter().zip(result.iter().zip(&wanted));
        let numbers = outputs.filter_map(|(tensor, (got, r))| Numbers::of(tensor, got, r));
        figures.numbers = numbers.collect();
    }
    let Err(failure) = judge_all(check, build, &result, &wanted, Some(PATTERNS[0])) else {
        return Ok(result);
    };
    if failure.check == Check::Unwritten {
        // A value computed from stale memory can be the pattern too: an element that was never
        // written holds the second pattern as well.
        let again = run_guarded(bench, work, &build.tensors, PATTERNS[1])?;
        let still = judge_all(check, build, &again, &wanted, Some(PATTERNS[1])).err();
        let unwritten = |f: Box<Failure>| f.check == Check::Unwritten && f.index == failure.index;
        if !still.is_some_and(unwritten) {
            judge_all(check, build, &result, &wanted, None)?;
            return Ok(result);
        }
    }
    Err(failure.into())
}

/// Judges all outputs by their rules; `unwritten` as in [`judge`].
fn judge_all(
    check: Check,
    build: &Build,
    got: &[Vec<u8>],
    wanted: &[Vec<u8>],
    unwritten: Option<u32>,
) -> Result<(), Box<Failure>> {
    for ((tensor, got), wanted) in build.tensors.iter().zip(got).zip(wanted) {
        if let Some(expect) = &tensor.expect {
            let wanted = values(tensor, &expect.rule, wanted);
            judge(check, tensor, got, &wanted, unwritten)?;
        }
    }
    Ok(())
}

/// Runs `work` and checks that nothing but outputs has changed; gives all tensors.
fn run_guarded(
    bench: &Bench<'_>,
    work: &Prepared,
    tensors: &[Tensor],
    pattern: u32,
) -> Checked<Vec<Vec<u8>>> {
    let before = bench.images(tensors, pattern);
    let after = backend(bench.run(work, &before))?;
    untouched(bench, tensors, before, &after)?;
    Ok(tensors.iter().enumerate().map(|(i, t)| bench.get(&after, i, t)).collect())
}

/// Inputs, guard zones and gaps hold what they held before.
fn untouched(bench: &Bench<'_>, tensors: &[Tensor], before: Images, after: &Images) -> Checked {
    let mut wanted = before;
    for (i, tensor) in tensors.iter().enumerate() {
        let got = bench.get(after, i, tensor);
        if tensor.expect.is_none() {
            identical(Check::Input, tensor, &got, &bench.get(&wanted, i, tensor), "")?;
        }
        bench.put(&mut wanted, i, tensor, &got);
    }
    for (buffer, (wanted, got)) in wanted.iter().zip(after).enumerate() {
        if let Some(byte) = wanted.iter().zip(got).position(|(a, b)| a != b) {
            return Err(Box::new(Failure {
                check: Check::Guard,
                operand: tensors[bench.nearest(buffer, byte)].name.into(),
                index: vec![byte],
                got: format!("{:#04x}", got[byte]),
                wanted: format!("{:#04x}", wanted[byte]),
                note: "index is the byte in its buffer".into(),
            })
            .into());
        }
    }
    Ok(())
}

fn all_identical(
    check: Check,
    build: &Build,
    got: &[Vec<u8>],
    wanted: &[Vec<u8>],
    note: &str,
) -> Checked {
    for ((tensor, got), wanted) in build.tensors.iter().zip(got).zip(wanted) {
        identical(check, tensor, got, wanted, note)?;
    }
    Ok(())
}

/// M rows at once against the same rows one by one.
fn sweep(build: &Build, bench: &Bench<'_>) -> Checked {
    let record = record(build)?;
    let rows = build.tensors.iter().filter(|t| t.per_row).map(|t| t.shape.dim(0)).min();
    let rows = rows.ok_or_else(|| harness("a sweep without tensors by rows"))?;
    let part = |first: usize, count: usize| -> Checked<Vec<Op>> {
        let views: BackendResult<Vec<View>> = (bench.views.0.iter().zip(&build.tensors))
            .map(|(v, t)| if t.per_row { v.rows(first, count) } else { Ok(v.clone()) })
            .collect();
        Ok(record(&Views(views.map_err(harness)?)))
    };
    let alone = |m: usize| -> Checked<Vec<Vec<u8>>> {
        let ops = (0..m).map(|i| part(i, 1)).collect::<Checked<Vec<_>>>()?;
        let work = backend(bench.prepare(ops.into_iter().flatten()))?;
        run_guarded(bench, &work, &build.tensors, PATTERNS[0])
    };
    // Rows write their own outputs: one run of all of them serves every M. Pages they share.
    let own = build.tensors.iter().all(|t| t.expect.is_none() || t.per_row);
    let all_alone = if own { Some(alone(rows)?) } else { None };
    for m in ROW_SWEEP.into_iter().filter(|&m| m < rows).chain([rows]) {
        let work = backend(bench.prepare(part(0, m)?))?;
        let mut got = run_guarded(bench, &work, &build.tensors, PATTERNS[0])?;
        let mut wanted = match &all_alone {
            Some(all) => all.clone(),
            None => alone(m)?,
        };
        for (i, tensor) in build.tensors.iter().enumerate().filter(|(_, t)| t.per_row) {
            let bytes = m * tensor.shape.row_elements() * tensor.dtype.size();
            got[i].truncate(bytes);
            wanted[i].truncate(bytes);
        }
        all_identical(Check::Rows, build, &got, &wanted, &format!("{m} rows"))?;
    }
    Ok(())
}
