//! Host memory as device memory, and checked access to it while a submission runs.
//!
//! Recordings hold views, many of them into the same buffer, some of them interleaved (query and key
//! columns of one projection), so plain `&mut [T]` borrows cannot express an op's operands.
//! Instead an [`Execution`] (the device's lock, held) lends out [`Operands`] for one op, which remember
//! each view they have handed out and refuse one that overlaps a written one. The order of trust:
//!
//! 1. bytes of a device are touched only through an [`Execution`] of its [`Host`], and the host's lock
//!    allows one at a time;
//! 2. one [`Operands`] exists at a time, because it borrows the execution mutably;
//! 3. within it, a view handed out for writing overlaps no other view handed out.
//!
//! Checking costs a few comparisons an operand and makes the interface safe to use.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    any::Any,
    cell::RefCell,
    marker::PhantomData,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytemuck::Pod;
use memmap2::MmapMut;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator};

use crate::backend::{
    BackendError, BackendResult, Buffer, BufferDesc, DeviceId, Memory, MemoryUse, Usage, View,
};

/// Alignment of every buffer: a packed weight's planes ask for it, and it covers SIMD loads.
const ALIGN: usize = 256;

/// Memory of one CPU device: its identity, its lock and its account.
#[derive(Debug)]
pub struct Host {
    device: DeviceId,
    lock: Mutex<()>,
    account: Arc<Account>,
    /// Where the next small weight goes.
    region: Mutex<Option<Region>>,
}

#[derive(Debug, Default)]
struct Account {
    allocated: AtomicU64,
    peak: AtomicU64,
}

impl Host {
    /// A device with no memory in use.
    pub fn new() -> Self {
        Self {
            device: DeviceId::unique(),
            lock: Mutex::new(()),
            account: Arc::default(),
            region: Mutex::default(),
        }
    }

    /// Identity of the device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Allocates a zero-filled buffer. Pages are zeroed by the system when first touched.
    pub fn alloc(&self, desc: &BufferDesc, adapter: &str) -> BackendResult<Buffer> {
        let used_bytes = self.account.allocated.load(Ordering::Relaxed);
        let block =
            usize::try_from(desc.bytes).ok().and_then(|bytes| self.block(bytes, desc.usage));
        let memory = block.ok_or_else(|| BackendError::OutOfMemory {
            label: desc.label.clone(),
            need_bytes: desc.bytes,
            used_bytes,
            adapter: adapter.into(),
        })?;
        let memory = HostMemory::new(memory, desc.bytes, Arc::clone(&self.account));
        Ok(Buffer::new(self.device, desc.clone(), Box::new(memory)))
    }

    /// At least `bytes` zeroed bytes, and the first of them at a multiple of [`ALIGN`].
    fn block(&self, bytes: usize, usage: Usage) -> Option<(Block, NonNull<u8>)> {
        if bytes >= HUGE {
            Block::mapped(bytes).or_else(|| Block::heap(bytes))
        } else if usage == Usage::Weights {
            // Weights live together and end together, so the region of a freed one is soon free too.
            let mut region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
            if region.as_ref().is_none_or(|region| region.free() < bytes) {
                *region = Region::new();
            }
            region.as_mut().and_then(|region| region.take(bytes)).or_else(|| Block::heap(bytes))
        } else {
            Block::heap(bytes)
        }
    }

    /// Takes the device: waits for a running submission or host access.
    pub fn execution(&self) -> Execution<'_> {
        // A panic elsewhere leaves arbitrary numbers in buffers but no broken invariant.
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        Execution { device: self.device, _lock: lock }
    }

    /// Bytes of live buffers.
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            allocated_bytes: self.account.allocated.load(Ordering::Relaxed),
            peak_bytes: self.account.peak.load(Ordering::Relaxed),
        }
    }

    /// Fails unless `view` is memory of this device and lies within its buffer.
    pub fn check(&self, view: &View, adapter: &str) -> BackendResult<()> {
        view.buffer.memory::<HostMemory>(self.device, adapter)?;
        if in_range(view) {
            return Ok(());
        }
        Err(BackendError::Range {
            label: view.buffer.label().into(),
            message: format!("view {view} does not fit {} bytes", view.buffer.bytes()),
        })
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

fn in_range(view: &View) -> bool {
    view.end().is_some_and(|end| end <= view.buffer.bytes())
        && view.offset.is_multiple_of(4)
        && view.row_stride >= view.shape.row_elements()
}

/// From this size on a buffer is a mapping of its own, for which the system is asked for huge pages:
/// gathering the cache's rows of many sequences otherwise spends most of its time on page walks.
/// Smaller weights share regions of this size, since a step reads all of them once: with pages of
/// 4 KiB it gets half of the bandwidth.
const HUGE: usize = 8 << 20;

/// Where a buffer's bytes come from.
#[derive(Debug)]
enum Block {
    Heap { start: NonNull<u8>, layout: Layout },
    Map { _map: Arc<MmapMut> },
}

/// A mapping that several weights share.
#[derive(Debug)]
struct Region {
    map: Arc<MmapMut>,
    start: NonNull<u8>,
    used: usize,
}

// SAFETY: `start` points into `map`, which is owned; nobody reaches its bytes through a region.
unsafe impl Send for Region {}

impl Region {
    fn new() -> Option<Self> {
        let (map, start) = map_huge(HUGE)?;
        Some(Self { map, start, used: 0 })
    }

    fn free(&self) -> usize {
        HUGE - self.used
    }

    /// The next `bytes` bytes.
    fn take(&mut self, bytes: usize) -> Option<(Block, NonNull<u8>)> {
        let size = bytes.max(1).checked_next_multiple_of(ALIGN)?;
        if size > self.free() {
            return None;
        }
        // SAFETY: at most `HUGE`, the size of the mapping.
        let base = unsafe { self.start.add(self.used) };
        self.used += size;
        Some((Block::Map { _map: Arc::clone(&self.map) }, base))
    }
}

/// Zeroed pages, huge ones if the system has them.
fn map_huge(bytes: usize) -> Option<(Arc<MmapMut>, NonNull<u8>)> {
    let mut map = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    if let Err(error) = map.advise(memmap2::Advice::HugePage) {
        tracing::debug!(%error, "no huge pages");
    }
    let start = NonNull::new(map.as_mut_ptr())?;
    Some((Arc::new(map), start))
}

impl Block {
    /// A mapping of its own; its pages are multiples of [`ALIGN`].
    fn mapped(bytes: usize) -> Option<(Self, NonNull<u8>)> {
        let (map, start) = map_huge(bytes)?;
        Some((Self::Map { _map: map }, start))
    }

    /// Memory of the allocator.
    fn heap(bytes: usize) -> Option<(Self, NonNull<u8>)> {
        // Aligned by hand: asking the allocator for more than its natural alignment makes it fill
        // the block with zeros itself, which touches every page of a weight before it is loaded.
        let size = bytes.max(1).checked_add(ALIGN)?;
        let layout = Layout::from_size_align(size, 16).ok()?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let shift = start.as_ptr().align_offset(ALIGN);
        // SAFETY: `shift < ALIGN` and the block is `ALIGN` bytes longer than asked for.
        let base = unsafe { start.add(shift) };
        Some((Self::Heap { start, layout }, base))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Self::Heap { start, layout } = self {
            // SAFETY: the block was allocated with this layout and is freed once.
            unsafe { dealloc(start.as_ptr(), *layout) };
        }
    }
}

/// A buffer's bytes: zeroed, starting at a multiple of 256.
#[derive(Debug)]
pub struct HostMemory {
    _block: Block,
    base: NonNull<u8>,
    bytes: u64,
    account: Arc<Account>,
}

// SAFETY: the memory is owned, and its bytes are reached only through an `Execution`, of which a
// device's lock allows one at a time.
unsafe impl Send for HostMemory {}
// SAFETY: as above; `&HostMemory` alone gives a raw pointer and no access.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    fn new((block, base): (Block, NonNull<u8>), bytes: u64, account: Arc<Account>) -> Self {
        let now = account.allocated.fetch_add(bytes, Ordering::Relaxed) + bytes;
        account.peak.fetch_max(now, Ordering::Relaxed);
        Self { _block: block, base, bytes, account }
    }

    /// First byte. Dereferencing needs the device's [`Execution`] and an op without aliasing.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        self.account.allocated.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Memory for HostMemory {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The device, taken for a submission or a host access.
#[derive(Debug)]
pub struct Execution<'h> {
    device: DeviceId,
    _lock: MutexGuard<'h, ()>,
}

impl Execution<'_> {
    /// Access to the operands of one op.
    pub fn operands(&mut self) -> Operands<'_> {
        Operands { device: self.device, lent: RefCell::default() }
    }
}

/// Hands out an op's views, each checked against those handed out before.
#[derive(Debug)]
pub struct Operands<'e> {
    device: DeviceId,
    lent: RefCell<Vec<(&'e View, bool)>>,
}

impl<'e> Operands<'e> {
    /// Rows to read. `T` may differ from the view's element type if it divides its rows evenly.
    ///
    /// Panics if the view belongs to another device, exceeds its buffer or overlaps a view handed
    /// out for writing: all are checked when a recording is prepared.
    pub fn read<T: Pod>(&self, view: &'e View) -> Rows<'e, T> {
        Rows { raw: self.lend(view, false), lifetime: PhantomData }
    }

    /// Rows to write or update. Panics as [`Self::read`] does, and on any overlap.
    pub fn write<T: Pod>(&self, view: &'e View) -> RowsMut<'e, T> {
        RowsMut { raw: self.lend(view, true), lifetime: PhantomData }
    }

    fn lend<T: Pod>(&self, view: &'e View, written: bool) -> Raw<T> {
        let memory = view
            .buffer
            .memory::<HostMemory>(self.device, "cpu")
            .expect("prepare checked that operands belong to this device");
        assert!(in_range(view), "view {view} exceeds its buffer");
        let mut lent = self.lent.borrow_mut();
        for (other, other_written) in lent.iter() {
            let clash = (written || *other_written) && view.overlaps(other);
            assert!(!clash, "view {view} overlaps view {other} of the same op");
        }
        lent.push((view, written));
        let (size, element) = (view.dtype.size(), size_of::<T>());
        let (width, stride) = (view.shape.row_elements() * size, view.row_stride * size);
        assert!(
            width.is_multiple_of(element) && stride.is_multiple_of(element) && align_of::<T>() <= 4,
            "rows of {view} are not whole elements of {element} bytes"
        );
        Raw {
            // SAFETY: the view lies within its buffer.
            base: unsafe { memory.as_ptr().add(view.offset as usize) }.cast(),
            rows: view.shape.dim(0),
            width: width / element,
            stride: stride / element,
        }
    }
}

/// Where rows lie; every row is within its buffer and aligned for `T`.
#[derive(Debug)]
struct Raw<T> {
    base: *mut T,
    rows: usize,
    width: usize,
    stride: usize,
}

impl<T> Clone for Raw<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Raw<T> {}

impl<T> Raw<T> {
    fn row(&self, i: usize) -> *mut T {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: row `i` is within the buffer.
        unsafe { self.base.add(i * self.stride) }
    }

    fn dense_len(&self) -> usize {
        assert!(self.rows <= 1 || self.stride == self.width, "rows have gaps");
        self.rows * self.width
    }
}

/// Rows that an op reads: one for each index of a view's outermost dimension.
#[derive(Debug)]
pub struct Rows<'e, T> {
    raw: Raw<T>,
    lifetime: PhantomData<&'e [T]>,
}

impl<T> Clone for Rows<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rows<'_, T> {}

// SAFETY: shared access to plain data that nobody writes for `'e`.
unsafe impl<T: Sync> Send for Rows<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Rows<'_, T> {}

impl<'e, T: Pod> Rows<'e, T> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.raw.rows
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.raw.rows == 0
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.raw.width
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &'e [T] {
        // SAFETY: in range and aligned; `Operands` lends no overlapping view for writing.
        unsafe { std::slice::from_raw_parts(self.raw.row(i), self.raw.width) }
    }

    /// First element of row `i`: element `i` of a vector.
    pub fn at(&self, i: usize) -> T {
        self.row(i)[0]
    }

    /// All elements, of a view without gaps; panics if there are some.
    pub fn dense(&self) -> &'e [T] {
        // SAFETY: as in `row`; without gaps the rows are one range.
        unsafe { std::slice::from_raw_parts(self.raw.base, self.raw.dense_len()) }
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'e [T]> {
        let rows = *self;
        (0..rows.len()).map(move |i| rows.row(i))
    }

    /// All elements in order, gaps left out.
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().flatten().copied().collect()
    }
}

/// Rows that an op writes or updates.
#[derive(Debug)]
pub struct RowsMut<'e, T> {
    raw: Raw<T>,
    lifetime: PhantomData<&'e mut [T]>,
}

// SAFETY: exclusive access to plain data for `'e`.
unsafe impl<T: Send> Send for RowsMut<'_, T> {}
// SAFETY: `&RowsMut` only reads.
unsafe impl<T: Sync> Sync for RowsMut<'_, T> {}

impl<'e, T: Pod + Send + Sync> RowsMut<'e, T> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.raw.rows
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.raw.rows == 0
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.raw.width
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[T] {
        // SAFETY: in range and aligned; `self` is borrowed, so nobody writes.
        unsafe { std::slice::from_raw_parts(self.raw.row(i), self.raw.width) }
    }

    /// Row `i` to write.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        // SAFETY: in range and aligned; `self` is borrowed mutably and overlaps no other view.
        unsafe { std::slice::from_raw_parts_mut(self.raw.row(i), self.raw.width) }
    }

    /// All elements, of a view without gaps; panics if there are some.
    pub fn dense_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `row_mut`; without gaps the rows are one range.
        unsafe { std::slice::from_raw_parts_mut(self.raw.base, self.raw.dense_len()) }
    }

    /// The rows in order, each to write.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        let raw = self.raw;
        // SAFETY: as in `row_mut`; rows do not overlap since the stride is at least their width.
        (0..raw.rows).map(move |i| unsafe { std::slice::from_raw_parts_mut(raw.row(i), raw.width) })
    }

    /// The rows, each to write, in parallel.
    pub fn par_iter_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [T]> {
        self.iter_mut().collect::<Vec<_>>().into_par_iter()
    }
}
