//! Running sums over rounds: what timelines and plots of thousands of rounds read in each frame.

use coppice::spec::{Ratio, RoundOutcome, StageTimes};

/// Figures of a stretch of rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Rounds.
    pub rounds: u64,
    /// Tokens that they added, the bonus of each included.
    pub tokens: u64,
    /// Candidates verified.
    pub drafted: u64,
    /// Candidates kept.
    pub accepted: u64,
    /// Depths at which the kept path had candidates.
    pub tested: u64,
    /// Depths of the trees, added up.
    pub depths: u64,
    /// Rounds of the root alone.
    pub plain_rounds: u64,
    /// Their wall time.
    pub plain_ms: f64,
    /// Wall times.
    pub times: StageTimes,
}

impl Sums {
    /// With one more round.
    pub(super) fn with(mut self, round: &RoundOutcome) -> Self {
        let has_children = |n: u32| round.nodes.iter().any(|node| node.parent == Some(n));
        self.rounds += 1;
        self.tokens += round.tokens() as u64;
        self.drafted += round.drafted() as u64;
        self.accepted += round.accepted() as u64;
        self.tested += round.path.iter().filter(|&&kept| has_children(kept)).count() as u64;
        self.depths += u64::from(round.nodes.iter().map(|node| node.depth).max().unwrap_or(0));
        if round.drafted() == 0 {
            self.plain_rounds += 1;
            self.plain_ms += round.times.total_ms();
        }
        self.times.add(&round.times);
        self
    }

    /// What these have more than sums up to an earlier round.
    pub(super) fn without(mut self, before: &Self) -> Self {
        self.rounds -= before.rounds;
        self.tokens -= before.tokens;
        self.drafted -= before.drafted;
        self.accepted -= before.accepted;
        self.tested -= before.tested;
        self.depths -= before.depths;
        self.plain_rounds -= before.plain_rounds;
        self.plain_ms -= before.plain_ms;
        let (ours, theirs) = (&mut self.times, &before.times);
        ours.draft_ms -= theirs.draft_ms;
        ours.verify_ms -= theirs.verify_ms;
        ours.commit_ms -= theirs.commit_ms;
        ours.host_ms -= theirs.host_ms;
        self
    }

    /// Tokens a round, the bonus included.
    pub fn tokens_a_round(&self) -> Ratio {
        Ratio { n: self.tokens, of: self.rounds }
    }

    /// Candidates kept over depths tested.
    pub fn path_rate(&self) -> Ratio {
        Ratio { n: self.accepted, of: self.tested }
    }

    /// Candidates kept over candidates verified.
    pub fn budget_rate(&self) -> Ratio {
        Ratio { n: self.accepted, of: self.drafted }
    }

    /// Milliseconds a round; 0 without rounds.
    pub fn round_ms(&self) -> f64 {
        if self.rounds == 0 { 0.0 } else { self.times.total_ms() / self.rounds as f64 }
    }
}
