//! What joint training takes, and what there is.

use super::{
    JointOptions,
    adapters::{AdapterLayout, Product},
};
use crate::{
    backend::{AdapterKind, AdapterReport},
    error::{Error, Result},
    model::config::ModelConfig,
    train::heads::{Options, parameters::Layout},
};

/// Logits that a piece of the output's product has at most.
const LOGITS: usize = 1 << 24;

/// Device bytes beside the model that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JointMemory {
    /// Matrices in f32.
    pub weights_bytes: u64,
    /// Rows of a window, and scratch.
    pub activation_bytes: u64,
    /// Heads and adapters with gradients and moments.
    pub parameter_bytes: u64,
}

impl JointMemory {
    /// All together.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.activation_bytes + self.parameter_bytes
    }

    /// Fails if that is more than `available`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the parts.
    pub fn check(&self, available: Option<u64>) -> Result<()> {
        let Some(available) = available.filter(|&available| available < self.total_bytes()) else {
            return Ok(());
        };
        let mib = |bytes: u64| bytes >> 20;
        Err(Error::Invalid {
            message: format!(
                "joint training takes {} MiB ({} for matrices in f32, {} for a window's rows, {} for \
                 what is trained), but {} MiB are free",
                mib(self.total_bytes()),
                mib(self.weights_bytes),
                mib(self.activation_bytes),
                mib(self.parameter_bytes),
                mib(available)
            ),
            hint: Some("a shorter --window or a smaller model takes less".into()),
        })
    }
}

/// Rows of a piece of the output's product.
pub(super) fn piece_rows(config: &ModelConfig, window: usize) -> usize {
    (LOGITS / config.vocab).clamp(16, window.max(16)).min(window)
}

/// What joint training of heads that guess `draft_vocab` tokens will take.
pub fn estimate(
    config: &ModelConfig,
    options: &Options,
    joint: &JointOptions,
    draft_vocab: usize,
) -> JointMemory {
    let c = config;
    let [h, g, d, t] = [c.n_heads, c.n_kv_heads, c.head_dim, joint.window];
    let products: usize =
        Product::ALL.into_iter().map(|p| p.dims(c).iter().product::<usize>()).sum();
    let weights = c.n_layers * products + c.vocab * c.d_model;
    let qkv = (h + 2 * g) * d;
    let mut row = 2 * c.d_model + qkv + h * d + 2 * c.d_ff;
    row += if c.qk_norm { (h + g) * d } else { 0 };
    row += if c.post_norms { 2 * c.d_model } else { 0 };
    let scratch = 8 * c.d_model + 4 * c.d_ff + 2 * qkv + h * d + 2 * t + 2 * joint.rank;
    let heads = options.heads + 1;
    let head_rows = (2 * heads + 4 * options.blocks) * c.d_model + draft_vocab;
    let logits = 2 * piece_rows(c, t) * c.vocab + draft_vocab * c.d_model;
    let activations = t * (c.n_layers * row + scratch + head_rows) + logits;
    let parameters =
        Layout::new(options, c.d_model).elements() + AdapterLayout::new(c, joint).elements();
    let bytes = |elements: usize| 4 * elements as u64;
    JointMemory {
        weights_bytes: bytes(weights),
        activation_bytes: bytes(activations),
        parameter_bytes: bytes(4 * parameters),
    }
}

/// Bytes that the system says are free for a device that uses its memory, where it says so.
pub fn available_bytes(adapter: &AdapterReport) -> Option<u64> {
    if !matches!(adapter.kind, AdapterKind::Cpu | AdapterKind::Software | AdapterKind::Integrated) {
        return None;
    }
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}
