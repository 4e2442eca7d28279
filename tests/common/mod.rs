//! A tiny model with seeded weights, written as GGUF, and the devices to run it on.

use std::sync::Arc;

use coppice::{
    backend::{SharedBackend, cpu::Cpu},
    format::{ModelSource, gguf::Writer},
    model::{Model, ModelOptions, Precision},
    ops::{Activations, KvFormat},
    quant::QuantFormat,
};

/// Vocabulary of the tiny model.
pub const VOCAB: usize = 512;
const LAYERS: usize = 5;
const HEADS: usize = 8;
const KV_HEADS: usize = 4;

/// A tiny model of one of the supported families.
#[derive(Clone, Copy, Debug)]
pub struct Tiny {
    /// GGUF's name of the family.
    pub arch: &'static str,
    /// Width; a multiple of what the format packs.
    pub width: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Format of all matrices.
    pub format: QuantFormat,
    /// Format of the value projection, so that q, k and v need not be one weight.
    pub v_format: QuantFormat,
}

impl Tiny {
    /// A model of a family with matrices in f32.
    pub const fn of(arch: &'static str) -> Self {
        Self { arch, width: 64, head_dim: 8, format: QuantFormat::F32, v_format: QuantFormat::F32 }
    }

    /// A Llama in a format.
    pub const fn llama(format: QuantFormat) -> Self {
        let width = if format.k_multiple() > 64 { 256 } else { 64 };
        Self { format, v_format: format, width, head_dim: width / HEADS, ..Self::of("llama") }
    }

    /// Opens the model, written to a temporary file first.
    pub fn source(&self) -> ModelSource {
        ModelSource::open(self.file(1).path()).expect("what was written can be read")
    }

    /// The model in a temporary file, with a tokenizer whose piece `i` is ` i` and that ends texts
    /// with `eos`.
    pub fn file(&self, eos: u32) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::with_suffix(".gguf").expect("a temporary file");
        std::io::Write::write_all(&mut file, &self.bytes(eos)).expect("writable");
        file
    }

    /// The model on a device, with a cache of `capacity` positions.
    pub fn load(&self, device: &Device, kv_format: KvFormat, capacity: usize) -> Model {
        let precision = device.precision;
        let options = ModelOptions { quant: None, precision, kv_format, capacity };
        Model::load(&self.source(), device.backend.clone(), &options, &mut |_| {})
            .expect("the tiny model loads")
    }

    fn bytes(&self, eos: u32) -> Vec<u8> {
        let (d, ff, width) = (self.head_dim, 2 * self.width, self.width);
        let mut w = Writer::new(self.arch);
        let key = |suffix: &str| format!("{}.{suffix}", self.arch);
        w.u32(&key("block_count"), LAYERS as u32)
            .u32(&key("embedding_length"), width as u32)
            .u32(&key("feed_forward_length"), ff as u32)
            .u32(&key("attention.head_count"), HEADS as u32)
            .u32(&key("attention.head_count_kv"), KV_HEADS as u32)
            .u32(&key("attention.key_length"), d as u32)
            .u32(&key("attention.value_length"), d as u32)
            .u32(&key("context_length"), 2048)
            .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
            .f32(&key("rope.freq_base"), 10_000.0);
        let pieces: Vec<String> = (0..VOCAB).map(|id| format!("▁{id}")).collect();
        w.string("tokenizer.ggml.model", "llama")
            .strings("tokenizer.ggml.tokens", &pieces)
            .floats("tokenizer.ggml.scores", &[0.0; VOCAB])
            .ints("tokenizer.ggml.token_type", &[1; VOCAB])
            .u32("tokenizer.ggml.unknown_token_id", 0)
            .u32("tokenizer.ggml.eos_token_id", eos);
        let gemma = self.arch == "gemma3";
        if gemma {
            // Three windowed layers in four, of a window shorter than the tests' prompts.
            w.u32(&key("attention.sliding_window"), 24);
            w.u32(&key("attention.sliding_window_pattern"), 4);
        }
        let mut seeds = Seeds(1);
        w.tensor(
            "token_embd.weight",
            [VOCAB, width],
            self.format,
            &seeds.matrix(self.format, VOCAB, width),
        );
        let matrices = [
            ("attn_q", HEADS * d, width, self.format),
            ("attn_k", KV_HEADS * d, width, self.format),
            ("attn_v", KV_HEADS * d, width, self.v_format),
            ("attn_output", width, HEADS * d, self.format),
            ("ffn_gate", ff, width, self.format),
            ("ffn_up", ff, width, self.format),
            ("ffn_down", width, ff, self.format),
        ];
        let mut norms = vec![("attn_norm", width), ("ffn_norm", width)];
        if gemma || self.arch == "qwen3" {
            norms.extend([("attn_q_norm", d), ("attn_k_norm", d)]);
        }
        if gemma {
            norms.extend([("post_attention_norm", width), ("post_ffw_norm", width)]);
        }
        for layer in 0..LAYERS {
            for (name, n, k, format) in matrices {
                let name = format!("blk.{layer}.{name}.weight");
                w.tensor(&name, [n, k], format, &seeds.matrix(format, n, k));
            }
            for &(name, len) in &norms {
                w.tensor_f32(&format!("blk.{layer}.{name}.weight"), [len], &seeds.around(1.0, len));
            }
            if self.arch == "qwen2" {
                for (name, n, ..) in &matrices[..3] {
                    w.tensor_f32(&format!("blk.{layer}.{name}.bias"), [*n], &seeds.around(0.0, *n));
                }
            }
        }
        w.tensor_f32("output_norm.weight", [width], &seeds.around(1.0, width));
        w.to_bytes()
    }
}

/// Seeded numbers (splitmix64).
struct Seeds(u64);

impl Seeds {
    /// Uniform in -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn around(&mut self, center: f32, len: usize) -> Vec<f32> {
        (0..len).map(|_| center + 0.2 * self.next()).collect()
    }

    /// File blocks of `[n, k]` with outputs of about the size of the inputs.
    fn matrix(&mut self, format: QuantFormat, n: usize, k: usize) -> Vec<u8> {
        let scale = (3.0 / k as f32).sqrt();
        let values: Vec<f32> = (0..n * k).map(|_| scale * self.next()).collect();
        let mut bytes = Vec::new();
        format.quantize(&values, &mut bytes).expect("finite values in whole blocks");
        bytes
    }
}

/// A device, and the precision of products that it is meant for.
pub struct Device {
    /// For messages.
    pub name: String,
    /// The device.
    pub backend: SharedBackend,
    /// Precision.
    pub precision: Precision,
}

/// The CPU reference.
pub fn reference() -> Device {
    Device {
        name: "reference".into(),
        backend: Arc::new(Cpu::reference()),
        precision: Activations::F32.into(),
    }
}

/// The fast CPU path with so many threads.
pub fn fast(threads: usize, precision: Precision) -> Device {
    let backend = Cpu::fast(threads).expect("the processor is there");
    Device {
        name: format!("cpu, {threads} threads, {precision:?}"),
        backend: Arc::new(backend),
        precision,
    }
}

/// All devices of this machine; the CPU's in several precisions.
pub fn devices() -> Vec<Device> {
    let mut all = vec![reference()];
    let mixed = Device { name: "reference, mixed".into(), ..reference() };
    all.push(Device { precision: Precision::MIXED, ..mixed });
    all.extend([Activations::F32.into(), Precision::MIXED].map(|precision| fast(2, precision)));
    #[cfg(feature = "wgpu")]
    for index in 0..coppice::backend::wgpu::list().len() {
        let options = coppice::backend::wgpu::Options::default();
        let device = coppice::backend::wgpu::open(index, &options).expect("a listed adapter opens");
        all.push(Device {
            name: format!("wgpu:{index}"),
            backend: Arc::new(device),
            precision: Activations::F32.into(),
        });
    }
    all
}

/// Token ids without a pattern.
pub fn ids(count: usize, seed: u64) -> Vec<u32> {
    let mut seeds = Seeds(seed);
    (0..count).map(|_| ((seeds.next() + 1.0) * 0.5 * VOCAB as f32) as u32).collect()
}
