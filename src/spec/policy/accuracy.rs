//! How often each guess of each head is right, counted as rounds go by.

use serde::{Deserialize, Serialize};

use crate::spec::{RoundOutcome, Source, Verdict};

/// How often something was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Times it was right.
    pub hits: u64,
    /// Times it was tested.
    pub trials: u64,
}

/// Counts by head and rank. A node is tested in rounds that kept its parent, so the counts are of
/// what a search needs: accuracy given that the path before is right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadAccuracy {
    counts: Vec<Vec<Count>>,
}

/// Rounds that what a head file says of itself weighs as much as. Its text may be another one than
/// the user's, so after a few hundred rounds what was seen decides.
const PRIOR_WEIGHT: f64 = 100.0;

impl HeadAccuracy {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the heads' nodes of a round.
    pub fn observe(&mut self, round: &RoundOutcome) {
        for node in &round.nodes {
            let Source::Head(head) = node.source else { continue };
            let (head, rank) = (usize::from(head), usize::from(node.rank));
            if node.verdict == Verdict::Unreached {
                continue;
            }
            if self.counts.len() <= head {
                self.counts.resize(head + 1, vec![]);
            }
            let ranks = &mut self.counts[head];
            if ranks.len() <= rank {
                ranks.resize(rank + 1, Count::default());
            }
            ranks[rank].trials += 1;
            ranks[rank].hits += u64::from(node.verdict == Verdict::Accepted);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Method, NodeOutcome, StageTimes};

    fn node(source: Source, rank: u16, verdict: Verdict) -> NodeOutcome {
        NodeOutcome {
            token: 0,
            parent: Some(0),
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
        accuracy.observe(&round(vec![node(Source::Head(0), 1, rejected)]));
        assert_eq!(accuracy.count(0, 0), Count { hits: 0, trials: 1 });
        assert_eq!(accuracy.count(0, 1), Count { hits: 1, trials: 2 });
        assert_eq!(accuracy.count(1, 0), Count::default());
        assert_eq!(accuracy.count(2, 4), Count { hits: 0, trials: 1 });
        let json = serde_json::to_string(&accuracy).expect("plain data");
        assert_eq!(serde_json::from_str::<HeadAccuracy>(&json).expect("its own"), accuracy);
    }

    #[test]
    fn what_is_seen_outweighs_the_prior_in_time() {
        let mut accuracy = HeadAccuracy::new();
        let prior = vec![vec![0.8, 0.1], vec![0.5]];
        assert_eq!(accuracy.estimate(&prior), prior);
        for i in 0..100 {
            let verdict = if i % 5 == 0 { Verdict::Accepted } else { Verdict::BelowThreshold };
            accuracy.observe(&round(vec![node(Source::Head(0), 0, verdict)]));
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
