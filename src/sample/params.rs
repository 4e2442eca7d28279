//! Settings of the sampler.

use crate::error::{Error, Result};

/// How a token is chosen. The default is greedy and filters nothing.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SamplerParams {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keeps the most likely ids; 0 for all.
    pub top_k: usize,
    /// Keeps the fewest most likely ids with this much probability; 1 for all.
    pub top_p: f32,
    /// Keeps ids at least this fraction as likely as the best; 0 for all.
    pub min_p: f32,
    /// Keeps the ids whose surprise is nearest the entropy, up to this much probability
    /// (arXiv 2202.00666); 1 for all.
    pub typical_p: f32,
    /// Divides positive and multiplies negative logits of recent ids (arXiv 1909.05858); 1 for
    /// none.
    pub repeat_penalty: f32,
    /// Subtracted from logits of recent ids.
    pub presence_penalty: f32,
    /// Subtracted from logits of recent ids once for each occurrence.
    pub frequency_penalty: f32,
    /// How many of the last ids, prompt included, count as recent.
    pub penalty_last_n: usize,
    /// Key of the noise.
    pub seed: u64,
}

impl Default for SamplerParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_last_n: 64,
            seed: 0,
        }
    }
}

impl SamplerParams {
    /// Fails with [`Error::Invalid`], naming the flag and the value, if one is out of its range.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("--temp", self.temperature, 0.0, f32::MAX),
            ("--top-p", self.top_p, 0.0, 1.0),
            ("--min-p", self.min_p, 0.0, 1.0),
            ("--typical", self.typical_p, 0.0, 1.0),
            ("--repeat-penalty", self.repeat_penalty, f32::MIN_POSITIVE, f32::MAX),
            ("--presence-penalty", self.presence_penalty, -f32::MAX, f32::MAX),
            ("--frequency-penalty", self.frequency_penalty, -f32::MAX, f32::MAX),
        ];
        for (name, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                let wanted = match high {
                    1.0 => "0 to 1",
                    _ if low == 0.0 => "0 or more",
                    _ if low > 0.0 => "more than 0",
                    _ => "a finite number",
                };
                return Err(Error::invalid(format!("{name} is {value}, wanted {wanted}")));
            }
        }
        Ok(())
    }

    /// True if some ids may be filtered away before the draw.
    pub fn has_filters(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0 || self.typical_p < 1.0
    }

    /// True if recent ids change the logits.
    pub fn has_penalties(&self) -> bool {
        self.penalty_last_n > 0
            && (self.repeat_penalty != 1.0
                || self.presence_penalty != 0.0
                || self.frequency_penalty != 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let of = |change: fn(&mut SamplerParams)| {
            let mut params = SamplerParams::default();
            change(&mut params);
            params.check().expect_err("out of range").to_string()
        };
        assert!(SamplerParams::default().check().is_ok());
        assert!(of(|p| p.temperature = -1.0).contains("--temp is -1"));
        assert!(of(|p| p.top_p = 1.5).contains("--top-p is 1.5, wanted 0 to 1"));
        assert!(of(|p| p.repeat_penalty = 0.0).contains("more than 0"));
        assert!(of(|p| p.min_p = f32::NAN).contains("--min-p is NaN"));
    }
}
