//! A small model with seeded weights, made when it is needed: what checks of a whole device decode,
//! where no model has been fetched.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::random::Random;
use crate::{
    backend::SharedBackend,
    error::{Error, Result},
    format::{
        ModelSource,
        gguf::Writer,
        heads::{Dense, Head, HeadKind, HeadRecord, Heads, ResBlock},
    },
    model::{Model, ModelOptions},
    ops::{Activations, KvFormat},
    quant::QuantFormat,
};

/// Sizes of the model.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    width: usize,
    layers: usize,
    vocab: usize,
    format: QuantFormat,
}

const HEADS: usize = 8;
const KV_HEADS: usize = 4;

/// A file that is deleted when dropped.
#[derive(Debug)]
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// A path that no other process uses; nothing is written yet.
    pub fn new(extension: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "coppice-{}-{}.{extension}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // What is not there need not be deleted.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Synthetic {
    /// A Llama of this width, a multiple of 256, in Q8_0.
    pub fn of_width(width: usize) -> Self {
        Self { width, layers: 4, vocab: 1024, format: QuantFormat::Q8_0 }
    }

    /// In words, for reports.
    pub fn describe(&self) -> String {
        let Self { width, layers, vocab, format } = self;
        format!("synthetic Llama, {layers} layers of width {width}, vocabulary {vocab}, {format}")
    }

    /// Ids without a pattern.
    pub fn ids(&self, count: usize, seed: u64) -> Vec<u32> {
        let mut random = Random::new(seed);
        // The first ids are special.
        (0..count).map(|_| 3 + random.below(self.vocab - 3) as u32).collect()
    }

    /// Writes the model to a temporary file.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder for temporary files cannot be written.
    pub fn file(&self) -> Result<TemporaryFile> {
        let file = TemporaryFile::new("gguf");
        std::fs::write(file.path(), self.bytes()).map_err(|source| Error::Io {
            action: "cannot write",
            path: file.path().into(),
            source,
        })?;
        Ok(file)
    }

    /// The model on a device, in f32 activations.
    ///
    /// # Errors
    /// Those of the device and of [`Self::file`].
    pub fn load(&self, device: SharedBackend, kv: KvFormat, capacity: usize) -> Result<Model> {
        let file = self.file()?;
        let source = ModelSource::open(file.path())?;
        let precision = Activations::F32.into();
        let options = ModelOptions { quant: None, precision, kv_format: kv, capacity };
        Model::load(&source, device, &options, &mut |_| {})
    }

    /// Draft heads that guess badly: most of what they draft is refused.
    pub fn heads(&self) -> Heads {
        const COUNT: usize = 3;
        let mut random = Random::new(99);
        let d = self.width;
        let head = |random: &mut Random| Head {
            blocks: vec![ResBlock {
                weight: Dense { rows: d, cols: d, data: matrix(random, d, d) },
                bias: vec![0.0; d],
                residual: None,
            }],
            projection: None,
        };
        Heads {
            kind: HeadKind::Independent,
            width: d,
            vocab: self.vocab,
            draft_vocab: None,
            embed_scale: 1.0,
            heads: (0..COUNT).map(|_| head(&mut random)).collect(),
            record: HeadRecord { accuracy: vec![vec![0.4, 0.2, 0.1]; COUNT], ..Default::default() },
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let (width, d, ff) = (self.width, self.width / HEADS, 2 * self.width);
        let mut w = Writer::new("llama");
        w.u32("llama.block_count", self.layers as u32)
            .u32("llama.embedding_length", width as u32)
            .u32("llama.feed_forward_length", ff as u32)
            .u32("llama.attention.head_count", HEADS as u32)
            .u32("llama.attention.head_count_kv", KV_HEADS as u32)
            .u32("llama.context_length", 8192)
            .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
            .f32("llama.rope.freq_base", 10_000.0);
        let pieces: Vec<String> = (0..self.vocab).map(|id| format!("▁{id}")).collect();
        w.string("tokenizer.ggml.model", "llama")
            .strings("tokenizer.ggml.tokens", &pieces)
            .floats("tokenizer.ggml.scores", &vec![0.0; self.vocab])
            .ints("tokenizer.ggml.token_type", &vec![1; self.vocab])
            .u32("tokenizer.ggml.unknown_token_id", 0)
            .u32("tokenizer.ggml.eos_token_id", 1);
        let mut random = Random::new(7);
        let mut tensor = |w: &mut Writer, name: &str, n: usize, k: usize| {
            let mut bytes = Vec::new();
            let values = matrix(&mut random, n, k);
            self.format.quantize(&values, &mut bytes).expect("finite values in whole blocks");
            w.tensor(name, [n, k], self.format, &bytes);
        };
        tensor(&mut w, "token_embd.weight", self.vocab, width);
        for layer in 0..self.layers {
            for (name, n, k) in [
                ("attn_q", HEADS * d, width),
                ("attn_k", KV_HEADS * d, width),
                ("attn_v", KV_HEADS * d, width),
                ("attn_output", width, HEADS * d),
                ("ffn_gate", ff, width),
                ("ffn_up", ff, width),
                ("ffn_down", width, ff),
            ] {
                tensor(&mut w, &format!("blk.{layer}.{name}.weight"), n, k);
            }
            for name in ["attn_norm", "ffn_norm"] {
                w.tensor_f32(&format!("blk.{layer}.{name}.weight"), [width], &vec![1.0; width]);
            }
        }
        w.tensor_f32("output_norm.weight", [width], &vec![1.0; width]);
        w.to_bytes()
    }
}

/// A matrix `[n, k]` whose outputs are about as large as its inputs.
fn matrix(random: &mut Random, n: usize, k: usize) -> Vec<f32> {
    let scale = (3.0 / k as f32).sqrt();
    (0..n * k).map(|_| scale * random.uniform(-1.0, 1.0)).collect()
}
