//! Chance for rejection sampling, keyed like the sampler's noise and independent of it.

use super::Law;
use crate::sample::philox4x32_10;

/// What a stream of draws is for: counter word 3 of the generator, whose 0 is the sampler's noise.
/// The draws of a draft must not share a stream with the decision about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Stream {
    /// Whether a drafted token is kept.
    Accept = 1,
    /// The token where none is.
    Residual = 2,
    /// Tokens of a sampled draft.
    Draft = 3,
}

/// Where chance comes from. `position` is the place that the token decided about will have.
pub trait Chance {
    /// True with `probability`; `draw` counts the tests at the same position.
    fn happens(&mut self, position: u64, draw: u32, probability: f64) -> bool;

    /// A token of the target's residual distribution.
    fn pick(&mut self, position: u64, law: &Law) -> u32;

    /// A token for a draft; `draw` counts all draws at the same position, over all nodes of a level.
    fn draft(&mut self, position: u64, draw: u32, law: &Law) -> u32;
}

/// Chance as a function of (seed, position, draw): Philox4x32-10 with the key of
/// [`sample::gumbel`](crate::sample::gumbel) and counter (draw, position low, position high, stream),
/// the stream being 1 for tests, 2 for residual draws, 3 for drafts. Words 0 and 1 of a block give 53
/// bits. A position is decided once in a generation, so no number decides twice.
#[derive(Clone, Copy, Debug)]
pub struct Keyed {
    /// Key.
    pub seed: u64,
}

impl Keyed {
    /// In [0, 1).
    fn uniform(self, stream: Stream, position: u64, draw: u32) -> f64 {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let counter = [draw, position as u32, (position >> 32) as u32, stream as u32];
        let [low, high, ..] = philox4x32_10(counter, key);
        let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

impl Chance for Keyed {
    fn happens(&mut self, position: u64, draw: u32, probability: f64) -> bool {
        self.uniform(Stream::Accept, position, draw) < probability
    }

    fn pick(&mut self, position: u64, law: &Law) -> u32 {
        law.at(self.uniform(Stream::Residual, position, 0))
    }

    fn draft(&mut self, position: u64, draw: u32, law: &Law) -> u32 {
        law.at(self.uniform(Stream::Draft, position, draw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_matters_and_the_same_key_repeats() {
        let at = |seed, stream, position, draw| Keyed { seed }.uniform(stream, position, draw);
        let base = at(1, Stream::Accept, 2, 3);
        assert_eq!(base, at(1, Stream::Accept, 2, 3));
        for other in [
            at(2, Stream::Accept, 2, 3),
            at(1 | 1 << 32, Stream::Accept, 2, 3),
            at(1, Stream::Residual, 2, 3),
            at(1, Stream::Draft, 2, 3),
            at(1, Stream::Accept, 4, 3),
            at(1, Stream::Accept, 2 | 1 << 32, 3),
            at(1, Stream::Accept, 2, 4),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn numbers_are_uniform() {
        let n = 40_000;
        let mut tenths = [0u32; 10];
        for position in 0..n {
            let u = Keyed { seed: 9 }.uniform(Stream::Accept, position, 0);
            tenths[(u * 10.0) as usize] += 1;
        }
        // five standard errors of a tenth: 5 sqrt(40000 * 0.09)
        assert!(tenths.iter().all(|&count| count.abs_diff(4000) < 300), "{tenths:?}");
    }
}
