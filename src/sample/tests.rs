//! Tests of the sampler chain.

use proptest::prelude::*;

use super::*;

fn sampler(change: impl FnOnce(&mut SamplerParams)) -> Sampler {
    let mut params = SamplerParams { temperature: 1.0, ..SamplerParams::default() };
    change(&mut params);
    Sampler::new(params).expect("valid settings")
}

fn ids(kept: &[Candidate]) -> Vec<u32> {
    kept.iter().map(|c| c.id).collect()
}

/// Logits of these probabilities.
fn ln(p: &[f32]) -> Vec<f32> {
    p.iter().map(|p| p.ln()).collect()
}

#[test]
fn greedy_takes_the_lowest_id_among_the_largest() {
    let greedy = sampler(|p| p.temperature = 0.0);
    assert!(!greedy.needs_logits());
    assert_eq!(greedy.choose(&[0.0, 3.0, 3.0, f32::NAN], &[], 0).token, 1);
    assert_eq!(greedy.choose(&[f32::NAN, f32::NEG_INFINITY], &[], 0).token, 0);
}

#[test]
fn filters_keep_what_their_definition_says() {
    let logits = ln(&[0.1, 0.4, 0.05, 0.3, 0.15]);
    let keep = |change: fn(&mut SamplerParams)| ids(&sampler(change).filter(&logits));
    assert_eq!(keep(|p| p.top_k = 2), [1, 3]);
    assert_eq!(keep(|p| p.top_p = 0.69), [1, 3]);
    assert_eq!(keep(|p| p.top_p = 0.71), [1, 3, 4]);
    assert_eq!(keep(|p| p.top_p = 0.0), [1]);
    assert_eq!(keep(|p| p.min_p = 0.3), [1, 3, 4]);
    assert_eq!(keep(|p| p.min_p = 1.0), [1]);
    // The entropy is 1.393 nats; surprises are 2.30 0.92 3.00 1.20 1.90, so id 3 is nearest.
    assert_eq!(keep(|p| p.typical_p = 0.2), [3]);
    assert_eq!(keep(|p| p.typical_p = 0.5), [1, 3]);
    // The order of the chain: top-p sees what top-k left, renormalised (4/7 and 3/7).
    assert_eq!(
        keep(|p| {
            p.top_k = 2;
            p.top_p = 0.5;
        }),
        [1]
    );
}

#[test]
fn ties_at_the_cut_go_to_the_lowest_ids() {
    assert_eq!(ids(&sampler(|p| p.top_k = 3).filter(&[1.0; 6])), [0, 1, 2]);
    assert_eq!(ids(&sampler(|p| p.top_p = 0.5).filter(&[1.0; 4])), [0, 1]);
}

#[test]
fn penalties_can_turn_greedy() {
    let s = sampler(|p| {
        p.temperature = 0.0;
        p.presence_penalty = 2.0;
    });
    assert!(s.needs_logits());
    assert_eq!(s.choose(&[1.0, 2.0], &[], 0).token, 1);
    assert_eq!(s.choose(&[1.0, 2.0], &[1], 1).token, 0);
}

#[test]
fn draws_follow_the_softmax_at_the_temperature() {
    let p = [0.5f32, 0.25, 0.15, 0.1];
    for temperature in [1.0f32, 0.5] {
        let s = sampler(|params| {
            params.temperature = temperature;
            params.seed = 11;
        });
        let n = 40_000;
        let mut counts = [0.0f64; 4];
        for position in 0..n {
            counts[s.choose(&ln(&p), &[], position).token as usize] += 1.0;
        }
        let weights = p.map(|p| f64::from(p).powf(1.0 / f64::from(temperature)));
        let sum: f64 = weights.iter().sum();
        let chi2: f64 = (0..4)
            .map(|i| {
                let expected = weights[i] / sum * n as f64;
                (counts[i] - expected).powi(2) / expected
            })
            .sum();
        // Three degrees of freedom: 21.1 is exceeded once in ten thousand seeds.
        assert!(chi2 < 21.1, "chi-square {chi2} at temperature {temperature}: {counts:?}");
    }
}

#[test]
fn skipping_hopeless_ids_changes_nothing() {
    let s = sampler(|p| p.seed = 3);
    let logits: Vec<f32> = (0..2000).map(|i| ((i * 7919) % 2003) as f32 * 0.03).collect();
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for position in 0..200 {
        let plain = (0..2000u32)
            .map(|id| ((logits[id as usize] - max) + rng::gumbel(3, position, id), id))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .expect("not empty");
        assert_eq!(s.choose(&logits, &[], position).token, plain.1);
    }
}

proptest! {
    #[test]
    fn any_logits_give_a_kept_id(
        bits in prop::collection::vec(any::<u32>(), 1..60),
        top_k in 0usize..70,
        (top_p, min_p, typical_p) in (0.0f32..=1.0, 0.0f32..=1.0, 0.0f32..=1.0),
        temperature in 0.0f32..3.0,
        seed: u64,
        position: u64,
    ) {
        let logits: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let params = SamplerParams {
            temperature, top_k, top_p, min_p, typical_p, seed, ..SamplerParams::default()
        };
        let s = Sampler::new(params).expect("valid settings");
        let kept = s.filter(&logits);
        prop_assert!(!kept.is_empty());
        let choice = s.choose(&logits, &[], position);
        prop_assert!((choice.token as usize) < logits.len());
        if temperature > 0.0 {
            prop_assert!(kept.iter().any(|c| c.id == choice.token));
        }
        let again = s.choose(&logits, &[], position);
        prop_assert_eq!(again.token, choice.token);
    }

    /// An id that stays kept and wins keeps winning when others are filtered away: the reason why a
    /// draft made from fewer candidates agrees with the full choice so often.
    #[test]
    fn the_winner_wins_among_fewer(seed: u64, top_k in 1usize..20) {
        let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin()).collect();
        let all = sampler(|p| p.seed = seed);
        let few = sampler(|p| { p.seed = seed; p.top_k = top_k; });
        let winner = all.choose(&logits, &[], 5).token;
        if few.filter(&logits).iter().any(|c| c.id == winner) {
            prop_assert_eq!(few.choose(&logits, &[], 5).token, winner);
        }
    }

    #[test]
    fn the_draw_does_not_depend_on_the_order_of_visits(
        logits in prop::collection::vec(-8i8..8, 1..300),
        swaps in prop::collection::vec((0usize..300, 0usize..300), 0..300),
        (seed, position) in any::<(u64, u64)>(),
        temperature in prop::sample::select(vec![1e-30f32, 0.1, 1.0, 5.0, f32::MAX]),
    ) {
        let mut kept: Vec<Candidate> =
            (0..).zip(logits).map(|(id, l)| Candidate { id: id * 7, logit: f32::from(l) }).collect();
        let want = draw(kept.iter().copied(), temperature, seed, position);
        let n = kept.len();
        for (a, b) in swaps {
            kept.swap(a % n, b % n);
        }
        prop_assert_eq!(draw(kept.iter().copied(), temperature, seed, position), want);
    }

    /// What a device draws when it verifies a tree is what the sampler chooses.
    #[test]
    fn a_draw_from_all_is_the_choice_without_filters(
        logits in prop::collection::vec(
            prop_oneof![
                8 => -8f32..8.0,
                1 => prop::sample::select(vec![f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -0.0]),
            ],
            1..200,
        ),
        (seed, position) in any::<(u64, u64)>(),
        temperature in prop::sample::select(vec![0.1f32, 0.7, 1.0, 5.0]),
    ) {
        let s = sampler(|p| { p.seed = seed; p.temperature = temperature; });
        let want = s.choose(&logits, &[], position).token;
        prop_assert_eq!(draw_any(&logits, temperature, seed, position).unwrap_or(0), want);
    }
}
