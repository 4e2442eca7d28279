//! Results of a submission: copied into one mapped buffer, taken from a pool.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use crate::backend::Download;

/// State of a mapping, written by wgpu's callback.
const PENDING: u8 = 0;
const MAPPED: u8 = 1;
const FAILED: u8 = 2;

/// Smallest readback buffer in bytes: most steps read a few hundred.
const LEAST_BYTES: u64 = 4096;

/// Readback buffers not in use.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<wgpu::Buffer>>);

impl Pool {
    /// A buffer of at least `bytes`.
    pub(super) fn take(&self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |b: &wgpu::Buffer| b.size() >= bytes && b.size() <= 4 * bytes.max(LEAST_BYTES);
        if let Some(at) = free.iter().position(fits) {
            return free.swap_remove(at);
        }
        // One of the wrong size will hardly be asked for again.
        free.pop();
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: bytes.max(LEAST_BYTES).next_power_of_two(),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        })
    }

    fn put(&self, buffer: wgpu::Buffer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// A buffer whose mapping is under way.
pub(super) struct Readback {
    buffer: wgpu::Buffer,
    bytes: u64,
    ranges: Vec<(usize, usize)>,
    state: Arc<AtomicU8>,
}

impl Readback {
    /// Asks for the mapping of a buffer that the last submission fills.
    pub(super) fn map(buffer: wgpu::Buffer, bytes: u64, ranges: Vec<(usize, usize)>) -> Self {
        let state = Arc::new(AtomicU8::new(PENDING));
        let seen = state.clone();
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            seen.store(if result.is_ok() { MAPPED } else { FAILED }, Ordering::Release);
        });
        Self { buffer, bytes, ranges, state }
    }

    /// True if the mapping has come or failed.
    pub(super) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) != PENDING
    }

    /// Copies the bytes out and gives the buffer back; a message if the mapping failed.
    pub(super) fn take(self, pool: &Pool) -> Result<Download, String> {
        if self.state.load(Ordering::Acquire) != MAPPED {
            return Err("the results could not be mapped".into());
        }
        let bytes =
            self.buffer.get_mapped_range(0..self.bytes).map_err(|e| e.to_string())?.to_vec();
        self.buffer.unmap();
        pool.put(self.buffer);
        Ok(Download { bytes, ranges: self.ranges })
    }
}
