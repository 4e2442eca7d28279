//! Timings of the three things that decide speed: prompt, decode, verification.

use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use super::{Engine, load::LastRow};
use crate::{error::Result, model::Want};

impl Engine {
    /// Time to compute a prompt of `tokens` from an empty cache, up to its last row's statistics.
    pub fn time_prompt(&mut self, tokens: usize) -> Result<Duration> {
        let ids = self.filler(tokens);
        self.reset()?;
        let started = Instant::now();
        self.extend(&ids, Want::LastStats, &AtomicBool::new(false))?;
        Ok(started.elapsed())
    }

    /// Time to decode `tokens` greedily behind a context of `depth`.
    pub fn time_decode(&mut self, depth: usize, tokens: usize) -> Result<Duration> {
        let cancel = AtomicBool::new(false);
        let ids = self.filler(depth.max(1));
        self.reset()?;
        let mut row = self.extend_last(&ids, LastRow::Stats, &cancel)?.0;
        let started = Instant::now();
        for _ in 0..tokens {
            row = self.extend_last(&[row.argmax], LastRow::Stats, &cancel)?.0;
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
        let ids = self.filler(depth.max(1));
        self.reset()?;
        self.extend(&ids, Want::LastStats, &AtomicBool::new(false))?;
        let nodes = self.filler(rows);
        let parents = vec![None; rows];
        let mut times = Vec::with_capacity(repeat);
        for i in 0..=repeat {
            let started = Instant::now();
            self.verify(&nodes, &parents)?;
            if i > 0 {
                times.push(started.elapsed());
            }
        }
        Ok(times)
    }

    /// Ids spread over the vocabulary, the same each time.
    pub(super) fn filler(&self, n: usize) -> Vec<u32> {
        let vocab = self.vocab() as u64;
        (0..n as u64).map(|i| ((i * 7919 + 31) % vocab) as u32).collect()
    }
}
