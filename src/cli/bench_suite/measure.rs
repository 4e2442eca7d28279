//! One synthetic model on one device.

use std::time::Duration;

use super::report::Measured;
use crate::{
    backend::Peaks,
    cli::low_spec::BenchSuite,
    engine::{DeviceSpec, LoadOptions, TimedModel},
    error::Result,
    model::{Published, config::ModelConfig},
    ops::KvFormat,
    quant::QuantFormat,
};

/// Row counts of the verify curve that have a limit.
const FEW: usize = 16;
const MANY: usize = 64;

/// Times a shape in a format.
pub(super) fn run(
    (device, threads): (DeviceSpec, Option<usize>),
    (shape, format): (Published, QuantFormat),
    peaks: Peaks,
    args: &BenchSuite,
) -> Result<Measured> {
    let config = shape.config();
    let context = args.prompt.max(args.depth + args.decode.max(MANY)) + 1;
    let options = LoadOptions {
        device,
        threads,
        precision: None,
        quant: Some(format),
        kv: KvFormat::F16,
        context: Some(context),
        sequences: 1,
    };
    let mut timed = TimedModel::synthetic(shape, &options)?;
    let decode = median(args.repeat, || timed.time_decode(args.depth, args.decode))?;
    let decode_ms = decode / args.decode as f64;
    let seen = args.depth + args.decode / 2;
    let bytes = timed.step_bytes() + cache_bytes(&config, seen);
    let decode_gb_s = bytes as f64 / decode_ms / 1e6;
    let mut verify = |rows: usize| -> Result<f64> {
        Ok(middle(timed.time_verify(args.depth, rows, 4 * args.repeat)?))
    };
    let (one_ms, few_ms, many_ms) = (verify(1)?, verify(FEW)?, verify(MANY)?);
    let round = timed.time_round(args.depth, FEW, 8 * args.repeat)?;
    let prompt_ms = median(args.repeat, || timed.time_prompt(args.prompt))?;
    let prompt_gflops = prompt_flops(&config, args.prompt) as f64 / prompt_ms / 1e6;
    let (peak, unit) = half_peak(&peaks);
    Ok(Measured {
        shape: shape.name.into(),
        weights_bytes: timed.step_bytes(),
        depth: args.depth,
        decode_ms,
        decode_gb_s,
        decode_share: peaks.copy_gb_s.map(|copy| decode_gb_s / copy),
        one_ms,
        few: few_ms / one_ms,
        many: many_ms / one_ms,
        round_ms: round.round.as_secs_f64() * 1e3,
        host_us: round.host.as_secs_f64() * 1e6,
        prompt: args.prompt,
        prompt_ms,
        prompt_gflops,
        prompt_share: peak.map(|peak| prompt_gflops / peak),
        prompt_peak: unit.into(),
    })
}

/// Bytes of keys and values of `positions` in 16 bits.
fn cache_bytes(c: &ModelConfig, positions: usize) -> u64 {
    (2 * 2 * c.n_layers * c.n_kv_heads * c.head_dim * positions) as u64
}

/// Operations of a prompt: all matrices but the tables for each token, the output matrix for the last one,
/// and the visible pairs of attention.
fn prompt_flops(c: &ModelConfig, tokens: usize) -> u64 {
    let attention = c.d_model * c.head_dim * (2 * c.n_heads + 2 * c.n_kv_heads);
    let layer = attention + 3 * c.d_model * c.d_ff;
    let pairs = tokens * (tokens + 1) / 2;
    let products = c.n_layers * (2 * tokens * layer + 4 * pairs * c.n_heads * c.head_dim);
    (products + 2 * c.vocab * c.d_model) as u64
}

/// The rate that a half-precision matrix product could have, and what it is; the next best figure where
/// the device has no such units.
fn half_peak(peaks: &Peaks) -> (Option<f64>, &'static str) {
    match peaks {
        Peaks { matrix_gflops: Some(rate), .. } => (Some(*rate), "f16 matrix units"),
        Peaks { f16_gflops: Some(rate), .. } => (Some(*rate), "f16 multiply-adds"),
        Peaks { f32_gflops: Some(rate), .. } => (Some(*rate), "f32 multiply-adds"),
        _ => (None, "unknown"),
    }
}

/// Median of `repeat` times in milliseconds, after one that warms up.
fn median(repeat: usize, mut time: impl FnMut() -> Result<Duration>) -> Result<f64> {
    time()?;
    Ok(middle((0..repeat).map(|_| time()).collect::<Result<_>>()?))
}

fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_prompt_is_two_operations_a_weight() {
        let shape: Published = "llama2-7b".parse().expect("it is in the list");
        let flops = prompt_flops(&shape.config(), 512) as f64;
        // 6.48 thousand million weights in layers, 2 % of attention
        assert!((6.6e12..6.9e12).contains(&flops), "{flops:e}");
        assert_eq!(cache_bytes(&shape.config(), 1), 512 << 10);
    }

    #[test]
    fn the_best_known_peak_counts() {
        let peaks = Peaks { f32_gflops: Some(1.0), f16_gflops: Some(2.0), ..Peaks::default() };
        assert_eq!(half_peak(&peaks), (Some(2.0), "f16 multiply-adds"));
        assert_eq!(half_peak(&Peaks::default()).0, None);
    }
}
