//! Activations: one set of buffers, of which each recording uses the first rows.

use super::{
    config::ModelConfig,
    llama::RowBuffers,
    state::{MAX_CHUNK_ROWS, MAX_TREE_ROWS},
};
use crate::{
    backend::{Backend, BackendResult, BufferDesc, Usage, View},
    dtype::DType,
    ops::{ROW_STATS_FIELDS, VERIFY_REPORT_FIELDS, VERIFY_WORDS},
};

/// Activations of up to [`MAX_CHUNK_ROWS`] rows and logits of up to [`MAX_TREE_ROWS`].
#[derive(Debug)]
pub(super) struct Scratch {
    /// `[512, n]` f32 in the order of [`RowBuffers`].
    rows: [View; 8],
    /// `[64, V]` f32.
    pub logits: View,
    /// `[64, 4]` u32.
    pub stats: View,
    /// `[64, D]` f32: the rows with logits of the last step after the final norm. Nothing else is
    /// written here, so that heads find them a round later.
    pub hidden: View,
    /// What a round leaves behind.
    pub round: RoundBuffers,
}

/// Results of drafting and acceptance.
#[derive(Debug)]
pub(super) struct RoundBuffers {
    /// `[68]` u32; see [`VerifyTree::out`](crate::ops::VerifyTree::out).
    pub out: View,
    /// `[64, 4]` u32; see [`VerifyTree::report`](crate::ops::VerifyTree::report).
    pub report: View,
    /// `[64]` u32: slots that accepted rows leave.
    pub src: View,
    /// `[64]` u32: slots that they go to.
    pub dst: View,
    /// `[64]` f32: what the heads gave each node.
    pub draft_logprobs: View,
}

/// Widths of the buffers of [`RowBuffers`], in its order.
fn widths(c: &ModelConfig) -> [usize; 8] {
    let [h, g, d] = [c.n_heads, c.n_kv_heads, c.head_dim];
    [c.d_model, c.d_model, c.d_model, c.d_model, (h + 2 * g) * d, h * d, 2 * c.d_ff, c.d_ff]
}

impl Scratch {
    /// Device bytes for a model.
    pub fn bytes(config: &ModelConfig) -> u64 {
        let rows = MAX_CHUNK_ROWS * widths(config).iter().sum::<usize>();
        let round = MAX_TREE_ROWS * (VERIFY_REPORT_FIELDS + 3) + VERIFY_WORDS;
        let tree = MAX_TREE_ROWS * (config.vocab + ROW_STATS_FIELDS + config.d_model);
        4 * (rows + tree + round) as u64
    }

    pub fn alloc(backend: &dyn Backend, config: &ModelConfig) -> BackendResult<Self> {
        let matrix = |label: &str, dtype: DType, rows: usize, width: usize| {
            let bytes = (4 * rows * width) as u64;
            let desc = BufferDesc { label: label.into(), bytes, usage: Usage::Scratch };
            backend.alloc(&desc)?.view(0, dtype, [rows, width])
        };
        let list = |label: &str, dtype: DType, len: usize| {
            let desc =
                BufferDesc { label: label.into(), bytes: 4 * len as u64, usage: Usage::Scratch };
            backend.alloc(&desc)?.view(0, dtype, [len])
        };
        let names = ["x", "y", "t", "u", "qkv", "o", "gate_up", "h"];
        let mut rows = Vec::with_capacity(names.len());
        for (name, width) in names.into_iter().zip(widths(config)) {
            rows.push(matrix(name, DType::F32, MAX_CHUNK_ROWS, width)?);
        }
        Ok(Self {
            rows: rows.try_into().expect("as many views as names"),
            logits: matrix("logits", DType::F32, MAX_TREE_ROWS, config.vocab)?,
            stats: matrix("stats", DType::U32, MAX_TREE_ROWS, ROW_STATS_FIELDS)?,
            hidden: matrix("hidden", DType::F32, MAX_TREE_ROWS, config.d_model)?,
            round: RoundBuffers {
                out: list("verified", DType::U32, VERIFY_WORDS)?,
                report: matrix("report", DType::U32, MAX_TREE_ROWS, VERIFY_REPORT_FIELDS)?,
                src: list("moves.src", DType::U32, MAX_TREE_ROWS)?,
                dst: list("moves.dst", DType::U32, MAX_TREE_ROWS)?,
                draft_logprobs: list("draft_logprobs", DType::F32, MAX_TREE_ROWS)?,
            },
        })
    }

    /// The first `m` rows of each.
    pub fn rows(&self, m: usize) -> BackendResult<RowBuffers> {
        let [x, y, t, u, qkv, o, gate_up, h] = &self.rows;
        Ok(RowBuffers {
            x: x.rows(0, m)?,
            y: y.rows(0, m)?,
            t: t.rows(0, m)?,
            u: u.rows(0, m)?,
            qkv: qkv.rows(0, m)?,
            o: o.rows(0, m)?,
            gate_up: gate_up.rows(0, m)?,
            h: h.rows(0, m)?,
        })
    }
}
