//! Hyper-parameters of a model as plain data.
//!
//! All supported families are one decoder with different settings. This is the list of those
//! settings; reading them from files is in [`crate::format`].

use serde::Serialize;

pub use crate::ops::{Gate, RopeStyle};

/// Largest values accepted from a file. They are far above any real model and keep every size
/// computed from them within 64 bits.
pub mod limits {
    /// Layers.
    pub const LAYERS: usize = 1024;
    /// Width of the residual stream.
    pub const WIDTH: usize = 1 << 17;
    /// Query or key/value heads.
    pub const HEADS: usize = 1024;
    /// Elements of a head.
    pub const HEAD_DIM: usize = 1024;
    /// Width of the feed-forward block.
    pub const FEED_FORWARD: usize = 1 << 20;
    /// Vocabulary.
    pub const VOCAB: usize = 1 << 22;
    /// Context or window in tokens.
    pub const CONTEXT: usize = 1 << 24;
}

/// Model family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Arch {
    /// Llama 2, 3 and models of the same shape; in GGUF, Mistral too.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3 (dense).
    Qwen3,
    /// Gemma 3 (text).
    Gemma3,
}

impl Arch {
    /// Names of all supported families, for messages.
    pub const NAMES: &str = "llama, mistral, qwen2, qwen3, gemma3";
}

/// How RoPE frequencies are stretched beyond the context a model was first trained with.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Each frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Llama 3.1: low frequencies divided by `factor`, a ramp in between, high ones kept.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low_freq_factor` are low frequencies.
        low_freq_factor: f32,
        /// Wavelengths below `original_context / high_freq_factor` are high frequencies.
        high_freq_factor: f32,
        /// Context of the first training in tokens.
        original_context: usize,
    },
    /// YaRN (arXiv 2309.00071).
    Yarn {
        /// Stretch of the context.
        factor: f32,
        /// Context of the first training in tokens.
        original_context: usize,
        /// Factor on cos and sin.
        attention_factor: f32,
        /// Rotations above which a frequency is kept.
        beta_fast: f32,
        /// Rotations below which a frequency is divided by `factor`.
        beta_slow: f32,
    },
    /// Frequency `i` divided by `factors[i]` (GGUF's `rope_freqs.weight`, how it stores Llama 3.1's
    /// scaling); `dim / 2` of them.
    Factors {
        /// The divisors.
        factors: Vec<f32>,
    },
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RopeConfig {
    /// Base of the frequencies: frequency `i` is `base^(-2 i / dim)`.
    pub base: f32,
    /// Rotated elements of each head, an even number up to the head size.
    pub dim: usize,
    /// Stretching of the frequencies.
    pub scaling: RopeScaling,
    /// Which elements form a pair, as the weights are stored.
    #[serde(serialize_with = "style_name")]
    pub style: RopeStyle,
}

fn style_name<S: serde::Serializer>(style: &RopeStyle, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(match style {
        RopeStyle::Interleaved => "interleaved",
        RopeStyle::Halved => "halved",
    })
}

fn gate_name<S: serde::Serializer>(gate: &Gate, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(match gate {
        Gate::Silu => "silu",
        Gate::GeluTanh => "gelu_tanh",
    })
}

/// Everything that distinguishes one model from another, except its weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelConfig {
    /// Family.
    pub arch: Arch,
    /// Layers.
    pub n_layers: usize,
    /// Width `D` of the residual stream.
    pub d_model: usize,
    /// Query heads `H`.
    pub n_heads: usize,
    /// Key/value heads `G`; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Elements `d` of a head.
    pub head_dim: usize,
    /// Width `F` of the feed-forward block.
    pub d_ff: usize,
    /// Vocabulary `V`.
    pub vocab: usize,
    /// Epsilon of all RMS norms.
    pub rms_eps: f32,
    /// Longest context in tokens.
    pub max_context: usize,
    /// Rotary embedding of layers that attend to everything.
    pub rope: RopeConfig,
    /// Rotary embedding of windowed layers, where it differs.
    pub rope_local: Option<RopeConfig>,
    /// Tokens a windowed layer attends to, its own included.
    pub window: Option<usize>,
    /// For each layer, whether it is windowed.
    pub windowed: Vec<bool>,
    /// Whether queries and keys of each head are RMS-normalised before RoPE.
    pub qk_norm: bool,
    /// Whether the q, k and v projections have biases.
    pub qkv_bias: bool,
    /// Activation of the feed-forward block.
    #[serde(serialize_with = "gate_name")]
    pub gate: Gate,
    /// Whether attention and feed-forward outputs are normalised before they are added.
    pub post_norms: bool,
    /// Factor on embeddings: `sqrt(D)` for Gemma, else 1.
    pub embed_scale: f32,
    /// Factor on query-key products.
    pub attn_scale: f32,
    /// Whether stored norm weights lack 1 (Gemma's safetensors; GGUF has it added).
    pub norm_plus_one: bool,
    /// Whether the output matrix is the embedding.
    pub tie_embeddings: bool,
    /// First token of a text, where the file names one.
    pub bos: Option<u32>,
    /// Tokens that end an answer, as far as the file names them.
    pub eos: Vec<u32>,
}

/// A setting that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// Field of [`ModelConfig`].
    pub field: &'static str,
    /// What is wrong, with values.
    pub message: String,
}

impl ModelConfig {
    /// Window of a layer in tokens, `None` if it attends to everything.
    pub fn layer_window(&self, layer: usize) -> Option<usize> {
        if self.windowed[layer] { self.window } else { None }
    }

    /// Rotary embedding of a layer.
    pub fn layer_rope(&self, layer: usize) -> &RopeConfig {
        match &self.rope_local {
            Some(local) if self.windowed[layer] => local,
            _ => &self.rope,
        }
    }

    /// Checks every size against [`limits`] and against each other.
    pub fn check(&self) -> Result<(), BadField> {
        let sizes = [
            ("n_layers", self.n_layers, limits::LAYERS),
            ("d_model", self.d_model, limits::WIDTH),
            ("n_heads", self.n_heads, limits::HEADS),
            ("n_kv_heads", self.n_kv_heads, limits::HEADS),
            ("head_dim", self.head_dim, limits::HEAD_DIM),
            ("d_ff", self.d_ff, limits::FEED_FORWARD),
            ("vocab", self.vocab, limits::VOCAB),
            ("max_context", self.max_context, limits::CONTEXT),
            ("window", self.window.unwrap_or(1), limits::CONTEXT),
        ];
        for (field, value, limit) in sizes {
            ensure(field, (1..=limit).contains(&value), || {
                format!("{value} is not within 1 to {limit}")
            })?;
        }
        let (heads, kv) = (self.n_heads, self.n_kv_heads);
        ensure("n_kv_heads", heads.is_multiple_of(kv), || {
            format!("{heads} query heads are not a multiple of {kv} key/value heads")
        })?;
        ensure("windowed", self.windowed.len() == self.n_layers, || {
            format!("describes {} layers of {}", self.windowed.len(), self.n_layers)
        })?;
        let floats = [
            ("rms_eps", self.rms_eps, 1.0),
            ("embed_scale", self.embed_scale, f32::MAX),
            ("attn_scale", self.attn_scale, f32::MAX),
        ];
        for (field, value, limit) in floats {
            ensure(field, value > 0.0 && value <= limit, || {
                format!("{value} is not a positive number up to {limit}")
            })?;
        }
        self.check_rope("rope", &self.rope)?;
        self.rope_local.as_ref().map_or(Ok(()), |rope| self.check_rope("rope_local", rope))
    }

    fn check_rope(&self, field: &'static str, rope: &RopeConfig) -> Result<(), BadField> {
        let RopeConfig { base, dim, scaling, .. } = rope;
        let head = self.head_dim;
        ensure(field, *base >= 1.0 && base.is_finite(), || {
            format!("base {base} is not at least 1")
        })?;
        ensure(field, *dim > 0 && dim.is_multiple_of(2) && *dim <= head, || {
            format!("{dim} rotated elements are not an even number within the head size {head}")
        })?;
        let positive = |what: &str, x: f32| {
            ensure(field, x > 0.0 && x.is_finite(), || format!("{what} {x} is not positive"))
        };
        let context = |x: usize| {
            ensure(field, (1..=limits::CONTEXT).contains(&x), || {
                format!("original context {x} is not within 1 to {}", limits::CONTEXT)
            })
        };
        match scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => positive("scaling factor", *factor),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                positive("scaling factor", *factor)?;
                positive("low_freq_factor", *low_freq_factor)?;
                ensure(field, high_freq_factor > low_freq_factor, || {
                    format!("high_freq_factor {high_freq_factor} is not above {low_freq_factor}")
                })?;
                context(*original_context)
            }
            RopeScaling::Yarn {
                factor,
                original_context,
                attention_factor,
                beta_fast,
                beta_slow,
            } => {
                positive("scaling factor", *factor)?;
                positive("attention factor", *attention_factor)?;
                positive("beta_slow", *beta_slow)?;
                ensure(field, beta_fast > beta_slow, || {
                    format!("beta_fast {beta_fast} is not above beta_slow {beta_slow}")
                })?;
                context(*original_context)
            }
            RopeScaling::Factors { factors } => {
                ensure(field, factors.len() == dim / 2, || {
                    format!("{} frequency factors for {dim} rotated elements", factors.len())
                })?;
                factors.iter().try_for_each(|&x| positive("frequency factor", x))
            }
        }
    }
}

fn ensure(
    field: &'static str,
    holds: bool,
    message: impl FnOnce() -> String,
) -> Result<(), BadField> {
    if holds { Ok(()) } else { Err(BadField { field, message: message() }) }
}
