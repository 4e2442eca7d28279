//! What each op becomes in CUDA: kernels, grids and arguments, as plain data.
//!
//! A kernel's file only decides; nothing here touches a device, so plans can be made, compiled and
//! run on a processor without one. The struct that a kernel takes is described by its arguments and
//! written out as C by [`Unit::params`], so no declaration has to be kept in step by hand.

mod attention;
mod grad;
mod kv;
mod matmul;
mod norm;
pub mod peaks;
mod pointwise;
pub mod primitives;
mod stats;
mod train;
mod tree;

use crate::{backend::View, dtype::DType, ops::Op};

/// What one compilation makes: a kernel text, with defines and the type of its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// Name of the text `cuda/<stem>.cu` and of the kernel in it.
    pub stem: &'static str,
    /// Names and values for the preprocessor.
    pub defines: Vec<(&'static str, String)>,
    /// Fields of `Params`: C type and name.
    fields: Vec<(&'static str, &'static str)>,
}

impl Unit {
    /// The struct that the kernel takes by value, as C.
    pub fn params(&self) -> String {
        let fields: String =
            self.fields.iter().map(|(ty, name)| format!("  {ty} {name};\n")).collect();
        format!("struct Params {{\n{fields}}};\n")
    }

    /// `stem(NAME=value, ...)`, for messages.
    pub fn name(&self) -> String {
        let defines: Vec<String> = self
            .defines
            .iter()
            .map(
                |(name, value)| {
                    if value.is_empty() { (*name).into() } else { format!("{name}={value}") }
                },
            )
            .collect();
        format!("{}({})", self.stem, defines.join(", "))
    }
}

/// One argument of a launch.
#[derive(Clone, Debug)]
pub enum Value {
    /// Address of a view's first element.
    View(View),
    /// Address within the recording's temporary memory, in bytes.
    Scratch(u64),
    /// Number of eight bytes.
    U64(u64),
    /// Number.
    U32(u32),
    /// Number.
    F32(f32),
}

impl Value {
    fn wide(&self) -> bool {
        matches!(self, Self::View(_) | Self::Scratch(_) | Self::U64(_))
    }
}

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What to compile.
    pub unit: Unit,
    /// Thread blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Arguments in the order of the fields of `Params`: eight-byte ones first.
    pub values: Vec<Value>,
}

impl Launch {
    /// The views among the arguments.
    pub fn views(&self) -> Vec<View> {
        let view = |value: &Value| match value {
            Value::View(view) => Some(view.clone()),
            Value::Scratch(_) | Value::U64(_) | Value::U32(_) | Value::F32(_) => None,
        };
        self.values.iter().filter_map(view).collect()
    }

    /// The bytes of `Params`. `address` gives where a view or, for `None`, the temporary memory
    /// begins.
    pub fn bytes<E>(
        &self,
        mut address: impl FnMut(Option<&View>) -> Result<u64, E>,
    ) -> Result<Vec<u8>, E> {
        let mut bytes = Vec::with_capacity(8 * self.values.len());
        for value in &self.values {
            match value {
                Value::View(view) => {
                    bytes.extend((address(Some(view))? + view.offset).to_le_bytes());
                }
                Value::Scratch(offset) => bytes.extend((address(None)? + offset).to_le_bytes()),
                Value::U64(value) => bytes.extend(value.to_le_bytes()),
                Value::U32(value) => bytes.extend(value.to_le_bytes()),
                Value::F32(value) => bytes.extend(value.to_le_bytes()),
            }
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(bytes)
    }
}

/// Launches of an op, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In order.
    pub launches: Vec<Launch>,
    /// Temporary memory that they share while the op runs, in bytes.
    pub scratch_bytes: u64,
}

/// Chooses kernels for an op, or says why there is no way.
pub fn plan(op: &Op) -> Result<Plan, String> {
    match op {
        Op::Embed(op) => matmul::embed(op),
        Op::QMatMul(op) => matmul::qmatmul(op),
        Op::RmsNorm(op) => norm::rms_norm(op),
        Op::AddRmsNorm(op) => norm::add_rms_norm(op),
        Op::HeadRmsNorm(op) => norm::head_rms_norm(op),
        Op::Rope(op) => pointwise::rope(op),
        Op::GateMul(op) => pointwise::gate_mul(op),
        Op::GatherRows(op) => pointwise::gather_rows(op),
        Op::Copy(op) => pointwise::copy(op),
        Op::Fill(op) => pointwise::fill(op),
        Op::Add(op) => pointwise::add(op),
        Op::KvWrite(op) => kv::write(op),
        Op::KvCommit(op) => kv::commit(op),
        Op::TreeAttention(op) => attention::plan(op),
        Op::RowStats(op) => stats::row_stats(op),
        Op::TopK(op) => stats::top_k(op),
        Op::SiluAdd(op) => pointwise::silu_add(op),
        Op::BuildTree(op) => tree::build(op),
        Op::GrowTree(op) => tree::grow(op),
        Op::VerifyTree(op) => tree::verify(op),
        Op::MatMul(op) => train::mat_mul(op),
        Op::SiluGrad(op) => train::silu_grad(op),
        Op::ColumnSums(op) => train::column_sums(op),
        Op::RowSquares(op) => train::row_squares(op),
        Op::SoftmaxXent(op) => train::softmax_xent(op),
        Op::AdamW(op) => train::adamw(op),
        Op::SpanSoftmax(op) => grad::span_softmax(op),
        Op::SoftmaxGrad(op) => grad::softmax_grad(op),
        Op::RmsNormGrad(op) => grad::rms_norm_grad(op),
        Op::GateGrad(op) => grad::gate_grad(op),
        Op::SoftmaxKl(op) => grad::softmax_kl(op),
    }
}

/// Collects one launch.
struct Builder {
    stem: &'static str,
    defines: Vec<(&'static str, String)>,
    arguments: Vec<(&'static str, &'static str, Value)>,
    /// The first size that did not fit 32 bits.
    fault: Option<String>,
}

impl Builder {
    fn new(stem: &'static str) -> Self {
        Self { stem, defines: Vec::new(), arguments: Vec::new(), fault: None }
    }

    fn define(mut self, name: &'static str, value: impl ToString) -> Self {
        self.defines.push((name, value.to_string()));
        self
    }

    fn define_if(self, on: bool, name: &'static str) -> Self {
        if on { self.define(name, "") } else { self }
    }

    fn value(mut self, ty: &'static str, name: &'static str, value: Value) -> Self {
        self.arguments.push((ty, name, value));
        self
    }

    fn view(self, name: &'static str, view: &View) -> Self {
        let ty = match view.dtype {
            DType::F32 => "float*",
            DType::F16 | DType::BF16 => "unsigned short*",
            DType::U32 => "unsigned*",
            DType::I8 => "signed char*",
            DType::U8 => "unsigned char*",
        };
        self.value(ty, name, Value::View(view.clone()))
    }

    /// A view whose elements lie side by side.
    fn dense(mut self, name: &'static str, view: &View) -> Self {
        if !view.is_dense() && self.fault.is_none() {
            self.fault = Some(format!("operand `{name}` has gaps: row stride {}", view.row_stride));
        }
        self.view(name, view)
    }

    /// A view and, as `stride`, the elements from one row to the next.
    fn rows(self, name: &'static str, stride: &'static str, view: &View) -> Self {
        self.view(name, view).u32(stride, view.row_stride)
    }

    fn scratch(self, ty: &'static str, name: &'static str, offset: u64) -> Self {
        self.value(ty, name, Value::Scratch(offset))
    }

    fn u32(mut self, name: &'static str, value: usize) -> Self {
        let word = u32::try_from(value).unwrap_or_else(|_| {
            self.fault.get_or_insert_with(|| format!("`{name}` = {value} exceeds 32 bits"));
            0
        });
        self.value("unsigned", name, Value::U32(word))
    }

    fn u64(self, name: &'static str, value: usize) -> Self {
        self.value("unsigned long long", name, Value::U64(value as u64))
    }

    fn f32(self, name: &'static str, value: f32) -> Self {
        self.value("float", name, Value::F32(value))
    }

    fn launch(self, grid: [usize; 3], threads: u32) -> Result<Launch, String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        // CUDA's limits of a grid
        if grid[0] > i32::MAX as usize || grid[1] > 65535 || grid[2] > 65535 {
            return Err(format!("{} needs a grid of {grid:?} blocks", self.stem));
        }
        let (wide, narrow): (Vec<_>, Vec<_>) =
            self.arguments.into_iter().partition(|(.., v)| v.wide());
        let (mut fields, mut values) = (Vec::new(), Vec::new());
        for (ty, name, value) in wide.into_iter().chain(narrow) {
            fields.push((ty, name));
            values.push(value);
        }
        let unit = Unit { stem: self.stem, defines: self.defines, fields };
        Ok(Launch { unit, grid: grid.map(|n| n as u32), threads, values })
    }

    fn only(self, grid: [usize; 3], threads: u32) -> Result<Plan, String> {
        // a launch of no blocks is an error of the driver's
        if grid.contains(&0) {
            return Ok(Plan::default());
        }
        Ok(Plan { launches: vec![self.launch(grid, threads)?], scratch_bytes: 0 })
    }
}

/// Offset of the next part of temporary memory.
fn part(end: &mut u64, elements: usize, size: usize) -> u64 {
    let start = *end;
    *end = (start + (elements * size) as u64).next_multiple_of(256);
    start
}
