//! What the processor can do at most, by loops that do nothing else.

use std::{
    hint::black_box,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use super::simd::{Isa, Kernel, LANES, Simd};
use crate::backend::Peaks;

/// Bytes that each thread copies: beyond its share of the caches.
const COPY_BYTES: usize = 32 << 20;
/// Rounds of the arithmetic loops: a few milliseconds.
const ROUNDS: usize = 1 << 18;
/// Measurements, of which the best counts.
const TRIES: usize = 5;
/// Independent chains, enough to hide the latency of an operation.
const CHAINS: usize = 8;

/// Chains of multiply-adds.
struct Fma(f32);

impl Kernel for Fma {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (x, y) = (s.splat(self.0), s.splat(0.001));
        let mut chains = [y; CHAINS];
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                *chain = s.fma(*chain, x, y);
            }
        }
        let mut all = y;
        for chain in chains {
            all = s.add(all, chain);
        }
        s.sum(all)
    }
}

/// Chains of dot products of bytes.
struct Dot(u32);

impl Kernel for Dot {
    type Output = i32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> i32 {
        let codes = [s.splat_int(0x0102_0301); 4];
        let x = [[self.0, 1, 2, 3]; 4];
        let mut acc = [s.splat_int(0); 4];
        for _ in 0..ROUNDS {
            acc = s.dot4(4, acc, codes, [&x[0], &x[1], &x[2], &x[3]]);
        }
        let mut all = acc[0];
        for other in &acc[1..] {
            all = s.add_int(all, *other);
        }
        s.sum_int(all)
    }
}

/// Best time of `job` on so many threads at once, in seconds.
fn best(threads: usize, job: impl Fn(usize) + Sync) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        let started = Instant::now();
        thread::scope(|scope| {
            for i in 0..threads {
                let job = &job;
                scope.spawn(move || job(i));
            }
        });
        least = least.min(started.elapsed().as_secs_f64());
    }
    least.max(1e-9)
}

/// Measures with an instruction set on so many threads.
pub(super) fn measure(isa: Isa, threads: usize) -> Peaks {
    let from = vec![1u8; COPY_BYTES * threads];
    let parts: Vec<Mutex<Vec<u8>>> =
        (0..threads).map(|_| Mutex::new(vec![0; COPY_BYTES])).collect();
    let copy = best(threads, |i| {
        let mut part = parts[i].lock().unwrap_or_else(PoisonError::into_inner);
        part.copy_from_slice(black_box(&from[i * COPY_BYTES..][..COPY_BYTES]));
        black_box(&*part);
    });
    let fma = best(threads, |_| {
        black_box(isa.run(Fma(black_box(0.999))));
    });
    let dot = best(threads, |_| {
        black_box(isa.run(Dot(black_box(0x0101_0101))));
    });
    let lanes = (LANES * threads * ROUNDS) as f64;
    Peaks {
        copy_gb_s: Some((2 * COPY_BYTES * threads) as f64 / copy / 1e9),
        f32_gflops: Some(2.0 * CHAINS as f64 * lanes / fma / 1e9),
        f16_gflops: None,
        // Four rows, four quads each, four products and four sums a quad.
        int8_gops: Some(4.0 * 4.0 * 8.0 * lanes / dot / 1e9),
        matrix_gflops: None,
    }
}
