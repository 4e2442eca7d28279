//! Times of ops: many in one submission, so that the wait for its end is spread over them.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Level, Spread, cases, cost};
use crate::{
    backend::{Backend, BufferDesc, Prepared, Support, Usage, Wait},
    check::bench::{Bench, Placement},
    dtype::DType,
    error::{Error, Result},
    ops::{Fill, Op},
    record::Recorder,
};

/// Time of one op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Name of the case.
    pub case: String,
    /// The op.
    pub op: String,
    /// Kernel that ran it.
    pub variant: String,
    /// Time of one op among [`Self::repeats`] in a submission.
    pub time: Spread,
    /// What of it is the op's own: reports are compared by this.
    pub level: Level,
    /// Ops in a submission.
    pub repeats: usize,
    /// Copies of the operands that the repeats go through, so that they come from memory and not from
    /// a cache.
    pub copies: usize,
    /// Bytes that the op must move.
    pub bytes: u64,
    /// Operations that it must do.
    pub flops: u64,
}

impl Timing {
    /// Throughput at the median time, GB/s.
    pub fn gb_s(&self) -> f64 {
        self.bytes as f64 / self.time.median_us / 1e3
    }

    /// Throughput at the median time, GFLOP/s.
    pub fn gflop_s(&self) -> f64 {
        self.flops as f64 / self.time.median_us / 1e3
    }
}

/// Operands of all copies together exceed the caches of most devices.
const COLD_BYTES: usize = 96 << 20;
/// Most copies of an op's operands.
const MOST_COPIES: usize = 16;
/// Wanted time of a submission.
const SUBMISSION: Duration = Duration::from_millis(8);
/// Most ops of a submission.
const MOST_REPEATS: usize = 256;
/// Samples of a round, if they take no longer than [`ROUND`].
const SAMPLES: usize = 9;
const ROUND: Duration = Duration::from_millis(80);
/// Rounds at least; more follow, up to the most and within the budget, until two agree.
const LEAST_ROUNDS: usize = 3;
const MOST_ROUNDS: usize = 12;
const BUDGET: Duration = Duration::from_millis(1500);
/// Between rounds, so that what disturbs one is gone in the next.
const PAUSE: Duration = Duration::from_millis(25);

/// Times a case of [`cases`].
///
/// # Errors
/// [`Error::Invalid`] for a name that no case has; those of the device.
pub fn time(name: &str, full: bool, device: &dyn Backend) -> Result<Timing> {
    let case = cases(full).into_iter().find(|case| case.name == name);
    let case = case.ok_or_else(|| Error::invalid(format!("no timed case is named `{name}`")))?;
    let build = case.build_unjudged();
    let record = build.op.as_ref().ok_or_else(|| Error::invalid("the case sets no op"))?;
    let size: usize = build.tensors.iter().map(|t| t.shape.elements() * t.dtype.size()).sum();
    let copies = (COLD_BYTES / size.max(1)).clamp(1, MOST_COPIES);
    let benches = (0..copies)
        .map(|_| Bench::new(device, &build.tensors, Placement::Separate))
        .collect::<Result<Vec<_>, _>>()?;
    for bench in &benches {
        bench.load(&bench.images(&build.tensors, 0))?;
    }
    let ops: Vec<Op> = record(&benches[0].views);
    let least = ops.iter().map(cost).fold((0, 0), |(b, f), c| (b + c.bytes, f + c.flops));
    let variant = match ops.first().map(|op| device.support(op)) {
        Some(Support::Native { variant }) => variant.to_owned(),
        Some(Support::Split { parts }) => format!("{parts} parts"),
        Some(Support::No { reason }) => {
            return Err(crate::backend::BackendError::Unsupported {
                op: case.op.into(),
                adapter: device.adapter().name.clone(),
                reason,
            }
            .into());
        }
        None => String::new(),
    };
    let prepare = |repeats: usize| -> Result<_> {
        let mut recorder = Recorder::new();
        recorder.label("perf");
        for i in 0..repeats {
            for op in record(&benches[i % copies].views) {
                recorder.push(op)?;
            }
        }
        Ok(device.prepare(&recorder.finish())?)
    };
    let run = |work: &Prepared| -> Result<f64> {
        let started = Instant::now();
        device.finish(device.submit(work, &[])?, Wait::Park)?;
        Ok(started.elapsed().as_secs_f64())
    };
    // How many repeats fill a submission is measured: once cold, then warm.
    let mut repeats = copies;
    let mut work = prepare(repeats)?;
    run(&work)?;
    let once = run(&work)?;
    let wanted = (SUBMISSION.as_secs_f64() / (once / repeats as f64).max(1e-9)) as usize;
    let wanted = wanted.clamp(1, MOST_REPEATS).next_multiple_of(copies).max(copies);
    if wanted != repeats {
        repeats = wanted;
        work = prepare(repeats)?;
        run(&work)?;
    }
    let started = Instant::now();
    let (mut times, mut rounds) = (Vec::new(), Vec::new());
    loop {
        let round = Instant::now();
        let before = times.len();
        while times.len() - before < SAMPLES && (times.len() == before || round.elapsed() < ROUND) {
            times.push(run(&work)? * 1e6 / repeats as f64);
        }
        rounds.push(Spread::of(times[before..].to_vec()).median_us);
        let enough = rounds.len() >= LEAST_ROUNDS
            && (Level::of(&rounds).is_settled()
                || rounds.len() == MOST_ROUNDS
                || started.elapsed() > BUDGET);
        if enough {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(Timing {
        case: case.name,
        op: case.op.into(),
        variant,
        time: Spread::of(times),
        level: Level::of(&rounds),
        repeats,
        copies,
        bytes: least.0,
        flops: least.1,
    })
}

/// What work costs beside itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// One more op in a submission.
    pub dispatch_us: f64,
    /// A submission of one op, up to its end.
    pub sync_us: f64,
    /// The same with four bytes read back.
    pub readback_us: f64,
    /// Large writes to the device, GB/s.
    pub upload_gb_s: f64,
    /// Large reads from it, GB/s.
    pub download_gb_s: f64,
}

/// Measures latencies with the smallest op there is.
///
/// # Errors
/// Those of the device.
pub fn latency(device: &dyn Backend) -> Result<Latency> {
    const OPS: usize = 256;
    const LARGE: usize = 32 << 20;
    let desc =
        |label: &str, bytes| BufferDesc { label: label.into(), bytes, usage: Usage::Scratch };
    let small = device.alloc(&desc("latency", 1024))?;
    let word = small.view(0, DType::F32, [1])?;
    let prepare = |count: usize| -> Result<_> {
        let mut recorder = Recorder::new();
        recorder.label("latency");
        for _ in 0..count {
            recorder.push(Fill {
                dst: small.view(0, DType::F32, [1, 1])?,
                bits: 0,
                random: None,
            })?;
        }
        Ok(device.prepare(&recorder.finish())?)
    };
    let best = |run: &dyn Fn() -> Result<()>| -> Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..12 {
            let started = Instant::now();
            run()?;
            least = least.min(started.elapsed().as_secs_f64() * 1e6);
        }
        Ok(least)
    };
    let (one, many) = (prepare(1)?, prepare(OPS)?);
    let run = |work, reads: &[_]| -> Result<()> {
        device.finish(device.submit(work, reads)?, Wait::Park)?;
        Ok(())
    };
    let sync_us = best(&|| run(&one, &[]))?;
    let readback_us = best(&|| run(&one, std::slice::from_ref(&word)))?;
    let many = best(&|| run(&many, &[]))?;
    let limit = device.adapter().max_binding_bytes.min(device.adapter().max_buffer_bytes);
    let bytes = LARGE.min(limit as usize) / 4 * 4;
    let large = device.alloc(&desc("transfer", bytes as u64))?;
    let view = large.view(0, DType::U8, [bytes])?;
    let data = vec![1; bytes];
    let upload = best(&|| {
        device.write(&view, &data)?;
        run(&one, &[])
    })?;
    let download = best(&|| run(&one, std::slice::from_ref(&view)))?;
    let gb_s = |us: f64| bytes as f64 / (us - sync_us).max(1.0) / 1e3;
    Ok(Latency {
        dispatch_us: ((many - sync_us) / (OPS - 1) as f64).max(0.0),
        sync_us,
        readback_us,
        upload_gb_s: gb_s(upload),
        download_gb_s: gb_s(download),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::Cpu;

    #[test]
    fn a_timed_case_has_time_and_cost() {
        let device = Cpu::fast(1).expect("the processor is there");
        let name = cases(false).iter().find(|c| c.op == "add").expect("timed").name.clone();
        let timing = time(&name, false, &device).expect("it runs");
        assert!(timing.time.median_us > 0.0 && timing.level.rounds >= LEAST_ROUNDS);
        assert!(timing.time.samples >= timing.level.rounds && timing.level.us > 0.0);
        assert!(timing.bytes > 0 && timing.flops > 0 && timing.gb_s() > 0.0);
        assert!(time("add(no such case)", false, &device).is_err());
    }

    #[test]
    fn latencies_are_measured() {
        let device = Cpu::fast(1).expect("the processor is there");
        let latency = latency(&device).expect("it runs");
        assert!(latency.sync_us > 0.0 && latency.upload_gb_s > 0.0);
    }
}
