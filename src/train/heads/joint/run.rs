//! A run of joint training: steps of several windows, evaluations, checkpoints.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Backbone, JointOptions,
    adapters::{AdapterLayout, Adapters},
    graph::{Hyper, JointGraph},
    windows::{Window, Windows},
};
use crate::{
    error::{Error, Result},
    format::heads::{HeadRecord, Heads},
    train::heads::{
        Evaluation, Event, Options, Target, Trained,
        accuracy::{Counts, RANKS},
        batch::order,
        checkpoint::{Checkpoint, Identity},
        features::Conversation,
        graph::Frozen,
        parameters::Layout,
        progress::{Log, Progress, unweighted},
        run::{LOG_EVERY, embed_scale, hyper},
        schedule::Schedule,
        vocabulary::DraftVocab,
    },
};

/// What is trained: heads, as [`Target`] says for what, and the model itself.
pub struct Trainee<'a> {
    /// The heads' side.
    pub target: &'a Target<'a>,
    /// The model.
    pub backbone: &'a Backbone,
}

/// Trains heads and adapters together; a run of the same options and data that `work` has a checkpoint
/// of goes on there, and on the CPU ends with the same bits.
///
/// `work` also gets `log.jsonl`, a line every ten steps and one an evaluation. `initial` are heads to
/// start from.
///
/// # Errors
/// Options out of range, too little data, a checkpoint of another run (unless `restart`);
/// [`Error::Cancelled`] after a checkpoint; a loss that is not finite, naming step and batch, in
/// which case the last checkpoint stays.
pub fn train_joint(
    trainee: &Trainee<'_>,
    conversations: &[Conversation],
    (options, joint): (&Options, &JointOptions),
    (work, initial, restart): (&Path, Option<&Heads>, bool),
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(Trained, Adapters)> {
    options.check()?;
    joint.check(options)?;
    let most = trainee.backbone.positions();
    if joint.window > most {
        return Err(Error::Invalid {
            message: format!("a window of {}, but the context is {most}", joint.window),
            hint: Some("a larger --ctx or a shorter --window".into()),
        });
    }
    let mut run = Run::new(trainee, conversations, (options, joint), (work, initial))?;
    run.finish(restart, cancel, on_event)
}

struct Run<'a> {
    options: &'a Options,
    joint: &'a JointOptions,
    graph: JointGraph,
    layout: Layout,
    adapter_layout: AdapterLayout,
    vocab: DraftVocab,
    target_vocab: usize,
    embed_scale: f32,
    initial: Vec<f32>,
    identity: Identity,
    log: Log,
    checkpoint: PathBuf,
    training: Windows<'a>,
    held_out: Windows<'a>,
    coverage: f64,
}

/// Where a step is.
#[derive(Clone, Copy)]
struct Place {
    step: u64,
    epoch: u64,
    index: u64,
}

impl<'a> Run<'a> {
    fn new(
        trainee: &Trainee<'_>,
        conversations: &'a [Conversation],
        (options, joint): (&'a Options, &'a JointOptions),
        (work, initial): (&Path, Option<&Heads>),
    ) -> Result<Self> {
        let (target, backbone) = (trainee.target, trainee.backbone);
        let near = backbone.config.window.unwrap_or(0);
        let pack = |held_out| Windows::pack(conversations, held_out, (options, joint, near));
        let (training, held_out) = (pack(false), pack(true));
        if training.len() == 0 || held_out.len() == 0 {
            return Err(Error::Invalid {
                message: format!(
                    "{} windows to train on and {} held out; both are needed",
                    training.len(),
                    held_out.len()
                ),
                hint: Some("make more data, or hold another share out".into()),
            });
        }
        let vocab = DraftVocab::most_frequent(target.counts, options.draft_vocab);
        let width = backbone.config.d_model;
        let embed_scale = match initial {
            Some(heads) => heads.embed_scale,
            None => embed_scale(&(target.embed_rows)(vocab.ids())?, width),
        };
        let frozen = Frozen {
            backend: target.backend.clone(),
            embed: target.embed.clone(),
            embed_scale,
            projection: (target.output_rows)(vocab.ids())?,
            width,
        };
        let layout = Layout::new(options, width);
        let adapter_layout = AdapterLayout::new(&backbone.config, joint);
        let mut values = match initial {
            Some(heads) => layout.values_of(heads)?,
            None => layout.initial(options.seed),
        };
        values.extend(adapter_layout.initial(options.seed));
        let mut hash = Sha256::new();
        hash.update(bytemuck::cast_slice::<f32, u8>(&values));
        hash.update(bytemuck::cast_slice::<u32, u8>(vocab.ids()));
        let identity = Identity {
            options: options.clone(),
            data: digest(conversations),
            made_by: target.made_by.clone(),
            initial: hex(hash),
            joint: Some(joint.clone()),
        };
        let one = Options { batch: joint.window, ..options.clone() };
        let graph =
            JointGraph::new((&one, joint), (&layout, &adapter_layout), (backbone, &frozen))?;
        let tokens: Vec<u32> = (0..held_out.len())
            .flat_map(|index| held_out.window(index, &vocab).tokens)
            .flatten()
            .collect();
        Ok(Self {
            options,
            joint,
            graph,
            layout,
            adapter_layout,
            coverage: vocab.coverage(&tokens),
            vocab,
            target_vocab: target.counts.len(),
            embed_scale,
            initial: values,
            identity,
            log: Log::of(work),
            checkpoint: work.join("checkpoint.safetensors"),
            training,
            held_out,
        })
    }

    fn finish(
        &mut self,
        restart: bool,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Trained, Adapters)> {
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
        // The last kind is the divergence.
        let mut progress = Progress::new(self.options.heads + 1, start.step, schedule.steps);
        let mut last = self.evaluate(start.step)?;
        if start.step == 0 {
            self.log.add(&json!({ "evaluation": last.evaluation }))?;
        }
        on_event(Event::Evaluated(&last));
        let (per_step, per_epoch) = (self.windows_per_step(), self.steps_per_epoch());
        let all: Vec<u32> = (0..self.training.len() as u32).collect();
        let mut epoch = (u64::MAX, Vec::new());
        for step in start.step + 1..=schedule.steps {
            if cancel.load(Ordering::Relaxed) {
                self.save(step - 1)?;
                return Err(Error::Cancelled);
            }
            let place =
                Place { step, epoch: (step - 1) / per_epoch, index: (step - 1) % per_epoch };
            if epoch.0 != place.epoch {
                epoch = (place.epoch, order(&all, self.options.seed, place.epoch));
            }
            let first = place.index as usize * per_step;
            let windows = &epoch.1[first..epoch.1.len().min(first + per_step)];
            let rate = schedule.rate(step);
            let norm2 = self.step(windows, place, (rate, schedule.steps), &mut progress)?;
            if step % LOG_EVERY == 0 || step == schedule.steps {
                let mut losses = progress.losses();
                let divergence = losses.pop();
                self.log.add(&json!({
                    "step": step, "epoch": place.epoch + 1, "lr": rate, "loss": losses,
                    "divergence": divergence, "norm": norm2.sqrt(),
                    "positions_per_second": progress.rate(),
                }))?;
                on_event(Event::Steps {
                    step,
                    steps: schedule.steps,
                    losses: &losses,
                    divergence,
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
        let [values, ..] = self.graph.values()?;
        let adapters = values[self.layout.elements()..].to_vec();
        Ok((last, Adapters::new(self.adapter_layout.clone(), adapters)))
    }

    /// Gradients of some windows, and the optimiser's step; gives the squared norm of the gradient.
    fn step(
        &self,
        windows: &[u32],
        place: Place,
        (rate, steps): (f32, u64),
        progress: &mut Progress,
    ) -> Result<f32> {
        let mut windows: Vec<Window> =
            windows.iter().map(|&i| self.training.window(i as usize, &self.vocab)).collect();
        let counts = windows.iter().map(Window::counts);
        let (tokens, rows) = counts.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        let ramp = self.joint.ramp.at(place.step, steps);
        let head = self.joint.head_loss * ramp / tokens.max(1) as f32;
        let kl = self.joint.kl / rows.max(1) as f32;
        self.graph.begin()?;
        for window in &mut windows {
            window.weigh((head, self.options.head_weight), kl);
            let (losses, divergences) = self.graph.add(window)?;
            let bad = losses.iter().position(|loss| !loss.is_finite());
            if let Some(at) = bad {
                let what = format!("the loss of head {}", at / self.joint.window);
                return Err(self.not_finite(&what, place));
            }
            let divergence: f64 = divergences.iter().copied().map(f64::from).sum();
            if !divergence.is_finite() {
                return Err(self.not_finite("the divergence from the original model", place));
            }
            let weights = (f64::from(head), f64::from(self.options.head_weight));
            let exists = |at: usize| window.tokens[at].is_some();
            let mut kinds = unweighted(&losses, exists, self.joint.window, weights);
            let (_, rows) = window.counts();
            kinds.push((divergence / f64::from(kl).max(f64::MIN_POSITIVE), rows as u64));
            progress.add(kinds, window.ids.iter().filter(|id| **id != u32::MAX).count());
        }
        let norm2 =
            self.graph.update(self.head_hyper(place.step, rate), self.hyper(place.step, rate))?;
        if norm2.is_finite() { Ok(norm2) } else { Err(self.not_finite("the gradient", place)) }
    }

    fn head_hyper(&self, step: u64, rate: f32) -> [Hyper; 2] {
        hyper(self.options, step, rate * self.joint.head_rate)
    }

    /// Settings of the matrices A and B of adapters. B holds `alpha / rank` times what it stands for,
    /// so it moves by so much more, and decays by no more than A.
    fn hyper(&self, step: u64, rate: f32) -> [Hyper; 2] {
        let scale = self.joint.scale();
        let [a, _] = hyper(self.options, step, rate);
        let [mut b, _] = hyper(self.options, step, rate * scale);
        b[4] /= scale;
        [a, b]
    }

    fn not_finite(&self, what: &str, Place { step, epoch, index }: Place) -> Error {
        Error::Invalid {
            message: format!(
                "step {step}, batch {} of epoch {}: {what} is not finite; the last checkpoint is {}",
                index + 1,
                epoch + 1,
                self.checkpoint.display()
            ),
            hint: Some("a lower --lr or a longer --warmup may help".into()),
        }
    }

    fn windows_per_step(&self) -> usize {
        self.options.batch / self.joint.window
    }

    fn steps_per_epoch(&self) -> u64 {
        self.training.len().div_ceil(self.windows_per_step()) as u64
    }

    fn schedule(&self) -> Schedule {
        let steps = self.steps_per_epoch() * self.options.epochs as u64;
        let warmup = (steps as f64 * f64::from(self.options.warmup)) as u64;
        Schedule { peak: self.options.lr, warmup, steps }
    }

    fn save(&self, step: u64) -> Result<()> {
        let values = self.graph.values()?;
        Checkpoint { step, values }.save(&self.checkpoint, &self.identity)
    }

    fn evaluate(&self, step: u64) -> Result<Trained> {
        let (heads, size) = (self.options.heads, self.joint.window);
        let mut counts = Counts::new(heads);
        let (mut divergence, mut rows) = (0.0, 0);
        // Spread over all conversations, and the same ones each time.
        let most = self.options.eval_positions.div_ceil(size).max(1);
        let spread = self.held_out.len().div_ceil(most);
        for index in (0..self.held_out.len()).step_by(spread) {
            let window = self.held_out.window(index, &self.vocab);
            let (best, divergences) = self.graph.evaluate(&window)?;
            divergence += divergences.iter().copied().map(f64::from).sum::<f64>();
            rows += window.counts().1;
            for row in (0..size).filter(|&row| window.tokens[row].is_some()) {
                let rank = |head: usize| {
                    let place = head * size + row;
                    window.tokens[place]?;
                    let wanted = window.targets[place];
                    let best = &best[place * RANKS..][..RANKS];
                    Some(best.iter().position(|&guess| guess == wanted && wanted != u32::MAX))
                };
                let ranks: Vec<_> = (0..heads).map_while(rank).collect();
                counts.add(&ranks);
            }
        }
        let divergence = Some(divergence / rows.max(1) as f64);
        let evaluation = Evaluation { step, heads: counts.shares(), divergence };
        let accuracy = evaluation.heads.iter().map(|head| head.given.clone()).collect();
        let record = HeadRecord { accuracy, ..HeadRecord::default() };
        let [values, ..] = self.graph.values()?;
        let vocab = (self.target_vocab, self.vocab.ids());
        let heads = self.layout.to_heads(&values, vocab, self.embed_scale, record);
        Ok(Trained { heads, evaluation, coverage: self.coverage })
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 over conversations.
fn digest(conversations: &[Conversation]) -> String {
    let mut hash = Sha256::new();
    for conversation in conversations {
        hash.update((conversation.ids.len() as u64).to_le_bytes());
        hash.update(bytemuck::cast_slice::<u32, u8>(&conversation.ids));
        for place in conversation.answers.iter().flatten() {
            hash.update((*place as u64).to_le_bytes());
        }
        hash.update([u8::from(conversation.held_out)]);
    }
    hex(hash)
}
