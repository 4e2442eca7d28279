//! Views of host memory that a team of threads shares, and the contract under which it does.
//!
//! An op's output is cut by columns among threads, so plain borrows cannot express who writes
//! what. The contract is stated once, at [`Stage`](super::stage::Stage):
//! a stage's units write disjoint parts, read nothing that another unit of the stage writes, and
//! stages are separated by barriers.

use std::{marker::PhantomData, slice};

use super::stage::{Area, Touch};
use crate::backend::{BackendResult, View, cpu::HostMemory};

/// Where the rows of a view lie in host memory. Copies it hands out are bounds-checked; that nobody
/// writes what another reads is up to the caller.
#[derive(Debug)]
pub struct Tensor<T> {
    base: *mut T,
    rows: usize,
    width: usize,
    stride: usize,
    element: PhantomData<T>,
}

impl<T> Clone for Tensor<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Tensor<T> {}

// SAFETY: a place, not access; each access is an unsafe call with its own contract.
unsafe impl<T> Send for Tensor<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Tensor<T> {}

impl<T: bytemuck::Pod> Tensor<T> {
    /// The memory of `view`, seen as elements of `T`. Valid while the view's buffer lives.
    ///
    /// # Panics
    /// If elements of `T` do not tile the view's rows.
    pub fn new(view: &View) -> BackendResult<Self> {
        let memory = view.buffer.memory::<HostMemory>(view.buffer.device(), "cpu")?;
        let (size, element) = (view.dtype.size(), size_of::<T>());
        let (width, stride) = (view.shape.row_elements() * size, view.row_stride * size);
        let fits = view.end().is_some_and(|end| end <= view.buffer.bytes());
        assert!(fits, "the recorder checked that {view} lies in its buffer");
        assert!(
            width.is_multiple_of(element) && stride.is_multiple_of(element) && align_of::<T>() <= 4,
            "rows of {view} are not whole elements of {element} bytes"
        );
        // SAFETY: the view lies within its buffer, whose base is aligned, at a multiple of 4 bytes.
        let base = unsafe { memory.as_ptr().add(view.offset as usize) }.cast();
        let rows = view.shape.dim(0);
        Ok(Self {
            base,
            rows,
            width: width / element,
            stride: stride / element,
            element: PhantomData,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The memory, and how a stage by rows touches it.
    pub fn area(&self, touch: Touch) -> Area {
        let size = size_of::<T>();
        let (first, row) = (self.base as usize, (self.width * size, self.stride * size));
        let bytes = self.rows.checked_sub(1).map_or(0, |last| last * row.1 + row.0);
        Area { bytes: (first, first + bytes), row, touch }
    }

    /// Row `i`.
    ///
    /// # Safety
    /// The buffer lives, and nobody writes the row during `'a`.
    #[inline(always)]
    pub unsafe fn row<'a>(self, i: usize) -> &'a [T] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: the row is in the buffer; the caller vouches for the rest.
        unsafe { slice::from_raw_parts(self.base.add(i * self.stride), self.width) }
    }

    /// All elements of a view without gaps.
    ///
    /// # Safety
    /// The buffer lives, and nobody writes the view during `'a`.
    #[inline(always)]
    pub unsafe fn dense<'a>(self) -> &'a [T] {
        assert!(self.rows <= 1 || self.stride == self.width, "rows have gaps");
        // SAFETY: without gaps the rows are one range of the buffer.
        unsafe { slice::from_raw_parts(self.base, self.rows * self.width) }
    }

    /// Columns `first .. first + count` of row `i`, to write.
    ///
    /// # Safety
    /// The buffer lives, and nobody else reads or writes these elements during `'a`.
    #[inline(always)]
    pub unsafe fn part_mut<'a>(self, i: usize, first: usize, count: usize) -> &'a mut [T] {
        let in_row = first.checked_add(count).is_some_and(|end| end <= self.width);
        assert!(i < self.rows && in_row, "columns {first}+{count} of row {i}");
        // SAFETY: the elements are in the buffer; the caller vouches for the rest.
        unsafe { slice::from_raw_parts_mut(self.base.add(i * self.stride + first), count) }
    }

    /// Where element `first` of row `i` would be; maybe beyond the buffer.
    #[inline(always)]
    pub fn place(self, i: usize, first: usize) -> *const T {
        self.base.wrapping_add(i * self.stride + first)
    }

    /// Row `i`, to write.
    ///
    /// # Safety
    /// As for [`Self::part_mut`].
    #[inline(always)]
    pub unsafe fn row_mut<'a>(self, i: usize) -> &'a mut [T] {
        // SAFETY: the caller's.
        unsafe { self.part_mut(i, 0, self.width) }
    }
}
