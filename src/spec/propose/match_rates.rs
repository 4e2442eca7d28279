//! How often a guess by retrieval is right, by the length of the match behind it.
//!
//! A longer match is a better reason, but how much better differs between texts and models. Each
//! length therefore starts from a prior and follows what is observed; old observations fade, so
//! that the estimate follows the text from prose into a quotation and out again.

/// Weight of the prior in observations.
const PRIOR_WEIGHT: f32 = 4.0;

/// What an observation is worth after one more of the same length: about the last 32 count.
const FADE: f32 = 0.97;

/// Lengths up to this have an estimate each; longer ones share by halves of an octave.
const EXACT: usize = 4;

/// Classes of length: 0 to 4, then 5-6, 7-8, 9-12, 13-16, … and all from 65.
const CLASSES: usize = 14;

/// Learnt rates of acceptance by match length.
#[derive(Clone, Debug)]
pub(super) struct MatchRates {
    /// Length at which the prior is one half.
    half: f32,
    seen: [Seen; CLASSES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    hits: f32,
    all: f32,
}

impl MatchRates {
    /// Estimates that start from `n / (n + half)` for a match of `n` tokens.
    pub(super) fn new(half: f32) -> Self {
        Self { half, seen: [Seen::default(); CLASSES] }
    }

    /// Probability that the next token is among those that followed a match of `matched` tokens.
    pub(super) fn p(&self, matched: usize) -> f32 {
        let n = matched as f32;
        let prior = n / (n + self.half);
        let seen = self.seen[class(matched)];
        (PRIOR_WEIGHT * prior + seen.hits) / (PRIOR_WEIGHT + seen.all)
    }

    /// Counts whether it was.
    pub(super) fn learn(&mut self, matched: usize, hit: bool) {
        let seen = &mut self.seen[class(matched)];
        seen.hits = seen.hits * FADE + if hit { 1.0 } else { 0.0 };
        seen.all = seen.all * FADE + 1.0;
    }
}

fn class(matched: usize) -> usize {
    if matched <= EXACT {
        return matched;
    }
    // 5-6, 7-8 | 9-12, 13-16 | 17-24, 25-32 | …
    let octave = (matched - 1).ilog2() as usize;
    let upper = usize::from((matched - 1) >> (octave - 1) & 1 == 1);
    (EXACT + 1 + 2 * (octave - 2) + upper).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_split_octaves_in_two() {
        let starts: Vec<usize> = (1..200).filter(|&n| class(n) != class(n - 1)).collect();
        assert_eq!(starts, [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65]);
        assert_eq!(class(usize::MAX), CLASSES - 1);
    }

    #[test]
    fn estimates_start_at_the_prior_and_follow_what_is_seen() {
        let mut rates = MatchRates::new(2.0);
        assert!((rates.p(2) - 0.5).abs() < 1e-6);
        assert!(rates.p(1) < rates.p(8) && rates.p(8) < rates.p(64));
        for _ in 0..100 {
            rates.learn(2, true);
            rates.learn(8, false);
        }
        assert!(rates.p(2) > 0.9, "{}", rates.p(2));
        assert!(rates.p(8) < 0.15, "{}", rates.p(8));
        assert!((rates.p(3) - 0.6).abs() < 1e-6, "other lengths are untouched");
        for _ in 0..100 {
            rates.learn(8, true);
        }
        assert!(rates.p(8) > 0.9, "old misses fade: {}", rates.p(8));
    }
}
