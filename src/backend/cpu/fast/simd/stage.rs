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
        let first = self.place(offset, count);
        // SAFETY: in range, aligned, plain data; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(first, count) }
    }

    /// Where `count` elements from byte `offset` on lie: in range and aligned. For those who share them
    /// in smaller parts than slices.
    pub fn place<T: bytemuck::Pod>(self, offset: usize, count: usize) -> *mut T {
        let end = count.checked_mul(size_of::<T>()).and_then(|n| n.checked_add(offset));
        assert!(end.is_some_and(|end| end <= self.bytes), "{count} at {offset} of {}", self.bytes);
        assert!(offset.is_multiple_of(align_of::<T>()) && align_of::<T>() <= Self::ALIGN);
        self.base.wrapping_add(offset).cast()
    }
}

/// Units of one stage; the message says what is wrong with the *contents* of a state buffer.
pub type Run = Box<dyn Fn(&Context, usize) -> Result<(), String> + Send + Sync>;

/// What a thread does while it waits for the stage before: asks for memory that a unit will read.
pub type Ask = Box<dyn Fn(usize) + Send + Sync>;

/// Memory that a stage whose units are rows touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Address of the first byte, and behind the last.
    pub bytes: (usize, usize),
    /// Bytes of a row, and from one row to the next.
    pub row: (usize, usize),
    /// What units do with it.
    pub touch: Touch,
}

/// How the units of a stage touch an [`Area`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Unit `i` reads row `i` of it.
    ReadRow,
    /// Unit `i` writes row `i` of it, and may read that.
    WriteRow,
    /// Units read any of it.
    ReadAny,
}

impl Area {
    /// True if unit `i` of a stage may touch `other` right after unit `i` of the stage before it touched
    /// `self`, while other units of both are under way.
    fn goes_with(&self, other: &Self) -> bool {
        let writes = [self, other].iter().any(|area| area.touch == Touch::WriteRow);
        let apart = self.bytes.1 <= other.bytes.0 || other.bytes.1 <= self.bytes.0;
        if !writes || apart {
            return true;
        }
        let any = [self, other].iter().any(|area| area.touch == Touch::ReadAny);
        let low = self.bytes.0.min(other.bytes.0);
        let (stride, in_row) = (self.row.1, |area: &Self| area.bytes.0 - low + area.row.0);
        !any && stride == other.row.1 && in_row(self).max(in_row(other)) <= stride
    }
}

/// Independent pieces of work; a stage begins when the stage before it is done, and a unit of one
/// that [follows](Self::follows) it by rows when the same unit there is.
///
/// The contract that the kernels' unsafe blocks refer to: units of one stage write disjoint memory
/// and read none that another unit of the stage writes; each unit runs once a submission; the
/// plan's views live and its device is held meanwhile.
pub struct Stage {
    /// Number of units.
    pub units: usize,
    /// Rough time of all units on one thread, in nanoseconds: small stages are not worth sharing.
    pub cost_ns: usize,
    /// All that the units touch, if unit `i` does row `i`: then stages can be joined.
    pub areas: Option<Vec<Area>>,
    run: Run,
    ask: Option<Ask>,
}

impl Stage {
    /// A stage. `run` must keep the contract above.
    pub fn new(
        units: usize,
        cost_ns: usize,
        run: impl Fn(&Context, usize) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { units, cost_ns, areas: None, run: Box::new(run), ask: None }
    }

    /// The stage, whose units are rows and touch `areas` only.
    pub fn by_rows(self, areas: impl Into<Vec<Area>>) -> Self {
        Self { areas: Some(areas.into()), ..self }
    }

    /// The stage, for whose unit `ask` asks for memory. It is called with the first unit a thread will
    /// do, before other stages are done, and so must not read what they may write.
    pub fn asking(self, ask: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self { ask: Some(Box::new(ask)), ..self }
    }

    /// True if each unit of this stage may follow the same unit of `before` at once.
    pub fn follows(&self, before: &Self) -> bool {
        let (Some(before_areas), Some(areas)) = (&before.areas, &self.areas) else {
            return false;
        };
        let fits = |area: &Area| before_areas.iter().all(|before| before.goes_with(area));
        self.units == before.units && areas.iter().all(fits)
    }

    /// What its units do, without what it took to plan them.
    pub fn into_work(self) -> Work {
        Work { run: self.run, ask: self.ask }
    }
}

/// What the units of a [`Stage`] do.
pub struct Work {
    run: Run,
    ask: Option<Ask>,
}

impl Work {
    /// Does unit `unit`.
    ///
    /// # Safety
    /// As the contract of [`Stage`] says.
    pub unsafe fn run(&self, context: &Context, unit: usize) -> Result<(), String> {
        (self.run)(context, unit)
    }

    /// Asks for memory that unit `unit` will read.
    pub fn ask(&self, unit: usize) {
        if let Some(ask) = &self.ask {
            ask(unit);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_each_other_where_they_are_the_same_rows() {
        let area = |first: usize, row: (usize, usize), touch| Area {
            bytes: (first, first + 3 * row.1 + row.0),
            row,
            touch,
        };
        let stage = |areas: &[Area]| Stage::new(4, 0, |_, _| Ok(())).by_rows(areas);
        let written = stage(&[area(0, (64, 64), Touch::WriteRow)]);
        let cases = [
            (true, area(0, (64, 64), Touch::ReadRow)),
            (true, area(0, (64, 64), Touch::WriteRow)),
            // A part of each row; the rows of a wider view do not match.
            (true, area(16, (32, 64), Touch::ReadRow)),
            (false, area(0, (128, 128), Touch::ReadRow)),
            (false, area(32, (64, 64), Touch::ReadRow)),
            // Another row than the one just written.
            (false, area(64, (64, 64), Touch::ReadRow)),
            (false, area(0, (64, 64), Touch::ReadAny)),
            // Elsewhere.
            (true, area(4096, (64, 64), Touch::ReadAny)),
        ];
        for (follows, touched) in cases {
            assert_eq!(stage(&[touched]).follows(&written), follows, "{touched:?}");
            let Touch::ReadRow = touched.touch else { continue };
            assert_eq!(written.follows(&stage(&[touched])), follows, "{touched:?} read first");
        }
        let read = stage(&[area(64, (64, 64), Touch::ReadAny)]);
        assert!(read.follows(&stage(&[area(0, (64, 64), Touch::ReadRow)])), "nobody writes");
        assert!(!Stage::new(4, 0, |_, _| Ok(())).follows(&read), "units are not rows");
    }
}
