//! A training run: steps, evaluations, checkpoints.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Options, Targets,
    accuracy::{Counts, HeadAccuracy, RANKS},
    batch::{Source, order},
    checkpoint::{Checkpoint, Identity},
    features::Features,
    graph::{Frozen, Graph, StepResult, Teacher},
    parameters::Layout,
    progress::{Log, Progress, unweighted},
    schedule::Schedule,
    teacher::SoftTargets,
    vocabulary::DraftVocab,
};
use crate::{
    backend::SharedBackend,
    error::{Error, Result},
    format::heads::{HeadRecord, Heads},
    ops::Weight,
};

/// Rows of the teacher's passes.
const TEACHER_ROWS: usize = 512;
/// Steps that an entry of the log, and the losses shown, are the mean of.
pub const LOG_EVERY: u64 = 10;
/// Decay rates of the optimiser's moments, and what keeps its division finite.
const BETAS: (f64, f64, f32) = (0.9, 0.98, 1e-8);

/// The model that heads are for, as far as training needs it.
pub struct Target<'a> {
    /// Where it runs.
    pub backend: SharedBackend,
    /// `[V, D]`: embeddings.
    pub embed: Weight,
    /// Gives rows of the embedding, `[ids, D]`.
    pub embed_rows: &'a dyn Fn(&[u32]) -> Result<Vec<f32>>,
    /// Gives rows of the output matrix, `[ids, D]`.
    pub output_rows: &'a dyn Fn(&[u32]) -> Result<Vec<f32>>,
    /// `[V]`: how often each token occurs in what heads should guess.
    pub counts: &'a [u64],
    /// Model and precision, by which hidden states are told apart.
    pub made_by: String,
}

/// Accuracies on held-out positions after a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Steps done.
    pub step: u64,
    /// By head.
    pub heads: Vec<HeadAccuracy>,
    /// Mean divergence from the original model in nats, in joint training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f64>,
}

/// Heads at some point of a run.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The heads; their record has accuracies, nothing about the model.
    pub heads: Heads,
    /// The evaluation of these heads.
    pub evaluation: Evaluation,
    /// Share of held-out tokens that the draft vocabulary has.
    pub coverage: f64,
}

/// What happens during a run.
pub enum Event<'a> {
    /// Soft targets are computed: rows done, of all.
    Teaching(usize, usize),
    /// Steps were done.
    Steps {
        /// Steps done.
        step: u64,
        /// Of these.
        steps: u64,
        /// Mean loss of each head over the last steps, without its weight.
        losses: &'a [f64],
        /// Mean divergence from the original model over them, in joint training.
        divergence: Option<f64>,
        /// Positions a second in this run.
        positions_per_second: f64,
        /// Until the end at this rate.
        left: Duration,
    },
    /// Heads were evaluated, and a checkpoint written.
    Evaluated(&'a Trained),
}

/// Trains heads; a run of the same options and data that `work` has a checkpoint of goes on there.
///
/// `work` also gets `log.jsonl`, a line every ten steps and one an evaluation. `initial` are heads to
/// start from.
///
/// # Errors
/// Options out of range, too little data, a checkpoint of another run (unless `restart`);
/// [`Error::Cancelled`] after a checkpoint; a loss that is not finite, naming step and batch, in
/// which case the last checkpoint stays.
pub fn train(
    target: &Target<'_>,
    features: &Features,
    options: &Options,
    (work, initial, restart): (&Path, Option<&Heads>, bool),
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Trained> {
    options.check()?;
    let mut run = Run::new(target, features, options, (work, initial), cancel, on_event)?;
    run.finish(restart, cancel, on_event)
}

struct Run<'a> {
    options: &'a Options,
    features: &'a Features,
    graph: Graph,
    vocab: DraftVocab,
    soft: Option<SoftTargets>,
    target_vocab: usize,
    embed_scale: f32,
    initial: Vec<f32>,
    identity: Identity,
    log: Log,
    checkpoint: PathBuf,
    training: Vec<u32>,
    held_out: Vec<u32>,
    coverage: f64,
}

impl<'a> Run<'a> {
    fn new(
        target: &Target<'_>,
        features: &'a Features,
        options: &'a Options,
        (work, initial): (&Path, Option<&Heads>),
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self> {
        let (training, mut held_out) = (features.positions(false), features.positions(true));
        if training.is_empty() || held_out.is_empty() {
            return Err(Error::Invalid {
                message: format!(
                    "{} positions to train on and {} held out; both are needed",
                    training.len(),
                    held_out.len()
                ),
                hint: Some("make more data, or hold another share out".into()),
            });
        }
        // Spread over all conversations, and the same ones each time.
        let spread = held_out.len().div_ceil(options.eval_positions).max(1);
        held_out = held_out.into_iter().step_by(spread).collect();
        // Heads give hidden states, so those to start from may have guessed other tokens.
        let vocab = DraftVocab::most_frequent(target.counts, options.draft_vocab);
        let held_out_tokens: Vec<u32> =
            held_out.iter().filter_map(|&row| features.token(row as usize, 1)).collect();
        let coverage = vocab.coverage(&held_out_tokens);
        let embed_scale = match initial {
            Some(heads) => heads.embed_scale,
            None => embed_scale(&(target.embed_rows)(vocab.ids())?, features.width()),
        };
        let frozen = Frozen {
            backend: target.backend.clone(),
            embed: target.embed.clone(),
            embed_scale,
            projection: (target.output_rows)(vocab.ids())?,
            width: features.width(),
        };
        let soft = match options.targets {
            Targets::Hard => None,
            Targets::Soft { top } => Some(SoftTargets::open(
                &work.join("soft.safetensors"),
                (features, vocab.ids(), top),
                || Teacher::new(&frozen, TEACHER_ROWS, top),
                cancel,
                &mut |done, all| on_event(Event::Teaching(done, all)),
            )?),
        };
        let layout = Layout::new(options, features.width());
        let initial = match initial {
            Some(heads) => layout.values_of(heads)?,
            None => layout.initial(options.seed),
        };
        let mut hash = Sha256::new();
        hash.update(bytemuck::cast_slice::<f32, u8>(&initial));
        hash.update(bytemuck::cast_slice::<u32, u8>(vocab.ids()));
        let identity = Identity {
            options: options.clone(),
            data: features.digest().into(),
            made_by: target.made_by.clone(),
            joint: None,
            initial: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        Ok(Self {
            options,
            features,
            graph: Graph::new(options, layout, &frozen)?,
            vocab,
            soft,
            target_vocab: target.counts.len(),
            embed_scale,
            initial,
            identity,
            log: Log::of(work),
            checkpoint: work.join("checkpoint.safetensors"),
            training,
            held_out,
            coverage,
        })
    }

    fn finish(
        &mut self,
        restart: bool,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Trained> {
        let found = match restart {
            true => None,
            false => Checkpoint::open(&self.checkpoint, &self.identity)?,
        };
        let zeros = vec![0.0; self.initial.len()];
        let start = found.unwrap_or_else(|| Checkpoint {
            step: 0,
            values: [self.initial.clone(), zeros.clone(), zeros],
        });
        self.graph.set_values(&start.values)?;
        self.log.keep_until(start.step)?;
        let schedule = self.schedule();
        let mut progress = Progress::new(self.options.heads, start.step, schedule.steps);
        let mut last = self.evaluate(start.step)?;
        if start.step == 0 {
            self.log.add(&json!({ "evaluation": last.evaluation }))?;
        }
        on_event(Event::Evaluated(&last));
        let per_epoch = self.steps_per_epoch();
        let mut epoch = (u64::MAX, Vec::new());
        for step in start.step + 1..=schedule.steps {
            if cancel.load(Ordering::Relaxed) {
                self.save(step - 1)?;
                return Err(Error::Cancelled);
            }
            let (number, index) = ((step - 1) / per_epoch, (step - 1) % per_epoch);
            if epoch.0 != number {
                epoch = (number, order(&self.training, self.options.seed, number));
            }
            let first = index as usize * self.options.batch;
            let rows = &epoch.1[first..epoch.1.len().min(first + self.options.batch)];
            let batch = self.source().batch(rows, false);
            let rate = schedule.rate(step);
            let result = self.graph.step(&batch, hyper(self.options, step, rate))?;
            self.check(&result, (step, number, index))?;
            let size = self.options.batch;
            let weights = (1.0 / size as f64, self.options.head_weight.into());
            progress
                .add(unweighted(&result.losses, |at| batch.exists[at], size, weights), rows.len());
            if step % LOG_EVERY == 0 || step == schedule.steps {
                let losses = progress.losses();
                self.log.add(&json!({
                    "step": step, "epoch": number + 1, "lr": rate, "loss": losses,
                    "norm": result.norm2.sqrt(),
                    "positions_per_second": progress.rate(),
                }))?;
                on_event(Event::Steps {
                    step,
                    steps: schedule.steps,
                    losses: &losses,
                    divergence: None,
                    positions_per_second: progress.rate(),
                    left: progress.left(step),
                });
            }
            if step % self.options.every as u64 == 0 || step == schedule.steps {
                last = self.evaluate(step)?;
                self.log.add(&json!({ "evaluation": last.evaluation }))?;
                self.save(step)?;
                on_event(Event::Evaluated(&last));
            }
        }
        Ok(last)
    }

    fn source(&self) -> Source<'_> {
        Source {
            options: self.options,
            features: self.features,
            vocab: &self.vocab,
            soft: self.soft.as_ref(),
        }
    }

    fn steps_per_epoch(&self) -> u64 {
        self.training.len().div_ceil(self.options.batch) as u64
    }

    fn schedule(&self) -> Schedule {
        let steps = self.steps_per_epoch() * self.options.epochs as u64;
        let warmup = (steps as f64 * f64::from(self.options.warmup)) as u64;
        Schedule { peak: self.options.lr, warmup, steps }
    }

    /// Fails if a step gave no numbers.
    fn check(&self, result: &StepResult, (step, epoch, index): (u64, u64, u64)) -> Result<()> {
        let bad = result.losses.iter().position(|loss| !loss.is_finite());
        if bad.is_none() && result.norm2.is_finite() {
            return Ok(());
        }
        let what = match bad {
            Some(at) => format!("the loss of head {} is not finite", at / self.options.batch),
            None => "the gradient is not finite".into(),
        };
        Err(Error::Invalid {
            message: format!(
                "step {step}, batch {} of epoch {}: {what}; the last checkpoint is {}",
                index + 1,
                epoch + 1,
                self.checkpoint.display()
            ),
            hint: Some("a lower --lr or a longer --warmup may help".into()),
        })
    }

    fn save(&self, step: u64) -> Result<()> {
        let values = self.graph.values()?;
        Checkpoint { step, values }.save(&self.checkpoint, &self.identity)
    }

    fn evaluate(&self, step: u64) -> Result<Trained> {
        let Options { heads, batch: size, .. } = *self.options;
        let mut counts = Counts::new(heads);
        for rows in self.held_out.chunks(size) {
            let batch = self.source().batch(rows, true);
            let best = self.graph.evaluate(&batch)?;
            for (i, &row) in rows.iter().enumerate() {
                let rank = |head: usize| {
                    let token = self.features.token(row as usize, head + 1)?;
                    let place = self.vocab.place(token);
                    let best = &best[(head * size + i) * RANKS..][..RANKS];
                    Some(best.iter().position(|&guess| guess == place && place != u32::MAX))
                };
                let ranks: Vec<_> = (0..heads).map_while(rank).collect();
                counts.add(&ranks);
            }
        }
        let evaluation = Evaluation { step, heads: counts.shares(), divergence: None };
        let accuracy = evaluation.heads.iter().map(|head| head.given.clone()).collect();
        let record = HeadRecord { accuracy, ..HeadRecord::default() };
        let [values, ..] = self.graph.values()?;
        let vocab = (self.target_vocab, self.vocab.ids());
        let heads = self.graph.layout().to_heads(&values, vocab, self.embed_scale, record);
        Ok(Trained { heads, evaluation, coverage: self.coverage })
    }
}

/// Settings of the optimiser for matrices and for biases, which do not decay.
pub fn hyper(options: &Options, step: u64, rate: f32) -> [[f32; 8]; 2] {
    let (b1, b2, eps) = BETAS;
    let correction = |b: f64| (1.0 / (1.0 - b.powf(step as f64))) as f32;
    let most = if options.max_norm > 0.0 { options.max_norm } else { f32::INFINITY };
    [options.decay, 0.0]
        .map(|decay| [rate, b1 as f32, b2 as f32, eps, decay, correction(b1), correction(b2), most])
}

/// Factor that gives embeddings elements of about size 1, as the hidden state has.
pub fn embed_scale(rows: &[f32], width: usize) -> f32 {
    let norms = rows
        .chunks_exact(width)
        .map(|row| row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt());
    let mean = norms.sum::<f64>() / (rows.len() / width).max(1) as f64;
    if mean > 0.0 { ((width as f64).sqrt() / mean) as f32 } else { 1.0 }
}
