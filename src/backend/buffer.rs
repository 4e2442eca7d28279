//! Device memory: buffers that free themselves, and views into them.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{BackendError, BackendResult};
use crate::{dtype::DType, shape::Shape};

/// Identity of an opened device within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId(u64);

impl DeviceId {
    /// A new identity.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a buffer is for; backends may place it accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    /// Written once, read by kernels.
    Weights,
    /// Written and read by kernels.
    Scratch,
    /// Small, written by the host at each step.
    State,
    /// Key/value pages.
    Cache,
}

/// What to allocate.
#[derive(Clone, Debug)]
pub struct BufferDesc {
    /// Name for errors and dumps.
    pub label: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Purpose.
    pub usage: Usage,
}

/// Marker for a backend's own memory object.
pub trait Memory: Any + Send + Sync {
    /// For downcasting to the backend's own type.
    fn as_any(&self) -> &dyn Any;
}

struct Inner {
    id: u64,
    device: DeviceId,
    desc: BufferDesc,
    memory: Box<dyn Memory>,
}

/// Memory on a device. Clones share it; the last one dropped frees it.
#[derive(Clone)]
pub struct Buffer(Arc<Inner>);

impl Buffer {
    /// Wraps memory that a backend has allocated.
    pub fn new(device: DeviceId, desc: BufferDesc, memory: Box<dyn Memory>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner { id, device, desc, memory }))
    }

    /// Number unique in this process.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Device that allocated it.
    pub fn device(&self) -> DeviceId {
        self.0.device
    }

    /// Name.
    pub fn label(&self) -> &str {
        &self.0.desc.label
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.desc.bytes
    }

    /// Purpose.
    pub fn usage(&self) -> Usage {
        self.0.desc.usage
    }

    /// The backend's own memory object, or an error if another device allocated it.
    pub fn memory<T: Memory>(&self, device: DeviceId, adapter: &str) -> BackendResult<&T> {
        let foreign = || BackendError::ForeignDevice {
            what: format!("buffer `{}`", self.label()),
            adapter: adapter.into(),
        };
        if self.0.device != device {
            return Err(foreign());
        }
        self.0.memory.as_any().downcast_ref().ok_or_else(foreign)
    }

    /// Dense view of `shape` elements from byte `offset`.
    pub fn view(&self, offset: u64, dtype: DType, shape: impl Into<Shape>) -> BackendResult<View> {
        let shape = shape.into();
        View::new(self.clone(), offset, dtype, shape, shape.row_elements())
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.label(), self.id())
    }
}

/// Part of a buffer, with element type and shape.
///
/// The outermost dimension may be strided, so that the query, key and value columns of one fused
/// projection `[M, (H + 2G) d]` are views of the same rows; all inner dimensions are contiguous.
#[derive(Clone, Debug)]
pub struct View {
    /// Memory.
    pub buffer: Buffer,
    /// First byte, a multiple of four.
    pub offset: u64,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Shape,
    /// Elements from one index of the outermost dimension to the next.
    pub row_stride: usize,
}

impl View {
    /// View with a row stride; checked against the buffer's size.
    pub fn new(
        buffer: Buffer,
        offset: u64,
        dtype: DType,
        shape: Shape,
        row_stride: usize,
    ) -> BackendResult<Self> {
        let view = Self { buffer, offset, dtype, shape, row_stride };
        let end = view.end();
        if end.is_none_or(|end| end > view.buffer.bytes())
            || !offset.is_multiple_of(4)
            || row_stride < shape.row_elements()
        {
            return Err(BackendError::Range {
                label: view.buffer.label().into(),
                message: format!(
                    "view of {dtype} {shape} with row stride {row_stride} from byte {offset} \
                     does not fit {} bytes (offsets are multiples of 4)",
                    view.buffer.bytes()
                ),
            });
        }
        Ok(view)
    }

    /// One past the last byte touched; `None` on overflow.
    pub fn end(&self) -> Option<u64> {
        let rows = self.shape.dim(0) as u64;
        if self.shape.elements() == 0 {
            return Some(self.offset);
        }
        let size = self.dtype.size() as u64;
        (rows - 1)
            .checked_mul(self.row_stride as u64)?
            .checked_add(self.shape.row_elements() as u64)?
            .checked_mul(size)?
            .checked_add(self.offset)
    }

    /// Bytes from the first to one past the last touched.
    pub fn span_bytes(&self) -> u64 {
        self.end().map_or(0, |end| end - self.offset)
    }

    /// True if there are no gaps between rows.
    pub fn is_dense(&self) -> bool {
        self.row_stride == self.shape.row_elements() || self.shape.dim(0) <= 1
    }

    /// Rows `first .. first + count` of the outermost dimension.
    pub fn rows(&self, first: usize, count: usize) -> BackendResult<Self> {
        if first.checked_add(count).is_none_or(|end| end > self.shape.dim(0)) {
            return Err(BackendError::Range {
                label: self.buffer.label().into(),
                message: format!("rows {first}..{first}+{count} of {}", self.shape),
            });
        }
        let mut dims = self.shape.dims().to_vec();
        dims[0] = count;
        let offset = self.offset + (first * self.row_stride * self.dtype.size()) as u64;
        Self::new(self.buffer.clone(), offset, self.dtype, Shape::new(&dims), self.row_stride)
    }

    /// Columns of a 2-D view, reshaped: from column `first`, `inner` elements in dimensions of
    /// `inner` (for example `[H, d]`).
    pub fn columns(&self, first: usize, inner: &[usize]) -> BackendResult<Self> {
        let width: usize = inner.iter().product();
        if first + width > self.shape.row_elements() {
            return Err(BackendError::Range {
                label: self.buffer.label().into(),
                message: format!("columns {first}..{} of {}", first + width, self.shape),
            });
        }
        let mut dims = vec![self.shape.dim(0)];
        dims.extend_from_slice(inner);
        let offset = self.offset + (first * self.dtype.size()) as u64;
        Self::new(self.buffer.clone(), offset, self.dtype, Shape::new(&dims), self.row_stride)
    }

    /// True if some byte belongs to both views. Column windows of the same rows do not overlap.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.buffer.id() != other.buffer.id() {
            return false;
        }
        let (Some(a_end), Some(b_end)) = (self.end(), other.end()) else { return true };
        if self.offset >= b_end || other.offset >= a_end {
            return false;
        }
        let stride = (self.row_stride * self.dtype.size()) as u64;
        if stride != (other.row_stride * other.dtype.size()) as u64 || stride == 0 {
            return true;
        }
        let width = |v: &Self| (v.shape.row_elements() * v.dtype.size()) as u64;
        // Both repeat with the same stride: compare the windows modulo the stride.
        let shift = (other.offset + stride - self.offset % stride) % stride;
        !(shift >= width(self) && shift + width(other) <= stride)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{} {} {}", self.buffer.label(), self.offset, self.dtype, self.shape)?;
        if !self.is_dense() {
            write!(f, " stride {}", self.row_stride)?;
        }
        Ok(())
    }
}
