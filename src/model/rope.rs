//! Rotary frequency tables, computed in f64.

use std::f64::consts::TAU;

use rayon::prelude::*;

use super::config::{RopeConfig, RopeScaling};

/// Cosines and sines of every position, each `[positions, dim / 2]` f32.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    /// Rows.
    pub positions: usize,
    /// Cosines.
    pub cos: Vec<f32>,
    /// Sines.
    pub sin: Vec<f32>,
}

impl RopeTable {
    /// Table for positions `0 .. positions`.
    pub fn new(config: &RopeConfig, positions: usize) -> Self {
        let frequencies = frequencies(config);
        let factor = match &config.scaling {
            RopeScaling::Yarn { attention_factor, .. } => f64::from(*attention_factor),
            _ => 1.0,
        };
        let (cos, sin) = (0..positions)
            .into_par_iter()
            .flat_map_iter(|p| frequencies.iter().map(move |f| p as f64 * f))
            .map(|angle| {
                let (sin, cos) = angle.sin_cos();
                ((cos * factor) as f32, (sin * factor) as f32)
            })
            .unzip();
        Self { positions, cos, sin }
    }
}

/// Angle per position of each pair, `dim / 2` of them.
pub fn frequencies(config: &RopeConfig) -> Vec<f64> {
    let (base, dim) = (f64::from(config.base), config.dim as f64);
    let plain = (0..config.dim / 2).map(|i| base.powf(-2.0 * i as f64 / dim));
    match &config.scaling {
        RopeScaling::None => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|f| f / f64::from(*factor)).collect(),
        RopeScaling::Factors { factors } => {
            plain.zip(factors).map(|(f, &by)| f / f64::from(by)).collect()
        }
        &RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let context = original_context as f64;
            let (low, high) = (f64::from(low_freq_factor), f64::from(high_freq_factor));
            plain
                .map(|f| {
                    // How often the pair turns over the original context.
                    let turns = context * f / TAU;
                    let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    keep * f + (1.0 - keep) * f / f64::from(factor)
                })
                .collect()
        }
        &RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, .. } => {
            // Index of the pair that turns so often over the original context.
            let pair = |turns: f32| {
                dim * (original_context as f64 / (f64::from(turns) * TAU)).ln() / (2.0 * base.ln())
            };
            let low = pair(beta_fast).floor().max(0.0);
            let mut high = pair(beta_slow).ceil().min(dim - 1.0);
            if high <= low {
                high = low + 0.001;
            }
            plain
                .enumerate()
                .map(|(i, f)| {
                    let stretch = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - stretch) * f + stretch * f / f64::from(factor)
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::RopeStyle;

    fn config(base: f32, dim: usize, scaling: RopeScaling) -> RopeConfig {
        RopeConfig { base, dim, scaling, style: RopeStyle::Halved }
    }

    fn close(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() <= 1e-6 * w.abs(), "{got:?} is not {want:?}");
        }
    }

    #[test]
    fn tables_hold_cosines_and_sines_of_position_times_frequency() {
        let table = RopeTable::new(&config(100.0, 4, RopeScaling::None), 8);
        for p in 0..8 {
            for (i, f) in [1.0, 0.1].into_iter().enumerate() {
                let angle = p as f64 * f;
                assert!((f64::from(table.cos[2 * p + i]) - angle.cos()).abs() < 1e-7);
                assert!((f64::from(table.sin[2 * p + i]) - angle.sin()).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn linear_and_listed_factors_divide() {
        let linear = RopeScaling::Linear { factor: 8.0 };
        close(&frequencies(&config(100.0, 4, linear)), &[0.125, 0.0125]);
        let listed = RopeScaling::Factors { factors: vec![1.0, 4.0] };
        close(&frequencies(&config(100.0, 4, listed)), &[1.0, 0.025]);
    }

    /// Values of `_compute_llama3_parameters` in transformers for Llama 3.1's settings.
    #[test]
    fn llama3_keeps_fast_pairs_and_stretches_slow_ones() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192,
        };
        let got = frequencies(&config(500_000.0, 128, scaling));
        let plain = frequencies(&config(500_000.0, 128, RopeScaling::None));
        close(&got[..20], &plain[..20]);
        let slow: Vec<f64> = plain[40..].iter().map(|f| f / 8.0).collect();
        close(&got[40..], &slow);
        assert!(got[32] < plain[32] && got[32] > plain[32] / 8.0);
    }

    #[test]
    fn yarn_scales_tables_and_only_slow_pairs() {
        let scaling = RopeScaling::Yarn {
            factor: 4.0,
            original_context: 32_768,
            attention_factor: 1.138_629_4,
            beta_fast: 32.0,
            beta_slow: 1.0,
        };
        let config = config(1_000_000.0, 128, scaling);
        let got = frequencies(&config);
        let plain = frequencies(&RopeConfig { scaling: RopeScaling::None, ..config.clone() });
        // Pair 23.6 turns 32 times over 32768 positions, pair 39.7 once.
        close(&got[..=23], &plain[..=23]);
        let slow: Vec<f64> = plain[40..].iter().map(|f| f / 4.0).collect();
        close(&got[40..], &slow);
        let stretch = (30.0 - 23.0) / (40.0 - 23.0);
        close(&got[30..31], &[plain[30] * (1.0 - stretch + stretch / 4.0)]);
        assert_eq!(RopeTable::new(&config, 1).cos, [1.138_629_4; 64]);
    }
}
