//! Reading, tolerant of a file that was cut off and of nothing else.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Header, Kind, Prompt, SCHEMA, Summary, TraceRound, check::check_traced};
use crate::{
    error::{Error, Result},
    spec::SpecStats,
};

/// A trace that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}:{line}: {message}", path = path.display())]
pub struct TraceError {
    /// The file.
    pub path: PathBuf,
    /// Line in it, from 1.
    pub line: usize,
    /// What is wrong there, with values.
    pub message: String,
    /// What to do about it, if known.
    pub hint: Option<String>,
}

/// A trace read back.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The first line.
    pub header: Header,
    /// Starts of answers.
    pub prompts: Vec<Prompt>,
    /// All rounds in the order of the file; a round's number on the command line is its place here.
    pub rounds: Vec<TraceRound>,
    /// The last line; a run that was killed has none.
    pub summary: Option<Summary>,
    /// What the reader should know: a line that was cut off, a summary that is missing.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct KindOnly {
    kind: Kind,
}

enum Parsed {
    Header(Header),
    Prompt(Prompt),
    Round(TraceRound),
    Summary(Box<Summary>),
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`TraceError`] naming the file and the line: what is no JSON object of the
    /// schema, a newer schema, a round that is no tree. Only a last line without its line end is
    /// left out with a note.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            action: "cannot read",
            path: path.into(),
            source,
        })?;
        Ok(Self::parse(path, &bytes)?)
    }

    /// Reads the bytes of a file; the path is for messages.
    ///
    /// # Errors
    /// As [`Trace::open`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, TraceError> {
        let error = |line: usize, message: String| TraceError {
            path: path.into(),
            line: line + 1,
            message,
            hint: None,
        };
        let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        // What follows the last line end: nothing in a whole file.
        let rest = lines.pop().unwrap_or_default();
        let mut notes = Vec::new();
        let mut parsed: Vec<Parsed> = lines
            .par_iter()
            .enumerate()
            .map(|(i, line)| parse_line(line).map_err(|message| error(i, message)))
            .collect::<Result<_, _>>()?;
        if !rest.is_empty() {
            match parse_line(rest) {
                Ok(last) => parsed.push(last),
                Err(_) => notes.push(format!(
                    "line {} is cut off and was left out; the run was probably killed",
                    lines.len() + 1
                )),
            }
        }
        let mut parsed = parsed.into_iter().enumerate();
        let header = match parsed.next() {
            Some((_, Parsed::Header(header))) => header,
            Some(_) => return Err(error(0, "a trace starts with its header".into())),
            None => return Err(error(0, "no header: an empty file, or no trace".into())),
        };
        if header.schema != SCHEMA {
            return Err(TraceError {
                hint: Some("read it with the Coppice that wrote it, or a newer one".into()),
                ..error(
                    0,
                    format!(
                        "schema {}, written by Coppice {}; this one reads schema {SCHEMA}",
                        header.schema, header.coppice
                    ),
                )
            });
        }
        let mut trace =
            Self { header, prompts: Vec::new(), rounds: Vec::new(), summary: None, notes };
        for (i, line) in parsed {
            if trace.summary.is_some() {
                return Err(error(i, "a line behind the summary".into()));
            }
            match line {
                Parsed::Header(_) => return Err(error(i, "a second header".into())),
                Parsed::Prompt(prompt) => trace.prompts.push(prompt),
                Parsed::Round(round) => trace.rounds.push(round),
                Parsed::Summary(summary) => trace.summary = Some(*summary),
            }
        }
        if trace.summary.is_none() {
            trace.notes.push("no summary line: the run did not end; figures are recomputed".into());
        }
        Ok(trace)
    }

    /// Figures over the rounds, computed from them.
    pub fn stats(&self) -> SpecStats {
        let mut stats = SpecStats::default();
        self.rounds.iter().for_each(|round| stats.add(&round.outcome));
        stats
    }

    /// Compares the summary line with the rounds: each figure that differs, with both values. A
    /// trace without a summary has nothing to compare.
    pub fn mismatches(&self) -> Vec<String> {
        let Some(summary) = &self.summary else { return Vec::new() };
        let (ours, theirs) = (self.stats(), &summary.stats);
        let mut wrong = Vec::new();
        let mut count = |name: &str, ours: u64, theirs: u64| {
            if ours != theirs {
                wrong.push(format!("{name}: {ours} in the rounds, {theirs} in the summary"));
            }
        };
        count("answers", self.prompts.len() as u64, summary.answers);
        count("rounds", ours.rounds, theirs.rounds);
        count("plain rounds", ours.plain_rounds, theirs.plain_rounds);
        count("tokens", ours.tokens, theirs.tokens);
        count("drafted", ours.drafted, theirs.drafted);
        count("reached", ours.reached, theirs.reached);
        count("accepted", ours.accepted, theirs.accepted);
        count("bonus", ours.bonus, theirs.bonus);
        count("tested depths", ours.tested_depths, theirs.tested_depths);
        let mut group = |name: &str, same: bool| {
            if !same {
                wrong.push(format!("{name}: the rounds add up to other figures"));
            }
        };
        group("by source", ours.by_source == theirs.by_source);
        group("by depth", ours.by_depth == theirs.by_depth);
        group("by rank", ours.by_rank == theirs.by_rank);
        group("tokens a round", ours.tokens_histogram == theirs.tokens_histogram);
        // Sums of decimals read back: equal but for their last digits.
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0);
        let bins = ours.calibration.iter().zip(&theirs.calibration);
        group(
            "calibration",
            bins.into_iter().all(|(a, b)| {
                (a.count, a.passed) == (b.count, b.passed) && near(a.predicted, b.predicted)
            }),
        );
        let (a, b) = (ours.times, theirs.times);
        let stages = [
            (a.draft_ms, b.draft_ms),
            (a.verify_ms, b.verify_ms),
            (a.commit_ms, b.commit_ms),
            (a.host_ms, b.host_ms),
        ];
        group("times", stages.into_iter().all(|(a, b)| near(a, b)));
        wrong
    }
}

fn parse_line(line: &[u8]) -> Result<Parsed, String> {
    // Windows editors end lines with a carriage return.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err("an empty line".into());
    }
    let KindOnly { kind } = json(line)?;
    Ok(match kind {
        Kind::Header => Parsed::Header(json(line)?),
        Kind::Prompt => Parsed::Prompt(json(line)?),
        Kind::Summary => Parsed::Summary(json(line)?),
        Kind::Round => {
            let round: TraceRound = json(line)?;
            check_traced(&round)?;
            Parsed::Round(round)
        }
    })
}

/// serde_json counts lines of its own; only the column says something here.
fn json<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| {
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or(&text);
        format!("{what} (column {})", error.column())
    })
}
