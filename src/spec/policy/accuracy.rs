//! How often each guess of each head is right, counted as rounds go by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Chances;
use crate::{
    format::heads::{HeadRecord, PathCount},
    spec::{RoundOutcome, Source, Verdict},
};

/// How often something was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Times it was right.
    pub hits: u64,
    /// Times it was tested.
    pub trials: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        // Files may say anything.
        self.hits = self.hits.saturating_add(other.hits);
        self.trials = self.trials.saturating_add(other.trials);
    }
}

/// Counts by head and rank, and by the ranks of the whole path. A node is tested in rounds that kept
/// its parent, so the counts are of what a search needs: accuracy given that the path before is
/// right. The path matters: where a head's first guess was right, the next head's is right more often
/// than behind a tenth guess that was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadAccuracy {
    counts: Vec<Vec<Count>>,
    paths: BTreeMap<Vec<u16>, Count>,
}

/// Rounds that accuracies of a head file weigh as much as where that is all there is: they were taken
/// on other text, and not where rounds begin.
const PRIOR_WEIGHT: f64 = 100.0;
/// Rounds that what was counted when the heads were calibrated weighs as much as, at most. Its text
/// may be another one than the user's, so after some hundred rounds what was seen decides.
const CALIBRATED_WEIGHT: f64 = 300.0;
/// Rounds that what is known of a guess behind shorter paths weighs as much as.
const BACKOFF_WEIGHT: f64 = 20.0;

/// What is believed of heads before they have drafted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belief {
    /// `[head][rank]`.
    accuracy: Vec<Vec<f32>>,
    /// Counted when the heads were calibrated.
    counted: HeadAccuracy,
    /// What one of these counts is worth.
    worth: f64,
    /// Rounds that the accuracies weigh as much as.
    weight: f64,
}

impl Belief {
    /// What a file says of so many heads; that they are as good as heads usually are, where it says
    /// nothing.
    pub fn of(heads: usize, record: &HeadRecord) -> Self {
        let accuracy = match record.accuracy.is_empty() {
            true => HeadAccuracy::typical(heads, 16),
            false => record.accuracy[..heads.min(record.accuracy.len())].to_vec(),
        };
        let mut counted = HeadAccuracy::new();
        for path in record.paths.iter().filter(|path| (1..=heads).contains(&path.ranks.len())) {
            counted
                .add(&path.ranks, Count { hits: path.hits.min(path.trials), trials: path.trials });
        }
        let rounds = counted.rounds();
        let worth = CALIBRATED_WEIGHT / (rounds as f64).max(CALIBRATED_WEIGHT);
        let weight = if rounds > 0 { BACKOFF_WEIGHT } else { PRIOR_WEIGHT };
        Self { accuracy, counted, worth, weight }
    }
}

impl HeadAccuracy {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rounds counted: those that tested the guess of the first head that was tested most.
    pub fn rounds(&self) -> u64 {
        let first = self.counts.first().into_iter().flatten();
        first.map(|count| count.trials).max().unwrap_or(0)
    }

    /// Makes all that was counted so far worth half as much.
    pub fn halve(&mut self) {
        for count in self.counts.iter_mut().flatten().chain(self.paths.values_mut()) {
            count.hits /= 2;
            count.trials /= 2;
        }
    }

    /// Counts the heads' nodes of a round.
    pub fn observe(&mut self, round: &RoundOutcome) {
        let mut paths: Vec<Vec<u16>> = Vec::with_capacity(round.nodes.len());
        for node in &round.nodes {
            let mut path = node.parent.map_or(vec![], |parent| paths[parent as usize].clone());
            if let Source::Head(_) = node.source {
                path.push(node.rank);
                if node.verdict != Verdict::Unreached {
                    let hits = u64::from(node.verdict == Verdict::Accepted);
                    self.add(&path, Count { hits, trials: 1 });
                }
            }
            paths.push(path);
        }
    }

    /// Counts the guess that a path ends with, also behind each ending of the path.
    fn add(&mut self, path: &[u16], count: Count) {
        let Some((&rank, before)) = path.split_last() else { return };
        let (head, rank) = (before.len(), usize::from(rank));
        for from in 0..head {
            self.paths.entry(ending(head, &path[from..])).or_default().add(count);
        }
        if self.counts.len() <= head {
            self.counts.resize(head + 1, vec![]);
        }
        let ranks = &mut self.counts[head];
        if ranks.len() <= rank {
            ranks.resize(rank + 1, Count::default());
        }
        ranks[rank].add(count);
    }

    /// The counts of whole paths, for a head file.
    pub fn whole_paths(&self) -> Vec<PathCount> {
        let first = self.counts.first().into_iter().flatten().enumerate();
        let first = first.map(|(rank, &count)| (vec![rank as u16], count));
        let whole = |(key, &count): (&Vec<u16>, &Count)| {
            let (head, path) = key.split_first()?;
            (path.len() == usize::from(*head) + 1).then(|| (path.to_vec(), count))
        };
        let all = first.chain(self.paths.iter().filter_map(whole));
        all.filter(|(_, count)| count.trials > 0)
            .map(|(ranks, Count { hits, trials })| PathCount { ranks, hits, trials })
            .collect()
    }

    /// Numerator and denominator of a guess.
    pub fn count(&self, head: usize, rank: usize) -> Count {
        self.counts.get(head).and_then(|ranks| ranks.get(rank)).copied().unwrap_or_default()
    }

    /// `[head][rank]`: what was seen, pulled towards what is believed. Has the heads and ranks of the
    /// belief.
    fn estimate(&self, belief: &Belief) -> Vec<Vec<f32>> {
        let estimate = |head: usize, rank: usize, prior: f32| {
            let seen = (self.count(head, rank), belief.counted.count(head, rank));
            blend(seen, belief.worth, (f64::from(prior), belief.weight)) as f32
        };
        let heads = belief.accuracy.iter().enumerate();
        heads
            .map(|(head, ranks)| {
                (0..).zip(ranks).map(|(rank, &prior)| estimate(head, rank, prior)).collect()
            })
            .collect()
    }

    /// What is known of guesses behind paths.
    pub fn chances<'a>(&'a self, belief: &'a Belief) -> PathChances<'a> {
        PathChances { estimate: self.estimate(belief), seen: self, belief }
    }

    /// What heads of which nothing is known may be expected to do: about what is published for
    /// Medusa's (top-1 of 0.5, 0.3, 0.18, …, top-5 half as much more).
    pub fn typical(heads: usize, ranks: usize) -> Vec<Vec<f32>> {
        let head = |k: usize| -> Vec<f32> {
            let first = 0.5 * 0.6f32.powi(k as i32);
            let rank = |r: usize| if r == 0 { first } else { first * 0.35 / (r + 1) as f32 };
            (0..ranks).map(rank).collect()
        };
        (0..heads).map(head).collect()
    }
}

/// A share by what was seen, what was counted before, of less worth, and what is believed without
/// counts, of some weight.
fn blend((seen, before): (Count, Count), worth: f64, (prior, weight): (f64, f64)) -> f64 {
    let hits = seen.hits as f64 + worth * before.hits as f64;
    let trials = seen.trials as f64 + worth * before.trials as f64;
    (hits + weight * prior) / (trials + weight)
}

/// The key of a head's guess behind the end of a path, which ends with the guess.
fn ending(head: usize, path: &[u16]) -> Vec<u16> {
    std::iter::once(head as u16).chain(path.iter().copied()).collect()
}

/// [`HeadAccuracy`] as a search sees it: the longer the path that was seen often, the more it counts.
#[derive(Clone, Debug)]
pub struct PathChances<'a> {
    /// `[head][rank]` behind any path.
    estimate: Vec<Vec<f32>>,
    seen: &'a HeadAccuracy,
    belief: &'a Belief,
}

impl Chances for PathChances<'_> {
    fn behind(&self, path: &[usize]) -> Vec<f32> {
        let head = path.len();
        let Some(ranks) = self.estimate.get(head) else { return Vec::new() };
        let mut whole: Vec<u16> = path.iter().map(|&rank| rank as u16).collect();
        whole.push(0);
        let behind = |(rank, &anywhere): (usize, &f32)| {
            whole[head] = rank as u16;
            let mut p = f64::from(anywhere);
            for from in (0..head).rev() {
                let key = ending(head, &whole[from..]);
                let count = |of: &HeadAccuracy| of.paths.get(&key).copied().unwrap_or_default();
                let seen = (count(self.seen), count(&self.belief.counted));
                p = blend(seen, self.belief.worth, (p, BACKOFF_WEIGHT));
            }
            p as f32
        };
        ranks.iter().enumerate().map(behind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Method, NodeOutcome, StageTimes};

    fn node(source: Source, rank: u16, verdict: Verdict) -> NodeOutcome {
        NodeOutcome {
            token: 0,
            parent: (source != Source::Root).then_some(0),
            depth: 1,
            source,
            rank,
            draft_p: None,
            target_p: None,
            entropy: None,
            threshold: None,
            verdict,
        }
    }

    fn round(nodes: Vec<NodeOutcome>) -> RoundOutcome {
        RoundOutcome {
            round: 0,
            prefix: 0,
            method: Method::Medusa,
            nodes,
            path: vec![0],
            bonus: 0,
            expected: None,
            times: StageTimes::default(),
        }
    }

    fn belief(accuracy: Vec<Vec<f32>>) -> Belief {
        Belief::of(accuracy.len(), &HeadRecord { accuracy, ..HeadRecord::default() })
    }

    #[test]
    fn only_tested_nodes_of_heads_count() {
        let mut accuracy = HeadAccuracy::new();
        let rejected = Verdict::Rejected { wanted: 3 };
        accuracy.observe(&round(vec![
            node(Source::Root, 0, Verdict::Root),
            node(Source::Head(0), 0, rejected),
            node(Source::Head(0), 1, Verdict::Accepted),
            NodeOutcome { parent: Some(2), ..node(Source::Head(1), 0, Verdict::Accepted) },
            NodeOutcome { parent: Some(3), ..node(Source::Head(2), 4, Verdict::BelowThreshold) },
            NodeOutcome { parent: Some(1), ..node(Source::Head(1), 0, Verdict::Unreached) },
            node(Source::Lookup, 0, Verdict::Accepted),
        ]));
        let root = node(Source::Root, 0, Verdict::Root);
        accuracy.observe(&round(vec![root, node(Source::Head(0), 1, rejected)]));
        assert_eq!(accuracy.count(0, 0), Count { hits: 0, trials: 1 });
        assert_eq!(accuracy.count(0, 1), Count { hits: 1, trials: 2 });
        assert_eq!(accuracy.count(1, 0), Count { hits: 1, trials: 1 });
        assert_eq!(accuracy.count(2, 4), Count { hits: 0, trials: 1 });
    }

    #[test]
    fn guesses_behind_a_right_first_guess_are_told_from_others() {
        let mut accuracy = HeadAccuracy::new();
        let below = |parent: u32, verdict| NodeOutcome {
            parent: Some(parent),
            ..node(Source::Head(1), 0, verdict)
        };
        let rejected = Verdict::Rejected { wanted: 3 };
        for i in 0..400 {
            // Head 1 is right nine times in ten behind guess 0, one time in ten behind guess 1.
            let (first, second) = if i % 2 == 0 {
                (Verdict::Accepted, rejected)
            } else {
                (rejected, Verdict::Accepted)
            };
            let often = if i % 20 == 0 { rejected } else { Verdict::Accepted };
            let seldom = if i % 20 == 1 { Verdict::Accepted } else { rejected };
            let behind = |kept: Verdict, said| {
                if kept == Verdict::Accepted { said } else { Verdict::Unreached }
            };
            accuracy.observe(&round(vec![
                node(Source::Root, 0, Verdict::Root),
                NodeOutcome { parent: Some(0), ..node(Source::Head(0), 0, first) },
                NodeOutcome { parent: Some(0), ..node(Source::Head(0), 1, second) },
                below(1, behind(first, often)),
                below(2, behind(second, seldom)),
            ]));
        }
        let belief = belief(vec![vec![0.5, 0.5], vec![0.5]]);
        let chances = accuracy.chances(&belief);
        let [first, second] = [0, 1].map(|rank| chances.behind(&[rank])[0]);
        assert!((first - 0.9).abs() < 0.05 && (second - 0.1).abs() < 0.05, "{first} {second}");
        assert!((chances.behind(&[])[0] - 0.5).abs() < 0.01);
        assert!((chances.behind(&[7])[0] - 0.5).abs() < 0.01, "never seen: as behind any");
        assert!(chances.behind(&[0, 0]).is_empty(), "there are two heads");
    }

    #[test]
    fn what_is_seen_outweighs_the_prior_in_time() {
        let mut accuracy = HeadAccuracy::new();
        let prior = vec![vec![0.8, 0.1], vec![0.5]];
        let belief = belief(prior.clone());
        assert_eq!(accuracy.estimate(&belief), prior);
        for i in 0..100 {
            let verdict = if i % 5 == 0 { Verdict::Accepted } else { Verdict::BelowThreshold };
            let root = node(Source::Root, 0, Verdict::Root);
            accuracy.observe(&round(vec![root, node(Source::Head(0), 0, verdict)]));
        }
        let estimate = accuracy.estimate(&belief);
        assert!((estimate[0][0] - 0.5).abs() < 1e-6, "as much seen as believed: {estimate:?}");
        assert_eq!((estimate[0][1], estimate[1][0]), (0.1, 0.5));
    }

    #[test]
    fn what_was_counted_before_is_believed_until_more_was_seen() {
        let path = |ranks: &[u16], hits, trials| PathCount { ranks: ranks.to_vec(), hits, trials };
        let paths = vec![path(&[0], 1500, 3000), path(&[1], 300, 3000), path(&[0, 0], 1350, 1500)];
        let record = HeadRecord {
            accuracy: vec![vec![0.9, 0.9], vec![0.2]],
            paths: paths.clone(),
            ..HeadRecord::default()
        };
        let belief = Belief::of(2, &record);
        assert_eq!(belief.counted.whole_paths(), paths);
        let mut accuracy = HeadAccuracy::new();
        let [first, second] = [0, 1].map(|rank| accuracy.chances(&belief).behind(&[])[rank]);
        // Three hundred rounds against twenty of the accuracy.
        assert!((first - 0.525).abs() < 1e-6 && (second - 0.15).abs() < 1e-6, "{first} {second}");
        let behind = accuracy.chances(&belief).behind(&[0])[0];
        assert!(behind > 0.8, "{behind}: nine of ten behind a right first guess");
        for _ in 0..2000 {
            let root = node(Source::Root, 0, Verdict::Root);
            let wrong = node(Source::Head(0), 0, Verdict::BelowThreshold);
            accuracy.observe(&round(vec![root, wrong]));
        }
        assert!(accuracy.chances(&belief).behind(&[])[0] < 0.11);
        // A file that says what cannot be does no harm.
        let odd = HeadRecord { paths: vec![path(&[], 1, 1), path(&[0; 9], 9, 1)], ..record };
        assert!(Belief::of(2, &odd).counted.whole_paths().is_empty());
    }

    #[test]
    fn what_was_seen_long_ago_counts_less() {
        let mut accuracy = HeadAccuracy::new();
        assert_eq!(accuracy.rounds(), 0);
        for i in 0..40 {
            let verdict = if i < 10 { Verdict::Accepted } else { Verdict::BelowThreshold };
            let root = node(Source::Root, 0, Verdict::Root);
            accuracy.observe(&round(vec![root, node(Source::Head(0), 0, verdict)]));
        }
        assert_eq!(accuracy.rounds(), 40);
        accuracy.halve();
        assert_eq!(accuracy.count(0, 0), Count { hits: 5, trials: 20 });
    }

    #[test]
    fn expectations_fall_with_head_and_rank() {
        let expected = HeadAccuracy::typical(4, 8);
        for head in &expected {
            assert!(head.windows(2).all(|pair| pair[0] > pair[1] && pair[1] > 0.0));
            assert!(head.iter().sum::<f32>() < 1.0);
        }
        assert!(expected.windows(2).all(|pair| pair[0][0] > pair[1][0]));
    }
}
