//! Tests of the chain against naive implementations, and of the law of its draws.

use proptest::prelude::*;

use super::{Choice, Sampler, SamplerParams};

fn sampler(params: SamplerParams) -> Sampler {
    Sampler::new(params).expect("parameters of a test are in range")
}

fn at(temperature: f32) -> SamplerParams {
    SamplerParams { temperature, ..SamplerParams::default() }
}

/// Softmax in f64, by the definition.
fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|l| (l - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// The chain by full sorts over (id, logit), for finite logits.
fn naive(params: &SamplerParams, logits: &[f32]) -> Vec<(u32, f64)> {
    let mut rows: Vec<(u32, f64)> =
        logits.iter().enumerate().map(|(id, &l)| (id as u32, f64::from(l))).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if params.top_k > 0 {
        rows.truncate(params.top_k);
    }
    let probabilities =
        |rows: &[(u32, f64)]| softmax(&rows.iter().map(|r| r.1).collect::<Vec<_>>());
    let shortest = |rows: Vec<((u32, f64), f64)>, mass: f64| {
        let mut sum = 0.0;
        let mut kept = Vec::new();
        for (row, p) in rows {
            kept.push(row);
            sum += p;
            if sum >= mass {
                break;
            }
        }
        kept
    };
    if params.typical_p < 1.0 {
        let p = probabilities(&rows);
        let entropy: f64 = p.iter().map(|p| if *p > 0.0 { -p * p.ln() } else { 0.0 }).sum();
        let mut order: Vec<_> = rows.iter().copied().zip(p).collect();
        order.sort_by(|a, b| (-a.1.ln() - entropy).abs().total_cmp(&(-b.1.ln() - entropy).abs()));
        rows = shortest(order, f64::from(params.typical_p));
        rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    }
    if params.top_p < 1.0 {
        let p = probabilities(&rows);
        rows = shortest(rows.into_iter().zip(p).collect(), f64::from(params.top_p));
    }
    let p = probabilities(&rows);
    let floor = p[0] * f64::from(params.min_p);
    rows = rows.into_iter().zip(&p).filter(|(_, p)| **p >= floor).map(|(row, _)| row).collect();
    let scaled: Vec<_> = rows.iter().map(|r| r.1 / f64::from(params.temperature)).collect();
    let mut out: Vec<_> = rows.iter().map(|r| r.0).zip(softmax(&scaled)).collect();
    out.sort_by_key(|r| r.0);
    out
}

fn agree(params: SamplerParams, logits: &[f32]) -> Result<(), TestCaseError> {
    let want = naive(&params, logits);
    let got = sampler(params).probabilities(logits, &[]);
    let ids = |rows: &[(u32, f64)]| rows.iter().map(|r| r.0).collect::<Vec<_>>();
    prop_assert_eq!(ids(&got), ids(&want));
    for (got, want) in got.iter().zip(&want) {
        prop_assert!((got.1 - want.1).abs() < 1e-6, "{:?} for {:?}", got, want);
    }
    prop_assert!((got.iter().map(|r| r.1).sum::<f64>() - 1.0).abs() < 1e-12);
    Ok(())
}

/// Distinct logits, so that no threshold falls between equals.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-12.0f32..12.0, 1..1500)
}

/// Logits with many equals, for filters that rank by logit and id alone.
fn coarse() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-6i8..6).prop_map(f32::from), 1..1500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn top_k_is_naive_top_k(logits in coarse(), top_k in 0usize..600) {
        agree(SamplerParams { top_k, ..at(0.7) }, &logits)?;
    }

    #[test]
    fn top_p_is_naive_top_p(logits in logits(), top_p in 0.0f32..1.0) {
        agree(SamplerParams { top_p, ..at(1.0) }, &logits)?;
    }

    #[test]
    fn min_p_is_naive_min_p(logits in logits(), min_p in 0.0f32..1.0) {
        agree(SamplerParams { min_p, ..at(1.3) }, &logits)?;
    }

    #[test]
    fn typical_is_naive_typical(logits in logits(), typical_p in 0.0f32..1.0) {
        agree(SamplerParams { typical_p, ..at(1.0) }, &logits)?;
    }

    #[test]
    fn filters_follow_each_other_in_order(
        logits in logits(),
        (top_k, top_p, min_p, typical_p) in (1usize..200, 0.3f32..1.0, 0.0f32..0.3, 0.3f32..1.0),
        temperature in 0.1f32..2.0,
    ) {
        let params = SamplerParams { top_k, top_p, min_p, typical_p, ..at(temperature) };
        agree(params, &logits)?;
    }

    #[test]
    fn nothing_panics_and_choices_are_possible(
        logits in prop::collection::vec(any::<f32>(), 1..400),
        history in prop::collection::vec(0u32..500, 0..60),
        (temperature, top_k) in (0.0f32..3.0, 0usize..500),
        (top_p, min_p, typical_p) in (0.0f32..=1.0, 0.0f32..=1.0, 0.0f32..=1.0),
        (repeat_penalty, presence_penalty, frequency_penalty) in
            (1e-30f32..1e30, -1e38f32..1e38, -1e38f32..1e38),
        (penalty_last_n, seed, position) in (0usize..100, any::<u64>(), any::<u64>()),
    ) {
        let sampler = sampler(SamplerParams {
            temperature, top_k, top_p, min_p, typical_p, repeat_penalty, presence_penalty,
            frequency_penalty, penalty_last_n, seed,
        });
        let choice = sampler.choose(&logits, &history, position);
        let law = sampler.probabilities(&logits, &history);
        prop_assert!(law.iter().any(|row| row.0 == choice.token));
        prop_assert!((law.iter().map(|row| row.1).sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!(choice.logprob <= 0.0);
        prop_assert_eq!(choice.kept.max(1), law.len());
        prop_assert_eq!(sampler.choose(&logits, &history, position), choice);
    }

    #[test]
    fn greedy_is_the_first_of_the_largest(logits in coarse()) {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let first = logits.iter().position(|&l| l == max).expect("the largest is one of them");
        let choice = sampler(SamplerParams { typical_p: 0.1, ..at(0.0) }).choose(&logits, &[], 9);
        prop_assert_eq!((choice.token, choice.kept), (first as u32, 1));
    }
}

/// Chi-square of `choose` over `n` positions against `probabilities`.
fn chi_square(params: SamplerParams, logits: &[f32], history: &[u32], n: u64) {
    let sampler = sampler(params);
    let law = sampler.probabilities(logits, history);
    assert!(law.len() > 2, "a law of {} tokens tests little", law.len());
    let mut counts = vec![0u64; logits.len()];
    for position in 0..n {
        let choice = sampler.choose(logits, history, position);
        assert_eq!(choice.kept, law.len());
        counts[choice.token as usize] += 1;
    }
    assert_eq!(counts.iter().sum::<u64>(), law.iter().map(|r| counts[r.0 as usize]).sum::<u64>());
    let statistic: f64 = law
        .iter()
        .map(|&(token, p)| {
            let want = p * n as f64;
            assert!(want > 5.0, "token {token}: {want} expected draws are too few");
            (counts[token as usize] as f64 - want).powi(2) / want
        })
        .sum();
    let freedom = (law.len() - 1) as f64;
    let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
    assert!(statistic < bound, "chi-square {statistic} above {bound}: {counts:?} for {law:?}");
}

#[test]
fn choices_have_the_law_that_probabilities_gives() {
    let logits = [1.0, 0.5, 2.0, -1.0, 1.5, 0.0, 1.9, -0.5, f32::NEG_INFINITY, 0.2];
    let history = [2, 2, 6, 3];
    chi_square(at(1.0), &logits, &[], 40_000);
    chi_square(SamplerParams { seed: u64::MAX, ..at(0.6) }, &logits, &[], 40_000);
    let all = SamplerParams {
        top_k: 8,
        top_p: 0.95,
        min_p: 0.05,
        typical_p: 0.97,
        repeat_penalty: 1.2,
        presence_penalty: 0.3,
        frequency_penalty: 0.1,
        ..at(1.4)
    };
    chi_square(all, &logits, &history, 40_000);
    // equal logits: every word and block of the noise is used alike
    chi_square(SamplerParams { seed: 3, ..at(1.0) }, &[0.25; 64], &[], 60_000);
}

#[test]
fn seeds_and_positions_change_the_choice_and_repeat_it() {
    let logits = [0.0; 1000];
    let run = |seed, from: u64| -> Vec<u32> {
        let sampler = sampler(SamplerParams { seed, ..at(1.0) });
        (from..from + 20).map(|position| sampler.choose(&logits, &[], position).token).collect()
    };
    assert_eq!(run(1, 0), run(1, 0));
    assert_eq!(run(1, 0)[5..], run(1, 5)[..15], "the choice belongs to the position alone");
    assert_ne!(run(1, 0), run(2, 0));
    assert_ne!(run(1, 0), run(1 << 32 | 1, 0));
    assert_ne!(run(1, 0), run(1, 1 << 32));
}

#[test]
fn logprob_is_of_the_untouched_distribution() {
    let logits = [1.0f32, 2.0, 3.0, f32::NAN];
    let want = softmax(&[1.0, 2.0, 3.0]);
    let params = SamplerParams { presence_penalty: 9.0, top_k: 2, temperature: 0.5, ..at(0.0) };
    let sampler = sampler(params);
    for position in 0..20 {
        let Choice { token, logprob, kept, .. } = sampler.choose(&logits, &[2], position);
        assert_eq!(kept, 2);
        assert!(token < 2, "{token}");
        assert!((f64::from(logprob) - want[token as usize].ln()).abs() < 1e-6, "{logprob}");
    }
}

#[test]
fn greedy_with_penalties_moves_on() {
    let params = SamplerParams { frequency_penalty: 0.6, ..at(0.0) };
    let sampler = sampler(params);
    let mut history = Vec::new();
    for position in 0..5 {
        history.push(sampler.choose(&[1.0, 0.5, 0.0], &history, position).token);
    }
    // 1.0 .5 0 | .4 .5 0 | .4 -.1 0 | -.2 -.1 0 | -.2 -.1 -.6
    assert_eq!(history, [0, 1, 0, 2, 1]);
}

#[test]
fn logits_that_are_no_numbers() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for temperature in [0.0, 1.0] {
        let sampler = sampler(at(temperature));
        assert_eq!(sampler.choose(&[nan, -inf, -3.0, nan], &[], 0).token, 2);
        assert_eq!(sampler.choose(&[0.0, 1.0, inf, nan], &[], 0).token, 2);
        for broken in [&[nan; 3][..], &[-inf; 3], &[]] {
            let choice = sampler.choose(broken, &[], 0);
            assert_eq!(choice, Choice { token: 0, logit: -inf, logprob: -inf, kept: 0 });
            assert_eq!(sampler.probabilities(broken, &[]), [(0, 1.0)]);
        }
    }
}

#[test]
fn signed_zeros_are_equal() {
    assert_eq!(sampler(at(0.0)).choose(&[-0.0, 0.0], &[], 0).token, 0);
    let one = sampler(SamplerParams { top_k: 1, ..at(1.0) });
    assert_eq!(one.choose(&[-1.0, -0.0, 0.0], &[], 0).token, 1);
}
