//! What a device can do at most, by kernels that do nothing else.

use std::time::Instant;

use super::{
    Cuda,
    kernels::{
        Launch,
        peaks::{FMA_STEPS, MMA_OPERATIONS, MMA_STEPS, copy, fma, mma},
    },
};
use crate::{
    backend::{Backend, BackendError, BackendResult, BufferDesc, Peaks, Usage, Wait},
    dtype::DType,
};

/// Bytes of each buffer of the copy: several times the caches of the largest devices.
const COPY_BYTES: usize = 512 << 20;
/// Copies of a submission, so that its own cost does not count.
const COPIES: usize = 8;
/// Thread blocks of the arithmetic kernels, and threads of each.
const BLOCKS: usize = 2048;
const THREADS: u64 = 256;
/// Wanted time of a submission in seconds.
const LONG_ENOUGH: f64 = 0.02;
/// Measurements, of which the best counts.
const TRIES: usize = 5;

/// Measures copy, f32 multiply-adds and tensor cores. By `mma.sync`, the instruction of our kernels: Hopper
/// has a faster one.
pub(super) fn measure(device: &Cuda) -> BackendResult<Peaks> {
    let free = device.free_memory().unwrap_or(0) / 4;
    let bytes = COPY_BYTES.min(free as usize).next_multiple_of(4096);
    let buffer = |label: &str| {
        let desc = BufferDesc { label: label.into(), bytes: bytes as u64, usage: Usage::Scratch };
        device.alloc(&desc)?.view(0, DType::U8, [bytes])
    };
    let (src, dst) = (buffer("peak.src")?, buffer("peak.dst")?);
    let refused = |reason| BackendError::Unsupported {
        op: "a kernel that measures".into(),
        adapter: device.adapter().name.clone(),
        reason,
    };
    let copies = copy(&src, &dst, 4 * BLOCKS).map_err(refused)?;
    let copy_seconds = seconds(device, vec![copies; COPIES])? / COPIES as f64;
    let rate = |launch: fn(&crate::backend::View, usize, usize) -> Result<Launch, String>,
                operations: u64|
     -> BackendResult<f64> {
        let mut iterations = 64;
        loop {
            let work = launch(&dst, BLOCKS, iterations).map_err(refused)?;
            let seconds = seconds(device, vec![work])?;
            if seconds >= LONG_ENOUGH || iterations >= 1 << 22 {
                let done = (BLOCKS * iterations) as f64 * operations as f64;
                return Ok(done / seconds / 1e9);
            }
            let more = (2.0 * LONG_ENOUGH / seconds.max(1e-6)).clamp(2.0, 64.0);
            iterations *= more as usize;
        }
    };
    Ok(Peaks {
        copy_gb_s: Some(2.0 * bytes as f64 / copy_seconds / 1e9),
        f32_gflops: Some(rate(fma, 2 * FMA_STEPS * THREADS)?),
        f16_gflops: None,
        int8_gops: None,
        matrix_gflops: Some(rate(mma, MMA_STEPS * MMA_OPERATIONS * THREADS / 32)?),
    })
}

/// Least time of the launches, after one that warms up.
fn seconds(device: &Cuda, launches: Vec<Launch>) -> BackendResult<f64> {
    let work = device.prepare_launches(launches, 0)?;
    let mut least = f64::INFINITY;
    for i in 0..=TRIES {
        let started = Instant::now();
        device.finish(device.submit(&work, &[])?, Wait::Park)?;
        if i > 0 {
            least = least.min(started.elapsed().as_secs_f64());
        }
    }
    Ok(least)
}
