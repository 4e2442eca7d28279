//! The oracle: one plain function per op that reads like the op's formula.
//!
//! Sums run in f64 and are rounded to f32 once, where an op stores its result, so that the error of
//! any other backend can be blamed on that backend. Work is spread over threads only where no
//! rounding depends on it. The files mirror [`crate::ops`].

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

use super::{Cpu, Execution, Executor, Operands};
use crate::{
    backend::{
        AdapterDetails, AdapterKind, AdapterReport, BackendError, BackendResult, Support, Tier,
    },
    ops::Op,
    record::Recording,
};

const NAME: &str = "CPU reference";

/// Runs ops one after the other by their formulas.
#[derive(Clone, Copy, Debug)]
pub struct Reference;

impl Cpu<Reference> {
    /// The oracle: slow, exact, the same on every machine.
    pub fn reference() -> Self {
        let report = AdapterReport {
            selector: "reference".into(),
            name: NAME.into(),
            api: "cpu".into(),
            driver: "64-bit accumulators".into(),
            kind: AdapterKind::Cpu,
            tier: Tier::Baseline,
            f16: true,
            subgroup: None,
            max_buffer_bytes: isize::MAX as u64,
            max_binding_bytes: isize::MAX as u64,
            workgroup_memory_bytes: 0,
            details: AdapterDetails::default(),
        };
        Self::new(report, Reference)
    }
}

impl Executor for Reference {
    type Plan = Recording;

    fn support(&self, _op: &Op) -> Support {
        Support::Native { variant: "f64" }
    }

    fn plan(&self, recording: &Recording) -> BackendResult<Recording> {
        Ok(recording.clone())
    }

    fn run(&self, plan: &Recording, execution: &mut Execution<'_>) -> BackendResult<()> {
        for node in &plan.nodes {
            run_op(&node.op, &execution.operands()).map_err(|message| BackendError::Device {
                op: node.op.to_string(),
                adapter: NAME.into(),
                site: node.site,
                message,
            })?;
        }
        Ok(())
    }
}

/// Fails if the *contents* of a state buffer ask for what the op does not define, such as a slot
/// beyond the cache; a GPU would quietly do something there, the oracle says so.
fn run_op<'e>(op: &'e Op, operands: &Operands<'e>) -> Result<(), String> {
    match op {
        Op::Embed(op) => matmul::embed(op, operands),
        Op::RmsNorm(op) => norm::rms_norm(op, operands),
        Op::AddRmsNorm(op) => norm::add_rms_norm(op, operands),
        Op::HeadRmsNorm(op) => norm::head_rms_norm(op, operands),
        Op::QMatMul(op) => matmul::qmatmul(op, operands),
        Op::Rope(op) => pointwise::rope(op, operands),
        Op::KvWrite(op) => return kv::kv_write(op, operands),
        Op::KvCommit(op) => kv::kv_commit(op, operands),
        Op::TreeAttention(op) => return attention::tree_attention(op, operands),
        Op::GateMul(op) => pointwise::gate_mul(op, operands),
        Op::GatherRows(op) => rows::gather_rows(op, operands),
        Op::Copy(op) => pointwise::copy(op, operands),
        Op::Fill(op) => pointwise::fill(op, operands),
        Op::Add(op) => pointwise::add(op, operands),
        Op::SiluAdd(op) => pointwise::silu_add(op, operands),
        Op::RowStats(op) => stats::row_stats(op, operands),
        Op::TopK(op) => stats::top_k(op, operands),
        Op::BuildTree(op) => tree::build_tree(op, operands),
        Op::GrowTree(op) => tree::grow_tree(op, operands),
        Op::VerifyTree(op) => tree::verify_tree(op, operands),
        Op::MatMul(op) => dense::mat_mul(op, operands),
        Op::SiluGrad(op) => train::silu_grad(op, operands),
        Op::ColumnSums(op) => train::column_sums(op, operands),
        Op::RowSquares(op) => train::row_squares(op, operands),
        Op::SoftmaxXent(op) => train::softmax_xent(op, operands),
        Op::AdamW(op) => train::adamw(op, operands),
        Op::SpanSoftmax(op) => grad::span_softmax(op, operands),
        Op::SoftmaxGrad(op) => grad::softmax_grad(op, operands),
        Op::RmsNormGrad(op) => grad::rms_norm_grad(op, operands),
        Op::GateGrad(op) => grad::gate_grad(op, operands),
        Op::SoftmaxKl(op) => grad::softmax_kl(op, operands),
    }
    Ok(())
}
