//! `coppice bench`: prompt speed, decode speed and the verify curve.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use super::{high, low, low_shared, term::Term};
use crate::{
    engine::{Engine, LoadOptions, TimedModel},
    error::Error,
    model::Published,
};

/// Mean and spread of repeated times.
#[derive(Clone, Copy, Debug, Serialize)]
struct Spread {
    mean_ms: f64,
    stddev_ms: f64,
    median_ms: f64,
    min_ms: f64,
}

impl Spread {
    fn of(times: &[Duration]) -> Self {
        let mut ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let n = ms.len() as f64;
        let mean = ms.iter().sum::<f64>() / n;
        let variance = ms.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0).max(1.0);
        let middle = ms.len() / 2;
        let median =
            if ms.len() % 2 == 1 { ms[middle] } else { (ms[middle - 1] + ms[middle]) / 2.0 };
        Self { mean_ms: mean, stddev_ms: variance.sqrt(), median_ms: median, min_ms: ms[0] }
    }
}

#[derive(Serialize)]
struct Speed {
    tokens: usize,
    depth: usize,
    #[serde(flatten)]
    time: Spread,
    /// From the median.
    tokens_per_second: f64,
}

impl Speed {
    fn of(tokens: usize, depth: usize, times: &[Duration]) -> Self {
        let time = Spread::of(times);
        Self { tokens, depth, time, tokens_per_second: tokens as f64 / time.median_ms * 1e3 }
    }
}

#[derive(Serialize)]
struct Verify {
    rows: usize,
    #[serde(flatten)]
    time: Spread,
    /// Median over the median of the smallest row count.
    relative: f64,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: &'a str,
    device: String,
    threads: Option<usize>,
    repeat: usize,
    load_ms: f64,
    prompt: Option<Speed>,
    decode: Option<Speed>,
    verify_depth: usize,
    verify: Vec<Verify>,
    /// Of one decode step; absent where the device does not count.
    step: Option<Step>,
    memory_bytes: u64,
}

/// What one decode step asks of the device.
#[derive(Serialize)]
struct Step {
    dispatches: u64,
    submissions: u64,
    readbacks: u64,
}

/// Counts over a prompt step and one decode step, less those over the prompt step alone.
fn count_step(timed: &mut TimedModel, depth: usize) -> crate::Result<Option<Step>> {
    let mut over = |tokens| -> crate::Result<[u64; 3]> {
        let before = timed.stats();
        timed.time_decode(depth, tokens)?;
        let after = timed.stats();
        Ok([
            after.dispatches - before.dispatches,
            after.submissions - before.submissions,
            after.readbacks - before.readbacks,
        ])
    };
    let (none, one) = (over(0)?, over(1)?);
    let [dispatches, submissions, readbacks] =
        std::array::from_fn(|i| one[i].saturating_sub(none[i]));
    Ok((submissions > 0).then_some(Step { dispatches, submissions, readbacks }))
}

pub(super) fn main(args: &low::Bench, term: &Term) -> anyhow::Result<ExitCode> {
    if args.repeat == 0 || args.rows.contains(&0) {
        return Err(Error::invalid("--repeat and --rows must be at least 1").into());
    }
    let most = args.rows.iter().copied().max().unwrap_or(0);
    if most > Engine::MAX_TREE_ROWS {
        return Err(Error::invalid(format!(
            "--rows {most}: a step verifies at most {} rows",
            Engine::MAX_TREE_ROWS
        ))
        .into());
    }
    let need = args.prompt.max(args.depth + args.decode).max(args.depth + most) + 1;
    let model =
        low_shared::Model { ctx: Some(args.model.ctx.unwrap_or(need)), ..args.model.clone() };
    let started = std::time::Instant::now();
    let mut timed = match &args.synthetic {
        Some(shape) => {
            let shape: Published = shape.parse()?;
            let options: LoadOptions = high::load_options(&model, &args.device)?;
            let timed = TimedModel::synthetic(shape, &options)?;
            term.detail(&format!("{} on {}", timed.name(), timed.adapter()));
            timed
        }
        None => high::engine(&model, &args.device, term)?.into(),
    };
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    let report = measure(&mut timed, args, load_ms, term)?;
    let mut stdout = std::io::stdout().lock();
    match args.output {
        low::ReportFormat::Json => writeln!(stdout, "{}", serde_json::to_string(&report)?)?,
        low::ReportFormat::Md => write!(stdout, "{}", markdown(&report))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn measure<'a>(
    timed: &'a mut TimedModel,
    args: &low::Bench,
    load_ms: f64,
    term: &Term,
) -> anyhow::Result<Report<'a>> {
    type Timing<'f> = &'f dyn Fn(&mut TimedModel) -> crate::Result<Duration>;
    let repeated = |timed: &mut TimedModel, f: Timing<'_>| {
        f(timed).context("warm-up")?;
        (0..args.repeat).map(|_| Ok(f(timed)?)).collect::<anyhow::Result<Vec<Duration>>>()
    };
    let mut prompt = None;
    if args.prompt > 0 {
        term.detail(&format!("prompt of {} tokens", args.prompt));
        let times = repeated(timed, &|timed| timed.time_prompt(args.prompt))?;
        prompt = Some(Speed::of(args.prompt, 0, &times));
    }
    let mut decode = None;
    if args.decode > 0 {
        term.detail(&format!("decode of {} tokens", args.decode));
        let times = repeated(timed, &|timed| timed.time_decode(args.depth, args.decode))?;
        decode = Some(Speed::of(args.decode, args.depth, &times));
    }
    let mut verify: Vec<Verify> = Vec::new();
    let mut base = None;
    for &rows in &args.rows {
        term.detail(&format!("verification of {rows} rows"));
        // A step is short, so each repetition is a handful of them.
        let times = timed.time_verify(args.depth, rows, 4 * args.repeat)?;
        let time = Spread::of(&times);
        let base = *base.get_or_insert(time.median_ms);
        verify.push(Verify { rows, time, relative: time.median_ms / base });
    }
    let step = count_step(timed, args.depth)?;
    Ok(Report {
        step,
        schema: 1,
        model: timed.name(),
        device: timed.adapter().to_string(),
        threads: args.device.threads,
        repeat: args.repeat,
        load_ms,
        prompt,
        decode,
        verify_depth: args.depth,
        verify,
        memory_bytes: timed.memory().peak_bytes,
    })
}

fn markdown(report: &Report<'_>) -> String {
    let mut text = format!(
        "{} on {}\n\n| test | ms (median) | mean ± sd | tokens/s |\n|---|---|---|---|\n",
        report.model, report.device
    );
    let mut line = |name: String, speed: &Option<Speed>| {
        if let Some(speed) = speed {
            text.push_str(&format!(
                "| {name} | {:.2} | {:.2} ± {:.2} | {:.1} |\n",
                speed.time.median_ms,
                speed.time.mean_ms,
                speed.time.stddev_ms,
                speed.tokens_per_second
            ));
        }
    };
    let tokens = |speed: &Option<Speed>| speed.as_ref().map_or(0, |speed| speed.tokens);
    line(format!("prompt {}", tokens(&report.prompt)), &report.prompt);
    line(format!("decode {} at {}", tokens(&report.decode), report.verify_depth), &report.decode);
    text.push_str("\n| rows verified | ms (median) | mean ± sd | relative |\n|---|---|---|---|\n");
    for verify in &report.verify {
        text.push_str(&format!(
            "| {} | {:.2} | {:.2} ± {:.2} | {:.2} |\n",
            verify.rows,
            verify.time.median_ms,
            verify.time.mean_ms,
            verify.time.stddev_ms,
            verify.relative
        ));
    }
    if let Some(step) = &report.step {
        text.push_str(&format!(
            "\nA decode step: {} dispatches, {} submissions, {} readbacks.\n",
            step.dispatches, step.submissions, step.readbacks
        ));
    }
    text
}
