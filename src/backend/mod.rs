//! Where ops run: the [`Backend`] trait and what it hands around.
//!
//! A backend is object-safe and small on purpose: the program holds an `Arc<dyn Backend>` chosen at
//! run time, and everything an LLM does reaches it as a [`Recording`] of [`Op`]s. A method per op
//! (candle) or a generic parameter in model code (burn) was decided against: see the design notes on
//! `enum Op`.

mod adapter;
mod buffer;
mod clocked;
mod error;

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "wgpu")]
pub mod wgpu;

pub use adapter::{AdapterDetails, AdapterKind, AdapterReport, Peaks, Tier};
pub use buffer::{Buffer, BufferDesc, DeviceId, Memory, Usage, View};
pub use clocked::{Clocked, Spent};
pub use error::BackendError;

use std::{any::Any, sync::Arc, time::Duration};

use crate::{ops::Op, record::Recording};

/// Result of a backend call.
pub type BackendResult<T> = Result<T, BackendError>;

/// Whether, and how, a backend can run an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// One kernel does it; the variant's name, such as `avx512vnni` or `subgroup`.
    Native {
        /// Which kernel.
        variant: &'static str,
    },
    /// Done in `parts` dispatches because an operand exceeds a limit.
    Split {
        /// How many.
        parts: u32,
    },
    /// Not possible.
    No {
        /// Why, for the reader.
        reason: String,
    },
}

/// How [`Backend::finish`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Spin for up to this long, then park: saves the wake-up of a thread at each token.
    Spin(Duration),
    /// Park at once.
    Park,
}

/// A device that can run recordings.
pub trait Backend: Send + Sync {
    /// Name, driver, limits, tier.
    fn adapter(&self) -> &AdapterReport;

    /// Whether and how `op` runs here.
    fn support(&self, op: &Op) -> Support;

    /// Allocates a zero-filled buffer; it is freed when the last handle is dropped, after the last
    /// submission that used it. Fails with [`BackendError::TooLarge`] or
    /// [`BackendError::OutOfMemory`].
    fn alloc(&self, desc: &BufferDesc) -> BackendResult<Buffer>;

    /// Writes bytes to a dense view; visible to every later submission.
    fn write(&self, dst: &View, bytes: &[u8]) -> BackendResult<()>;

    /// Chooses variants, compiles and binds, so that replaying costs only encoding.
    fn prepare(&self, recording: &Recording) -> BackendResult<Prepared>;

    /// Runs prepared work, then copies the dense views of `reads` out in the same submission.
    fn submit(&self, work: &Prepared, reads: &[View]) -> BackendResult<Ticket>;

    /// Waits for a submission. The only call that may block; errors of the device come out here.
    fn finish(&self, ticket: Ticket, wait: Wait) -> BackendResult<Download>;

    /// Bytes allocated at present.
    fn memory(&self) -> MemoryUse;

    /// Bytes of memory that buffers could still take; `None` where the device does not say.
    fn free_memory(&self) -> Option<u64> {
        None
    }

    /// What the device was asked to do since it was opened; all zero where nothing is counted.
    fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Measures what the device can do at most; takes about a second. Nothing is known of devices
    /// that have no kernels for it.
    fn peaks(&self) -> BackendResult<Peaks> {
        Ok(Peaks::default())
    }
}

/// Work that a backend has prepared; opaque, and tied to the device that made it.
pub struct Prepared {
    /// Device that prepared it.
    pub device: DeviceId,
    /// The backend's own form.
    pub inner: Box<dyn Any + Send + Sync>,
}

impl Prepared {
    /// The backend's own form, or an error if another device prepared it.
    pub fn get<T: 'static>(&self, device: DeviceId, adapter: &str) -> BackendResult<&T> {
        if self.device != device {
            return Err(BackendError::ForeignDevice {
                what: "prepared recording".into(),
                adapter: adapter.into(),
            });
        }
        self.inner.downcast_ref().ok_or_else(|| BackendError::ForeignDevice {
            what: "prepared recording".into(),
            adapter: adapter.into(),
        })
    }
}

/// A submission under way. Dropping it abandons the results, not the work.
#[must_use = "a submission's errors come out of `finish`"]
pub struct Ticket {
    /// The backend's own form.
    pub inner: Box<dyn Any + Send>,
}

/// Bytes of the views that a submission was asked to read back, in the order asked.
#[derive(Debug, Default)]
pub struct Download {
    /// All views, one after the other, each starting at a multiple of four bytes.
    pub bytes: Vec<u8>,
    /// Start and end of each view in `bytes`.
    pub ranges: Vec<(usize, usize)>,
}

impl Download {
    /// Bytes of view `i`.
    pub fn bytes(&self, i: usize) -> &[u8] {
        let (start, end) = self.ranges[i];
        &self.bytes[start..end]
    }

    /// View `i` as elements of a plain type; copies, so that alignment never matters.
    pub fn to_vec<T: bytemuck::AnyBitPattern>(&self, i: usize) -> Vec<T> {
        self.bytes(i).chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
    }
}

/// Bytes in use on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Held by live buffers.
    pub allocated_bytes: u64,
    /// Most ever held at once.
    pub peak_bytes: u64,
}

/// Calls to a device since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Kernels launched.
    pub dispatches: u64,
    /// Batches of work handed over.
    pub submissions: u64,
    /// Times that results came back.
    pub readbacks: u64,
}

/// The form in which the program holds a device.
pub type SharedBackend = Arc<dyn Backend>;
