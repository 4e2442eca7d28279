//! Buffers on the device, counted while they live.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::backend::{Memory, MemoryUse};

/// Buffers are padded to whole vectors, so that a binding can always be rounded up.
pub(super) const PAD_BYTES: u64 = 16;

/// Bytes held by live buffers.
#[derive(Debug, Default)]
pub(super) struct Counter {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Counter {
    fn add(&self, bytes: u64) {
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    /// Bytes now and at most.
    pub(super) fn read(&self) -> MemoryUse {
        MemoryUse {
            allocated_bytes: self.now.load(Ordering::Relaxed),
            peak_bytes: self.peak.load(Ordering::Relaxed),
        }
    }
}

/// A buffer on the device. wgpu keeps it alive until submissions that use it are done.
pub(super) struct DeviceMemory {
    pub buffer: wgpu::Buffer,
    counter: Arc<Counter>,
}

impl DeviceMemory {
    pub(super) fn new(buffer: wgpu::Buffer, counter: Arc<Counter>) -> Self {
        counter.add(buffer.size());
        Self { buffer, counter }
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        self.counter.now.fetch_sub(self.buffer.size(), Ordering::Relaxed);
    }
}

impl Memory for DeviceMemory {
    fn as_any(&self) -> &dyn Any {
        self
    }
}
