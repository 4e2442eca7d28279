//! What an op must move and compute at least: the denominators of throughput.

use crate::{
    backend::View,
    ops::{Access, Op, TreeAttention},
};

/// Least work of an op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes read and written once each.
    pub bytes: u64,
    /// Additions and multiplications.
    pub flops: u64,
}

fn bytes_of(view: &View) -> u64 {
    (view.shape.elements() * view.dtype.size()) as u64
}

/// Work of `op`. Of tables that it looks rows up in, and of pages, only what it needs counts.
pub fn cost(op: &Op) -> Cost {
    let operands = op.operands();
    let moved = operands.iter().map(|operand| match operand.access {
        Access::Read | Access::Write => bytes_of(operand.view),
        Access::Update => 2 * bytes_of(operand.view),
    });
    let bytes: u64 = moved.sum();
    let elements = |view: &View| view.shape.elements() as u64;
    match op {
        Op::Embed(op) => {
            let row = (op.table.layout.bytes / op.table.layout.n.max(1)) as u64;
            let m = op.ids.shape.dim(0) as u64;
            Cost {
                bytes: m * row + bytes_of(&op.ids) + bytes_of(&op.out),
                flops: elements(&op.out),
            }
        }
        Op::QMatMul(op) => Cost { bytes, flops: 2 * elements(&op.y) * op.w.layout.k as u64 },
        Op::MatMul(op) => {
            let inner = elements(&op.a) / (op.y.shape.dim(0) as u64).max(1);
            Cost { bytes, flops: 2 * elements(&op.y) * inner }
        }
        Op::TreeAttention(op) => attention(op),
        Op::KvWrite(op) => {
            let moved = bytes_of(&op.k) + bytes_of(&op.v);
            Cost { bytes: moved + moved * page_bytes(&op.cache.k) / 4, flops: 0 }
        }
        Op::KvCommit(op) => {
            let m = op.src.shape.dim(0) as u64;
            let row = |view: &View| bytes_of(view) / (view.shape.dim(0) as u64).max(1);
            Cost { bytes: 2 * m * (row(&op.cache.k) + row(&op.cache.v)), flops: 0 }
        }
        Op::GatherRows(op) => Cost { bytes: 2 * bytes_of(&op.dst) + bytes_of(&op.rows), flops: 0 },
        Op::RmsNorm(op) => Cost { bytes, flops: 4 * elements(&op.x) },
        Op::AddRmsNorm(op) => Cost { bytes, flops: 5 * elements(&op.x) },
        Op::HeadRmsNorm(op) => Cost { bytes, flops: 4 * elements(&op.x) },
        Op::Rope(op) => Cost { bytes: 2 * bytes_of(&op.x), flops: 3 * elements(&op.x) },
        Op::GateMul(op) => Cost { bytes, flops: 5 * elements(&op.out) },
        Op::Add(op) => Cost { bytes, flops: elements(&op.x) },
        Op::SiluAdd(op) => Cost { bytes, flops: 5 * elements(&op.x) },
        Op::SiluGrad(op) => Cost { bytes, flops: 8 * elements(&op.z) },
        Op::ColumnSums(op) => Cost { bytes, flops: elements(&op.x) },
        Op::RowSquares(op) => Cost { bytes, flops: 2 * elements(&op.x) },
        Op::RowStats(op) => Cost { bytes, flops: 6 * elements(&op.logits) },
        Op::TopK(op) => Cost { bytes, flops: 4 * elements(&op.logits) },
        Op::SoftmaxXent(op) => Cost { bytes, flops: 6 * elements(&op.logits) },
        Op::SpanSoftmax(op) => Cost { bytes, flops: 5 * elements(&op.x) },
        Op::SoftmaxGrad(op) => Cost { bytes, flops: 4 * elements(&op.p) },
        Op::RmsNormGrad(op) => Cost { bytes, flops: 8 * elements(&op.x) },
        Op::GateGrad(op) => Cost { bytes, flops: 12 * elements(&op.dout) },
        Op::SoftmaxKl(op) => Cost { bytes, flops: 10 * elements(&op.logits) },
        Op::AdamW(op) => Cost { bytes, flops: 14 * elements(&op.params) },
        Op::VerifyTree(_) | Op::BuildTree(_) | Op::GrowTree(_) | Op::Copy(_) | Op::Fill(_) => {
            Cost { bytes, flops: 0 }
        }
    }
}

fn page_bytes(view: &View) -> u64 {
    view.dtype.size() as u64
}

/// Each key and value once for all rows, as a kernel that shares them does.
fn attention(op: &TreeAttention) -> Cost {
    let [_, g, d] = op.cache.dims();
    let (m, h) = (op.q.shape.dim(0), op.q.shape.dim(1));
    let seen = match op.window {
        0 => op.max_context,
        window => window.min(op.max_context),
    };
    let keys = 2 * (seen * g * d) as u64 * page_bytes(&op.cache.k);
    let flops = 4 * (m * h * d) as u64 * seen as u64;
    Cost { bytes: keys + bytes_of(&op.q) + bytes_of(&op.out), flops }
}
