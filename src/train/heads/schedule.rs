//! The learning rate over the steps of a run.

/// Linear rise, then half a cosine down to zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Highest rate.
    pub peak: f32,
    /// Steps of the rise.
    pub warmup: u64,
    /// All steps.
    pub steps: u64,
}

impl Schedule {
    /// Rate of step `step`, counted from 1.
    pub fn rate(&self, step: u64) -> f32 {
        if step <= self.warmup {
            return self.peak * step as f32 / self.warmup as f32;
        }
        let left = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let done = (step - self.warmup) as f64 / (left + 1.0);
        (f64::from(self.peak) * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls_and_is_never_zero_within_the_run() {
        let schedule = Schedule { peak: 1.0, warmup: 10, steps: 100 };
        let rates: Vec<f32> = (1..=100).map(|step| schedule.rate(step)).collect();
        assert!((rates[4] - 0.5).abs() < 1e-6 && (rates[9] - 1.0).abs() < 1e-6);
        assert!(rates[..10].windows(2).all(|pair| pair[0] < pair[1]));
        assert!(rates[9..].windows(2).all(|pair| pair[0] > pair[1]));
        assert!(rates[99] > 0.0 && rates[99] < 0.01);
        assert!((Schedule { peak: 0.5, warmup: 0, steps: 1 }.rate(1) - 0.25).abs() < 1e-6);
    }
}
