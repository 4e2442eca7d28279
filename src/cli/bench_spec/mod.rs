//! `coppice bench spec`: speculation on Spec-Bench's questions, against plain decoding in the same
//! run.
//!
//! Times drift while a machine warms up or is busy elsewhere, so the methods answer each question
//! one after the other, and who begins rotates: all methods see the same weather.

mod measure;
pub(super) mod questions;
mod report;

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    process::ExitCode,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::{
    measure::{Answer, Mismatch, Missing, Runner, first_mismatch},
    questions::{Question, Take},
    report::{Report, TIMING, Table, mismatch},
};
use super::{
    FAILED, INTERRUPTED,
    drafters::{self, Drafters},
    high, interrupt,
    low_spec::{self, Spec},
    term::Term,
    trace::write_file,
};
use crate::{
    engine::Engine,
    error::{Error, Result},
    sample::SamplerParams,
    spec::{AcceptRule, Method, Speculation},
};

/// Version of the JSON object.
const SCHEMA: u32 = 1;

pub(super) fn main(args: &low_spec::BenchSpec, term: &Term) -> anyhow::Result<ExitCode> {
    if args.max_tokens == 0 {
        return Err(Error::invalid("--max-tokens must be at least 1").into());
    }
    let take = Take::of(args.limit, args.per_category);
    let questions = questions::read(&args.questions, take)?;
    let sampler =
        SamplerParams { temperature: args.temp, seed: args.seed, ..SamplerParams::default() };
    sampler.check()?;
    let answers = args.answers.as_deref().map(Answers::create).transpose()?;
    let cancel = interrupt::flag()?;
    let mut engine = high::engine(&args.model, &args.device, term)?;
    let speculations = speculations(args, &mut engine, term)?;
    let methods: Vec<Method> = speculations.iter().map(|spec| spec.method).collect();
    let keeps = |spec: &Speculation| spec.accept.is_none_or(AcceptRule::keeps_text);
    let ids_checked = speculations.iter().all(keeps);
    let mut run = Run {
        runner: Runner {
            engine: &mut engine,
            sampler: sampler.clone(),
            max_tokens: args.max_tokens,
            cancel: &cancel,
        },
        table: Table::new(&methods),
        speculations,
        answers,
        mismatches: Vec::new(),
        skipped: Vec::new(),
        answered: 0,
    };
    // A failure half-way must not take the figures of hours with it.
    let ended = run.all(&questions, term);
    let interrupted = cancel.load(Ordering::SeqCst);
    let report = Report {
        schema: SCHEMA,
        questions: run.answered,
        methods: run.table.methods(),
        ids_checked,
        mismatches: run.mismatches,
        skipped: run.skipped,
        model: engine.name().into(),
        device: engine.adapter().to_string(),
        threads: args.device.threads,
        file: args.questions.display().to_string(),
        asked: questions.len(),
        interrupted: interrupted || ended.is_err(),
        max_tokens: args.max_tokens,
        sampler,
        timing: TIMING,
    };
    if report.questions > 0 {
        print(args, &report)?;
    }
    ended?;
    for wrong in &report.mismatches {
        term.note(&format!("coppice: {}", mismatch(wrong)));
    }
    Ok(match (interrupted, report.mismatches.is_empty()) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(FAILED),
    })
}

/// How to speculate by each method asked for, plain decoding first.
fn speculations(
    args: &low_spec::BenchSpec,
    engine: &mut Engine,
    term: &Term,
) -> Result<Vec<Speculation>> {
    let drafting = &args.drafting;
    let drafters = Drafters::open(engine, drafting, &args.methods, args.model.offline, term)?;
    let asked: &[Spec] = match (&args.methods[..], drafters.has_heads()) {
        ([], true) => &[Spec::Medusa, Spec::Lookup, Spec::Auto],
        ([], false) => &[Spec::Lookup, Spec::Auto],
        (methods, _) => methods,
    };
    let mut methods = vec![Spec::Plain];
    for &spec in asked {
        if !methods.contains(&spec) {
            methods.push(spec);
        }
    }
    let with = (&args.rounds, &args.model, &args.device);
    let given = methods
        .into_iter()
        .map(|spec| drafters::one_of_several(engine, &drafters, spec, with, term));
    given.collect()
}

fn print(args: &low_spec::BenchSpec, report: &Report) -> anyhow::Result<()> {
    let text = match args.format {
        low_spec::TableFormat::Md => report.markdown(),
        low_spec::TableFormat::Json => serde_json::to_string(report)? + "\n",
        low_spec::TableFormat::Csv => report.csv(),
    };
    match &args.output {
        Some(path) => write_file(path, &text)?,
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    if let Some(path) = &args.chart {
        write_file(path, &report.chart().svg())?;
    }
    Ok(())
}

/// A run under way.
struct Run<'a> {
    runner: Runner<'a>,
    speculations: Vec<Speculation>,
    table: Table,
    answers: Option<Answers>,
    mismatches: Vec<Mismatch>,
    skipped: Vec<String>,
    answered: usize,
}

impl Run<'_> {
    /// All questions, until one is cancelled.
    fn all(&mut self, questions: &[Question], term: &Term) -> Result<()> {
        let mut progress = Progress::new(questions.len() as u64, term);
        for spec in &self.speculations {
            self.runner.warm_up(&questions[0], spec)?;
        }
        for (i, question) in questions.iter().enumerate() {
            // A question counts only when all methods have answered it.
            let mut answers: Vec<Option<Answer>> = vec![None; self.speculations.len()];
            let mut missing = None;
            for turn in 0..self.speculations.len() {
                let at = (i + turn) % self.speculations.len();
                match self.runner.answer(question, &self.speculations[at])? {
                    Ok(answer) => answers[at] = Some(answer),
                    Err(why) => {
                        missing = Some(why);
                        break;
                    }
                }
            }
            match missing {
                Some(Missing::Cancelled) => {
                    term.note("coppice: stopped; the figures are of the questions before");
                    break;
                }
                Some(Missing::TooLong(why)) => {
                    term.note(&format!("coppice: left out, {why}"));
                    self.skipped.push(why);
                }
                None => self.take(question, answers.into_iter().flatten().collect())?,
            }
            progress.step(&question.category);
        }
        progress.finish();
        Ok(())
    }

    /// Counts the answers of all methods, in their order.
    fn take(&mut self, question: &Question, answers: Vec<Answer>) -> Result<()> {
        for (spec, answer) in self.speculations.iter().zip(&answers) {
            let method = spec.method;
            self.table.add(method, &question.category, answer);
            if spec.accept.is_none_or(AcceptRule::keeps_text) {
                let at = (method, question.question_id);
                self.mismatches.extend(first_mismatch(at, &answers[0], answer));
            }
            if let Some(file) = &mut self.answers {
                file.write(question, method, answer)?;
            }
        }
        self.answered += 1;
        Ok(())
    }
}

/// Each answer as it comes, a JSON object a line.
struct Answers {
    file: File,
    path: std::path::PathBuf,
}

#[derive(Serialize)]
struct AnswerLine<'a> {
    question_id: u64,
    category: &'a str,
    method: Method,
    new_tokens: Vec<usize>,
    rounds: u64,
    accepted: u64,
    drafted: u64,
    prompt_tokens: usize,
    wall_ms: f64,
    decode_ms: f64,
    ids: &'a [Vec<u32>],
}

impl Answers {
    fn create(path: &Path) -> Result<Self> {
        let file = File::options().write(true).create_new(true).open(path);
        let path = path.to_path_buf();
        match file {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(Error::Io { action: "cannot write", path, source }),
        }
    }

    fn write(&mut self, question: &Question, method: Method, answer: &Answer) -> Result<()> {
        let line = AnswerLine {
            question_id: question.question_id,
            category: &question.category,
            method,
            new_tokens: answer.turns.iter().map(Vec::len).collect(),
            rounds: answer.stats.rounds,
            accepted: answer.stats.accepted,
            drafted: answer.stats.drafted,
            prompt_tokens: answer.prompt_tokens,
            wall_ms: answer.wall.as_secs_f64() * 1e3,
            decode_ms: answer.decode.as_secs_f64() * 1e3,
            ids: &answer.turns,
        };
        let mut text = serde_json::to_string(&line).expect("numbers under names are JSON");
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(|source| Error::Io {
            action: "cannot write",
            path: self.path.clone(),
            source,
        })
    }
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress<'a> {
    term: &'a Term,
    bar: Option<ProgressBar>,
    done: u64,
    all: u64,
    started: Instant,
    told: Instant,
}

/// How often a line is written where there is no bar.
const TELL_EVERY: Duration = Duration::from_secs(30);

impl<'a> Progress<'a> {
    fn new(all: u64, term: &'a Term) -> Self {
        let style =
            ProgressStyle::with_template("[{bar:30}] {pos}/{len} questions {eta} left {msg}")
                .expect("the template is a constant that parses")
                .progress_chars("=> ");
        let bar = term.progress().then(|| ProgressBar::new(all).with_style(style));
        let now = Instant::now();
        Self { term, bar, done: 0, all, started: now, told: now }
    }

    fn step(&mut self, category: &str) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_message(category.to_owned());
            bar.inc(1);
        } else if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let each = self.started.elapsed().as_secs_f64() / self.done as f64;
            let left = each * (self.all - self.done) as f64 / 60.0;
            let (done, all) = (self.done, self.all);
            self.term.note(&format!("{done} of {all} questions, about {left:.0} minutes left"));
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
