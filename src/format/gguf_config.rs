//! [`ModelConfig`] from GGUF metadata.

use super::{FormatError, Gguf};
use crate::{
    model::config::{Arch, Gate, ModelConfig, RopeConfig, RopeScaling, RopeStyle},
    quant::QuantFormat,
};

/// RoPE base of Gemma 3's windowed layers (its `rope_local_base_freq`), which GGUF rarely states.
const GEMMA3_LOCAL_BASE: f32 = 10_000.0;
/// One in this many layers of Gemma 3 attends to everything, where a file does not say.
const GEMMA3_PATTERN: usize = 6;

/// Reads and checks the hyper-parameters.
pub(super) fn read(gguf: &Gguf) -> Result<ModelConfig, FormatError> {
    let name = gguf.string(ARCH)?.ok_or_else(|| missing(gguf, ARCH))?;
    let arch = match name {
        "llama" => Arch::Llama,
        "mistral" => Arch::Mistral,
        "qwen2" => Arch::Qwen2,
        "qwen3" => Arch::Qwen3,
        "gemma3" => Arch::Gemma3,
        other => {
            return Err(FormatError::Architecture {
                file: gguf.path().to_owned(),
                found: other.to_owned(),
            });
        }
    };
    let keys = Keys { gguf, prefix: name };
    keys.refuse("expert_count", "mixtures of experts are not supported")?;
    keys.refuse("final_logit_softcapping", "soft-capped logits are not supported")?;
    keys.refuse("attn_logit_softcapping", "soft-capped attention is not supported")?;
    if gguf.info("blk.0.attn_output.bias").is_some() {
        return Err(FormatError::Tensor {
            file: gguf.path().to_owned(),
            tensor: "blk.0.attn_output.bias".to_owned(),
            message: "a bias of the attention output is not supported".to_owned(),
        });
    }
    let gemma = arch == Arch::Gemma3;
    let n_layers = keys.need("block_count")?;
    let d_model = keys.need("embedding_length")?;
    let n_heads = keys.need("attention.head_count")?;
    let head_dim = match keys.size("attention.key_length")? {
        Some(x) => x,
        None => super::split_width(d_model, n_heads)
            .map_err(|message| keys.error("attention.head_count", message))?,
    };
    if let Some(value) = keys.size("attention.value_length")?
        && value != head_dim
    {
        let message = format!("{value} differs from the key length {head_dim}");
        return Err(keys.error("attention.value_length", message));
    }
    let rope = rope(&keys, arch, head_dim)?;
    let rope_local = if gemma {
        let base = keys.float("rope.freq_base_swa")?.unwrap_or(GEMMA3_LOCAL_BASE);
        Some(RopeConfig { base, scaling: RopeScaling::None, ..rope.clone() })
    } else {
        None
    };
    let window = keys.size("attention.sliding_window")?.filter(|&w| w > 0);
    let pattern = keys.size("attention.sliding_window_pattern")?.unwrap_or(if gemma {
        GEMMA3_PATTERN
    } else {
        0
    });
    // Gemma 3 27B alone scales by its width a head instead of its head size (llama.cpp tells it
    // apart by its 62 layers too).
    let query_size = match (gemma, n_layers) {
        (true, 62) => d_model as f32 / n_heads as f32,
        _ => head_dim as f32,
    };
    let config = ModelConfig {
        arch,
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(n_heads),
        head_dim,
        d_ff: keys.need("feed_forward_length")?,
        vocab: vocab(&keys)?,
        rms_eps: keys.need_float("attention.layer_norm_rms_epsilon")?,
        max_context: keys.need("context_length")?,
        rope,
        rope_local,
        window,
        windowed: super::windowed(n_layers, |i| {
            window.is_some() && !(i + 1).is_multiple_of(pattern)
        }),
        qk_norm: gemma || arch == Arch::Qwen3,
        qkv_bias: arch == Arch::Qwen2 || gguf.info("blk.0.attn_q.bias").is_some(),
        gate: if gemma { Gate::GeluTanh } else { Gate::Silu },
        post_norms: gemma,
        embed_scale: if gemma { (d_model as f32).sqrt() } else { 1.0 },
        attn_scale: 1.0 / query_size.sqrt(),
        norm_plus_one: false,
        tie_embeddings: gguf.info("output.weight").is_none(),
        bos: token(gguf, "tokenizer.ggml.bos_token_id")?,
        eos: eos(gguf)?,
    };
    config.check().map_err(|bad| match gguf_key(bad.field) {
        Some(suffix) => keys.error(suffix, bad.message),
        None => gguf.key_error(ARCH, format!("{}: {}", bad.field, bad.message)),
    })?;
    Ok(config)
}

const ARCH: &str = "general.architecture";

/// The key a field is read from, without the architecture's prefix.
fn gguf_key(field: &str) -> Option<&'static str> {
    Some(match field {
        "n_layers" => "block_count",
        "d_model" | "embed_scale" => "embedding_length",
        "n_heads" => "attention.head_count",
        "n_kv_heads" => "attention.head_count_kv",
        "head_dim" | "attn_scale" => "attention.key_length",
        "d_ff" => "feed_forward_length",
        "vocab" => "vocab_size",
        "rms_eps" => "attention.layer_norm_rms_epsilon",
        "max_context" => "context_length",
        "window" => "attention.sliding_window",
        "rope" => "rope",
        "rope_local" => "rope.freq_base_swa",
        _ => return None,
    })
}

/// Metadata under the architecture's prefix.
struct Keys<'a> {
    gguf: &'a Gguf,
    prefix: &'a str,
}

impl Keys<'_> {
    fn full(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.prefix)
    }

    fn error(&self, suffix: &str, message: impl Into<String>) -> FormatError {
        self.gguf.key_error(&self.full(suffix), message)
    }

    fn size(&self, suffix: &str) -> Result<Option<usize>, FormatError> {
        let Some(value) = self.gguf.unsigned(&self.full(suffix))? else {
            return Ok(None);
        };
        let size = usize::try_from(value);
        size.map(Some).map_err(|_| self.error(suffix, format!("{value} is absurd")))
    }

    fn need(&self, suffix: &str) -> Result<usize, FormatError> {
        self.size(suffix)?.ok_or_else(|| missing(self.gguf, &self.full(suffix)))
    }

    fn float(&self, suffix: &str) -> Result<Option<f32>, FormatError> {
        self.gguf.float(&self.full(suffix))
    }

    fn need_float(&self, suffix: &str) -> Result<f32, FormatError> {
        self.float(suffix)?.ok_or_else(|| missing(self.gguf, &self.full(suffix)))
    }

    /// An error if a number is given and not zero.
    fn refuse(&self, suffix: &str, why: &str) -> Result<(), FormatError> {
        use super::gguf::Value;
        match self.gguf.get(&self.full(suffix)) {
            None | Some(Value::Unsigned(_, 0) | Value::Signed(_, 0)) => Ok(()),
            Some(Value::Float(_, 0.0)) => Ok(()),
            Some(_) => Err(self.error(suffix, why)),
        }
    }
}

fn missing(gguf: &Gguf, key: &str) -> FormatError {
    FormatError::MissingKey { file: gguf.path().to_owned(), key: key.to_owned() }
}

/// Rows of the embedding where there is one, since metadata may be absent or stale.
fn vocab(keys: &Keys<'_>) -> Result<usize, FormatError> {
    if let Some(info) = keys.gguf.info("token_embd.weight") {
        return Ok(info.shape[0]);
    }
    match keys.size("vocab_size")? {
        Some(size) => Ok(size),
        None => keys
            .gguf
            .array_len("tokenizer.ggml.tokens")?
            .ok_or_else(|| missing(keys.gguf, &keys.full("vocab_size"))),
    }
}

fn rope(keys: &Keys<'_>, arch: Arch, head_dim: usize) -> Result<RopeConfig, FormatError> {
    Ok(RopeConfig {
        base: keys.float("rope.freq_base")?.unwrap_or(10_000.0),
        dim: keys.size("rope.dimension_count")?.unwrap_or(head_dim),
        scaling: scaling(keys)?,
        // llama.cpp permutes the rows of q and k of these when it converts them
        style: match arch {
            Arch::Llama | Arch::Mistral => RopeStyle::Interleaved,
            Arch::Qwen2 | Arch::Qwen3 | Arch::Gemma3 => RopeStyle::Halved,
        },
    })
}

fn scaling(keys: &Keys<'_>) -> Result<RopeScaling, FormatError> {
    const FREQS: &str = "rope_freqs.weight";
    const TYPE: &str = "rope.scaling.type";
    let gguf = keys.gguf;
    if let Some(tensor) = gguf.tensor(FREQS)? {
        if tensor.dtype != QuantFormat::F32 || tensor.shape.rank() != 1 {
            return Err(FormatError::Tensor {
                file: gguf.path().to_owned(),
                tensor: FREQS.to_owned(),
                message: format!("expected f32 [n], found {} {}", tensor.dtype, tensor.shape),
            });
        }
        let (words, _) = tensor.bytes.as_chunks::<4>();
        let factors = words.iter().map(|w| f32::from_le_bytes(*w)).collect();
        return Ok(RopeScaling::Factors { factors });
    }
    let factor = keys.float("rope.scaling.factor")?;
    let need_factor = || factor.ok_or_else(|| missing(gguf, &keys.full("rope.scaling.factor")));
    match gguf.string(&keys.full(TYPE))? {
        None => Ok(match (factor, keys.float("rope.scale_linear")?) {
            (Some(factor), _) | (None, Some(factor)) => RopeScaling::Linear { factor },
            (None, None) => RopeScaling::None,
        }),
        Some("none") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: need_factor()? }),
        Some("yarn") => {
            let factor = need_factor()?;
            let attn = keys.float("rope.scaling.attn_factor")?.unwrap_or(1.0);
            Ok(RopeScaling::Yarn {
                factor,
                original_context: keys.need("rope.scaling.original_context_length")?,
                attention_factor: attn * super::yarn_attention_factor(factor),
                beta_fast: keys.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: keys.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
            })
        }
        Some(other) => {
            Err(keys.error(TYPE, format!("`{other}` is not supported; none, linear and yarn are")))
        }
    }
}

fn token(gguf: &Gguf, key: &str) -> Result<Option<u32>, FormatError> {
    let Some(id) = gguf.unsigned(key)? else {
        return Ok(None);
    };
    let id = u32::try_from(id);
    id.map(Some).map_err(|_| gguf.key_error(key, "is not a token id (32 bits)"))
}

fn eos(gguf: &Gguf) -> Result<Vec<u32>, FormatError> {
    let mut out = Vec::new();
    for name in ["eos", "eot", "eom"] {
        if let Some(id) = token(gguf, &format!("tokenizer.ggml.{name}_token_id"))?
            && !out.contains(&id)
        {
            out.push(id);
        }
    }
    Ok(out)
}
