//! Rows of a window on the device.

use super::{Backbone, JointOptions};
use crate::{
    backend::{BackendResult, View},
    dtype::DType,
    error::Result,
    train::heads::tape::{matrix, vector},
};

/// What the host says of a window.
pub struct Given {
    /// `[T]` u32: tokens.
    pub ids: View,
    /// `[T]` u32: positions within each conversation.
    pub positions: View,
    /// `[T, 2]` u32: rows that each row sees, in layers that see everything and in windowed ones.
    pub spans: [View; 2],
}

/// Rows of a layer from which its gradient is computed again.
pub struct Kept {
    /// `[T, D]`: the layer's input.
    pub x: View,
    /// `[T, (H + G) d]`: queries and keys before their norms.
    pub raw: Option<View>,
    /// `[T, (H + 2 G) d]`: queries and keys, turned, and values.
    pub qkv: View,
    /// `[T, H d]`: attention's result.
    pub o: View,
    /// `[T, D]` each: outputs before their norms.
    pub outputs: Option<[View; 2]>,
    /// `[T, D]`: after the attention.
    pub mid: View,
    /// `[T, 2 F]`.
    pub gate_up: View,
}

/// All rows of a window.
pub struct Rows {
    /// By layer.
    pub layers: Vec<Kept>,
    /// `[T, D]`: output of the last layer.
    pub last: View,
    /// `[T, D]`: a normed input.
    pub y: View,
    /// `[T, D]`: a normed output; the gradient of an output before its norm.
    pub t: View,
    /// `[T, F]`: input of the last product.
    pub h: View,
    /// `[T, F]`, `[T, 2 F]`, `[T, H d]`, `[T, D]`: gradients of `h`, `gate_up`, `o`, `y`.
    pub dh: View,
    pub dgate_up: View,
    pub do_: View,
    pub dy: View,
    /// `[T, (H + 2 G) d]`: gradient of `qkv`, and of it before the norms.
    pub dqkv: View,
    pub draw: Option<View>,
    /// `[T, D]`: gradient of the residual stream.
    pub dx: View,
    /// `[T, T]`: probabilities of a head, and their gradient.
    pub p: View,
    pub dp: View,
    /// `[T, r]`: rows between the matrices of an adapter, and their gradient.
    pub u: View,
    pub du: View,
}

impl Given {
    pub fn alloc(backbone: &Backbone, window: usize) -> Result<Self> {
        let words = |label: &str, dims| matrix(&*backbone.backend, label, DType::U32, dims);
        Ok(Self {
            ids: vector(&words("ids", [1, window])?)?,
            positions: vector(&words("positions", [1, window])?)?,
            spans: [words("spans", [window, 2])?, words("near", [window, 2])?],
        })
    }
}

impl Rows {
    pub fn alloc(backbone: &Backbone, options: &JointOptions) -> Result<Self> {
        let c = &backbone.config;
        let (t, rank) = (options.window, options.rank);
        let device = &*backbone.backend;
        let rows = |label: &str, width| matrix(device, label, DType::F32, [t, width]);
        let [heads, qk, qkv] = [
            c.n_heads * c.head_dim,
            (c.n_heads + c.n_kv_heads) * c.head_dim,
            (c.n_heads + 2 * c.n_kv_heads) * c.head_dim,
        ];
        let layer = |_| -> BackendResult<Kept> {
            let outputs = || Ok::<_, _>([rows("out", c.d_model)?, rows("out", c.d_model)?]);
            Ok(Kept {
                x: rows("x", c.d_model)?,
                raw: c.qk_norm.then(|| rows("raw", qk)).transpose()?,
                qkv: rows("qkv", qkv)?,
                o: rows("o", heads)?,
                outputs: c.post_norms.then(outputs).transpose()?,
                mid: rows("mid", c.d_model)?,
                gate_up: rows("gate_up", 2 * c.d_ff)?,
            })
        };
        Ok(Self {
            layers: (0..c.n_layers).map(layer).collect::<BackendResult<_>>()?,
            last: rows("last", c.d_model)?,
            y: rows("y", c.d_model)?,
            t: rows("t", c.d_model)?,
            h: rows("h", c.d_ff)?,
            dh: rows("dh", c.d_ff)?,
            dgate_up: rows("dgate_up", 2 * c.d_ff)?,
            do_: rows("do", heads)?,
            dy: rows("dy", c.d_model)?,
            dqkv: rows("dqkv", qkv)?,
            draw: c.qk_norm.then(|| rows("draw", qkv)).transpose()?,
            dx: rows("dx", c.d_model)?,
            p: rows("p", t)?,
            dp: rows("dp", t)?,
            u: rows("u", rank)?,
            du: rows("du", rank)?,
        })
    }
}
