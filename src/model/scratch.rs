//! Activations: one set of buffers, of which each recording uses the first rows.

use super::{
    config::ModelConfig,
    llama::RowBuffers,
    state::{MAX_CHUNK_ROWS, MAX_TREE_ROWS},
};
use crate::{
    backend::{Backend, BackendResult, BufferDesc, Usage, View},
    dtype::DType,
    ops::ROW_STATS_FIELDS,
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
        4 * (rows + MAX_TREE_ROWS * (config.vocab + ROW_STATS_FIELDS)) as u64
    }

    pub fn alloc(backend: &dyn Backend, config: &ModelConfig) -> BackendResult<Self> {
        let matrix = |label: &str, dtype: DType, rows: usize, width: usize| {
            let bytes = (4 * rows * width) as u64;
            let desc = BufferDesc { label: label.into(), bytes, usage: Usage::Scratch };
            backend.alloc(&desc)?.view(0, dtype, [rows, width])
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
