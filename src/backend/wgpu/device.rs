//! An opened device: the state that preparing, submitting and waiting share.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    Progress,
    caps::Caps,
    encode::Replay,
    memory::{Counter, DeviceMemory, PAD_BYTES},
    pipeline::{Key, Pipelines},
    readback::{Pool, Readback},
};
use crate::{
    backend::{
        BackendError, BackendResult, Buffer, BufferDesc, DeviceId, Download, Stats, View, Wait,
    },
    error::Site,
};

/// Host writes that may wait in wgpu's staging memory before they are handed to the device.
const MAX_PENDING_WRITES: usize = 64;

/// What the driver told us outside of any call.
#[derive(Default)]
pub(super) struct Faults {
    lost: Mutex<Option<String>>,
    error: Mutex<Option<String>>,
}

impl Faults {
    fn keep(slot: &Mutex<Option<String>>, message: String) {
        slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    }

    fn lost(&self) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An opened device.
pub(super) struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub id: DeviceId,
    pub name: String,
    pub caps: Caps,
    pub pipelines: Pipelines,
    pub progress: Option<Progress>,
    faults: Arc<Faults>,
    memory: Arc<Counter>,
    pending_writes: AtomicUsize,
    readbacks: Pool,
    /// Only one thread waits at a time: a waiting `poll` blocks all other users of the device.
    polling: Mutex<()>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    dispatches: AtomicU64,
    submissions: AtomicU64,
    readbacks: AtomicU64,
}

/// A submission under way.
pub(super) struct Flight {
    index: wgpu::SubmissionIndex,
    readback: Option<Readback>,
    first: Option<(String, Site)>,
}

impl Gpu {
    pub(super) fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        name: String,
        caps: Caps,
        pipelines: Pipelines,
        progress: Option<Progress>,
    ) -> Self {
        let faults = Arc::new(Faults::default());
        let seen = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the device calls back as well; nobody is left to be told then.
            if reason != wgpu::DeviceLostReason::Destroyed {
                Faults::keep(&seen.lost, message);
            }
        });
        let seen = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            Faults::keep(&seen.error, error.to_string());
        }));
        Self {
            device,
            queue,
            id: DeviceId::unique(),
            name,
            caps,
            pipelines,
            progress,
            faults,
            memory: Arc::default(),
            pending_writes: AtomicUsize::new(0),
            readbacks: Pool::default(),
            polling: Mutex::new(()),
            counts: Counts::default(),
        }
    }

    /// Compiles the variants among `keys` that are missing, telling the progress callback.
    pub(super) fn compile_missing<'k>(
        &self,
        keys: impl Iterator<Item = &'k Key>,
    ) -> BackendResult<()> {
        let mut seen = HashSet::new();
        let missing: Vec<&Key> =
            keys.filter(|key| !self.pipelines.has(key) && seen.insert(*key)).collect();
        for (done, key) in missing.iter().enumerate() {
            if let Some(progress) = &self.progress {
                progress(done, missing.len());
            }
            self.pipelines.get(key)?;
        }
        if let (Some(progress), false) = (&self.progress, missing.is_empty()) {
            progress(missing.len(), missing.len());
        }
        Ok(())
    }

    pub(super) fn memory(&self) -> crate::backend::MemoryUse {
        self.memory.read()
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            dispatches: self.counts.dispatches.load(Ordering::Relaxed),
            submissions: self.counts.submissions.load(Ordering::Relaxed),
            readbacks: self.counts.readbacks.load(Ordering::Relaxed),
        }
    }

    pub(super) fn alloc(&self, desc: &BufferDesc) -> BackendResult<Buffer> {
        let size = desc.bytes.max(1).checked_next_multiple_of(PAD_BYTES);
        let Some(size) = size.filter(|s| *s <= self.caps.max_buffer_bytes) else {
            return Err(BackendError::TooLarge {
                label: desc.label.clone(),
                need_bytes: desc.bytes,
                limit_bytes: self.caps.max_buffer_bytes,
                adapter: self.name.clone(),
            });
        };
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(&desc.label),
            size,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_DST
                | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let failed = [pollster::block_on(internal.pop()), pollster::block_on(memory.pop())];
        if failed.iter().any(Option::is_some) {
            self.check_lost()?;
            return Err(BackendError::OutOfMemory {
                label: desc.label.clone(),
                need_bytes: desc.bytes,
                used_bytes: self.memory.read().allocated_bytes,
                adapter: self.name.clone(),
            });
        }
        let memory = DeviceMemory::new(buffer, self.memory.clone());
        Ok(Buffer::new(self.id, desc.clone(), Box::new(memory)))
    }

    pub(super) fn write(&self, dst: &View, bytes: &[u8]) -> BackendResult<()> {
        let range =
            |message: String| BackendError::Range { label: dst.buffer.label().into(), message };
        let memory: &DeviceMemory = dst.buffer.memory(self.id, &self.name)?;
        let want = dst.span_bytes();
        if !dst.is_dense() || want != bytes.len() as u64 {
            return Err(range(format!(
                "writing {} bytes to a view of {want} bytes with row stride {}",
                bytes.len(),
                dst.row_stride
            )));
        }
        let words = bytes.len() / 4 * 4;
        let (whole, tail) = bytes.split_at(words);
        if !whole.is_empty() {
            self.queue.write_buffer(&memory.buffer, dst.offset, whole);
        }
        if !tail.is_empty() {
            // WebGPU writes whole words; the rest of the last one may only be padding.
            if dst.offset + want < dst.buffer.bytes() {
                return Err(range(format!(
                    "{want} bytes from byte {} end within a word that holds other data",
                    dst.offset
                )));
            }
            let mut word = [0; 4];
            word[..tail.len()].copy_from_slice(tail);
            self.queue.write_buffer(&memory.buffer, dst.offset + words as u64, &word);
        }
        if self.pending_writes.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_PENDING_WRITES {
            self.pending_writes.store(0, Ordering::Relaxed);
            self.queue.submit([]);
        }
        Ok(())
    }

    pub(super) fn submit(&self, replay: &Replay, reads: &[View]) -> BackendResult<Flight> {
        self.check_lost()?;
        let mut encoder = self
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("submission") });
        replay.encode(&mut encoder);
        let staged = self.stage(&mut encoder, reads)?;
        self.pending_writes.store(0, Ordering::Relaxed);
        let index = self.queue.submit([encoder.finish()]);
        self.counts.dispatches.fetch_add(replay.dispatches() as u64, Ordering::Relaxed);
        self.counts.submissions.fetch_add(1, Ordering::Relaxed);
        let readback = staged.map(|(buffer, bytes, ranges)| {
            self.counts.readbacks.fetch_add(1, Ordering::Relaxed);
            Readback::map(buffer, bytes, ranges)
        });
        Ok(Flight { index, readback, first: replay.first.clone() })
    }

    /// Encodes the copies of `reads` into one readback buffer.
    #[allow(clippy::type_complexity, reason = "a buffer, its filled bytes and the ranges in it")]
    fn stage(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        reads: &[View],
    ) -> BackendResult<Option<(wgpu::Buffer, u64, Vec<(usize, usize)>)>> {
        let mut ranges = Vec::with_capacity(reads.len());
        let mut total = 0u64;
        for view in reads {
            if !view.is_dense() {
                return Err(BackendError::Range {
                    label: view.buffer.label().into(),
                    message: format!("reading back {view}, which is not dense"),
                });
            }
            let bytes = view.span_bytes();
            ranges.push((total as usize, (total + bytes) as usize));
            total += bytes.next_multiple_of(4);
        }
        if total == 0 {
            return Ok(None);
        }
        let buffer = self.readbacks.take(&self.device, total);
        for (view, (start, end)) in reads.iter().zip(&ranges) {
            let memory: &DeviceMemory = view.buffer.memory(self.id, &self.name)?;
            let bytes = ((end - start) as u64).next_multiple_of(4);
            if bytes > 0 {
                encoder.copy_buffer_to_buffer(
                    &memory.buffer,
                    view.offset,
                    &buffer,
                    *start as u64,
                    bytes,
                );
            }
        }
        Ok(Some((buffer, total, ranges)))
    }

    pub(super) fn finish(&self, flight: Flight, wait: Wait) -> BackendResult<Download> {
        let Flight { index, readback, first } = flight;
        if let (Wait::Spin(budget), Some(readback)) = (wait, &readback) {
            let start = Instant::now();
            while !readback.is_done() && start.elapsed() < budget {
                // An error shows up again below, where it can be returned.
                if self.device.poll(wgpu::PollType::Poll).is_err() {
                    break;
                }
                std::hint::spin_loop();
            }
        }
        // A submission without readback has no callback to look at: it is waited for once.
        let mut waited = false;
        while !readback.as_ref().map_or(waited, Readback::is_done) {
            let _one = self.polling.lock().unwrap_or_else(PoisonError::into_inner);
            let park =
                wgpu::PollType::Wait { submission_index: Some(index.clone()), timeout: None };
            if let Err(error) = self.device.poll(park) {
                self.check_lost()?;
                return Err(self.failed(first, error.to_string()));
            }
            // Another thread's poll may have taken our callback and not called it yet.
            if waited {
                self.check_lost()?;
                std::thread::yield_now();
            }
            waited = true;
        }
        self.check_lost()?;
        if let Some(error) = self.faults.take_error() {
            return Err(self.failed(first, error));
        }
        match readback {
            None => Ok(Download::default()),
            Some(readback) => {
                readback.take(&self.readbacks).map_err(|message| self.failed(first, message))
            }
        }
    }

    fn failed(&self, first: Option<(String, Site)>, message: String) -> BackendError {
        let (op, site) = match first {
            Some((op, site)) => (format!("a submission that begins with {op}"), site),
            None => ("a submission without ops".into(), Site::caller()),
        };
        BackendError::Device { op, adapter: self.name.clone(), site, message }
    }

    fn check_lost(&self) -> BackendResult<()> {
        match self.faults.lost() {
            Some(reason) => Err(BackendError::Lost { adapter: self.name.clone(), reason }),
            None => Ok(()),
        }
    }
}
