//! Putting a model on a device.

use std::collections::BTreeMap;

use super::{
    Model,
    config::ModelConfig,
    heads::DeviceHeads,
    plan::{Plan, Planner},
    precision::Precision,
    scratch::Scratch,
    state::{self, MAX_TREE_ROWS},
    weights::{self, Weights},
};
use crate::{
    backend::{BufferDesc, SharedBackend, Usage},
    error::{Error, Result},
    format::{ModelSource, heads::Heads},
    kv::{KvPages, KvShape, PAGE_SLOTS},
    ops::KvFormat,
    quant::QuantFormat,
};

/// How a model is put on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelOptions {
    /// Format for matrices that the file holds in f32, f16 or bf16; embedding and head get at
    /// least q8_0. `None` keeps the file's.
    pub quant: Option<QuantFormat>,
    /// Precision in which products see their input rows.
    pub precision: Precision,
    /// Element format of the key/value pages.
    pub kv_format: KvFormat,
    /// Positions that all sequences together can hold; rounded up to whole pages.
    pub capacity: usize,
}

impl ModelOptions {
    fn pages(&self) -> usize {
        self.capacity.div_ceil(PAGE_SLOTS)
    }

    /// Positions of whole pages.
    pub(super) fn slots(&self) -> usize {
        self.pages() * PAGE_SLOTS
    }
}

/// Device bytes that a model will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Packed matrices.
    pub weights_bytes: u64,
    /// Key/value pages.
    pub kv_bytes: u64,
    /// Activations, logits, rotation tables.
    pub scratch_bytes: u64,
}

impl MemoryEstimate {
    /// All together.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.kv_bytes).saturating_add(self.scratch_bytes)
    }
}

impl Model {
    /// Device bytes that [`Self::load`] will take, without reading a weight.
    pub fn estimate(source: &ModelSource, options: &ModelOptions) -> Result<MemoryEstimate> {
        let config = source.config()?;
        let plan = Plan::new(source, &config, options.quant)?;
        estimate(&config, &plan, options)
    }

    /// Reads, repacks and uploads a model. `progress` gets the share of bytes done, 0 to 1.
    ///
    /// # Errors
    /// A file whose tensors do not fit its configuration ([`Error::Model`], [`Error::Format`]) and
    /// a device without room ([`Error::Backend`]).
    pub fn load(
        source: &ModelSource,
        backend: SharedBackend,
        options: &ModelOptions,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self> {
        let config = source.config()?;
        let plan = Plan::new(source, &config, options.quant)?;
        estimate(&config, &plan, options)?;
        let positions = options.slots();
        let weights = weights::load(source, &config, &plan, (&*backend, positions), progress)?;
        Self::assemble(config, backend, weights, options)
    }

    /// Everything around the weights: cache, activations, state.
    pub(super) fn assemble(
        config: ModelConfig,
        backend: SharedBackend,
        weights: Weights,
        options: &ModelOptions,
    ) -> Result<Self> {
        let shape = kv_shape(&config, options);
        let device = &*backend;
        let kv = KvPages::alloc(device, shape)?;
        let scratch = Scratch::alloc(device, &config)?;
        let buffer = |label: &str, bytes: u64| {
            device.alloc(&BufferDesc { label: label.into(), bytes, usage: Usage::State })
        };
        let state = buffer("state", state::buffer_bytes(shape.slots(), shape.page_slots))?;
        let moves = buffer("moves", 8 * MAX_TREE_ROWS as u64)?;
        let (quant, precision) = (options.quant, options.precision);
        Ok(Self {
            config,
            backend,
            weights,
            kv,
            scratch,
            state,
            moves,
            quant,
            precision,
            heads: None,
            drawn_plan: Vec::new(),
            hidden: None,
            steps: BTreeMap::new(),
            commit: None,
        })
    }

    /// Gives the model heads, in place of those it has; their matrices are held in `format`. `source`
    /// is what the model was loaded from.
    ///
    /// # Errors
    /// Heads of another width or vocabulary, or whose matrices do not fit each other
    /// ([`Error::Invalid`], naming the head), and a device without room.
    pub fn load_heads(
        &mut self,
        source: &ModelSource,
        heads: &Heads,
        format: QuantFormat,
    ) -> Result<()> {
        let plan = Plan::new(source, &self.config, self.quant)?;
        let planner = Planner { source, quant: self.quant };
        let device = (&*self.backend, &self.weights.head);
        let loaded = DeviceHeads::load(heads, &self.config, (planner, &plan), device, format)?;
        // Recordings of drafting name the buffers of the heads that were there.
        self.steps.retain(|key, _| key.draft.is_none());
        self.drawn_plan.clear();
        self.heads = Some(loaded);
        Ok(())
    }
}

fn kv_shape(config: &ModelConfig, options: &ModelOptions) -> KvShape {
    KvShape {
        layers: config.n_layers,
        kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
        format: options.kv_format,
        page_slots: PAGE_SLOTS,
        pages: options.pages(),
    }
}

pub(super) fn estimate(
    config: &ModelConfig,
    plan: &Plan,
    options: &ModelOptions,
) -> Result<MemoryEstimate> {
    let shape = kv_shape(config, options);
    let kv_bytes = shape.bytes().filter(|_| shape.pages > 0 && options.capacity <= MAX_CAPACITY);
    let kv_bytes = kv_bytes.ok_or_else(|| Error::Invalid {
        message: format!("a cache of {} positions, wanted 1 to {MAX_CAPACITY}", options.capacity),
        hint: Some("choose another --ctx".into()),
    })?;
    let tables = 1 + u64::from(config.rope_local.is_some());
    let rope = tables * (4 * shape.slots() * config.rope.dim) as u64;
    let scratch_bytes = Scratch::bytes(config) + rope;
    Ok(MemoryEstimate { weights_bytes: plan.bytes(), kv_bytes, scratch_bytes })
}

/// Most positions of a cache: positions and slots stay far within u32.
const MAX_CAPACITY: usize = super::config::limits::CONTEXT;
