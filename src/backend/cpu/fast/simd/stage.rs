//! What an op becomes: stages of units that a team of threads can share.

use std::cell::UnsafeCell;

use super::Isa;

/// Stages that take less than this are not shared: a barrier costs a few hundred nanoseconds.
pub const SHARE_NS: usize = 1500;

/// What a unit gets to work with.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Instruction set.
    pub isa: Isa,
    /// Number of the thread, below the team's size.
    pub worker: usize,
    /// Memory of the plan, shared by all stages of an op; at least what its op asked for.
    pub scratch: Scratch,
}

/// Plan-owned memory that the stages of one op hand on to each other.
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: a place, not access; see `Scratch::part`.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

/// Owner of scratch memory.
#[derive(Debug)]
pub struct ScratchMemory(Box<[Line]>);

#[derive(Debug)]
#[repr(C, align(64))]
struct Line(UnsafeCell<[u8; Scratch::ALIGN]>);

// SAFETY: the bytes are reached only through `Scratch::part`, which has its own contract.
unsafe impl Sync for Line {}

impl ScratchMemory {
    /// At least `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let line = |_| Line(UnsafeCell::new([0; Scratch::ALIGN]));
        Self((0..bytes.div_ceil(Scratch::ALIGN)).map(line).collect())
    }

    /// The memory, valid as long as `self`.
    pub fn scratch(&self) -> Scratch {
        Scratch { base: self.0.as_ptr().cast::<u8>().cast_mut(), bytes: size_of_val(&*self.0) }
    }
}

impl Scratch {
    /// Alignment of the memory.
    pub const ALIGN: usize = 64;

    /// `count` elements from byte `offset`.
    ///
    /// # Safety
    /// During `'a`, nobody else writes these elements, nor reads them if the caller writes.
    #[allow(clippy::mut_from_ref, reason = "as documented")]
    pub unsafe fn part<'a, T: bytemuck::Pod>(self, offset: usize, count: usize) -> &'a mut [T] {
        let end = count.checked_mul(size_of::<T>()).and_then(|n| n.checked_add(offset));
        assert!(end.is_some_and(|end| end <= self.bytes), "{count} at {offset} of {}", self.bytes);
        assert!(offset.is_multiple_of(align_of::<T>()) && align_of::<T>() <= Self::ALIGN);
        // SAFETY: in range, aligned, plain data; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(offset).cast(), count) }
    }
}

/// Units of one stage; the message says what is wrong with the *contents* of a state buffer.
pub type Run = Box<dyn Fn(&Context, usize) -> Result<(), String> + Send + Sync>;

/// Independent pieces of work; a stage begins when the stage before it is done.
///
/// The contract that the kernels' unsafe blocks refer to: units of one stage write disjoint memory
/// and read none that another unit of the stage writes; each unit runs once a submission; the
/// plan's views live and its device is held meanwhile.
pub struct Stage {
    /// Number of units.
    pub units: usize,
    /// Rough time of all units on one thread, in nanoseconds: small stages are not worth sharing.
    pub cost_ns: usize,
    run: Run,
}

impl Stage {
    /// A stage. `run` must keep the contract above.
    pub fn new(
        units: usize,
        cost_ns: usize,
        run: impl Fn(&Context, usize) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { units, cost_ns, run: Box::new(run) }
    }

    /// Does unit `unit`.
    ///
    /// # Safety
    /// As the contract of the type says.
    pub unsafe fn run(&self, context: &Context, unit: usize) -> Result<(), String> {
        (self.run)(context, unit)
    }
}

/// The stages of an op and the scratch memory they need.
pub struct Stages {
    /// In order.
    pub stages: Vec<Stage>,
    /// Bytes of [`Context::scratch`].
    pub scratch_bytes: usize,
}

impl From<Stage> for Stages {
    fn from(stage: Stage) -> Self {
        Self { stages: vec![stage], scratch_bytes: 0 }
    }
}
