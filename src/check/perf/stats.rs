//! What repeated times say.

use serde::{Deserialize, Serialize};

/// Order statistics of repeated times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Middle one.
    pub median_us: f64,
    /// A tenth of the times is below.
    pub p10_us: f64,
    /// A tenth of the times is above.
    pub p90_us: f64,
    /// Standard deviation.
    pub sd_us: f64,
    /// Times.
    pub samples: usize,
}

impl Spread {
    /// Of times in microseconds, of which there is at least one.
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (times.len() - 1) as f64;
            let (low, part) = (place as usize, place.fract());
            let high = (low + 1).min(times.len() - 1);
            times[low] + part * (times[high] - times[low])
        };
        let n = times.len() as f64;
        let mean = times.iter().sum::<f64>() / n;
        let variance =
            times.iter().map(|t| (t - mean) * (t - mean)).sum::<f64>() / (n - 1.0).max(1.0);
        Self {
            median_us: at(0.5),
            p10_us: at(0.1),
            p90_us: at(0.9),
            sd_us: variance.sqrt(),
            samples: times.len(),
        }
    }
}

/// The time that an op takes when nothing disturbs it. Neighbours, clocks and the scheduler can only make
/// it slower, so it is the lowest median of several rounds; how far the next one lies above says whether
/// that was seen twice or once by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Lowest median of a round.
    pub us: f64,
    /// How much longer the second lowest took, as a part of it.
    pub apart: f64,
    /// Rounds.
    pub rounds: usize,
}

/// Two rounds as near as this agree.
const AGREEMENT: f64 = 0.03;

impl Level {
    /// Of the medians of rounds, of which there is at least one.
    pub fn of(rounds: &[f64]) -> Self {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let lowest = sorted[0];
        // A single round is confirmed by nothing.
        let apart = sorted.get(1).map_or(1.0, |second| second / lowest - 1.0);
        Self { us: lowest, apart, rounds: rounds.len() }
    }

    /// True if two rounds agree on it.
    pub fn is_settled(&self) -> bool {
        self.apart <= AGREEMENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_order_statistics() {
        let spread = Spread::of((0..=10).rev().map(f64::from).collect());
        assert_eq!((spread.median_us, spread.p10_us, spread.p90_us), (5.0, 1.0, 9.0));
        assert!((spread.sd_us - 11f64.sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of(vec![2.0]).p90_us, 2.0);
    }

    #[test]
    fn a_level_is_what_two_rounds_agree_on() {
        let level = Level::of(&[1.8, 1.0, 1.02, 1.5]);
        assert_eq!((level.us, level.rounds, level.is_settled()), (1.0, 4, true));
        assert!((level.apart - 0.02).abs() < 1e-12);
        assert!(!Level::of(&[1.0, 1.5, 1.5]).is_settled(), "the lowest was seen once");
        assert!(!Level::of(&[1.0]).is_settled());
    }
}
