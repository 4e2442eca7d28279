//! Random cases as sequences of choices.
//!
//! A generator asks a [`Draw`] for sizes and flags, and every answer is one number of a list, the
//! simplest of them 0. The list replays the case, and making its numbers smaller shrinks it,
//! whatever the op (the idea is Hypothesis's, MacIver and Donaldson 2020).

use super::{case::Case, random::Random};

/// Where a generator's choices come from.
#[derive(Clone, Debug)]
pub struct Draw {
    source: Source,
    made: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Source {
    Random(Random),
    /// Choices left, in order; after the last one all are 0.
    Replay(std::vec::IntoIter<u32>),
}

impl Draw {
    /// Choices from a seed.
    pub fn random(seed: u64) -> Self {
        Self { source: Source::Random(Random::new(seed)), made: Vec::new() }
    }

    /// Choices made before; too large ones count as the largest possible, missing ones as 0.
    pub fn replay(choices: &[u32]) -> Self {
        Self { source: Source::Replay(Vec::from(choices).into_iter()), made: Vec::new() }
    }

    /// The choices made so far.
    pub fn choices(&self) -> &[u32] {
        &self.made
    }

    fn choose(&mut self, n: usize, pick: impl FnOnce(&mut Random) -> usize) -> usize {
        let choice = match &mut self.source {
            Source::Random(random) => pick(random),
            Source::Replay(left) => left.next().unwrap_or(0) as usize,
        };
        let choice = choice.min(n.max(1) - 1);
        self.made.push(choice as u32);
        choice
    }

    /// A number below `n`; 0 is the simplest.
    pub fn below(&mut self, n: usize) -> usize {
        self.choose(n, |random| random.below(n.max(1)))
    }

    /// A size from 1 to `most`, often at or beside a power of two, where tiles end.
    pub fn size(&mut self, most: usize) -> usize {
        let pick = |random: &mut Random| {
            let size = match random.below(3) {
                0 => 1 + random.below(most),
                1 => 1 + random.below(most.min(9)),
                _ => {
                    let bits = most.ilog2() as usize + 1;
                    (1usize << random.below(bits)) + random.below(3) - 1
                }
            };
            size.clamp(1, most) - 1
        };
        1 + self.choose(most, pick)
    }

    /// One of these; the first is the simplest.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// True in half of the cases; false is simpler.
    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// The case, one time in four with the check of row invariance.
    pub(super) fn sweep(&mut self, case: Case) -> Case {
        if self.below(4) == 3 { case.sweep() } else { case }
    }

    /// Elements between rows: mostly none.
    pub fn gap(&mut self) -> usize {
        match self.below(4) {
            3 => self.size(9),
            _ => 0,
        }
    }
}

/// Simpler lists than `choices`, the boldest first: a number at 0, halved, or less one.
pub(super) fn simpler(choices: &[u32]) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    let with = |i: usize, value: u32| {
        let mut changed = choices.to_vec();
        changed[i] = value;
        changed
    };
    for (i, &value) in choices.iter().enumerate() {
        for smaller in [0, value / 2, value.saturating_sub(1)] {
            let changed = with(i, smaller);
            if smaller < value && !all.contains(&changed) {
                all.push(changed);
            }
        }
    }
    all.sort_by_key(|changed| changed.iter().map(|&v| u64::from(v)).sum::<u64>());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(d: &mut Draw) -> (usize, usize, bool, usize) {
        (d.size(100), d.below(7), d.flag(), d.gap())
    }

    #[test]
    fn choices_replay_what_was_drawn() {
        for seed in 0..200 {
            let mut first = Draw::random(seed);
            let drawn = draw(&mut first);
            assert!((1..=100).contains(&drawn.0) && drawn.1 < 7 && drawn.3 <= 9);
            let mut again = Draw::replay(first.choices());
            assert_eq!(draw(&mut again), drawn);
            assert_eq!(again.choices(), first.choices());
        }
    }

    #[test]
    fn nothing_is_the_simplest_case() {
        assert_eq!(draw(&mut Draw::replay(&[])), (1, 0, false, 0));
    }

    #[test]
    fn sizes_meet_borders_of_tiles() {
        let sizes: Vec<usize> = (0..600).map(|seed| Draw::random(seed).size(64)).collect();
        for wanted in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64] {
            assert!(sizes.contains(&wanted), "{wanted} is never drawn");
        }
    }

    #[test]
    fn simpler_lists_are_smaller() {
        let sum = |list: &[u32]| list.iter().sum::<u32>();
        let from = [5, 0, 1];
        let all = simpler(&from);
        assert!(all.iter().all(|list| sum(list) < sum(&from)));
        assert_eq!(all[0], [0, 0, 1]);
        assert!(all.contains(&vec![4, 0, 1]) && all.contains(&vec![5, 0, 0]));
        assert!(simpler(&[0, 0]).is_empty());
    }
}
