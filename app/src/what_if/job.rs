//! All rounds, judged a piece at a time, so that no frame waits for a long trace.

use std::sync::Arc;

use coppice::{
    format::heads::HeadRecord,
    spec::{
        Source,
        policy::{Belief, Between, CurveKey, HeadAccuracy, Limits, Shape, VerifyCurve, best_tree},
        trace::TraceRound,
    },
};

use super::{Change, judge};
use crate::trace_log::TraceLog;

/// Plain rounds from which a plain step's time is believed.
const ENOUGH: u64 = 3;

/// What rounds would give.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rescored {
    /// Rounds judged.
    pub rounds: u64,
    /// Tokens that the trace has of them.
    pub recorded: u64,
    /// Tokens at least.
    pub low: u64,
    /// Tokens at most.
    pub high: u64,
    /// Rows verified in the trace.
    pub recorded_rows: u64,
    /// Rows that would be verified.
    pub rows: u64,
    /// Rounds whose count is a range.
    pub uncertain: u64,
    /// Rounds that the change does not touch.
    pub untouched: u64,
    /// Milliseconds of the rounds of the trace by the curve, if there is one.
    pub recorded_ms: f64,
    /// Milliseconds of the changed rounds by the curve.
    pub ms: f64,
}

/// Judges the rounds of a log.
#[derive(Clone, Debug)]
pub struct Job {
    change: Change,
    first: Option<Arc<TraceRound>>,
    next: usize,
    curve: Option<VerifyCurve>,
    /// So far.
    pub result: Rescored,
    /// The tree that promises most tokens a unit of time for heads that guess as they did in the
    /// rounds judged; none before all are, nor without a curve or heads.
    pub best: Option<Shape>,
    accuracy: HeadAccuracy,
    heads: usize,
}

impl Job {
    /// A job that has judged nothing yet. Times are by `curve`.
    pub fn new(change: Change, log: &TraceLog, curve: Option<VerifyCurve>) -> Self {
        Self {
            change,
            first: log.rounds.first().cloned(),
            next: 0,
            curve,
            result: Rescored::default(),
            best: None,
            accuracy: HeadAccuracy::new(),
            heads: 0,
        }
    }

    /// Whether this is of such a change, log and curve, so that it can go on.
    pub fn is_of(&self, change: &Change, log: &TraceLog, curve: Option<&VerifyCurve>) -> bool {
        let same_log = match (&self.first, log.rounds.first()) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        self.change == *change && same_log && self.curve.as_ref() == curve
    }

    /// Judges up to `most` more rounds; true when all are judged.
    pub fn advance(&mut self, log: &TraceLog, most: usize) -> bool {
        let end = log.rounds.len().min(self.next.saturating_add(most));
        for round in &log.rounds[self.next.min(end)..end] {
            self.add(round);
        }
        let is_new = self.next < end;
        self.next = end;
        let done = self.next == log.rounds.len();
        if done && is_new {
            self.best = self.best_tree();
        }
        done
    }

    /// Rounds judged.
    pub fn done(&self) -> usize {
        self.next
    }

    fn add(&mut self, round: &TraceRound) {
        let outcome = &round.outcome;
        let judged = judge(outcome, &self.change);
        let result = &mut self.result;
        result.rounds += 1;
        result.recorded += outcome.tokens() as u64;
        result.low += judged.low as u64;
        result.high += judged.high as u64;
        result.recorded_rows += outcome.nodes.len() as u64;
        result.rows += judged.rows as u64;
        result.uncertain += u64::from(judged.low != judged.high);
        result.untouched += u64::from(!judged.touched);
        if let Some(curve) = &self.curve {
            let depth = outcome.nodes.iter().map(|node| node.depth as usize).max().unwrap_or(0);
            result.recorded_ms += curve.round_ms(outcome.nodes.len(), depth);
            result.ms += curve.round_ms(judged.rows, judged.depth);
        }
        self.accuracy.observe(outcome);
        for node in &outcome.nodes {
            if let Source::Head(head) = node.source {
                self.heads = self.heads.max(usize::from(head) + 1);
            }
        }
    }

    fn best_tree(&self) -> Option<Shape> {
        let curve = self.curve.as_ref().filter(|_| self.heads > 0)?;
        let belief = Belief::of(self.heads, &HeadRecord::default());
        Some(best_tree(&self.accuracy.chances(&belief), curve, Limits::default()))
    }
}

/// What rounds took in the trace itself, as a curve: for traces of other devices. None where it has
/// too few plain rounds or too few sizes of trees to say.
pub fn curve_of(log: &TraceLog) -> Option<VerifyCurve> {
    let sums = log.between(0..usize::MAX);
    let header = log.header.as_ref()?;
    let points: Vec<(usize, f64)> = log
        .verified
        .iter()
        .filter(|(rows, (n, ms))| **rows > 1 && *n > 0 && *ms > 0.0)
        .map(|(&rows, &(n, ms))| (rows, ms / n as f64))
        .collect();
    if sums.plain_rounds < ENOUGH || points.len() < 2 {
        return None;
    }
    let drafted = (sums.rounds - sums.plain_rounds).max(1) as f64;
    let key = CurveKey {
        device: header.device.clone(),
        driver: String::new(),
        model: header.model.clone(),
        heads: None,
        threads: 0,
        program: String::new(),
    };
    let plain_ms = sums.plain_ms / sums.plain_rounds as f64;
    let draft_ms = vec![(sums.times.draft_ms / drafted).max(0.0)];
    VerifyCurve::new(key, plain_ms, points, Between::Linear, draft_ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> VerifyCurve {
        let key = CurveKey {
            device: "d".into(),
            driver: "v".into(),
            model: "m".into(),
            heads: None,
            threads: 1,
            program: "p".into(),
        };
        let points = vec![(1, 10.0), (8, 14.0), (32, 30.0), (64, 60.0)];
        VerifyCurve::new(key, 10.0, points, Between::Linear, vec![1.0]).expect("valid")
    }

    #[test]
    fn pieces_add_up_to_the_trace() {
        let log = crate::demo::trace();
        let mut job = Job::new(Change::default(), &log, Some(curve()));
        let mut pieces = 0;
        while !job.advance(&log, 5) {
            pieces += 1;
        }
        assert_eq!(pieces, (log.rounds.len() - 1) / 5);
        let result = job.result;
        assert_eq!((result.rounds, result.recorded), (log.stats.rounds, log.stats.tokens));
        assert_eq!((result.low, result.high), (result.recorded, result.recorded));
        assert!(result.ms > 0.0 && result.ms == result.recorded_ms);
        assert!(job.is_of(&Change::default(), &log, Some(&curve())));
        assert!(!job.is_of(&Change::default(), &crate::demo::trace(), Some(&curve())));
        assert!(!job.is_of(&Change { depth: 1, ..Change::default() }, &log, Some(&curve())));
    }

    #[test]
    fn smaller_trees_give_no_more_tokens_and_take_no_longer() {
        let log = crate::demo::trace();
        let mut before = u64::MAX;
        for nodes in [64, 16, 8, 4, 2, 1] {
            let change = Change { nodes, ..Change::default() };
            let mut job = Job::new(change, &log, Some(curve()));
            assert!(job.advance(&log, usize::MAX));
            assert!(job.result.low <= before, "{nodes} nodes");
            assert!(job.result.ms <= job.result.recorded_ms);
            before = job.result.low;
        }
        assert_eq!(before, log.stats.rounds, "the root alone gives one token a round");
    }

    #[test]
    fn the_best_tree_follows_what_heads_did() {
        let log = crate::demo::trace();
        let mut job = Job::new(Change::default(), &log, Some(curve()));
        assert!(job.advance(&log, usize::MAX));
        let best = job.best.expect("there are heads and a curve");
        assert!(best.speedup >= 1.0 && best.tokens >= 1.0, "{best:?}");
        let mut without = Job::new(Change::default(), &log, None);
        assert!(without.advance(&log, usize::MAX));
        assert_eq!(without.best, None);
    }

    #[test]
    fn a_trace_without_plain_rounds_has_no_curve_of_its_own() {
        let mut log = crate::demo::trace();
        assert_eq!(curve_of(&log), None, "the demonstration drafts in every round");
        for n in 0..4 {
            let mut plain = (*log.rounds[n]).clone();
            plain.outcome.nodes.truncate(1);
            plain.outcome.path.truncate(1);
            plain.texts.truncate(1);
            log.push(plain.into());
            let mut small = (*log.rounds[n]).clone();
            small.outcome.path.truncate(1);
            small.outcome.nodes.truncate(2);
            small.texts.truncate(2);
            log.push(small.into());
        }
        let curve = curve_of(&log).expect("there are now");
        let sums = log.between(0..usize::MAX);
        assert!((curve.plain_ms() - sums.plain_ms / sums.plain_rounds as f64).abs() < 1e-9);
    }
}
