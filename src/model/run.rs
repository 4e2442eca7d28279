//! A model on a device, and its steps.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{
    config::ModelConfig,
    heads::{DeviceHeads, DraftShape},
    llama::Forward,
    plan::{Plan, Planner},
    precision::Precision,
    round::{Candidates, Drafted, HiddenMark, Staged, drafted},
    scratch::Scratch,
    state::{
        self, LogitRows, MAX_CHUNK_ROWS, MAX_TREE_ROWS, StepData, StepShape, StepViews, move_words,
    },
    weights::{self, Weights},
};
use crate::{
    backend::{Buffer, BufferDesc, Download, Prepared, SharedBackend, Usage, View, Wait},
    dtype::DType,
    error::{Error, Result},
    format::{ModelSource, heads::Heads},
    kv::{KvPages, KvShape, KvTxn, Move, PAGE_SLOTS, PagePool, Sequence},
    ops::{KvCommit, KvFormat, ROW_STATS_FIELDS, VerifyRule, VerifyTree},
    quant::QuantFormat,
    record::{Recorder, Recording},
};

/// How long a step spins for its result before it parks.
const SPIN: Duration = Duration::from_millis(2);

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

/// What a step reads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing: only the cache is filled.
    Nothing,
    /// Statistics of the last row.
    LastStats,
    /// Statistics and logits of the last row.
    LastLogits,
    /// Statistics of every row.
    AllStats,
    /// Statistics and logits of every row.
    AllLogits,
    /// The hidden state of every row after the final norm, as the output matrix reads it; the
    /// output matrix itself does not run.
    AllHidden,
}

impl Want {
    pub(super) fn rows(self) -> LogitRows {
        match self {
            Self::Nothing => LogitRows::None,
            Self::LastStats | Self::LastLogits => LogitRows::One,
            Self::AllStats | Self::AllLogits => LogitRows::All,
            Self::AllHidden => LogitRows::Hidden,
        }
    }

    fn logits(self) -> bool {
        matches!(self, Self::LastLogits | Self::AllLogits)
    }
}

/// Statistics of a row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowStat {
    /// Largest logit.
    pub max: f32,
    /// Its id, the lowest on ties.
    pub argmax: u32,
    /// `ln sum exp(l)`.
    pub logsumexp: f32,
    /// Entropy of the softmax in nats.
    pub entropy: f32,
}

/// What a step gave, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutput {
    /// One for each row wanted.
    pub stats: Vec<RowStat>,
    /// `V` for each row wanted, if logits were.
    pub logits: Option<Vec<f32>>,
    /// `D` for each row, if hidden states were wanted.
    pub hidden: Option<Vec<f32>>,
}

/// A model on a device.
pub struct Model {
    config: ModelConfig,
    pub(super) backend: SharedBackend,
    weights: Weights,
    pub(super) kv: KvPages,
    pub(super) scratch: Scratch,
    state: Buffer,
    moves: Buffer,
    quant: Option<QuantFormat>,
    precision: Precision,
    pub(super) heads: Option<DeviceHeads>,
    /// What the plan buffer of the heads holds.
    pub(super) drawn_plan: Vec<u32>,
    /// Where heads find the hidden state that they start from.
    pub(super) hidden: Option<HiddenMark>,
    steps: BTreeMap<StepKey, Prepared>,
    commit: Option<Prepared>,
}

/// What a recording is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StepKey {
    pub shape: StepShape,
    /// Drafting before the forward pass.
    pub draft: Option<DraftShape>,
    /// Acceptance and commit after it.
    pub rule: Option<VerifyRule>,
}

impl From<StepShape> for StepKey {
    fn from(shape: StepShape) -> Self {
        Self { shape, draft: None, rule: None }
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
        let shape = kv_shape(&config, options);
        let device = &*backend;
        let weights = weights::load(source, &config, &plan, (device, shape.slots()), progress)?;
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

    /// Hyper-parameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device.
    pub fn backend(&self) -> &SharedBackend {
        &self.backend
    }

    /// Weights on the device.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Device bytes of the weights.
    pub fn weights_bytes(&self) -> u64 {
        self.weights.bytes + self.heads.as_ref().map_or(0, |heads| heads.bytes)
    }

    /// Pages of the cache; [`Sequence::new`] and [`Sequence::with_prefix`] start a sequence on them.
    pub fn pool(&self) -> &PagePool {
        &self.kv.pool
    }

    /// The recording for a shape, as it will be prepared.
    pub fn recording(&self, shape: StepShape) -> Result<Recording> {
        self.record(&shape.into())
    }

    fn record(&self, key: &StepKey) -> Result<Recording> {
        let (shape, forward) = (key.shape, self.forward());
        let step = self.step_views(shape)?;
        let mut rec = Recorder::new();
        if let (Some(draft), Some(heads)) = (&key.draft, &self.heads) {
            heads.record(&mut rec, &forward, &step, draft)?;
        }
        forward.record(&mut rec, shape, &step)?;
        if let Some(rule) = key.rule {
            let (m, outputs) = (shape.rows, forward.outputs(shape)?);
            let round = &self.scratch.round;
            let (src, dst) = (round.src.rows(0, m)?, round.dst.rows(0, m)?);
            rec.label("accept");
            rec.push(VerifyTree {
                rule,
                logits: outputs.logits,
                stats: outputs.stats,
                tokens: step.ids,
                parents: step.parents,
                positions: step.positions,
                slots: step.slots,
                nodes: step.nodes,
                params: step.rule,
                out: round.out.clone(),
                report: round.report.rows(0, m)?,
                src: src.clone(),
                dst: dst.clone(),
            })?;
            // The root is where it belongs.
            let layers = if m > 1 { &self.kv.layers[..] } else { &[] };
            for cache in layers {
                rec.push(KvCommit { src: src.clone(), dst: dst.clone(), cache: cache.clone() })?;
            }
        }
        Ok(rec.finish())
    }

    pub(super) fn step_views(&self, shape: StepShape) -> Result<StepViews> {
        Ok(StepViews::new(&self.state, shape, self.kv.shape.page_slots)?)
    }

    /// Appends `ids` to a sequence in chunks of at most [`MAX_CHUNK_ROWS`] rows, or
    /// [`MAX_TREE_ROWS`] if every row's logits or statistics are wanted, and commits them.
    ///
    /// # Errors
    /// Empty `ids` or ids beyond the vocabulary ([`Error::Invalid`]); a full cache
    /// ([`Error::Kv`]); [`Error::Cancelled`] if `cancel` is raised between chunks. Chunks done before
    /// stay committed.
    pub fn prefill(
        &mut self,
        sequence: &mut Sequence,
        ids: &[u32],
        want: Want,
        cancel: &AtomicBool,
    ) -> Result<StepOutput> {
        self.check(sequence, ids)?;
        let all = matches!(want.rows(), LogitRows::All | LogitRows::Hidden);
        let size = if want.rows() == LogitRows::All { MAX_TREE_ROWS } else { MAX_CHUNK_ROWS };
        let mut output = StepOutput::default();
        let mut left = ids;
        while !left.is_empty() {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let (chunk, rest) = left.split_at(size.min(left.len()));
            let want = if all || rest.is_empty() { want } else { Want::Nothing };
            let txn = KvTxn::stage(sequence, chunk)?;
            let shape = self.shape(&txn, want);
            let data = StepData::chunk(shape, &txn, self.kv.shape.page_slots);
            let step = self.run(&shape.into(), &data, (chunk.len(), want), &[])?.0;
            txn.commit_all();
            let row = match want.rows() {
                LogitRows::One => Some(0),
                LogitRows::All => Some(chunk.len() - 1),
                LogitRows::None | LogitRows::Hidden => None,
            };
            self.mark_hidden(sequence, row);
            output.stats.extend(step.stats);
            if let Some(logits) = step.logits {
                output.logits.get_or_insert_default().extend(logits);
            }
            if let Some(hidden) = step.hidden {
                output.hidden.get_or_insert_default().extend(hidden);
            }
            left = rest;
        }
        Ok(output)
    }

    /// Appends one token: the tree of one node, committed.
    pub fn decode(&mut self, sequence: &mut Sequence, id: u32, want: Want) -> Result<StepOutput> {
        let step = self.tree_step(sequence, &[id], &[None], want)?;
        let output = step.output.clone();
        step.commit(&[0])?;
        Ok(output)
    }

    /// Runs a tree of candidates behind a sequence: node `i` holds `ids[i]` and follows node
    /// `parents[i]`, which comes before it, or the sequence itself. Nothing is committed until
    /// [`TreeStep::commit`]. *Last* in `want` is the last node.
    ///
    /// # Errors
    /// More than [`MAX_TREE_ROWS`] nodes, a bad parent or id ([`Error::Invalid`]); a full cache
    /// ([`Error::Kv`]).
    pub fn tree_step<'a>(
        &'a mut self,
        sequence: &'a mut Sequence,
        ids: &[u32],
        parents: &[Option<usize>],
        want: Want,
    ) -> Result<TreeStep<'a>> {
        let staged = Staged::known(ids, parents);
        self.check_staged(sequence, &staged)?;
        self.staged_step(sequence, &staged, want)
    }

    /// Like [`Self::tree_step`], for candidates that heads may fill in.
    ///
    /// # Errors
    /// As [`Self::tree_step`], and heads that cannot draft ([`Self::can_draft`]).
    pub fn candidate_step<'a>(
        &'a mut self,
        sequence: &'a mut Sequence,
        candidates: Candidates<'_>,
        want: Want,
    ) -> Result<TreeStep<'a>> {
        let staged = self.stage(sequence, candidates)?;
        self.staged_step(sequence, &staged, want)
    }

    fn staged_step<'a>(
        &'a mut self,
        sequence: &'a mut Sequence,
        staged: &Staged,
        want: Want,
    ) -> Result<TreeStep<'a>> {
        let uid = sequence.uid();
        let mut txn = KvTxn::stage(sequence, &staged.ids)?;
        let (key, data) = self.round_data(uid, &txn, staged, want.rows(), None)?;
        let extra = self.draft_reads(key.shape, staged)?;
        let (output, download) = self.run(&key, &data, (staged.ids.len(), want), &extra)?;
        let first = download.ranges.len() - extra.len();
        let drafted = drafted(staged, &download, first);
        txn.set_ids(drafted.tree.tokens());
        let hidden = want.rows();
        Ok(TreeStep { output, drafted, model: self, txn, hidden, uid })
    }

    /// Appends one token to each of several sequences, in one step, and commits it: `ids[i]` to
    /// `sequences[i]`. Row `i` of what is wanted has the bits that [`Self::decode`] gives; *last* in
    /// `want` is the last sequence.
    ///
    /// # Errors
    /// No sequences or more than [`MAX_TREE_ROWS`], not as many ids, a bad id ([`Error::Invalid`]);
    /// a full cache ([`Error::Kv`]), which leaves all sequences as they were.
    pub fn batch_decode(
        &mut self,
        sequences: &mut [&mut Sequence],
        ids: &[u32],
        want: Want,
    ) -> Result<StepOutput> {
        if sequences.len() > MAX_TREE_ROWS || sequences.len() != ids.len() {
            return Err(Error::invalid(format!(
                "a batch of {} sequences with {} tokens, wanted one each for at most \
                 {MAX_TREE_ROWS} sequences",
                sequences.len(),
                ids.len()
            )));
        }
        for sequence in sequences.iter() {
            self.check(sequence, ids)?;
        }
        let mut txns = Vec::with_capacity(ids.len());
        for (sequence, id) in sequences.iter_mut().zip(ids) {
            txns.push(KvTxn::stage(sequence, std::slice::from_ref(id))?);
        }
        let end = txns.iter().map(|txn| txn.prefix() + 1).max();
        let end = end.ok_or_else(|| Error::invalid("a step needs at least one token"))?;
        let shape = StepShape::covering(ids.len(), end, self.kv.shape.slots(), want.rows());
        let shape = shape.batched();
        let data = StepData::batch(shape, &txns, self.kv.shape.page_slots);
        let (output, _) = self.run(&shape.into(), &data, (ids.len(), want), &[])?;
        txns.into_iter().for_each(KvTxn::commit_all);
        Ok(output)
    }

    /// Keeps the first `len` positions of a sequence.
    pub fn truncate(&mut self, sequence: &mut Sequence, len: usize) -> Result<()> {
        if len < sequence.len() {
            self.hidden = None;
        }
        let moves = sequence.truncate(len)?;
        self.carry_out(&moves)
    }

    /// A second sequence with the first `len` positions, sharing whole pages.
    pub fn fork(&mut self, sequence: &Sequence, len: usize) -> Result<Sequence> {
        let forked = sequence.fork(len)?;
        self.carry_out(&forked.moves)?;
        Ok(forked.sequence)
    }

    /// Prepares the steps of a plain generation in advance, so that the first token does not wait
    /// for it.
    pub fn warm_up(&mut self, rows: usize, end: usize) -> Result<()> {
        let capacity = self.kv.shape.slots();
        let shape = StepShape::covering(rows, end.min(capacity), capacity, LogitRows::One);
        self.prepared(&shape.into()).map(|_| ())
    }

    fn forward(&self) -> Forward<'_> {
        Forward {
            config: &self.config,
            weights: &self.weights,
            kv: &self.kv,
            scratch: &self.scratch,
            precision: self.precision,
        }
    }

    fn shape(&self, txn: &KvTxn<'_>, want: Want) -> StepShape {
        let (rows, end) = (txn.ids().len(), txn.prefix() + txn.ids().len());
        StepShape::covering(rows, end, self.kv.shape.slots(), want.rows())
    }

    pub(super) fn check(&self, sequence: &Sequence, ids: &[u32]) -> Result<()> {
        if !sequence.is_of(&self.kv.pool) {
            return Err(Error::invalid("the sequence belongs to another model's cache"));
        }
        if ids.is_empty() {
            return Err(Error::invalid("a step needs at least one token"));
        }
        match ids.iter().find(|&&id| id as usize >= self.config.vocab) {
            Some(id) => Err(Error::invalid(format!(
                "token id {id} is not below the vocabulary of {}",
                self.config.vocab
            ))),
            None => Ok(()),
        }
    }

    /// The prepared recording of a key.
    fn prepared(&mut self, key: &StepKey) -> Result<&Prepared> {
        if !self.steps.contains_key(key) {
            let work = self.backend.prepare(&self.record(key)?)?;
            self.steps.insert(key.clone(), work);
        }
        Ok(&self.steps[key])
    }

    /// Writes the state, replays the recording, reads back views.
    pub(super) fn submit(
        &mut self,
        key: &StepKey,
        data: &StepData,
        reads: &[View],
    ) -> Result<Download> {
        // Whatever runs overwrites the hidden states, and says itself which it leaves.
        self.hidden = None;
        let state = self.state.view(0, DType::U32, [data.words().len()])?;
        let backend = self.backend.clone();
        backend.write(&state, bytemuck::cast_slice(data.words()))?;
        let ticket = backend.submit(self.prepared(key)?, reads)?;
        Ok(backend.finish(ticket, Wait::Spin(SPIN))?)
    }

    /// Runs a step and takes what is wanted of `rows` rows; `extra` views are the last ones of the
    /// download.
    fn run(
        &mut self,
        key: &StepKey,
        data: &StepData,
        (rows, want): (usize, Want),
        extra: &[View],
    ) -> Result<(StepOutput, Download)> {
        let shape = key.shape;
        let count = rows.min(shape.logits);
        let mut reads = Vec::new();
        if count > 0 {
            reads.push(self.scratch.stats.rows(0, count)?);
        }
        if want.logits() {
            reads.push(self.scratch.logits.rows(0, count)?);
        }
        if shape.hidden {
            reads.push(self.forward().hidden(shape)?.rows(0, rows)?);
        }
        reads.extend_from_slice(extra);
        let download = self.submit(key, data, &reads)?;
        let stats = match count {
            0 => Vec::new(),
            _ => download.to_vec::<[u32; ROW_STATS_FIELDS]>(0).into_iter().map(row_stat).collect(),
        };
        let logits = want.logits().then(|| download.to_vec::<f32>(1));
        let hidden = (want == Want::AllHidden).then(|| download.to_vec::<f32>(0));
        Ok((StepOutput { stats, logits, hidden }, download))
    }

    /// Moves rows of the cache in every layer.
    fn carry_out(&mut self, moves: &[Move]) -> Result<()> {
        if moves.is_empty() {
            return Ok(());
        }
        let half = (4 * MAX_TREE_ROWS) as u64;
        if self.commit.is_none() {
            let mut rec = Recorder::new();
            rec.label("commit");
            for cache in &self.kv.layers {
                rec.push(KvCommit {
                    src: self.moves.view(0, DType::U32, [MAX_TREE_ROWS])?,
                    dst: self.moves.view(half, DType::U32, [MAX_TREE_ROWS])?,
                    cache: cache.clone(),
                })?;
            }
            self.commit = Some(self.backend.prepare(&rec.finish())?);
        }
        let work = self.commit.as_ref().expect("prepared above");
        let view = self.moves.view(0, DType::U32, [2 * MAX_TREE_ROWS])?;
        for moves in moves.chunks(MAX_TREE_ROWS) {
            self.backend.write(&view, bytemuck::cast_slice(&move_words(moves)))?;
            let ticket = self.backend.submit(work, &[])?;
            self.backend.finish(ticket, Wait::Spin(SPIN))?;
        }
        Ok(())
    }
}

/// A tree that has run and is not yet committed. Dropping it rolls back.
#[must_use = "dropping a tree step rolls it back"]
pub struct TreeStep<'a> {
    /// Results of the nodes wanted.
    pub output: StepOutput,
    /// The nodes.
    pub drafted: Drafted,
    model: &'a mut Model,
    txn: KvTxn<'a>,
    hidden: LogitRows,
    uid: u64,
}

impl TreeStep<'_> {
    /// Accepts the nodes of a path from the root, in order of depth; their keys and values become
    /// the sequence's next positions.
    pub fn commit(self, path: &[usize]) -> Result<()> {
        let (len, last) = (self.txn.prefix() + path.len(), self.txn.ids().len() - 1);
        let moves = self.txn.commit(path)?;
        self.model.carry_out(&moves)?;
        self.model.hidden = match (self.hidden, path.last()) {
            (LogitRows::All, Some(&row)) => HiddenMark::new(self.uid, len, row),
            (LogitRows::One, Some(&row)) if row == last => HiddenMark::new(self.uid, len, 0),
            _ => None,
        };
        Ok(())
    }
}

pub(super) fn row_stat([max, argmax, logsumexp, entropy]: [u32; ROW_STATS_FIELDS]) -> RowStat {
    RowStat {
        max: f32::from_bits(max),
        argmax,
        logsumexp: f32::from_bits(logsumexp),
        entropy: f32::from_bits(entropy),
    }
}

fn kv_shape(config: &ModelConfig, options: &ModelOptions) -> KvShape {
    KvShape {
        layers: config.n_layers,
        kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
        format: options.kv_format,
        page_slots: PAGE_SLOTS,
        pages: options.capacity.div_ceil(PAGE_SLOTS),
    }
}

fn estimate(config: &ModelConfig, plan: &Plan, options: &ModelOptions) -> Result<MemoryEstimate> {
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
