//! How far a run is: losses, speed, and the log that keeps them.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::error::{Error, Result};

/// Losses since the last entry, and speed.
pub struct Progress {
    sums: Vec<(f64, u64)>,
    start: Instant,
    first: u64,
    steps: u64,
    positions: usize,
}

impl Progress {
    /// Of a run that begins behind step `first` of `steps`, with so many kinds of losses.
    pub fn new(kinds: usize, first: u64, steps: u64) -> Self {
        let sums = vec![(0.0, 0); kinds];
        Self { sums, start: Instant::now(), first, steps, positions: 0 }
    }

    /// Adds the sums of each kind, and how many they are of.
    pub fn add(&mut self, losses: impl IntoIterator<Item = (f64, u64)>, positions: usize) {
        self.positions += positions;
        for ((sum, count), (loss, losses)) in self.sums.iter_mut().zip(losses) {
            *sum += loss;
            *count += losses;
        }
    }

    /// Mean losses; begins anew.
    pub fn losses(&mut self) -> Vec<f64> {
        let mean = |(sum, count): &mut (f64, u64)| *sum / (*count).max(1) as f64;
        let losses = self.sums.iter_mut().map(mean).collect();
        self.sums.fill((0.0, 0));
        losses
    }

    /// Positions a second.
    pub fn rate(&self) -> f64 {
        self.positions as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    /// Time to the last step, at the rate so far.
    pub fn left(&self, step: u64) -> Duration {
        let each = self.start.elapsed().as_secs_f64() / (step - self.first).max(1) as f64;
        Duration::from_secs_f64((each * (self.steps - step) as f64).min(1e9))
    }
}

/// The log of a run: one JSON object a line.
pub struct Log {
    path: PathBuf,
}

impl Log {
    /// The log of a run in `work`.
    pub fn of(work: &Path) -> Self {
        Self { path: work.join("log.jsonl") }
    }

    /// Drops lines of steps after `step`, which will be done again.
    pub fn keep_until(&self, step: u64) -> Result<()> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) if step > 0 => text,
            Ok(_) => String::new(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(self.error("cannot read", source)),
        };
        let of = |line: &&str| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            let entry = value.get("evaluation").unwrap_or(&value);
            entry.get("step")?.as_u64()
        };
        let kept = text.lines().filter(|line| of(line).is_some_and(|at| at <= step));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        super::checkpoint::write_whole(&self.path, kept.as_bytes())
    }

    /// Adds a line.
    pub fn add(&self, entry: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(entry).expect("numbers and names");
        line.push('\n');
        let file = OpenOptions::new().append(true).create(true).open(&self.path);
        let mut file = file.map_err(|source| self.error("cannot open", source))?;
        file.write_all(line.as_bytes()).map_err(|source| self.error("cannot write", source))
    }

    fn error(&self, action: &'static str, source: std::io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }
}

/// Sums of the heads' losses `[K, B]` without their weights, `first decay^k` for head `k`, and how
/// many exist of each.
pub fn unweighted(
    losses: &[f32],
    exists: impl Fn(usize) -> bool,
    batch: usize,
    (first, decay): (f64, f64),
) -> Vec<(f64, u64)> {
    let mut weight = first;
    let heads = losses.chunks(batch).enumerate();
    heads
        .map(|(head, losses)| {
            let sum = losses.iter().copied().map(f64::from).sum::<f64>();
            let count = (0..batch).filter(|i| exists(head * batch + i)).count() as u64;
            let mean = sum / weight.max(f64::MIN_POSITIVE);
            weight *= decay;
            (mean, count)
        })
        .collect()
}
