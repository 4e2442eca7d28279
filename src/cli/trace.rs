//! `coppice trace`: recorded rounds, without a model.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use super::{FAILED, low_spec, term::Term};
use crate::{
    draw,
    error::{Error, Result},
    spec::{
        DepthTally, Ratio, Source, SpecStats, Tally,
        trace::{Header, Trace},
    },
};

/// Version of the JSON object.
const SCHEMA: u32 = 1;
/// Most characters of a round's text in a list.
const SHOWN: usize = 60;

pub(super) fn main(args: &low_spec::Trace, term: &Term) -> anyhow::Result<ExitCode> {
    match &args.action {
        low_spec::TraceAction::Tree(args) => tree(args, term),
        low_spec::TraceAction::Summary(args) => summary(args, term),
        low_spec::TraceAction::Rounds(args) => rounds(args, term),
    }
}

fn open(file: &Path, term: &Term) -> Result<Trace> {
    let trace = Trace::open(file)?;
    for note in &trace.notes {
        term.note(&format!("{}: {note}", file.display()));
    }
    Ok(trace)
}

fn tree(args: &low_spec::TraceTree, term: &Term) -> anyhow::Result<ExitCode> {
    let trace = open(&args.file, term)?;
    let round = trace.rounds.get(args.round).ok_or_else(|| Error::Invalid {
        message: format!(
            "--round {}: {} has {} rounds, counted from 0",
            args.round,
            args.file.display(),
            trace.rounds.len()
        ),
        hint: Some("`coppice trace rounds` lists them".into()),
    })?;
    let svg = draw::round_tree(args.round, round).svg();
    match &args.output {
        Some(path) => write_file(path, &svg)?,
        None => std::io::stdout().write_all(svg.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that the user named as an output.
pub(super) fn write_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|source| Error::Io {
        action: "cannot write",
        path: path.into(),
        source,
    })
}

/// What `summary --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    file: PathBuf,
    header: &'a Header,
    answers: usize,
    /// Absent where the run did not end.
    generated: Option<u64>,
    stats: &'a SpecStats,
    tokens_a_round: f64,
    path_rate: f64,
    budget_rate: f64,
    mismatches: &'a [String],
    notes: &'a [String],
}

fn summary(args: &low_spec::TraceSummary, term: &Term) -> anyhow::Result<ExitCode> {
    let trace = open(&args.file, term)?;
    let stats = trace.stats();
    let mismatches = trace.mismatches();
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let report = Report {
            schema: SCHEMA,
            file: args.file.clone(),
            header: &trace.header,
            answers: trace.prompts.len(),
            generated: trace.summary.as_ref().map(|summary| summary.generated),
            stats: &stats,
            tokens_a_round: stats.tokens_a_round().value(),
            path_rate: stats.path_rate().value(),
            budget_rate: stats.budget_rate().value(),
            mismatches: &mismatches,
            notes: &trace.notes,
        };
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    } else {
        let header = &trace.header;
        let sampler = &header.sampler;
        writeln!(
            stdout,
            "{} on {}\n{} with {} acceptance{}, temperature {}, seed {}\n\n{}",
            header.model,
            header.device,
            header.method.name(),
            header.acceptance,
            header.tree.as_ref().map_or_else(String::new, |tree| format!(", tree {tree}")),
            sampler.temperature,
            sampler.seed,
            stats.summary()
        )?;
        write!(stdout, "{}", tables(&stats))?;
    }
    for mismatch in &mismatches {
        term.note(&format!("{}: {mismatch}", args.file.display()));
    }
    Ok(if mismatches.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn source_name(source: Source) -> String {
    match source {
        Source::Root => "root".into(),
        Source::Head(head) => format!("head {head}"),
        Source::Lookup => "lookup".into(),
        Source::Rest => "rest".into(),
        Source::Draft => "draft model".into(),
    }
}

/// A rate with its numbers beside it.
fn rate(ratio: Ratio) -> String {
    if ratio.of == 0 { "-".into() } else { format!("{:.1} %", 100.0 * ratio.value()) }
}

fn tables(stats: &SpecStats) -> String {
    let mut text = String::new();
    let mut table = |head: [&str; 5], rows: Vec<[String; 5]>| {
        if rows.is_empty() {
            return;
        }
        let mut line = |cells: [&str; 5]| {
            let [name, numbers @ ..] = cells;
            let mut line = format!("{name:<14}");
            for number in numbers {
                line.push_str(&format!("{number:>12}"));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line([""; 5]);
        line(head);
        rows.iter().for_each(|row| line(row.each_ref().map(String::as_str)));
    };
    let tally = |name: String, tally: &Tally| {
        let counts = [tally.drafted, tally.reached, tally.accepted].map(|n| n.to_string());
        let [drafted, reached, accepted] = counts;
        [name, drafted, reached, accepted, rate(tally.hit_rate())]
    };
    table(
        ["source", "drafted", "tested", "accepted", "hit rate"],
        stats.by_source.iter().map(|s| tally(source_name(s.source), &s.tally)).collect(),
    );
    table(
        ["rank", "drafted", "tested", "accepted", "hit rate"],
        stats.by_rank.iter().enumerate().map(|(n, t)| tally(n.to_string(), t)).collect(),
    );
    let depths = stats.by_depth.iter().enumerate();
    table(
        ["depth", "rounds tested", "passed", "path rate", "candidates"],
        depths
            .map(|(n, depth)| {
                let DepthTally { tested, tally } = depth;
                let (tested, passed) = (tested.to_string(), tally.accepted.to_string());
                let drafted = tally.drafted.to_string();
                [(n + 1).to_string(), tested, passed, rate(depth.path_rate()), drafted]
            })
            .collect(),
    );
    let rounds = stats.tokens_histogram.iter().enumerate().filter(|(_, rounds)| **rounds > 0);
    table(
        ["tokens a round", "rounds", "of all", "", ""],
        rounds
            .map(|(n, &rounds)| {
                let share = rate(Ratio { n: rounds, of: stats.rounds });
                [n.to_string(), rounds.to_string(), share, String::new(), String::new()]
            })
            .collect(),
    );
    let bins = stats.calibration.iter().enumerate().filter(|(_, bin)| bin.count > 0);
    table(
        ["draft p", "tested", "passed", "predicted", "observed"],
        bins.map(|(n, bin)| {
            let (low, high) = (n as f64 / 10.0, (n + 1) as f64 / 10.0);
            let predicted = format!("{:.1} %", 100.0 * bin.mean_predicted());
            let counts = (bin.count.to_string(), bin.passed.to_string());
            [format!("{low:.1} to {high:.1}"), counts.0, counts.1, predicted, rate(bin.observed())]
        })
        .collect(),
    );
    text
}

fn rounds(args: &low_spec::TraceRounds, term: &Term) -> anyhow::Result<ExitCode> {
    let trace = open(&args.file, term)?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "round answer position method  accepted drafted       ms  added")?;
    for (n, round) in trace.rounds.iter().enumerate() {
        let outcome = &round.outcome;
        let added = round.added_text();
        let mut shown: String = added.chars().take(SHOWN).collect();
        if shown.len() < added.len() {
            shown.push('…');
        }
        writeln!(
            stdout,
            "{n:>5} {:>6} {:>8} {:<7} {:>8} {:>7} {:>8.2}  {shown:?}",
            round.answer,
            outcome.prefix + 1,
            outcome.method.name(),
            outcome.accepted(),
            outcome.drafted(),
            outcome.times.total_ms()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
