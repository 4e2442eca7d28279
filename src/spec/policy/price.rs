//! What a plain step costs where the text is now.
//!
//! A step reads the whole cache, so its price grows with the text: behind a thousand tokens it may
//! be twice that of the first ones. So prices are a line over positions, fitted to the latest steps,
//! and where none of these is near a position its price is said to be unknown.

/// Share of its weight that a sample keeps with each later one.
const FADE: f64 = 0.9;
/// Positions over which a price is taken to be the same where nothing is known of its slope.
const NEAR: f64 = 128.0;
/// Samples that make a price; the first of all, which may compile and allocate, is not among them.
const SAMPLES: u32 = 3;
/// Standard deviations of the latest positions, beside [`NEAR`], within which the line is trusted.
const REACH: f64 = 1.25;
/// Most that a sample counts for where there is a price, in such prices.
const OUTLIER: f64 = 2.0;

/// A line through samples of (position, milliseconds), the latest of most weight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlainPrice {
    samples: u32,
    weight: f64,
    position: f64,
    ms: f64,
    /// Weighted sums of squares and products of the differences from the means.
    spread: f64,
    slope: f64,
}

impl PlainPrice {
    /// A price that was measured at a position; unknown if it is no time.
    pub fn known(measured: Option<(f64, u64)>) -> Self {
        match measured.filter(|(ms, _)| ms.is_finite() && *ms > 0.0) {
            Some((ms, position)) => Self {
                samples: SAMPLES + 1,
                weight: f64::from(SAMPLES),
                position: position as f64,
                ms,
                ..Self::default()
            },
            None => Self::default(),
        }
    }

    /// True if steps have to be timed before there is a price at a position.
    pub fn lacks(&self, position: u64) -> bool {
        let away = (position as f64 - self.position).abs();
        let reach = (self.spread / self.weight.max(1.0)).sqrt();
        self.samples <= SAMPLES || away > NEAR + REACH * reach
    }

    /// Takes what a step took.
    pub fn take(&mut self, ms: f64, position: u64) {
        self.samples = self.samples.saturating_add(1);
        if self.samples == 1 {
            return;
        }
        let usual = self.at(position).filter(|_| !self.lacks(position));
        let ms = usual.map_or(ms, |usual| ms.min(OUTLIER * usual));
        let position = position as f64;
        self.weight = FADE * self.weight + 1.0;
        let (dx, dy) = (position - self.position, ms - self.ms);
        self.position += dx / self.weight;
        self.ms += dy / self.weight;
        self.spread = FADE * self.spread + dx * (position - self.position);
        self.slope = FADE * self.slope + dx * (ms - self.ms);
    }

    /// Milliseconds of a step at a position, if any was timed.
    pub fn at(&self, position: u64) -> Option<f64> {
        if self.weight == 0.0 {
            return None;
        }
        // Samples that lie near each other say nothing of the slope.
        let slope = self.slope / (self.spread + self.weight * NEAR * NEAR / 4.0);
        let more = slope.max(0.0) * (position as f64 - self.position);
        Some((self.ms + more).max(0.5 * self.ms))
    }

    /// Milliseconds of the latest steps, whatever their positions.
    pub fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then_some(self.ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_a_line_over_positions() {
        let ms = |position: u64| 5.0 + 0.01 * position as f64;
        let mut price = PlainPrice::known(Some((ms(128), 128)));
        assert!(!price.lacks(60) && price.lacks(900));
        let mut asked = 0;
        while price.lacks(1000) {
            price.take(ms(1000), 1000);
            asked += 1;
        }
        assert!((1..=3).contains(&asked), "{asked}");
        let at = |price: &PlainPrice, position| price.at(position).expect("known");
        assert!((at(&price, 1000) / ms(1000) - 1.0).abs() < 0.05, "{price:?}");
        for position in (1000..1400).step_by(40) {
            price.take(ms(position), position);
        }
        assert!((at(&price, 1450) / ms(1450) - 1.0).abs() < 0.05, "{price:?}");
        assert!(price.lacks(60), "the short texts are long ago");
    }

    #[test]
    fn one_outlier_moves_it_little_and_the_first_of_all_not_at_all() {
        let mut price = PlainPrice::default();
        for (ms, lacks) in [(500.0, true), (10.0, true), (10.0, true), (10.0, false)] {
            assert!(price.lacks(9));
            price.take(ms, 9);
            assert_eq!(price.lacks(9), lacks);
        }
        assert_eq!(price.at(9), Some(10.0));
        for _ in 0..10 {
            price.take(10.0, 9);
        }
        price.take(1000.0, 9);
        assert!(price.at(9).expect("known") < 11.6, "{price:?}");
        assert!(PlainPrice::known(Some((f64::NAN, 3))).lacks(3));
    }
}
