//! From ops to stages.

use super::simd::{
    Isa, attention, dense, embed, grad, kv, matmul, norm, pointwise, stage::Stages, stats, train,
    tree,
};
use crate::{backend::BackendResult, ops::Op};

/// The stages of `op` for a team of `threads` with an instruction set.
pub fn lower(op: &Op, threads: usize, isa: Isa) -> BackendResult<Stages> {
    match op {
        Op::Embed(op) => embed::embed(op),
        Op::RmsNorm(op) => norm::rms_norm(op),
        Op::AddRmsNorm(op) => norm::add_rms_norm(op),
        Op::HeadRmsNorm(op) => norm::head_rms_norm(op),
        Op::QMatMul(op) => matmul::qmatmul(op, threads, isa),
        Op::Rope(op) => pointwise::rope(op),
        Op::KvWrite(op) => kv::kv_write(op),
        Op::KvCommit(op) => kv::kv_commit(op),
        Op::TreeAttention(op) => attention::tree_attention(op, threads),
        Op::GateMul(op) => pointwise::gate_mul(op),
        Op::GatherRows(op) => pointwise::gather_rows(op),
        Op::Copy(op) => pointwise::copy(op),
        Op::Fill(op) => pointwise::fill(op),
        Op::Add(op) => pointwise::add(op),
        Op::SiluAdd(op) => pointwise::silu_add(op),
        Op::RowStats(op) => stats::row_stats(op),
        Op::TopK(op) => stats::top_k(op),
        Op::BuildTree(op) => tree::build_tree(op),
        Op::GrowTree(op) => tree::grow_tree(op),
        Op::VerifyTree(op) => tree::verify_tree(op),
        Op::MatMul(op) => dense::mat_mul(op),
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
