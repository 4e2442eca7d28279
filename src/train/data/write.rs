//! The loop: many conversations in one batch, each replaced as soon as it is over.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::{
    Frame, Job, SetWriter, Settings,
    conversation::{Conversation, Next, Rules},
};
use crate::{
    engine::{Batch, Engine},
    error::{Error, Result},
};

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Conversations in the set, of those asked for.
    pub done: usize,
    /// Conversations asked for.
    pub jobs: usize,
    /// Conversations that came to nothing in this run.
    pub skipped: usize,
    /// Tokens of answers in the set.
    pub answer_tokens: usize,
    /// Tokens of answers that this run added.
    pub added_tokens: usize,
    /// Tokens the model wrote in this run, users' turns and unfinished ones included.
    pub written_tokens: usize,
    /// Conversations that run.
    pub running: usize,
    /// Since the run began.
    pub elapsed: Duration,
}

impl Progress {
    /// Tokens a second that the model wrote in this run.
    pub fn tokens_per_second(&self) -> f64 {
        self.written_tokens as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Time left at this rate, to a number of answer tokens or to the last conversation.
    pub fn left(&self, tokens: Option<usize>) -> Option<Duration> {
        // Conversations differ little in length on average.
        let each = self.answer_tokens as f64 / self.done.max(1) as f64;
        let all = each * self.jobs as f64;
        let missing =
            tokens.map_or(all, |tokens| all.min(tokens as f64)) - self.answer_tokens as f64;
        let rate = self.tokens_per_second();
        (rate > 0.0).then(|| Duration::from_secs_f64((missing.max(0.0) / rate).min(1e9)))
    }
}

/// Makes the conversations of `jobs` that are not in the set yet, `width` at once, until all are
/// there or the set has `tokens` tokens of answers. The engine needs a cache for `width` sequences.
/// `on_progress` is called after every step.
///
/// # Errors
/// [`Error::Cancelled`] once `cancel` is raised; conversations that were not over are not kept and
/// will be made again. A width of 0 or beyond [`Batch::MAX`], settings out of range, and whatever
/// device and disk report.
pub fn write(
    engine: &mut Engine,
    (jobs, width): (Vec<Job>, usize),
    settings: &Settings,
    (set, tokens): (&mut SetWriter, Option<usize>),
    cancel: &AtomicBool,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Progress> {
    if !(1..=Batch::MAX).contains(&width) {
        let most = Batch::MAX;
        return Err(Error::invalid(format!("{width} conversations at once, wanted 1 to {most}")));
    }
    let frames = frames(engine, &jobs, settings.raw)?;
    let started = Instant::now();
    let mut progress = Progress { jobs: jobs.len(), ..Progress::default() };
    let mut waiting: VecDeque<Job> = jobs.into_iter().filter(|job| !set.has(&job.key)).collect();
    progress.done = progress.jobs - waiting.len();
    let before = set.answer_tokens();
    let mut running: BTreeMap<usize, Conversation> = BTreeMap::new();
    let mut batch = engine.batch();
    let enough = |set: &SetWriter| tokens.is_some_and(|tokens| set.answer_tokens() >= tokens);
    loop {
        while running.len() < width && !enough(set) {
            let Some(job) = waiting.pop_front() else { break };
            let slot = (0..).find(|slot| !running.contains_key(slot)).unwrap_or_default();
            let frame = frames[&job.system].clone();
            let rules = rules(settings, &batch);
            let (conversation, next) = Conversation::start(slot, job, frame, &rules)?;
            running.insert(slot, conversation);
            follow(next, slot, &mut batch, &mut running, (set, &mut progress), cancel)?;
        }
        if running.is_empty() || enough(set) {
            break;
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        progress.written_tokens += running.len();
        for finished in batch.step()? {
            let slot = finished.key;
            let conversation = running.get_mut(&slot).expect("a finished turn is of a running one");
            let next = conversation.go_on(finished, &rules(settings, &batch))?;
            follow(next, slot, &mut batch, &mut running, (set, &mut progress), cancel)?;
        }
        progress.running = running.len();
        progress.answer_tokens = set.answer_tokens();
        progress.added_tokens = set.answer_tokens() - before;
        progress.elapsed = started.elapsed();
        on_progress(&progress);
    }
    progress.running = 0;
    progress.answer_tokens = set.answer_tokens();
    progress.added_tokens = set.answer_tokens() - before;
    progress.elapsed = started.elapsed();
    Ok(progress)
}

fn rules<'a>(settings: &'a Settings, batch: &'a Batch<'_>) -> Rules<'a> {
    Rules { settings, tokenizer: batch.engine().tokenizer() }
}

/// Starts the next turn, or writes the conversation down.
fn follow(
    next: Next,
    slot: usize,
    batch: &mut Batch<'_>,
    running: &mut BTreeMap<usize, Conversation>,
    (set, progress): (&mut SetWriter, &mut Progress),
    cancel: &AtomicBool,
) -> Result<()> {
    match next {
        Next::Turn(turn) => batch.start(*turn, cancel),
        Next::Over(record) => {
            running.remove(&slot);
            progress.done += 1;
            progress.skipped += usize::from(record.skipped.is_some());
            set.push(&record)
        }
    }
}

/// Frames by system prompt.
fn frames(engine: &Engine, jobs: &[Job], raw: bool) -> Result<BTreeMap<Option<String>, Frame>> {
    let mut frames = BTreeMap::new();
    for job in jobs {
        if frames.contains_key(&job.system) {
            continue;
        }
        let frame = match engine.chat_template() {
            _ if raw => Frame::raw(),
            Some(template) => Frame::of(template, job.system.as_deref())?,
            None => {
                return Err(Error::Invalid {
                    message: format!("{} has no chat template", engine.name()),
                    hint: Some("use --raw to continue prompts as they are".into()),
                });
            }
        };
        frames.insert(job.system.clone(), frame);
    }
    Ok(frames)
}
