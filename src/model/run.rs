//! A model on a device: what it records, prepares and submits.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    StepOutput, Want,
    config::ModelConfig,
    heads::{DeviceHeads, DraftShape},
    llama::Forward,
    precision::Precision,
    round::{DeviceRule, HiddenMark},
    scratch::Scratch,
    state::{LogitRows, MAX_TREE_ROWS, StepData, StepShape, StepViews, move_words},
    step::row_stat,
    weights::Weights,
};
use crate::{
    backend::{Buffer, Download, Prepared, SharedBackend, View, Wait},
    dtype::DType,
    error::{Error, Result},
    kv::{KvPages, KvTxn, Move, PagePool, Sequence},
    ops::{KvCommit, ROW_STATS_FIELDS, VerifyRule, VerifyTree},
    quant::QuantFormat,
    record::{Recorder, Recording},
};

/// How long a step spins for its result before it parks.
const SPIN: Duration = Duration::from_millis(2);

/// A model on a device.
pub struct Model {
    pub(super) config: ModelConfig,
    pub(super) backend: SharedBackend,
    pub(super) weights: Weights,
    pub(super) kv: KvPages,
    pub(super) scratch: Scratch,
    pub(super) state: Buffer,
    pub(super) moves: Buffer,
    pub(super) quant: Option<QuantFormat>,
    pub(super) precision: Precision,
    pub(super) heads: Option<DeviceHeads>,
    /// What the plan buffer of the heads holds.
    pub(super) drawn_plan: Vec<u32>,
    /// Where heads find the hidden state that they start from.
    pub(super) hidden: Option<HiddenMark>,
    pub(super) steps: BTreeMap<StepKey, Prepared>,
    pub(super) commit: Option<Prepared>,
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
    /// Hyper-parameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device.
    pub fn backend(&self) -> &SharedBackend {
        &self.backend
    }

    /// Calls the device through `backend`, a wrapper around it or the device itself, from now on; gives what
    /// was there before.
    pub(crate) fn set_backend(&mut self, backend: SharedBackend) -> SharedBackend {
        std::mem::replace(&mut self.backend, backend)
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

    /// Prepares the step of a tree in advance, so that the first one does not wait for it: of a round
    /// that the device decides by `rule`, or of one that gives the statistics of every node.
    ///
    /// # Errors
    /// Those of the device.
    pub fn warm_up(&mut self, rows: usize, end: usize, rule: Option<DeviceRule>) -> Result<()> {
        let capacity = self.kv.shape.slots();
        let shape = StepShape::covering(rows, end.min(capacity), capacity, LogitRows::All);
        let key = StepKey { rule: rule.map(DeviceRule::op), ..shape.into() };
        self.prepared(&key).map(|_| ())
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

    pub(super) fn shape(&self, txn: &KvTxn<'_>, want: Want) -> StepShape {
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
    pub(super) fn prepared(&mut self, key: &StepKey) -> Result<&Prepared> {
        if !self.steps.contains_key(key) {
            let started = Instant::now();
            let work = self.backend.prepare(&self.record(key)?)?;
            tracing::debug!(took = ?started.elapsed(), ?key, "prepared a step");
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
    pub(super) fn run(
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
    pub(super) fn carry_out(&mut self, moves: &[Move]) -> Result<()> {
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
