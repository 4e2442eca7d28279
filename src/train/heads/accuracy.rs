//! How often heads guess right.

use serde::{Deserialize, Serialize};

/// Ranks that are told apart.
pub const RANKS: usize = 10;

/// Counts over positions, by head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    heads: Vec<Head>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Head {
    /// Positions.
    all: u64,
    /// Of them with rank `r`.
    ranks: [u64; RANKS],
    /// Positions at which every earlier head had the token among its first [`RANKS`].
    given: u64,
    /// Of them with rank `r`.
    given_ranks: [u64; RANKS],
    /// Positions at which every earlier head's first guess was right.
    chain: u64,
    /// Of them with rank 0.
    chain_right: u64,
}

/// Shares of positions at which a head was right.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeadAccuracy {
    /// First guess.
    pub top1: f64,
    /// One of the first five.
    pub top5: f64,
    /// First guess, where the first guesses of all earlier heads were right.
    pub chained: f64,
    /// Guess `r`, where all earlier heads had the token among their first ten: the path to a node.
    pub given: Vec<f32>,
    /// Positions seen.
    pub positions: u64,
}

impl Counts {
    /// Nothing counted, for so many heads.
    pub fn new(heads: usize) -> Self {
        Self { heads: vec![Head::default(); heads] }
    }

    /// Counts a position: the rank of the right token by head, `None` beyond the first [`RANKS`];
    /// shorter where the answer ends.
    pub fn add(&mut self, ranks: &[Option<usize>]) {
        let (mut given, mut chain) = (true, true);
        for (head, rank) in self.heads.iter_mut().zip(ranks) {
            head.all += 1;
            head.given += u64::from(given);
            head.chain += u64::from(chain);
            if let Some(rank) = *rank {
                head.ranks[rank] += 1;
                head.given_ranks[rank] += u64::from(given);
            }
            chain &= *rank == Some(0);
            head.chain_right += u64::from(chain);
            given &= rank.is_some();
        }
    }

    /// The shares, by head.
    pub fn shares(&self) -> Vec<HeadAccuracy> {
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let of = |head: &Head| HeadAccuracy {
            top1: share(head.ranks[0], head.all),
            top5: share(head.ranks[..5].iter().sum(), head.all),
            chained: share(head.chain_right, head.chain),
            given: head.given_ranks.map(|count| share(count, head.given) as f32).to_vec(),
            positions: head.all,
        };
        self.heads.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_taken_of_the_right_positions() {
        let mut counts = Counts::new(2);
        counts.add(&[Some(0), Some(0)]);
        counts.add(&[Some(3), Some(0)]);
        counts.add(&[None, Some(1)]);
        counts.add(&[Some(0)]);
        let [first, second]: [HeadAccuracy; 2] = counts.shares().try_into().expect("two heads");
        assert_eq!((first.top1, first.top5, first.positions), (0.5, 0.75, 4));
        assert_eq!((first.chained, first.given[3]), (0.5, 0.25));
        assert!((second.top1 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((second.chained, second.positions), (1.0, 3));
        assert_eq!(second.given[..2], [1.0, 0.0]);
    }
}
