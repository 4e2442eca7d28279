//! How often each guess of each head is right, counted as rounds go by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Chances;
use crate::spec::{RoundOutcome, Source, Verdict};

/// How often something was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Times it was right.
    pub hits: u64,
    /// Times it was tested.
    pub trials: u64,
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

/// Rounds that what a head file says of itself weighs as much as. Its text may be another one than
/// the user's, so after a few hundred rounds what was seen decides.
const PRIOR_WEIGHT: f64 = 100.0;
/// Rounds that what is known of a guess behind shorter paths weighs as much as.
const BACKOFF_WEIGHT: f64 = 20.0;

impl HeadAccuracy {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the heads' nodes of a round.
    pub fn observe(&mut self, round: &RoundOutcome) {
        let mut paths: Vec<Vec<u16>> = Vec::with_capacity(round.nodes.len());
        for node in &round.nodes {
            let mut path = node.parent.map_or(vec![], |parent| paths[parent as usize].clone());
            let Source::Head(head) = node.source else {
                paths.push(path);
                continue;
            };
            path.push(node.rank);
            let (head, rank) = (usize::from(head), usize::from(node.rank));
            paths.push(path);
            if node.verdict == Verdict::Unreached {
                continue;
            }
            let hit = u64::from(node.verdict == Verdict::Accepted);
            // Behind each ending of the path that is longer than the guess itself.
            let path = paths.last().expect("just added");
            for from in 0..path.len().saturating_sub(1) {
                let key = ending(head, &path[from..]);
                let count = self.paths.entry(key).or_default();
                count.trials += 1;
                count.hits += hit;
            }
            if self.counts.len() <= head {
                self.counts.resize(head + 1, vec![]);
            }
            let ranks = &mut self.counts[head];
            if ranks.len() <= rank {
                ranks.resize(rank + 1, Count::default());
            }
            ranks[rank].trials += 1;
            ranks[rank].hits += hit;
        }
    }

    /// Numerator and denominator of a guess.
    pub fn count(&self, head: usize, rank: usize) -> Count {
        self.counts.get(head).and_then(|ranks| ranks.get(rank)).copied().unwrap_or_default()
    }

    /// `[head][rank]`: the counts, pulled towards `prior` by the weight of 100 rounds. Has the heads
    /// and ranks of the prior.
    pub fn estimate(&self, prior: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let estimate = |head: usize, rank: usize, prior: f32| {
            let Count { hits, trials } = self.count(head, rank);
            let hits = hits as f64 + PRIOR_WEIGHT * f64::from(prior);
            (hits / (trials as f64 + PRIOR_WEIGHT)) as f32
        };
        let heads = prior.iter().enumerate();
        heads
            .map(|(head, ranks)| {
                (0..).zip(ranks).map(|(rank, &prior)| estimate(head, rank, prior)).collect()
            })
            .collect()
    }

    /// What is known of guesses behind paths, believing `prior` where nothing was seen.
    pub fn chances(&self, prior: &[Vec<f32>]) -> PathChances<'_> {
        PathChances { estimate: self.estimate(prior), seen: self }
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
                let count = self.seen.paths.get(&ending(head, &whole[from..]));
                let Count { hits, trials } = count.copied().unwrap_or_default();
                p = (hits as f64 + BACKOFF_WEIGHT * p) / (trials as f64 + BACKOFF_WEIGHT);
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

    #[test]
    fn only_tested_nodes_of_heads_count() {
        let mut accuracy = HeadAccuracy::new();
        let rejected = Verdict::Rejected { wanted: 3 };
        accuracy.observe(&round(vec![
            node(Source::Root, 0, Verdict::Root),
            node(Source::Head(0), 0, rejected),
            node(Source::Head(0), 1, Verdict::Accepted),
            node(Source::Head(1), 0, Verdict::Unreached),
            node(Source::Head(2), 4, Verdict::BelowThreshold),
            node(Source::Lookup, 0, Verdict::Accepted),
        ]));
        let root = node(Source::Root, 0, Verdict::Root);
        accuracy.observe(&round(vec![root, node(Source::Head(0), 1, rejected)]));
        assert_eq!(accuracy.count(0, 0), Count { hits: 0, trials: 1 });
        assert_eq!(accuracy.count(0, 1), Count { hits: 1, trials: 2 });
        assert_eq!(accuracy.count(1, 0), Count::default());
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
        let prior = vec![vec![0.5, 0.5], vec![0.5]];
        let chances = accuracy.chances(&prior);
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
        assert_eq!(accuracy.estimate(&prior), prior);
        for i in 0..100 {
            let verdict = if i % 5 == 0 { Verdict::Accepted } else { Verdict::BelowThreshold };
            let root = node(Source::Root, 0, Verdict::Root);
            accuracy.observe(&round(vec![root, node(Source::Head(0), 0, verdict)]));
        }
        let estimate = accuracy.estimate(&prior);
        assert!((estimate[0][0] - 0.5).abs() < 1e-6, "as much seen as believed: {estimate:?}");
        assert_eq!((estimate[0][1], estimate[1][0]), (0.1, 0.5));
        assert!(accuracy.estimate(&[]).is_empty());
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
