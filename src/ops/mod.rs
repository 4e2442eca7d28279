//! What an op *is*: parameters, operands, shape checks and the formula. Nothing here executes.
//!
//! Ops have the granularity of what a language model does (norm, quantised matmul, tree attention),
//! not of a tensor library: small-granularity libraries all grew escape hatches for exactly these
//! fused ops. `Op` is exhaustive on purpose: a new op does not compile until each backend has said
//! what it does with it.
//!
//! Shape letters: M rows in flight, D hidden, H query heads, G key/value heads, d head size,
//! F feed-forward, V vocabulary, K and N inputs and outputs of a matrix, P slots of a page,
//! S slots of the cache.

mod attention;
mod dense;
mod grad;
mod kv;
mod matmul;
mod norm;
mod pointwise;
mod rows;
mod stats;
mod train;
mod tree;

pub use attention::{RowMeta, TreeAttention};
pub use dense::{MatMul, Side};
pub use grad::{GateGrad, RmsNormGrad, SoftmaxGrad, SoftmaxKl, SpanSoftmax};
pub use kv::{KvCommit, KvFormat, KvLayer, KvWrite};
pub use matmul::{Activations, Embed, QMatMul, Then, Weight};
pub use norm::{AddRmsNorm, HeadRmsNorm, RmsNorm};
pub use pointwise::{Add, Copy, Fill, Gate, GateMul, RandomBits, Rope, RopeStyle, SiluAdd};
pub use rows::GatherRows;
pub use stats::{ROW_STATS_FIELDS, RowStats, TopK};
pub use train::{ADAMW_FIELDS, AdamW, ColumnSums, RowSquares, SiluGrad, SoftmaxXent};
pub use tree::{
    BuildTree, GrowTree, MAX_TREE_NODES, VERIFY_HEADER, VERIFY_REPORT_FIELDS, VERIFY_WORDS,
    VerdictCode, VerifyRule, VerifyTree,
};

use std::fmt;

use crate::{backend::View, dtype::DType};

/// How an op uses an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Only written; every element of the view.
    Write,
    /// Read and written in place, or written only in part.
    Update,
}

/// One operand of an op.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Name, the same as the binding's in shaders.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
    /// Where it is.
    pub view: &'a View,
}

/// What went wrong in a shape check; the recorder adds op and site.
pub type CheckResult = Result<(), String>;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident => $stem:literal,)*) => {
        /// One step of a recording. Large variants are not boxed: a few hundred live at a time, and boxes
        /// would hide the operands.
        #[derive(Clone, Debug)]
        pub enum Op { $($(#[$doc])* $name($name),)* }

        impl Op {
            /// Lower-case name: the stem of the op's files.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $stem,)* }
            }

            /// Names of all ops.
            pub const NAMES: &'static [&'static str] = &[$($stem,)*];

            /// All operands, with how each is used.
            pub fn operands(&self) -> Vec<Operand<'_>> {
                match self { $(Self::$name(op) => op.operands(),)* }
            }

            /// Checks shapes, types and parameters; the message names operand and values.
            pub fn check(&self) -> CheckResult {
                match self { $(Self::$name(op) => op.check(),)* }
            }
        }

        impl fmt::Display for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$name(op) => write!(f, "{}({})", $stem, op.summary()),)* }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self { Self::$name(op) }
        })*
    };
}

ops! {
    /// Token ids to hidden rows.
    Embed => "embed",
    /// Root-mean-square norm of rows.
    RmsNorm => "rms_norm",
    /// Residual add, then norm.
    AddRmsNorm => "add_rms_norm",
    /// Norm of each head, in place.
    HeadRmsNorm => "head_rms_norm",
    /// Quantised matrix times rows; for 1 to 64 rows the same bits per row.
    QMatMul => "qmatmul",
    /// Rotary position embedding, in place.
    Rope => "rope",
    /// New keys and values into their slots.
    KvWrite => "kv_write",
    /// Moves accepted rows next to the prefix.
    KvCommit => "kv_commit",
    /// Attention of tree nodes over paged keys and values.
    TreeAttention => "tree_attention",
    /// Gated activation of the feed-forward block.
    GateMul => "gate_mul",
    /// Selected rows of a matrix.
    GatherRows => "gather_rows",
    /// Copies rows.
    Copy => "copy",
    /// Sets all elements.
    Fill => "fill",
    /// Adds in place.
    Add => "add",
    /// Adds an activation in place: the residual block of a draft head.
    SiluAdd => "silu_add",
    /// Maximum, argmax, log-sum-exp and entropy of rows.
    RowStats => "row_stats",
    /// Best ids of rows.
    TopK => "top_k",
    /// Guesses into the nodes of a static tree.
    BuildTree => "build_tree",
    /// A tree of the most confident guesses.
    GrowTree => "grow_tree",
    /// The accepted path of a tree.
    VerifyTree => "verify_tree",
    /// Product of dense f32 matrices.
    MatMul => "mat_mul",
    /// Gradient of `silu_add`.
    SiluGrad => "silu_grad",
    /// Sums of columns.
    ColumnSums => "column_sums",
    /// Squared norms of rows.
    RowSquares => "row_squares",
    /// Loss against labels, and its gradient in place.
    SoftmaxXent => "softmax_xent",
    /// Step of the optimiser, in place.
    AdamW => "adamw",
    /// Probabilities of attention, in place.
    SpanSoftmax => "span_softmax",
    /// Gradient of `span_softmax`, in place.
    SoftmaxGrad => "softmax_grad",
    /// Gradient of `rms_norm` and `head_rms_norm`.
    RmsNormGrad => "rms_norm_grad",
    /// Gradient of `gate_mul`.
    GateGrad => "gate_grad",
    /// Divergence from another model's logits, and its gradient in place.
    SoftmaxKl => "softmax_kl",
}

fn read<'a>(name: &'static str, view: &'a View) -> Operand<'a> {
    Operand { name, access: Access::Read, view }
}

fn write<'a>(name: &'static str, view: &'a View) -> Operand<'a> {
    Operand { name, access: Access::Write, view }
}

fn update<'a>(name: &'static str, view: &'a View) -> Operand<'a> {
    Operand { name, access: Access::Update, view }
}

/// `view` has this type and these dimensions.
fn expect(name: &str, view: &View, dtype: DType, dims: &[usize]) -> CheckResult {
    if view.dtype != dtype || view.shape.dims() != dims {
        return Err(format!(
            "operand `{name}` is {} {}, wanted {dtype} {dims:?}",
            view.dtype, view.shape
        ));
    }
    Ok(())
}

/// `view` has this type and rank; gives its dimensions.
fn ranked<'a>(
    name: &str,
    view: &'a View,
    dtype: DType,
    rank: usize,
) -> Result<&'a [usize], String> {
    if view.dtype != dtype || view.shape.rank() != rank {
        return Err(format!(
            "operand `{name}` is {} {}, wanted {dtype} with {rank} dimensions",
            view.dtype, view.shape
        ));
    }
    Ok(view.shape.dims())
}

/// `view` has no gaps between rows.
fn dense(name: &str, view: &View) -> CheckResult {
    if view.is_dense() {
        Ok(())
    } else {
        Err(format!("operand `{name}` has row stride {}, wanted a dense view", view.row_stride))
    }
}
