//! Opening a model on a device.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Weak, atomic::AtomicBool},
};

use super::{DeviceSpec, open_device};
use crate::{
    backend::{AdapterKind, AdapterReport, Backend, MemoryUse, Stats},
    error::{Error, Result},
    format::{ModelSource, heads::Heads},
    kv::Sequence,
    model::{MAX_TREE_ROWS, Model, ModelOptions, Precision, StepOutput, Want, config::ModelConfig},
    ops::{Activations, KvFormat},
    quant::QuantFormat,
    spec::{
        Method, Proposer,
        policy::{Gate, VerifyCurve},
    },
    text::{ChatTemplate, Tokenizer},
};

/// Context where the user names none and the model has more.
const DEFAULT_CONTEXT: usize = 8192;

/// How to load a model.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Device.
    pub device: DeviceSpec,
    /// Threads of the CPU device; all cores if absent.
    pub threads: Option<usize>,
    /// Precision of activations; [`Precision::MIXED`] on the fast CPU path and CUDA, f32 elsewhere if
    /// absent.
    pub precision: Option<Precision>,
    /// Format in which weights stored as floats are held; as stored if absent.
    pub quant: Option<QuantFormat>,
    /// Format of cache pages.
    pub kv: KvFormat,
    /// Most tokens of context; the model's own, at most 8192, if absent.
    pub context: Option<usize>,
    /// Sequences of that length that the cache has room for; at least 1.
    pub sequences: usize,
}

/// A model on a device, with its tokenizer and one sequence.
pub struct Engine {
    pub(super) name: String,
    /// The model's file, for what is read from it later.
    pub(super) source: ModelSource,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) model: Model,
    pub(super) sequence: Sequence,
    pub(super) tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    pub(super) context: usize,
    /// How the model is held.
    pub(super) options: ModelOptions,
    /// Threads of a CPU device, 0 elsewhere.
    pub(super) threads: usize,
    /// What the heads of the model were made from, and the format in which they are held.
    pub(super) heads: Option<(Weak<Heads>, QuantFormat)>,
    pub(super) proposers: BTreeMap<Method, Box<dyn Proposer>>,
    pub(super) gates: BTreeMap<Method, Gate>,
    pub(super) curve: Option<VerifyCurve>,
    /// It was measured by this process.
    pub(super) curve_is_new: bool,
}

impl Engine {
    /// Most nodes of a verification step.
    pub const MAX_TREE_ROWS: usize = MAX_TREE_ROWS;

    /// Loads a file or folder.
    ///
    /// # Errors
    /// A file that is no model, a model that does not fit the device, a context the model cannot
    /// have, and whatever the device reports.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        let source = ModelSource::open(path)?;
        let tokenizer = tokenizer_of(&source)?;
        let template = match (source.gguf(), source.folder()) {
            (Some(gguf), _) => ChatTemplate::from_gguf(gguf, &tokenizer)?,
            (None, Some(folder)) => ChatTemplate::from_hf_dir(folder, &tokenizer)?,
            (None, None) => None,
        };
        let backend = open_device(options.device, options.threads)?;
        let config = source.config()?;
        let context = context(options, &config)?;
        let model_options = ModelOptions {
            quant: options.quant,
            precision: precision(options, &backend),
            kv_format: options.kv,
            // Room to stage a tree behind a full context.
            capacity: context.saturating_mul(options.sequences.max(1)) + MAX_TREE_ROWS,
        };
        let model = Model::load(&source, backend.clone(), &model_options, &mut |_| ())?;
        let sequence = Sequence::new(model.pool());
        let name = path
            .file_name()
            .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let threads = threads_of(&*backend, options);
        Ok(Self {
            name,
            source,
            backend,
            model,
            sequence,
            tokenizer: Arc::new(tokenizer),
            template,
            context,
            options: model_options,
            threads,
            heads: None,
            proposers: BTreeMap::new(),
            gates: BTreeMap::new(),
            curve: None,
            curve_is_new: false,
        })
    }

    /// Gives the engine somebody to draft; takes the place of an earlier one of the same method.
    pub fn set_proposer(&mut self, proposer: Box<dyn Proposer>) {
        self.proposers.insert(proposer.method(), proposer);
    }

    /// Methods that a request can name: plain, and those of the proposers there are.
    pub fn methods(&self) -> Vec<Method> {
        std::iter::once(Method::Plain).chain(self.proposers.keys().copied()).collect()
    }

    /// Only the tokenizer of a file or folder.
    pub fn load_tokenizer(path: &Path) -> Result<Tokenizer> {
        tokenizer_of(&ModelSource::open(path)?)
    }

    /// File name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device itself.
    pub(super) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The device.
    pub fn adapter(&self) -> &AdapterReport {
        self.backend.adapter()
    }

    /// Memory on the device.
    pub fn memory(&self) -> MemoryUse {
        self.backend.memory()
    }

    /// What the device was asked to do since it was opened; zero where nothing is counted.
    pub fn stats(&self) -> Stats {
        self.backend.stats()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokenizer, for whoever needs it while the engine generates.
    pub fn shared_tokenizer(&self) -> Arc<Tokenizer> {
        self.tokenizer.clone()
    }

    /// The chat template, if the model has one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Most tokens of prompt and answer together.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Rows of the output matrix.
    pub fn vocab(&self) -> usize {
        self.model.config().vocab
    }

    /// Ids that a caller passed: some, and all below the vocabulary.
    pub(super) fn check_ids(&self, ids: &[u32]) -> Result<()> {
        if ids.is_empty() {
            return Err(Error::invalid("there are no tokens"));
        }
        match ids.iter().position(|&id| id as usize >= self.vocab()) {
            Some(at) => Err(Error::invalid(format!(
                "token {} at position {at} is beyond the vocabulary of {}",
                ids[at],
                self.vocab()
            ))),
            None => Ok(()),
        }
    }

    /// Empties the cache, so that the next prompt is computed as a whole.
    ///
    /// # Errors
    /// Those of the device.
    pub fn reset(&mut self) -> Result<()> {
        self.model.truncate(&mut self.sequence, 0)
    }

    /// Cuts the cache to what it shares with `prompt`, leaving at least one token to compute; gives
    /// how many tokens that is.
    pub(super) fn reuse_prefix(&mut self, prompt: &[u32]) -> Result<usize> {
        let common = self.sequence.common_prefix(prompt);
        let kept = common.min(prompt.len() - 1);
        self.model.truncate(&mut self.sequence, kept)?;
        Ok(kept)
    }

    /// Appends tokens, in chunks that Ctrl-C can stop between.
    pub(super) fn extend(
        &mut self,
        ids: &[u32],
        want: Want,
        cancel: &AtomicBool,
    ) -> Result<StepOutput> {
        self.model.prefill(&mut self.sequence, ids, want, cancel)
    }
}

/// Context that was asked for, else the model's own within bounds.
pub(super) fn context(options: &LoadOptions, config: &ModelConfig) -> Result<usize> {
    match options.context {
        Some(context) if context == 0 || context > config.max_context => Err(Error::Invalid {
            message: format!(
                "--ctx {context}: the model was trained on 1 to {} tokens",
                config.max_context
            ),
            hint: None,
        }),
        Some(context) => Ok(context),
        None => Ok(config.max_context.min(DEFAULT_CONTEXT)),
    }
}

/// Threads of a CPU device, 0 elsewhere.
pub(super) fn threads_of(backend: &dyn Backend, options: &LoadOptions) -> usize {
    match backend.adapter().kind {
        AdapterKind::Cpu => options.threads.unwrap_or_else(rayon::current_num_threads),
        _ => 0,
    }
}

/// Precision of activations that was asked for, else the device's usual one.
pub(super) fn precision(options: &LoadOptions, backend: &Arc<dyn Backend>) -> Precision {
    let adapter = backend.adapter();
    let fast_cpu = adapter.kind == AdapterKind::Cpu && adapter.selector != "reference";
    // both multiply integers faster than floats
    let usual =
        if fast_cpu || adapter.api == "cuda" { Precision::MIXED } else { Activations::F32.into() };
    options.precision.unwrap_or(usual)
}

/// The tokenizer in or beside a model.
pub(super) fn tokenizer_of(source: &ModelSource) -> Result<Tokenizer> {
    match (source.gguf(), source.folder()) {
        (Some(gguf), _) => Tokenizer::from_gguf(gguf),
        (None, Some(folder)) => Tokenizer::from_hf_dir(folder),
        (None, None) => Err(Error::Model {
            model: source.path().display().to_string(),
            message: "there is no tokenizer in or beside it".into(),
            hint: None,
        }),
    }
}
