//! What a case is: tensors, an op over them, and what must come out.

use std::sync::Arc;

use bytemuck::Pod;
use half::f16;

use super::random::Random;
use crate::{backend::View, dtype::DType, ops::Op, shape::Shape};

/// How an output is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Bit for bit: integers, moves, and results that are rounded once.
    Bits,
    /// `|y - r| <= units * eps * magnitude` for each element, where the magnitude is the sum of the
    /// absolute terms of the formula and `eps` is 2^-23. The rounding error of a sum is proportional
    /// to it, so no tolerance is guessed and wrong indices cannot hide behind cancellation.
    Bound {
        /// Allowed roundings.
        units: f64,
    },
    /// `sum (y - r)^2 <= max * sum r^2`, only where no bound is derived.
    Nmse {
        /// Largest normalised mean square error.
        max: f64,
        /// Why there is no bound.
        why: &'static str,
    },
    /// Element `i` of a row follows rule `i`.
    Fields(&'static [Rule]),
}

/// What an output must be: a rule, and the result of a naive second implementation.
#[derive(Clone, Debug)]
pub struct Expect {
    /// How to compare.
    pub rule: Rule,
    /// For each element the value: of floats under a float rule, else its bits as a number.
    pub values: Vec<f64>,
    /// For each element the magnitude that [`Rule::Bound`] refers to.
    pub magnitudes: Vec<f64>,
}

impl Expect {
    /// Exactly these elements.
    pub fn bits<T: Element>(wanted: &[T]) -> Self {
        let values = wanted.iter().map(|x| f64::from(x.bits())).collect();
        Self { rule: Rule::Bits, values, magnitudes: vec![0.0; wanted.len()] }
    }

    /// Pairs of value and magnitude, compared by `rule`.
    pub fn close(rule: Rule, wanted: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (values, magnitudes) = wanted.into_iter().unzip();
        Self { rule, values, magnitudes }
    }
}

/// Plain elements of tensors.
pub trait Element: Pod {
    /// Their type.
    const DTYPE: DType;
    /// Their bits, zero-extended.
    fn bits(self) -> u32;
}

macro_rules! elements {
    ($($type:ty => $dtype:ident, $bits:expr;)*) => {
        $(impl Element for $type {
            const DTYPE: DType = DType::$dtype;
            fn bits(self) -> u32 { let bits: fn($type) -> u32 = $bits; bits(self) }
        })*
    };
}

elements! {
    f32 => F32, |x| x.to_bits();
    f16 => F16, |x| x.to_bits().into();
    u32 => U32, |x| x;
    i8 => I8, |x| (x as u8).into();
    u8 => U8, |x| x.into();
}

/// One operand: shape, contents and, for an output, what must come out.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Name, the operand's.
    pub name: &'static str,
    /// Element type.
    pub dtype: DType,
    /// Dimensions.
    pub shape: Shape,
    /// Elements between the rows.
    pub gap: usize,
    /// The outermost dimension is M: row `i` belongs to row `i` of the op.
    pub per_row: bool,
    /// Contents; `None` for an output that is written entirely.
    pub data: Option<Vec<u8>>,
    /// What must come out; `None` for an input.
    pub expect: Option<Expect>,
}

impl Tensor {
    /// A tensor that the op only reads.
    pub fn input<T: Element>(name: &'static str, shape: &[usize], data: &[T]) -> Self {
        let data = bytemuck::cast_slice(data).to_vec();
        let shape = Shape::new(shape);
        Self {
            name,
            dtype: T::DTYPE,
            shape,
            gap: 0,
            per_row: false,
            data: Some(data),
            expect: None,
        }
    }

    /// A tensor that the op writes entirely.
    pub fn output(name: &'static str, shape: &[usize], dtype: DType, expect: Expect) -> Self {
        let shape = Shape::new(shape);
        Self { name, dtype, shape, gap: 0, per_row: false, data: None, expect: Some(expect) }
    }

    /// A tensor that the op updates in place.
    pub fn update<T: Element>(
        name: &'static str,
        shape: &[usize],
        data: &[T],
        expect: Expect,
    ) -> Self {
        Self { expect: Some(expect), ..Self::input(name, shape, data) }
    }

    /// The outermost dimension is M.
    #[must_use]
    pub fn per_row(self) -> Self {
        Self { per_row: true, ..self }
    }

    /// With this many elements between the rows.
    #[must_use]
    pub fn gap(self, gap: usize) -> Self {
        Self { gap, ..self }
    }

    /// Elements from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.shape.row_elements() + self.gap
    }
}

/// A tensor of the case under construction.
#[derive(Clone, Copy, Debug)]
pub struct Handle(usize);

/// Where the tensors of a case lie.
#[derive(Clone, Debug)]
pub struct Views(pub(super) Vec<View>);

impl Views {
    /// The tensor's view.
    pub fn at(&self, tensor: Handle) -> View {
        self.0[tensor.0].clone()
    }
}

pub(super) type Record = Arc<dyn Fn(&Views) -> Vec<Op> + Send + Sync>;

/// A case under construction, from one seed.
pub struct Build {
    /// Source of inputs.
    pub random: Random,
    /// The results are wanted; if not, [`Self::expect`] does not compute them.
    judged: bool,
    pub(super) tensors: Vec<Tensor>,
    pub(super) op: Option<Record>,
    pub(super) same: Vec<Record>,
}

impl Build {
    /// Adds a tensor.
    pub fn push(&mut self, tensor: Tensor) -> Handle {
        let elements = tensor.shape.elements();
        let bytes = elements * tensor.dtype.size();
        assert!(tensor.data.as_ref().is_none_or(|d| d.len() == bytes), "data of `{}`", tensor.name);
        let wanted = tensor.expect.as_ref().map_or(elements, |e| e.values.len());
        assert_eq!(wanted, elements, "wanted elements of `{}`", tensor.name);
        self.tensors.push(tensor);
        Handle(self.tensors.len() - 1)
    }

    /// True if results are looked at.
    pub(super) fn judged(&self) -> bool {
        self.judged
    }

    /// [`Expect::close`] of `elements` pairs, which are computed only if results are looked at.
    pub(super) fn expect<I>(
        &self,
        rule: Rule,
        elements: usize,
        wanted: impl FnOnce() -> I,
    ) -> Expect
    where
        I: IntoIterator<Item = (f64, f64)>,
    {
        match self.judged {
            true => Expect::close(rule, wanted()),
            false => Expect::close(rule, std::iter::repeat_n((0.0, 0.0), elements)),
        }
    }

    /// Sets the op.
    pub fn op<O: Into<Op>>(&mut self, op: impl Fn(&Views) -> O + Send + Sync + 'static) {
        self.op = Some(Arc::new(move |views| vec![op(views).into()]));
    }

    /// Sets several ops, one after the other in one recording: a later one may read what an earlier
    /// one writes.
    pub fn chain(&mut self, ops: impl Fn(&Views) -> Vec<Op> + Send + Sync + 'static) {
        self.op = Some(Arc::new(ops));
    }

    /// Adds an op that must give the same bits as [`Self::op`].
    pub fn same<O: Into<Op>>(&mut self, op: impl Fn(&Views) -> O + Send + Sync + 'static) {
        self.same.push(Arc::new(move |views| vec![op(views).into()]));
    }
}

/// One row of the op table.
#[derive(Clone)]
pub struct Case {
    /// Name of the op.
    pub op: &'static str,
    /// Op with its parameters, such as `qmatmul(q4_k, m=7, n=96, k=512, then=add, x=f32)`.
    pub name: String,
    /// Check row invariance too.
    pub sweep: bool,
    /// Seed of the inputs.
    pub seed: u64,
    make: Arc<dyn Fn(&mut Build) + Send + Sync>,
}

impl Case {
    /// A case made by `make`, which must give the same shapes for every seed.
    pub fn new(
        op: &'static str,
        parameters: impl std::fmt::Display,
        make: impl Fn(&mut Build) + Send + Sync + 'static,
    ) -> Self {
        let name = format!("{op}({parameters})");
        Self { op, name, sweep: false, seed: 0, make: Arc::new(make) }
    }

    /// With other inputs.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// With the check of row invariance.
    #[must_use]
    pub fn sweep(self) -> Self {
        Self { sweep: true, ..self }
    }

    /// Tensors and ops; `turn` 1 has other contents than 0.
    pub(super) fn build(&self, turn: u64) -> Build {
        self.make(turn, true)
    }

    /// As [`Self::build`], without what must come out: for measurements.
    pub(super) fn build_unjudged(&self) -> Build {
        self.make(0, false)
    }

    fn make(&self, turn: u64, judged: bool) -> Build {
        // Cases of one op see different numbers.
        let seed = self.seed.wrapping_mul(2).wrapping_add(turn);
        let seed = self.name.bytes().fold(seed, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        let random = Random::new(seed);
        let mut build = Build { random, judged, tensors: Vec::new(), op: None, same: Vec::new() };
        (self.make)(&mut build);
        build
    }
}
