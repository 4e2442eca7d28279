//! Shapes of published models: what decides speed, without the weights.

use std::{fmt, str::FromStr};

use super::config::{Arch, Gate, ModelConfig, RopeConfig, RopeScaling, RopeStyle};
use crate::error::{Error, Result};

/// The shape of a published model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Name on the command line.
    pub name: &'static str,
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    feed_forward: usize,
    vocab: usize,
    context: usize,
    base: u32,
    tied: bool,
}

const fn llama(name: &'static str, layers: usize, width: usize, heads: usize) -> Published {
    Published {
        name,
        layers,
        width,
        heads,
        kv_heads: heads,
        feed_forward: 0,
        vocab: 32_000,
        context: 4096,
        base: 10_000,
        tied: false,
    }
}

impl Published {
    /// All of them, smallest first.
    pub const ALL: &'static [Self] = &[
        Self { feed_forward: 3072, context: 2048, ..llama("llama-68m", 2, 768, 12) },
        Self {
            kv_heads: 3,
            feed_forward: 1536,
            vocab: 49_152,
            context: 2048,
            tied: true,
            ..llama("smollm2-135m", 30, 576, 9)
        },
        Self {
            kv_heads: 4,
            feed_forward: 5632,
            context: 2048,
            ..llama("tinyllama-1.1b", 22, 2048, 32)
        },
        Self { feed_forward: 11_008, ..llama("llama2-7b", 32, 4096, 32) },
        Self {
            kv_heads: 8,
            feed_forward: 14_336,
            vocab: 128_256,
            context: 8192,
            base: 500_000,
            ..llama("llama3-8b", 32, 4096, 32)
        },
        Self { feed_forward: 13_824, ..llama("llama2-13b", 40, 5120, 40) },
        Self { feed_forward: 17_920, context: 2048, ..llama("llama-33b", 60, 6656, 52) },
    ];

    /// Hyper-parameters.
    pub fn config(&self) -> ModelConfig {
        let head_dim = self.width / self.heads;
        ModelConfig {
            arch: Arch::Llama,
            n_layers: self.layers,
            d_model: self.width,
            n_heads: self.heads,
            n_kv_heads: self.kv_heads,
            head_dim,
            d_ff: self.feed_forward,
            vocab: self.vocab,
            rms_eps: 1e-5,
            max_context: self.context,
            rope: RopeConfig {
                base: self.base as f32,
                dim: head_dim,
                scaling: RopeScaling::None,
                style: RopeStyle::Interleaved,
            },
            rope_local: None,
            window: None,
            windowed: vec![false; self.layers],
            qk_norm: false,
            qkv_bias: false,
            gate: Gate::Silu,
            post_norms: false,
            embed_scale: 1.0,
            attn_scale: 1.0 / (head_dim as f32).sqrt(),
            norm_plus_one: false,
            tie_embeddings: self.tied,
            bos: None,
            eos: Vec::new(),
        }
    }

    fn names() -> String {
        Self::ALL.iter().map(|shape| shape.name).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Published {
    type Err = Error;

    /// By its name, or by its size where only one has that: `13b`.
    fn from_str(given: &str) -> Result<Self> {
        let mut named = Self::ALL.iter().filter(|shape| {
            let size = shape.name.rsplit('-').next().unwrap_or_default();
            shape.name.eq_ignore_ascii_case(given) || size.eq_ignore_ascii_case(given)
        });
        match (named.next(), named.next()) {
            (Some(shape), None) => Ok(*shape),
            _ => Err(Error::Invalid {
                message: format!("`{given}` names no published shape"),
                hint: Some(format!("one of {}, or the size alone", Self::names())),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Matrix elements, as the models' authors count parameters.
    fn parameters(shape: &Published) -> f64 {
        let c = shape.config();
        let attention = c.d_model * (c.n_heads + c.n_kv_heads) * c.head_dim * 2;
        let layer = attention + 3 * c.d_model * c.d_ff;
        let tables = if c.tie_embeddings { 1 } else { 2 };
        (c.n_layers * layer + tables * c.vocab * c.d_model) as f64
    }

    #[test]
    fn shapes_are_those_of_their_names() {
        for (name, millions) in [
            ("llama-68m", 68.0),
            ("smollm2-135m", 134.5),
            ("tinyllama-1.1b", 1100.0),
            ("llama2-7b", 6738.0),
            ("llama3-8b", 8030.0),
            ("llama2-13b", 13_016.0),
            ("llama-33b", 32_529.0),
        ] {
            let shape: Published = name.parse().expect("it is in the list");
            let got = parameters(&shape) / 1e6;
            assert!((got / millions - 1.0).abs() < 0.01, "{name}: {got} million parameters");
            shape.config().check().expect("a possible configuration");
        }
        for (size, name) in
            [("13b", "llama2-13b"), ("33B", "llama-33b"), ("LLAMA3-8B", "llama3-8b")]
        {
            let shape: Published = size.parse().expect("only one has this size");
            assert_eq!(shape.name, name);
        }
        let refused = "llama9-1t".parse::<Published>().expect_err("there is no such model");
        assert!(refused.hint().expect("a list").contains("llama2-7b"));
    }
}
