//! A device that notes what its callers spend on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    AdapterReport, Backend, BackendResult, Buffer, BufferDesc, Download, MemoryUse, Peaks,
    Prepared, SharedBackend, Stats, Support, Ticket, View, Wait,
};
use crate::{ops::Op, record::Recording};

/// Time spent in calls to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Handing work over.
    pub submitting: Duration,
    /// Waiting for its end.
    pub waiting: Duration,
}

/// The wrapped device; everything else is passed on.
pub struct Clocked {
    inner: SharedBackend,
    submit_ns: AtomicU64,
    wait_ns: AtomicU64,
}

impl Clocked {
    /// Wraps a device.
    pub fn new(inner: SharedBackend) -> Arc<Self> {
        Arc::new(Self { inner, submit_ns: AtomicU64::new(0), wait_ns: AtomicU64::new(0) })
    }

    /// Since the device was wrapped.
    pub fn spent(&self) -> Spent {
        let read = |ns: &AtomicU64| Duration::from_nanos(ns.load(Ordering::Relaxed));
        Spent { submitting: read(&self.submit_ns), waiting: read(&self.wait_ns) }
    }
}

fn timed<T>(ns: &AtomicU64, call: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = call();
    ns.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
}

impl Backend for Clocked {
    fn adapter(&self) -> &AdapterReport {
        self.inner.adapter()
    }

    fn support(&self, op: &Op) -> Support {
        self.inner.support(op)
    }

    fn alloc(&self, desc: &BufferDesc) -> BackendResult<Buffer> {
        self.inner.alloc(desc)
    }

    fn write(&self, dst: &View, bytes: &[u8]) -> BackendResult<()> {
        self.inner.write(dst, bytes)
    }

    fn prepare(&self, recording: &Recording) -> BackendResult<Prepared> {
        self.inner.prepare(recording)
    }

    fn submit(&self, work: &Prepared, reads: &[View]) -> BackendResult<Ticket> {
        timed(&self.submit_ns, || self.inner.submit(work, reads))
    }

    fn finish(&self, ticket: Ticket, wait: Wait) -> BackendResult<Download> {
        timed(&self.wait_ns, || self.inner.finish(ticket, wait))
    }

    fn memory(&self) -> MemoryUse {
        self.inner.memory()
    }

    fn free_memory(&self) -> Option<u64> {
        self.inner.free_memory()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn peaks(&self) -> BackendResult<Peaks> {
        self.inner.peaks()
    }
}
