//! [`ModelConfig`] from Hugging Face's `config.json` (and `generation_config.json`).

use std::path::Path;

use serde_json::{Map as Object, Value};

use super::FormatError;
use crate::model::config::{Arch, Gate, ModelConfig, RopeConfig, RopeScaling, RopeStyle};

/// Largest `config.json` read, in bytes. Real ones have a few thousand.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads a small JSON file that holds an object.
pub(super) fn read_object(path: &Path) -> Result<Object<String, Value>, FormatError> {
    let bytes = super::read_limited(path, MAX_CONFIG_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|e| FormatError::File {
        file: path.to_owned(),
        message: format!("not a JSON object: {e}"),
        hint: None,
    })
}

/// Reads and checks the hyper-parameters. `eos_override` is the end tokens that
/// `generation_config.json` names, if it does.
pub(super) fn read(path: &Path) -> Result<ModelConfig, FormatError> {
    let root = read_object(path)?;
    let top = Keys { file: path, object: &root, fallback: None };
    let model_type = top.str("model_type")?.ok_or_else(|| top.missing("model_type"))?;
    let arch = match model_type {
        "llama" => Arch::Llama,
        "mistral" => Arch::Mistral,
        "qwen2" => Arch::Qwen2,
        "qwen3" => Arch::Qwen3,
        "gemma3" | "gemma3_text" => Arch::Gemma3,
        other => {
            return Err(FormatError::Architecture {
                file: path.to_owned(),
                found: other.to_owned(),
            });
        }
    };
    // multimodal Gemma 3 nests the language model
    let keys = match root.get("text_config") {
        Some(Value::Object(text)) => Keys { file: path, object: text, fallback: Some(&root) },
        _ => top,
    };
    let config = build(&keys, arch)?;
    config.check().map_err(|bad| keys.error(hf_key(bad.field), bad.message))?;
    Ok(config)
}

/// End tokens of `generation_config.json`; `None` if it names none.
pub(super) fn generation_eos(path: &Path) -> Result<Option<Vec<u32>>, FormatError> {
    let object = read_object(path)?;
    let keys = Keys { file: path, object: &object, fallback: None };
    let eos = keys.tokens("eos_token_id")?;
    Ok((!eos.is_empty()).then_some(eos))
}

/// The key a field is read from.
fn hf_key(field: &'static str) -> &'static str {
    match field {
        "n_layers" => "num_hidden_layers",
        "d_model" | "embed_scale" => "hidden_size",
        "n_heads" => "num_attention_heads",
        "n_kv_heads" => "num_key_value_heads",
        "attn_scale" => "query_pre_attn_scalar",
        "d_ff" => "intermediate_size",
        "vocab" => "vocab_size",
        "rms_eps" => "rms_norm_eps",
        "max_context" => "max_position_embeddings",
        "window" => "sliding_window",
        "windowed" => "layer_types",
        "rope" => "rope_theta / rope_scaling",
        "rope_local" => "rope_local_base_freq",
        other => other,
    }
}

fn build(keys: &Keys<'_>, arch: Arch) -> Result<ModelConfig, FormatError> {
    let gemma = arch == Arch::Gemma3;
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        keys.refuse(key, "soft-capping is not supported")?;
    }
    keys.refuse("mlp_bias", "biases of the feed-forward block are not supported")?;
    keys.refuse("use_bidirectional_attention", "bidirectional attention is not supported")?;
    if arch != Arch::Qwen2 {
        keys.refuse("attention_bias", "a bias of the attention output is not supported")?;
    }
    keys.refuse(
        "quantization_config",
        "quantised checkpoints are not supported, only f32, f16, bf16",
    )?;
    // Gemma 3's files leave out what equals transformers' defaults; others state these.
    let size = |key: &str, gemma_default: usize| match keys.size(key)? {
        Some(x) => Ok(x),
        None if gemma => Ok(gemma_default),
        None => Err(keys.missing(key)),
    };
    let n_layers = size("num_hidden_layers", 26)?;
    let d_model = size("hidden_size", 2304)?;
    let n_heads = size("num_attention_heads", 8)?;
    let n_kv_heads = match keys.size("num_key_value_heads")? {
        Some(x) => x,
        None if gemma => 4,
        None => n_heads,
    };
    let head_dim = match keys.size("head_dim")? {
        Some(x) => x,
        None if gemma => 256,
        None => super::split_width(d_model, n_heads)
            .map_err(|message| keys.error("num_attention_heads", message))?,
    };
    let max_position = size("max_position_embeddings", 131_072)?;
    let (rope, rope_local) = ropes(keys, arch, head_dim, max_position)?;
    let max_context = match rope.scaling {
        // a YaRN file may state the context before stretching
        RopeScaling::Yarn { factor, original_context, .. } => {
            max_position.max((factor * original_context as f32) as usize)
        }
        _ => max_position,
    };
    let (window, windowed) = windows(keys, arch, n_layers)?;
    let query_size = match keys.float("query_pre_attn_scalar")? {
        Some(x) => x,
        None if gemma => 256.0,
        None => head_dim as f32,
    };
    Ok(ModelConfig {
        arch,
        n_layers,
        d_model,
        n_heads,
        n_kv_heads,
        head_dim,
        d_ff: size("intermediate_size", 9216)?,
        vocab: size("vocab_size", 262_208)?,
        rms_eps: keys.float("rms_norm_eps")?.unwrap_or(1e-6),
        max_context,
        rope,
        rope_local,
        window,
        windowed,
        qk_norm: gemma || arch == Arch::Qwen3,
        qkv_bias: arch == Arch::Qwen2,
        gate: gate(keys, gemma)?,
        post_norms: gemma,
        embed_scale: if gemma { (d_model as f32).sqrt() } else { 1.0 },
        attn_scale: 1.0 / query_size.sqrt(),
        norm_plus_one: gemma,
        tie_embeddings: keys.bool("tie_word_embeddings")?.unwrap_or(gemma),
        bos: keys.tokens("bos_token_id")?.first().copied(),
        eos: keys.tokens("eos_token_id")?,
    })
}

fn gate(keys: &Keys<'_>, gemma: bool) -> Result<Gate, FormatError> {
    let key = if gemma { "hidden_activation" } else { "hidden_act" };
    match keys.str(key)? {
        None if gemma => Ok(Gate::GeluTanh),
        None | Some("silu" | "swish") => Ok(Gate::Silu),
        Some("gelu_pytorch_tanh") => Ok(Gate::GeluTanh),
        Some(other) => {
            Err(keys
                .error(key, format!("`{other}` is not supported; silu and gelu_pytorch_tanh are")))
        }
    }
}

/// Window size and, for each layer, whether it is windowed.
fn windows(
    keys: &Keys<'_>,
    arch: Arch,
    n_layers: usize,
) -> Result<(Option<usize>, Vec<bool>), FormatError> {
    let none = || (None, super::windowed(n_layers, |_| false));
    let qwen = matches!(arch, Arch::Qwen2 | Arch::Qwen3);
    if qwen && !keys.bool("use_sliding_window")?.unwrap_or(false) {
        return Ok(none());
    }
    let window = match keys.size("sliding_window")? {
        Some(window) => window,
        None if arch == Arch::Gemma3 => 4096,
        None => return Ok(none()),
    };
    let windowed = match keys.get("layer_types") {
        Some(Value::Array(types)) => types
            .iter()
            .map(|ty| match ty.as_str() {
                Some("sliding_attention") => Ok(true),
                Some("full_attention") => Ok(false),
                _ => Err(keys.error("layer_types", format!("{ty} is not supported"))),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(keys.mistyped("layer_types", "an array", other)),
        None if arch == Arch::Gemma3 => {
            let pattern = match keys.size("sliding_window_pattern")? {
                Some(pattern) => pattern,
                None => keys.size("_sliding_window_pattern")?.unwrap_or(6),
            };
            super::windowed(n_layers, |i| !(i + 1).is_multiple_of(pattern))
        }
        None if qwen => {
            let from = keys.size("max_window_layers")?.unwrap_or(28);
            super::windowed(n_layers, |i| i >= from)
        }
        None => super::windowed(n_layers, |_| arch == Arch::Mistral),
    };
    Ok((Some(window), windowed))
}

/// Global and local rotary embeddings. Newer files put everything into `rope_parameters`, for
/// Gemma one object a layer type; older ones have `rope_theta` and `rope_scaling`.
fn ropes(
    keys: &Keys<'_>,
    arch: Arch,
    head_dim: usize,
    max_position: usize,
) -> Result<(RopeConfig, Option<RopeConfig>), FormatError> {
    let gemma = arch == Arch::Gemma3;
    let partial = keys.float("partial_rotary_factor")?.unwrap_or(1.0);
    let dim = (head_dim as f32 * partial) as usize;
    let rope = |base, scaling| RopeConfig { base, dim, scaling, style: RopeStyle::Halved };
    let parameters = keys.object("rope_parameters")?;
    let (global, local) = match &parameters {
        Some(p) if p.get("full_attention").is_some() => {
            (p.object("full_attention")?, p.object("sliding_attention")?)
        }
        _ => (parameters, None),
    };
    let default = if gemma { 1e6 } else { 10_000.0 };
    let base = match global.as_ref().map(|p| p.float("rope_theta")).transpose()?.flatten() {
        Some(base) => base,
        None => keys.float("rope_theta")?.unwrap_or(default),
    };
    let scaling = match global {
        Some(p) => scaling(&p, max_position)?,
        None => match keys.object("rope_scaling")? {
            Some(p) => scaling(&p, max_position)?,
            None => RopeScaling::None,
        },
    };
    let local_base = match local.map(|p| p.float("rope_theta")).transpose()?.flatten() {
        Some(base) => base,
        None => keys.float("rope_local_base_freq")?.unwrap_or(10_000.0),
    };
    Ok((rope(base, scaling), gemma.then(|| rope(local_base, RopeScaling::None))))
}

fn scaling(keys: &Keys<'_>, max_position: usize) -> Result<RopeScaling, FormatError> {
    let key = if keys.get("rope_type").is_some() { "rope_type" } else { "type" };
    let factor = || keys.float("factor")?.ok_or_else(|| keys.missing("factor"));
    let original = keys.size("original_max_position_embeddings")?;
    match keys.str(key)? {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: factor()? }),
        Some("llama3") => {
            let need = |key| keys.float(key)?.ok_or_else(|| keys.missing(key));
            Ok(RopeScaling::Llama3 {
                factor: factor()?,
                low_freq_factor: need("low_freq_factor")?,
                high_freq_factor: need("high_freq_factor")?,
                original_context: original
                    .ok_or_else(|| keys.missing("original_max_position_embeddings"))?,
            })
        }
        Some("yarn") => {
            let factor = factor()?;
            keys.refuse("mscale", "YaRN with mscale is not supported")?;
            Ok(RopeScaling::Yarn {
                factor,
                original_context: original.unwrap_or(max_position),
                attention_factor: keys
                    .float("attention_factor")?
                    .unwrap_or_else(|| super::yarn_attention_factor(factor)),
                beta_fast: keys.float("beta_fast")?.unwrap_or(32.0),
                beta_slow: keys.float("beta_slow")?.unwrap_or(1.0),
            })
        }
        Some(other) => {
            let message = format!("`{other}` is not supported; linear, llama3 and yarn are");
            Err(keys.error(key, message))
        }
    }
}

/// Keys of one object, with the object around it for what it lacks.
#[derive(Clone, Copy)]
struct Keys<'a> {
    file: &'a Path,
    object: &'a Object<String, Value>,
    fallback: Option<&'a Object<String, Value>>,
}

impl<'a> Keys<'a> {
    /// Value of a key; null counts as absent.
    fn get(&self, key: &str) -> Option<&'a Value> {
        let outer = || self.fallback.and_then(|o| o.get(key));
        self.object.get(key).or_else(outer).filter(|v| !v.is_null())
    }

    fn error(&self, key: &str, message: impl Into<String>) -> FormatError {
        FormatError::Key {
            file: self.file.to_owned(),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    fn missing(&self, key: &str) -> FormatError {
        FormatError::MissingKey { file: self.file.to_owned(), key: key.to_owned() }
    }

    fn mistyped(&self, key: &str, wanted: &str, found: &Value) -> FormatError {
        let found: String = found.to_string().chars().take(60).collect();
        self.error(key, format!("expected {wanted}, found {found}"))
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(v) => read(v).map(Some).ok_or_else(|| self.mistyped(key, wanted, v)),
        }
    }

    fn str(&self, key: &str) -> Result<Option<&'a str>, FormatError> {
        self.typed(key, "a string", Value::as_str)
    }

    fn bool(&self, key: &str) -> Result<Option<bool>, FormatError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    fn float(&self, key: &str) -> Result<Option<f32>, FormatError> {
        self.typed(key, "a number", |v| v.as_f64().map(|x| x as f32))
    }

    fn size(&self, key: &str) -> Result<Option<usize>, FormatError> {
        let read = |v: &Value| v.as_u64().and_then(|x| usize::try_from(x).ok());
        self.typed(key, "a whole number", read)
    }

    fn object(&self, key: &str) -> Result<Option<Keys<'a>>, FormatError> {
        let file = self.file;
        let read = |v: &'a Value| Some(Keys { file, object: v.as_object()?, fallback: None });
        self.typed(key, "an object", read)
    }

    /// One token id or a list of them.
    fn tokens(&self, key: &str) -> Result<Vec<u32>, FormatError> {
        let id = |v: &Value| v.as_u64().and_then(|x| u32::try_from(x).ok());
        let read = |v: &Value| match v {
            Value::Array(list) => list.iter().map(id).collect(),
            one => Some(vec![id(one)?]),
        };
        Ok(self.typed(key, "a token id or a list of them", read)?.unwrap_or_default())
    }

    /// An error if the key holds anything but null, false or zero.
    fn refuse(&self, key: &str, why: &str) -> Result<(), FormatError> {
        match self.get(key) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(v) if v.as_f64() == Some(0.0) => Ok(()),
            Some(_) => Err(self.error(key, why)),
        }
    }
}
