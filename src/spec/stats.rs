//! Figures over rounds.
//!
//! "Acceptance rate" means different things to different people (llama.cpp had to correct its own
//! definition), so no figure here has that name and every rate is a [`Ratio`] that keeps both of
//! its numbers:
//!
//! * **path rate**: candidates accepted over depths *tested*, where a depth is tested if the kept
//!   path had candidates there. A depth that was never reached counts against nobody. For a chain
//!   this is accepted over tested tokens.
//! * **budget rate**: candidates accepted over candidates *verified*. It falls as a tree grows wider,
//!   even where the tree gets better.
//!
//! Neither counts the bonus token; tokens a round do.

use serde::{Deserialize, Serialize};

use super::{NodeOutcome, RoundOutcome, Source, StageTimes, Verdict};

/// A rate with its numerator and denominator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    /// Numerator.
    pub n: u64,
    /// Denominator.
    pub of: u64,
}

impl Ratio {
    /// Their quotient; 0 of 0 is 0.
    pub fn value(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.n as f64 / self.of as f64 }
    }
}

/// What became of a group of candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Candidates verified.
    pub drafted: u64,
    /// Those whose parent was kept, so that they were tested.
    pub reached: u64,
    /// Those on the kept path.
    pub accepted: u64,
}

impl Tally {
    fn add(&mut self, node: &NodeOutcome) {
        self.drafted += 1;
        self.reached += u64::from(reached(node));
        self.accepted += u64::from(node.verdict == Verdict::Accepted);
    }

    fn merge(&mut self, other: &Self) {
        self.drafted += other.drafted;
        self.reached += other.reached;
        self.accepted += other.accepted;
    }

    /// How often a tested candidate of the group was right.
    pub fn hit_rate(&self) -> Ratio {
        Ratio { n: self.accepted, of: self.reached }
    }
}

/// Candidates of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTally {
    /// Who guessed them.
    pub source: Source,
    /// What became of them.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Candidates at one depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthTally {
    /// Rounds whose kept path had candidates at this depth.
    pub tested: u64,
    /// What became of the candidates; `accepted` is also the number of rounds that got this deep.
    #[serde(flatten)]
    pub tally: Tally,
}

impl DepthTally {
    /// How often a depth that was tested was passed.
    pub fn path_rate(&self) -> Ratio {
        Ratio { n: self.tally.accepted, of: self.tested }
    }
}

/// Tested candidates whose proposer gave them a probability within one tenth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Candidates.
    pub count: u64,
    /// Sum of the probabilities their proposers gave them.
    pub predicted: f64,
    /// Those that passed the target's test, kept or outrun.
    pub passed: u64,
}

impl CalibrationBin {
    /// Mean of the predicted probabilities; 0 without candidates.
    pub fn mean_predicted(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.predicted / self.count as f64 }
    }

    /// How often the prediction came true.
    pub fn observed(&self) -> Ratio {
        Ratio { n: self.passed, of: self.count }
    }
}

/// Bins of the calibration, equally wide.
pub const CALIBRATION_BINS: usize = 10;

/// Counts a node in the bin of its predicted probability, if it was tested and has one: for figures
/// of any group of candidates, as [`SpecStats::calibration`] is of all.
pub fn calibrate(bins: &mut [CalibrationBin; CALIBRATION_BINS], node: &NodeOutcome) {
    let Some(p) = node.draft_p.filter(|_| reached(node)) else { return };
    // The cast saturates, so probabilities that are off fall into the outermost bins.
    let bin = ((p * CALIBRATION_BINS as f32) as usize).min(CALIBRATION_BINS - 1);
    let bin = &mut bins[bin];
    bin.count += 1;
    bin.predicted += f64::from(p);
    bin.passed += u64::from(matches!(node.verdict, Verdict::Accepted | Verdict::Outrun));
}

/// What drafts promised and what came of it, over the rounds whose drafts promised something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Promised {
    /// Rounds.
    pub rounds: u64,
    /// Tokens that they gave, the bonus included.
    pub tokens: u64,
    /// Tokens that were expected of them.
    pub expected: f64,
}

impl Promised {
    /// Expected tokens a round; nothing where nothing was promised.
    pub fn expected_a_round(&self) -> Option<f64> {
        (self.rounds > 0).then(|| self.expected / self.rounds as f64)
    }

    /// Tokens a round of the same rounds.
    pub fn tokens_a_round(&self) -> Ratio {
        Ratio { n: self.tokens, of: self.rounds }
    }
}

/// Figures over any number of rounds. All counts are sums over [`RoundOutcome`]s, so that parts can
/// be merged and anyone can add them up again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpecStats {
    /// Rounds: forward passes of the target behind the prompt.
    pub rounds: u64,
    /// Those without candidates.
    pub plain_rounds: u64,
    /// Tokens the rounds added: accepted candidates, and one bonus a round. Rounds may add tokens
    /// behind the end of an answer, which it then leaves out.
    pub tokens: u64,
    /// Candidates verified.
    pub drafted: u64,
    /// Candidates whose parent was kept.
    pub reached: u64,
    /// Candidates kept.
    pub accepted: u64,
    /// Bonus tokens, one a round.
    pub bonus: u64,
    /// Depths at which the kept path had candidates, over all rounds.
    pub tested_depths: u64,
    /// By source, in the order of [`Source`].
    pub by_source: Vec<SourceTally>,
    /// By depth, from depth 1.
    pub by_depth: Vec<DepthTally>,
    /// By rank below the same parent, from 0.
    pub by_rank: Vec<Tally>,
    /// Rounds by the number of tokens they added; entry 0 is always 0.
    pub tokens_histogram: Vec<u64>,
    /// Tested candidates by predicted probability, in tenths.
    pub calibration: [CalibrationBin; CALIBRATION_BINS],
    /// What drafts promised.
    #[serde(default)]
    pub promised: Promised,
    /// Wall times of all rounds together.
    pub times: StageTimes,
}

/// True if the node was tested: a candidate whose parent was kept.
fn reached(node: &NodeOutcome) -> bool {
    !matches!(node.verdict, Verdict::Root | Verdict::Unreached)
}

/// The entry at `index`, with what is missing before it.
fn entry<T: Clone + Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    if list.len() <= index {
        list.resize(index + 1, T::default());
    }
    &mut list[index]
}

impl SpecStats {
    /// Adds a round.
    pub fn add(&mut self, round: &RoundOutcome) {
        let (accepted, drafted) = (round.accepted() as u64, round.drafted() as u64);
        self.rounds += 1;
        self.plain_rounds += u64::from(drafted == 0);
        self.tokens += round.tokens() as u64;
        self.drafted += drafted;
        self.accepted += accepted;
        self.bonus += 1;
        *entry(&mut self.tokens_histogram, round.tokens()) += 1;
        if let Some(expected) = round.expected {
            self.promised.rounds += 1;
            self.promised.tokens += round.tokens() as u64;
            self.promised.expected += expected;
        }
        for node in &round.nodes[1..] {
            self.reached += u64::from(reached(node));
            self.source(node.source).add(node);
            let depth = (node.depth as usize).saturating_sub(1);
            entry(&mut self.by_depth, depth).tally.add(node);
            entry(&mut self.by_rank, usize::from(node.rank)).add(node);
            calibrate(&mut self.calibration, node);
        }
        for (depth, &kept) in round.path.iter().enumerate() {
            if round.nodes.iter().any(|node| node.parent == Some(kept)) {
                self.tested_depths += 1;
                entry(&mut self.by_depth, depth).tested += 1;
            }
        }
        self.times.add(&round.times);
    }

    /// Adds the rounds behind other figures.
    pub fn merge(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.plain_rounds += other.plain_rounds;
        self.tokens += other.tokens;
        self.drafted += other.drafted;
        self.reached += other.reached;
        self.accepted += other.accepted;
        self.bonus += other.bonus;
        self.tested_depths += other.tested_depths;
        for theirs in &other.by_source {
            self.source(theirs.source).merge(&theirs.tally);
        }
        for (depth, theirs) in other.by_depth.iter().enumerate() {
            let ours = entry(&mut self.by_depth, depth);
            ours.tested += theirs.tested;
            ours.tally.merge(&theirs.tally);
        }
        for (rank, theirs) in other.by_rank.iter().enumerate() {
            entry(&mut self.by_rank, rank).merge(theirs);
        }
        for (tokens, rounds) in other.tokens_histogram.iter().enumerate() {
            *entry(&mut self.tokens_histogram, tokens) += rounds;
        }
        for (ours, theirs) in self.calibration.iter_mut().zip(&other.calibration) {
            ours.count += theirs.count;
            ours.predicted += theirs.predicted;
            ours.passed += theirs.passed;
        }
        self.promised.rounds += other.promised.rounds;
        self.promised.tokens += other.promised.tokens;
        self.promised.expected += other.promised.expected;
        self.times.add(&other.times);
    }

    fn source(&mut self, source: Source) -> &mut Tally {
        let at = match self.by_source.binary_search_by_key(&source, |entry| entry.source) {
            Ok(at) => at,
            Err(at) => {
                self.by_source.insert(at, SourceTally { source, tally: Tally::default() });
                at
            }
        };
        &mut self.by_source[at].tally
    }

    /// Candidates accepted over depths tested; the bonus does not count.
    pub fn path_rate(&self) -> Ratio {
        Ratio { n: self.accepted, of: self.tested_depths }
    }

    /// Candidates accepted over candidates verified; the bonus does not count.
    pub fn budget_rate(&self) -> Ratio {
        Ratio { n: self.accepted, of: self.drafted }
    }

    /// Tokens over rounds, the bonus included; plain decoding has 1. Spec-Bench calls it mean
    /// accepted tokens.
    pub fn tokens_a_round(&self) -> Ratio {
        Ratio { n: self.tokens, of: self.rounds }
    }

    /// All of it in a line of words.
    pub fn summary(&self) -> String {
        if self.rounds == 0 {
            return "no rounds".into();
        }
        let rounds = plural(self.rounds, "round");
        let tokens = plural(self.tokens, "token");
        let mut text = format!(
            "{rounds} gave {tokens}, {:.2} a round with the bonus",
            self.tokens_a_round().value()
        );
        if self.drafted == 0 {
            text.push_str("; nothing was drafted");
        } else {
            let (path, budget) = (self.path_rate(), self.budget_rate());
            text.push_str(&format!(
                "; accepted {} of {} depths tested (path rate {:.0} %), of {} candidates verified \
                 (budget rate {:.0} %)",
                path.n,
                path.of,
                100.0 * path.value(),
                budget.of,
                100.0 * budget.value()
            ));
        }
        let total = self.times.total_ms();
        if total > 0.0 {
            let share = |ms: f64| 100.0 * ms / total;
            text.push_str(&format!(
                "; {:.2} s: draft {:.0} %, verify {:.0} %, commit {:.0} %, host {:.0} %",
                total / 1e3,
                share(self.times.draft_ms),
                share(self.times.verify_ms),
                share(self.times.commit_ms),
                share(self.times.host_ms)
            ));
        }
        text
    }
}

fn plural(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Method, sample_rounds::*};

    #[test]
    fn figures_of_a_round_made_by_hand_add_up() {
        let mut stats = SpecStats::default();
        stats.add(&branching(0));
        assert_eq!((stats.rounds, stats.plain_rounds, stats.tokens, stats.bonus), (1, 0, 3, 1));
        assert_eq!((stats.drafted, stats.reached, stats.accepted), (6, 5, 2));
        // Depths 1, 2 and 3 had candidates below the kept path; the third was not passed.
        assert_eq!(stats.path_rate(), Ratio { n: 2, of: 3 });
        assert_eq!(stats.budget_rate(), Ratio { n: 2, of: 6 });
        assert_eq!(stats.tokens_a_round(), Ratio { n: 3, of: 1 });
        let tally = |drafted, reached, accepted| Tally { drafted, reached, accepted };
        let by_source: Vec<_> = stats.by_source.iter().map(|s| (s.source, s.tally)).collect();
        let wanted = [
            (Source::Head(0), tally(2, 2, 1)),
            (Source::Head(1), tally(3, 2, 1)),
            (Source::Head(2), tally(1, 1, 0)),
        ];
        assert_eq!(by_source, wanted);
        let by_depth: Vec<_> = stats.by_depth.iter().map(|d| (d.tested, d.tally)).collect();
        assert_eq!(by_depth, wanted.map(|(_, tally)| (1, tally)));
        assert_eq!(stats.by_rank, [tally(4, 3, 1), tally(2, 2, 1)]);
        assert_eq!(stats.tokens_histogram, [0, 0, 0, 1]);
        let counts: Vec<_> = stats.calibration.iter().map(|b| (b.count, b.passed)).collect();
        let mut wanted = [(0, 0); CALIBRATION_BINS];
        (wanted[6], wanted[2], wanted[5], wanted[4]) = ((1, 1), (2, 1), (1, 0), (1, 0));
        assert_eq!(counts, wanted);
        assert!((stats.calibration[2].mean_predicted() - 0.25).abs() < 1e-6);
    }

    #[test]
    fn a_plain_round_tests_nothing() {
        let mut stats = SpecStats::default();
        stats.add(&plain(0));
        assert_eq!((stats.plain_rounds, stats.tokens, stats.drafted), (1, 1, 0));
        assert_eq!(stats.path_rate(), Ratio::default());
        assert_eq!(stats.path_rate().value(), 0.0);
        let text = stats.summary();
        assert!(text.starts_with("1 round gave 1 token, 1.00 a round"), "{text}");
        assert!(text.contains("nothing was drafted"), "{text}");
        assert_eq!(SpecStats::default().summary(), "no rounds");
    }

    #[test]
    fn every_grouping_has_the_same_totals() {
        let mut stats = SpecStats::default();
        for round in [branching(0), plain(1), chain(2), typical(3)] {
            stats.add(&round);
        }
        let total = |tallies: &mut dyn Iterator<Item = Tally>| {
            let mut sum = Tally::default();
            tallies.for_each(|tally| sum.merge(&tally));
            sum
        };
        let all =
            Tally { drafted: stats.drafted, reached: stats.reached, accepted: stats.accepted };
        assert_eq!(total(&mut stats.by_source.iter().map(|s| s.tally)), all);
        assert_eq!(total(&mut stats.by_depth.iter().map(|d| d.tally)), all);
        assert_eq!(total(&mut stats.by_rank.iter().copied()), all);
        assert_eq!(stats.by_depth.iter().map(|d| d.tested).sum::<u64>(), stats.tested_depths);
        assert_eq!(stats.tokens_histogram.iter().sum::<u64>(), stats.rounds);
        let weighted = stats.tokens_histogram.iter().enumerate().map(|(n, r)| n as u64 * r);
        assert_eq!(weighted.sum::<u64>(), stats.tokens);
        assert_eq!(stats.tokens, stats.accepted + stats.bonus);
    }

    #[test]
    fn merging_parts_equals_adding_all() {
        let rounds = [branching(0), plain(1), chain(2), typical(3)];
        let mut all = SpecStats::default();
        rounds.iter().for_each(|round| all.add(round));
        for cut in 0..=rounds.len() {
            let (mut left, mut right) = (SpecStats::default(), SpecStats::default());
            rounds[..cut].iter().for_each(|round| left.add(round));
            rounds[cut..].iter().for_each(|round| right.add(round));
            left.merge(&right);
            // Times in the samples are multiples of 1/4 ms, so their sums are exact.
            assert_eq!(left.times, all.times);
            left.calibration = all.calibration;
            assert_eq!(left, all);
        }
    }

    #[test]
    fn promises_are_weighed_against_the_same_rounds() {
        let mut stats = SpecStats::default();
        stats.add(&chain(0));
        assert_eq!(stats.promised.expected_a_round(), None, "nothing was promised");
        stats.add(&RoundOutcome { expected: Some(2.5), ..branching(1) });
        stats.add(&RoundOutcome { expected: Some(1.5), ..typical(2) });
        let promised = stats.promised;
        assert_eq!(promised.expected_a_round(), Some(2.0));
        assert_eq!(promised.tokens_a_round(), Ratio { n: 5, of: 2 });
        let mut twice = stats.clone();
        twice.merge(&stats);
        assert_eq!(twice.promised, Promised { rounds: 4, tokens: 10, expected: 8.0 });
    }

    #[test]
    fn outrun_candidates_passed_but_were_not_accepted() {
        let mut stats = SpecStats::default();
        let round = typical(0);
        assert_eq!(round.method, Method::Medusa);
        stats.add(&round);
        assert_eq!(stats.accepted, 1);
        assert_eq!(stats.calibration.iter().map(|b| b.passed).sum::<u64>(), 2);
    }
}
