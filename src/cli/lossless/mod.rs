//! `coppice bench lossless`: does speculation change a token on this device?
//!
//! Plain decoding answers every prompt under every setting of the sampler; then every kind of draft
//! answers them again, ungated, and each answer must have the same ids. Kinds range from drafts of
//! which nothing is right to drafts of which all is, so that every path through a round is taken.
//! Answers are noted as they come, so that a run that was stopped goes on where it was.

mod drafts;
mod log;
mod report;
mod settings;

use std::{
    io::Write as _,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use self::{
    drafts::{Drafts, Sources},
    log::{Entry, Header, Log},
    report::Report,
    settings::Setting,
};
use super::{
    FAILED, INTERRUPTED,
    bench_spec::questions::{self, Take},
    high, interrupt, low_spec,
    progress::WorkBar,
    term::Term,
};
use crate::{
    engine::{Engine, Event, Request},
    error::{Error, Result},
    spec::{Speculation, TreeChoice},
    text::{AddSpecial, ChatInput, Message, ParseSpecial},
};

pub(super) fn main(args: &low_spec::BenchLossless, term: &Term) -> anyhow::Result<ExitCode> {
    if args.max_tokens == 0 {
        return Err(Error::invalid("--max-tokens must be at least 1").into());
    }
    if args.tree < 2 {
        return Err(Error::invalid("--tree must be at least 2: the root is one node").into());
    }
    let spec =
        Speculation { gate: false, tree: TreeChoice::Nodes(args.tree), ..Speculation::default() };
    spec.check()?;
    let take = Take::of(args.limit, args.per_category);
    let questions = questions::read(&args.questions, take)?;
    let settings = settings::named(&args.settings)?;
    let asked = drafts::named(&args.drafts)?;
    let cancel = interrupt::flag()?;
    let mut engine = high::engine(&args.model, &args.device, term)?;
    let sources = Sources::open(&engine, args, term)?;
    let kinds = drafts::possible(asked, &sources)?;
    let mut prompts = Vec::new();
    for question in &questions {
        let prompt = prompt(&engine, &question.turns[0])?;
        if prompt.len() + args.max_tokens <= engine.context() {
            prompts.push(prompt);
        } else {
            let id = question.question_id;
            term.note(&format!("coppice: left out, question {id} has {} tokens", prompt.len()));
        }
    }
    let header = Header::new(&engine, &prompts, args);
    let mut run = Run {
        engine: &mut engine,
        log: Log::open(args.log.as_deref(), &header)?,
        prompts,
        max_tokens: args.max_tokens,
        seed: args.seed,
        spec,
        cancel: &cancel,
    };
    let mut bar = WorkBar::new(term);
    let ended = run.all(&settings, &kinds, &sources, &mut bar);
    bar.finish();
    let stopped = matches!(ended, Err(Error::Cancelled));
    if !stopped {
        ended?;
    }
    let report = Report::new(&header, run.prompts.len(), &settings, &kinds, &run.log);
    let text = if args.json { report.json() } else { report.markdown() };
    std::io::stdout().write_all(text.as_bytes())?;
    if stopped {
        term.note("stopped; with the same --log the same command goes on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(if report.is_lossless() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Ids of a question in the model's template, or as it is without one.
fn prompt(engine: &Engine, text: &str) -> Result<Vec<u32>> {
    let tokenizer = engine.tokenizer();
    Ok(match engine.chat_template() {
        Some(template) => {
            let text = template.render(&ChatInput::new(&[Message::new("user", text)]))?;
            tokenizer.encode(&text, AddSpecial::No, ParseSpecial::Yes)?
        }
        None => tokenizer.encode(text, AddSpecial::Yes, ParseSpecial::No)?,
    })
}

/// A run under way.
struct Run<'a> {
    engine: &'a mut Engine,
    log: Log,
    prompts: Vec<Vec<u32>>,
    max_tokens: usize,
    seed: u64,
    /// But for the method.
    spec: Speculation,
    cancel: &'a AtomicBool,
}

impl Run<'_> {
    fn all(
        &mut self,
        settings: &[Setting],
        kinds: &[Drafts],
        sources: &Sources,
        bar: &mut WorkBar<'_>,
    ) -> Result<()> {
        let all = settings.len() * self.prompts.len() * (1 + kinds.len());
        let mut done = 0;
        let mut step = |what: &str| {
            done += 1;
            bar.set(done as f64 / all as f64, || what.to_owned());
        };
        for setting in settings {
            for at in 0..self.prompts.len() {
                if self.log.plain(setting.name, at).is_none() {
                    let (ids, _, _) = self.answer(setting, at, &Speculation::default())?;
                    self.log.add(Entry::plain(setting.name, at, ids))?;
                }
                step("plain");
            }
        }
        for &kind in kinds {
            let mut ready = false;
            for setting in settings {
                for at in 0..self.prompts.len() {
                    if self.log.outcome(setting.name, kind.name(), at).is_none() {
                        if !ready {
                            self.set_up(kind, sources, settings)?;
                            ready = true;
                        }
                        self.compare(kind, setting, at)?;
                    }
                    step(kind.name());
                }
            }
        }
        Ok(())
    }

    /// Makes the proposer of a kind, where one serves all prompts.
    fn set_up(&mut self, kind: Drafts, sources: &Sources, settings: &[Setting]) -> Result<()> {
        let plain = settings.iter().flat_map(|setting| {
            (0..self.prompts.len()).filter_map(|at| self.log.plain(setting.name, at))
        });
        let texts: Vec<Vec<u32>> = self
            .prompts
            .iter()
            .cloned()
            .chain(plain.map(<[u32]>::to_vec).collect::<Vec<_>>())
            .collect();
        kind.set_up(self.engine, sources, &texts)
    }

    fn compare(&mut self, kind: Drafts, setting: &Setting, at: usize) -> Result<()> {
        let plain = self.log.plain(setting.name, at).expect("answered before").to_vec();
        if kind == Drafts::Perfect {
            let text = [&self.prompts[at][..], &plain].concat();
            self.engine.set_proposer(Box::new(drafts::Recorded::new(text, self.engine.vocab())));
        }
        let spec = Speculation { method: kind.method(), ..self.spec.clone() };
        let (ids, rounds, accepted) = self.answer(setting, at, &spec)?;
        let differs = (0..plain.len().max(ids.len())).find(|&i| plain.get(i) != ids.get(i));
        self.log.add(Entry {
            setting: setting.name.into(),
            drafts: kind.name().into(),
            prompt: at,
            // Kept where they say something that plain decoding's do not.
            ids: differs.map(|_| ids),
            differs,
            rounds,
            accepted,
        })
    }

    /// Ids, rounds and accepted candidates of an answer from an empty cache.
    fn answer(
        &mut self,
        setting: &Setting,
        at: usize,
        spec: &Speculation,
    ) -> Result<(Vec<u32>, usize, usize)> {
        let request = Request {
            prompt: self.prompts[at].clone(),
            max_tokens: Some(self.max_tokens),
            sampler: setting.params(self.seed + at as u64),
            stop: Vec::new(),
            ignore_eos: true,
            spec: spec.clone(),
        };
        self.engine.reset()?;
        let (mut rounds, mut accepted) = (0, 0);
        let generation = self.engine.generate(&request, self.cancel, &mut |event| {
            if let Event::Round(round) = event {
                rounds += 1;
                accepted += round.accepted();
            }
        })?;
        if self.cancel.load(Ordering::SeqCst) {
            return Err(Error::Cancelled);
        }
        Ok((generation.ids, rounds, accepted))
    }
}
