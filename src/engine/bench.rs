//! Timings of the three things that decide speed: prompt, decode, verification.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use super::{
    Engine, LoadOptions,
    load::{self, threads_of},
    open_device,
};
use crate::{
    backend::{AdapterKind, AdapterReport, Backend, Clocked, MemoryUse, Peaks, Spent, Stats},
    error::{Error, Result},
    kv::Sequence,
    model::{MAX_TREE_ROWS, Model, ModelOptions, Published, RowStat, Want, config::ModelConfig},
    quant::QuantFormat,
};

/// A model on a device with one sequence: all that timings need, which is no tokenizer.
pub struct TimedModel {
    name: String,
    backend: Arc<dyn Backend>,
    model: Model,
    sequence: Sequence,
    threads: usize,
}

/// Where the time of a round goes that is not the device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTimes {
    /// A round from end to end.
    pub round: Duration,
    /// The share of it in which the host works: everything but waiting for the device. Where the
    /// processor is the device, everything outside of its kernels.
    pub host: Duration,
}

impl From<Engine> for TimedModel {
    fn from(engine: Engine) -> Self {
        let Engine { name, backend, model, sequence, threads, .. } = engine;
        Self { name, backend, model, sequence, threads }
    }
}

impl TimedModel {
    /// A model of random weights in the shape of a published one, all its matrices in `options.quant`, or
    /// Q4_K if there is none.
    ///
    /// # Errors
    /// A format that cannot hold the shape, a context beyond the model's, a device without the memory (with
    /// what is needed and what is free), and whatever the device reports.
    pub fn synthetic(shape: Published, options: &LoadOptions) -> Result<Self> {
        let format = options.quant.unwrap_or(QuantFormat::Q4_K);
        let config = shape.config();
        let context = load::context(options, &config)?;
        let backend = open_device(options.device, options.threads)?;
        let model_options = ModelOptions {
            quant: None,
            precision: load::precision(options, &backend),
            kv_format: options.kv,
            capacity: context.saturating_mul(options.sequences.max(1)) + MAX_TREE_ROWS,
        };
        let model = Model::synthetic(config, format, 1, backend.clone(), &model_options)?;
        let sequence = Sequence::new(model.pool());
        let threads = threads_of(&*backend, options);
        Ok(Self { name: format!("synthetic {shape} {format}"), backend, model, sequence, threads })
    }

    /// What the model is called.
    pub fn name(&self) -> &str {
        &self.name
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

    /// Threads of a CPU device, 0 elsewhere.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Measures what the device can do at most.
    ///
    /// # Errors
    /// Those of the device.
    pub fn peaks(&self) -> Result<Peaks> {
        Ok(self.backend.peaks()?)
    }

    /// Hyper-parameters.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// Bytes of weights that a decode step reads: all matrices, but of an embedding that is not the output
    /// matrix too, one row.
    pub fn step_bytes(&self) -> u64 {
        let weights = self.model.weights();
        let embed = &weights.embed.layout;
        let row = (embed.bytes / embed.n.max(1)) as u64;
        let table = if self.config().tie_embeddings { 0 } else { embed.bytes as u64 };
        weights.bytes - table + row
    }

    fn reset(&mut self) -> Result<()> {
        self.model.truncate(&mut self.sequence, 0)
    }

    fn extend(&mut self, ids: &[u32]) -> Result<RowStat> {
        let never = AtomicBool::new(false);
        let output = self.model.prefill(&mut self.sequence, ids, Want::LastStats, &never)?;
        output.stats.last().copied().ok_or_else(|| Error::invalid("a step gave no row"))
    }

    /// Time to compute a prompt of `tokens` from an empty cache, up to its last row's statistics.
    pub fn time_prompt(&mut self, tokens: usize) -> Result<Duration> {
        let ids = filler(self.config().vocab, tokens);
        self.reset()?;
        let started = Instant::now();
        self.extend(&ids)?;
        Ok(started.elapsed())
    }

    /// Time to decode `tokens` greedily behind a context of `depth`.
    pub fn time_decode(&mut self, depth: usize, tokens: usize) -> Result<Duration> {
        let ids = filler(self.config().vocab, depth.max(1));
        self.reset()?;
        let mut row = self.extend(&ids)?;
        let started = Instant::now();
        for _ in 0..tokens {
            row = self.extend(&[row.argmax])?;
        }
        Ok(started.elapsed())
    }

    /// Times of `repeat` verification steps of `rows` sibling nodes behind a context of `depth`,
    /// with logits and statistics of every row; the nodes are rolled back. One step before them
    /// warms up.
    pub fn time_verify(
        &mut self,
        depth: usize,
        rows: usize,
        repeat: usize,
    ) -> Result<Vec<Duration>> {
        self.start(depth)?;
        let mut times = Vec::with_capacity(repeat);
        for i in 0..=repeat {
            let started = Instant::now();
            self.verify(rows)?;
            if i > 0 {
                times.push(started.elapsed());
            }
        }
        Ok(times)
    }

    /// Median round, and median of the host's share of it, over `repeat` verification steps of `rows`
    /// nodes behind a context of `depth`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn time_round(&mut self, depth: usize, rows: usize, repeat: usize) -> Result<RoundTimes> {
        let clocked = Clocked::new(self.backend.clone());
        let own = self.model.set_backend(clocked.clone());
        let measured = self.rounds(&clocked, depth, rows, repeat);
        self.model.set_backend(own);
        let mut times = measured?;
        let mut median = |pick: fn(&RoundTimes) -> Duration| {
            times.sort_by_key(pick);
            times[times.len() / 2]
        };
        Ok(RoundTimes { round: median(|t| t.round).round, host: median(|t| t.host).host })
    }

    fn rounds(
        &mut self,
        clocked: &Clocked,
        depth: usize,
        rows: usize,
        repeat: usize,
    ) -> Result<Vec<RoundTimes>> {
        let on_host = self.adapter().kind == AdapterKind::Cpu;
        self.start(depth)?;
        self.verify(rows)?;
        let mut times = Vec::with_capacity(repeat.max(1));
        for _ in 0..repeat.max(1) {
            let (before, started) = (clocked.spent(), Instant::now());
            self.verify(rows)?;
            let (round, after) = (started.elapsed(), clocked.spent());
            let Spent { submitting, waiting } = Spent {
                submitting: after.submitting - before.submitting,
                waiting: after.waiting - before.waiting,
            };
            let device = if on_host { submitting + waiting } else { waiting };
            times.push(RoundTimes { round, host: round.saturating_sub(device) });
        }
        Ok(times)
    }

    /// An empty cache with a context of `depth`.
    fn start(&mut self, depth: usize) -> Result<()> {
        let ids = filler(self.config().vocab, depth.max(1));
        self.reset()?;
        self.extend(&ids).map(|_| ())
    }

    /// One verification step of siblings, rolled back.
    fn verify(&mut self, rows: usize) -> Result<()> {
        let nodes = filler(self.config().vocab, rows);
        let parents = vec![None; rows];
        drop(self.model.tree_step(&mut self.sequence, &nodes, &parents, Want::AllStats)?);
        Ok(())
    }
}

/// Ids spread over the vocabulary, the same each time.
pub(super) fn filler(vocab: usize, n: usize) -> Vec<u32> {
    (0..n as u64).map(|i| ((i * 7919 + 31) % vocab as u64) as u32).collect()
}
