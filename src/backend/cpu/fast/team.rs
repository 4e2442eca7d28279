//! Threads that walk through a plan together.
//!
//! A step of a small model is some 300 ops of a few microseconds. A fork and join of a thread pool
//! costs as much as such an op, so the team forks once a submission: every thread runs the whole
//! list of stages, claims units from a counter, and waits for the others at a barrier that spins
//! first. Small stages are done by whoever comes last to the barrier, which saves one of their own.

use std::{
    any::Any,
    hint,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Turns of spinning before a waiting thread offers its core: about 10 microseconds.
const SPINS: usize = 200;

/// A pool whose threads sleep between submissions.
#[derive(Debug)]
pub struct Team {
    threads: usize,
    pool: Option<rayon::ThreadPool>,
}

impl Team {
    /// A team of `threads` threads, at least one.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = threads.max(1);
        let builder = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("coppice-{i}"));
        let pool = if threads > 1 { Some(builder.build()?) } else { None };
        Ok(Self { threads, pool })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `job` on every thread at once, with the thread's number. Only one call at a time may be
    /// under way, for its threads wait for each other; the device's lock sees to that.
    pub fn run(&self, job: impl Fn(usize) + Sync) {
        match &self.pool {
            None => job(0),
            Some(pool) => {
                pool.broadcast(|thread| job(thread.index()));
            }
        }
    }
}

/// Where the threads of one submission meet.
#[derive(Debug)]
pub struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
}

impl Barrier {
    /// A barrier of `threads` threads.
    pub fn new(threads: usize) -> Self {
        Self { threads, arrived: AtomicUsize::new(0), generation: AtomicUsize::new(0) }
    }

    /// Waits for all threads; the last to come runs `last` before any goes on. `last` must not
    /// panic.
    pub fn wait(&self, last: impl FnOnce()) {
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            last();
            self.arrived.store(0, Ordering::Relaxed);
            self.generation.store(generation.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut turns = 0;
        while self.generation.load(Ordering::Acquire) == generation {
            if turns < SPINS {
                turns += 1;
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// The first failure among the threads of a submission.
#[derive(Debug, Default)]
pub struct Failure {
    failed: AtomicBool,
    first: Mutex<Option<(usize, String)>>,
}

impl Failure {
    /// True once something failed; what is left should be skipped.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Runs work of op `op`; its error or panic becomes the failure.
    pub fn catch(&self, op: usize, work: impl FnOnce() -> Result<(), String>) {
        let message = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => return,
            Ok(Err(message)) => message,
            Err(panic) => format!("panicked: {}", text(&*panic)),
        };
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((op, message));
        self.failed.store(true, Ordering::Release);
    }

    /// Number of the op that failed, and why.
    pub fn into_inner(self) -> Option<(usize, String)> {
        self.first.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    string.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_meet_and_the_last_works_alone() {
        // More threads than this machine may have cores.
        for threads in [1, 2, 9] {
            let team = Team::new(threads).expect("threads start");
            let (barrier, count) = (Barrier::new(threads), AtomicUsize::new(0));
            team.run(|_| {
                for round in 1..200 {
                    count.fetch_add(1, Ordering::Relaxed);
                    barrier.wait(|| {
                        let all = count.swap(0, Ordering::Relaxed);
                        assert_eq!(all, threads, "round {round}");
                    });
                }
            });
        }
    }

    #[test]
    fn first_failure_is_kept() {
        let failure = Failure::default();
        failure.catch(1, || Ok(()));
        assert!(!failure.failed());
        failure.catch(2, || panic!("stop {}", 7));
        failure.catch(3, || Err("later".into()));
        assert!(failure.failed());
        assert_eq!(failure.into_inner(), Some((2, "panicked: stop 7".into())));
    }
}
