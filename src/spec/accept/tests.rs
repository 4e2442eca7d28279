//! The rules through their front door, against plain decoding and by hand.

use proptest::prelude::*;

use super::{
    AcceptRule, Acceptance, Drawn, Keyed, Law, Replacement, TargetRows, accept, accept_sampled,
    draw_children,
};
use crate::{
    model::RowStat,
    sample::{Sampler, SamplerParams, philox4x32_10},
    spec::{Draft, DraftNode, Source, Verdict},
};

const VOCAB: u32 = 13;

fn sampler(params: SamplerParams) -> Sampler {
    Sampler::new(params).expect("parameters of a test are in range")
}

fn at(temperature: f32) -> SamplerParams {
    SamplerParams { temperature, ..SamplerParams::default() }
}

fn stat(logits: &[f32]) -> RowStat {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let argmax = logits.iter().position(|&l| l == max).expect("the largest is one of them") as u32;
    let total: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
    let logsumexp = f64::from(max) + total.ln();
    let entropy = logits.iter().map(|&l| f64::from(l) - logsumexp).map(|ln| -ln * ln.exp());
    RowStat { max, argmax, logsumexp: logsumexp as f32, entropy: entropy.sum::<f64>() as f32 }
}

/// A toy model: logits that depend on the last two tokens.
fn toy(text: &[u32]) -> Vec<f32> {
    let last = |n: usize| text.len().checked_sub(n).map_or(99, |at| text[at]);
    let word = |id| philox4x32_10([id, last(1), last(2), 0], [5, 0])[0];
    (0..VOCAB).map(|id| (word(id) % 1000) as f32 / 200.0).collect()
}

/// Rows of a target at each node.
struct Rows {
    stats: Vec<RowStat>,
    logits: Vec<f32>,
}

impl Rows {
    fn of(draft: &Draft, history: &[u32], model: impl Fn(&[u32]) -> Vec<f32>) -> Self {
        let mut rows = Self { stats: vec![], logits: vec![] };
        for node in 0..draft.len() {
            let mut text = history.to_vec();
            text.extend(draft.tree().path(node)[1..].iter().map(|&n| draft.tree().tokens()[n]));
            let logits = model(&text);
            rows.stats.push(stat(&logits));
            rows.logits.extend(logits);
        }
        rows
    }

    fn all(&self) -> TargetRows<'_> {
        TargetRows { stats: &self.stats, logits: Some(&self.logits) }
    }

    fn stats(&self) -> TargetRows<'_> {
        TargetRows { stats: &self.stats, logits: None }
    }
}

fn guess(rank: u16) -> DraftNode {
    DraftNode { source: Source::Lookup, rank, p: None }
}

/// A tree of `picks.len()` guesses: each hangs below a node picked, and every third one follows what
/// plain decoding would give, so that paths are kept.
fn drafted(history: &[u32], picks: &[u32], next: impl Fn(&[u32]) -> u32) -> Draft {
    let mut draft = Draft::new(*history.last().expect("a history has a root"));
    for &pick in picks {
        let parent = pick as usize % draft.len();
        let mut text = history.to_vec();
        text.extend(draft.tree().path(parent)[1..].iter().map(|&n| draft.tree().tokens()[n]));
        let token = if pick % 3 == 0 { next(&text) } else { pick / 7 % VOCAB };
        draft.push(token, parent, guess(0));
    }
    draft
}

fn plain(sampler: &Sampler, prompt: &[u32], len: usize) -> Vec<u32> {
    let mut text = prompt.to_vec();
    while text.len() < len {
        let token = sampler.choose(&toy(&text), &text, text.len() as u64).token;
        text.push(token);
    }
    text
}

fn added(draft: &Draft, acceptance: &Acceptance) -> Vec<u32> {
    let kept = acceptance.path[1..].iter().map(|&n| draft.tree().tokens()[n]);
    kept.chain([acceptance.bonus]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lossless_rules_give_the_text_of_plain_decoding(
        picks in prop::collection::vec(prop::collection::vec(any::<u32>(), 0..24), 20),
        seed in any::<u64>(),
        (temperature, top_p, top_k) in (prop::sample::select(vec![0.0f32, 0.7, 1.0]), 0.5f32..=1.0, 0usize..9),
        (repeat_penalty, frequency_penalty) in (prop::sample::select(vec![1.0f32, 1.3]), prop::sample::select(vec![0.0f32, 0.2])),
    ) {
        let sampler = sampler(SamplerParams {
            seed, top_p, top_k, repeat_penalty, frequency_penalty, penalty_last_n: 6, ..at(temperature)
        });
        let mut text = vec![3, 1, 4];
        let root = sampler.choose(&toy(&text), &text, text.len() as u64).token;
        text.push(root);
        for picks in &picks {
            let draft = drafted(&text, picks, |text| {
                sampler.choose(&toy(text), text, text.len() as u64).token
            });
            let rows = Rows::of(&draft, &text, toy);
            let done = accept(AcceptRule::Seeded, &sampler, &draft, rows.all(), &text).expect("fits");
            if AcceptRule::lossless_for(&sampler) == AcceptRule::Greedy {
                let greedy = accept(AcceptRule::Greedy, &sampler, &draft, rows.stats(), &text);
                let greedy = greedy.expect("fits");
                prop_assert_eq!((&greedy.path, greedy.bonus), (&done.path, done.bonus));
            }
            text.extend(added(&draft, &done));
        }
        prop_assert_eq!(&text, &plain(&sampler, &[3, 1, 4], text.len()));
    }

    #[test]
    fn every_rule_reports_a_path_that_its_verdicts_tell(
        picks in prop::collection::vec(any::<u32>(), 0..40),
        temperature in prop::sample::select(vec![0.0f32, 0.5, 1.0]),
    ) {
        let history = [7, 2];
        let draft = drafted(&history, &picks, |text| stat(&toy(text)).argmax);
        let rows = Rows::of(&draft, &history, toy);
        for rule in AcceptRule::ALL {
            let sampler = sampler(at(if rule == AcceptRule::Greedy { 0.0 } else { temperature }));
            let done = accept(rule, &sampler, &draft, rows.all(), &history).expect("fits");
            prop_assert_eq!(done.path[0], 0);
            for step in done.path.windows(2) {
                prop_assert_eq!(draft.tree().parents()[step[1]], Some(step[0]));
            }
            prop_assert_eq!(done.nodes.len(), draft.len());
            for (n, node) in done.nodes.iter().enumerate() {
                let kept = done.path.contains(&n);
                let parent_kept = draft.tree().parents()[n].is_some_and(|p| done.path.contains(&p));
                prop_assert_eq!(node.verdict == Verdict::Accepted, kept && n > 0);
                if rule.name() != "typical" {
                    prop_assert_eq!(node.verdict == Verdict::Unreached, n > 0 && !parent_kept);
                }
                prop_assert_eq!(node.target_p.is_some(), n > 0);
            }
        }
    }
}

/// Root 5 with two children, the second with one.
fn small() -> Draft {
    let mut draft = Draft::new(5);
    draft.push(0, 0, guess(0));
    let second = draft.push(1, 0, guess(1));
    draft.push(2, second, guess(0));
    draft
}

fn ln(p: &[f32]) -> Vec<f32> {
    p.iter().map(|p| p.ln()).collect()
}

/// The root's entropy is 1.0889 nats, so its threshold is min(0.09, 0.3 e^-1.0889) = 0.09; behind
/// node 2 the law is flat over four ids: min(0.09, 0.3 / 4) = 0.075.
#[test]
fn typical_acceptance_takes_the_longest_likely_path() {
    let draft = small();
    let model = |text: &[u32]| match text {
        [5] => ln(&[0.6, 0.1, 0.15, 0.15]),
        _ => ln(&[0.25; 4]),
    };
    let rows = Rows::of(&draft, &[5], model);
    let done =
        accept(AcceptRule::TYPICAL, &sampler(at(1.0)), &draft, rows.all(), &[5]).expect("fits");
    assert_eq!((done.path, done.bonus), (vec![0, 2, 3], 0));
    let verdicts: Vec<Verdict> = done.nodes.iter().map(|node| node.verdict).collect();
    assert_eq!(
        verdicts,
        [Verdict::Root, Verdict::Outrun, Verdict::Accepted, Verdict::Accepted],
        "the likelier first child leads to a shorter path"
    );
    let thresholds: Vec<f32> = done.nodes[1..].iter().filter_map(|node| node.threshold).collect();
    for (got, wanted) in thresholds.iter().zip([0.09, 0.09, 0.075]) {
        assert!((got - wanted).abs() < 1e-6, "{thresholds:?}");
    }
    // At half the temperature the second child has 0.01 / 0.415, below every threshold.
    let done =
        accept(AcceptRule::TYPICAL, &sampler(at(0.5)), &draft, rows.all(), &[5]).expect("fits");
    assert_eq!(done.path, [0, 1]);
    assert_eq!(done.nodes[2].verdict, Verdict::BelowThreshold);
    assert_eq!(done.nodes[3].verdict, Verdict::Unreached);
}

#[test]
fn typical_acceptance_breaks_ties_by_likelihood_then_by_index() {
    let draft = {
        let mut draft = Draft::new(5);
        for token in [2, 1, 0] {
            draft.push(token, 0, guess(0));
        }
        draft
    };
    let path = |p: &[f32]| {
        let rows = Rows::of(&draft, &[5], |_| ln(p));
        let done = accept(AcceptRule::TYPICAL, &sampler(at(1.0)), &draft, rows.all(), &[5]);
        done.expect("fits").path
    };
    assert_eq!(path(&[0.3, 0.4, 0.3]), [0, 2]);
    assert_eq!(path(&[0.3, 0.3, 0.4]), [0, 1]);
    assert_eq!(path(&[0.25; 4]), [0, 1]);
}

#[test]
fn residual_acceptance_has_the_law_of_the_target() {
    let p = [0.5f32, 0.3, 0.15, 0.05];
    let q = Law::new(vec![(1, 0.6), (2, 0.3), (3, 0.1)]).expect("valid");
    let n = 40_000u64;
    let mut counts = [[0u64; 4]; 2];
    for seed in 0..n {
        let sampler = sampler(SamplerParams { seed, ..at(1.0) });
        let mut chance = Keyed { seed };
        let sampled = draw_children(q.clone(), 2, Replacement::Without, 1, 0, &mut chance);
        let mut draft = Draft::new(5);
        for &token in &sampled.tokens {
            draft.push(token, 0, guess(0));
        }
        let rows = Rows::of(&draft, &[5], |_| ln(&p));
        let mut drawn = Drawn::certain(&draft);
        let certain = accept(AcceptRule::Residual, &sampler, &draft, rows.all(), &[5]);
        drawn[0] = sampled;
        let sampled = accept_sampled(&sampler, &draft, &drawn, rows.all(), &[5]);
        for (count, done) in counts.iter_mut().zip([certain, sampled]) {
            count[added(&draft, &done.expect("fits"))[0] as usize] += 1;
        }
    }
    for count in counts {
        for (count, p) in count.iter().zip(p) {
            let wanted = n as f64 * f64::from(p);
            let error = (wanted * (1.0 - f64::from(p))).sqrt();
            assert!((*count as f64 - wanted).abs() < 5.0 * error, "{counts:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let draft = small();
    let rows = Rows::of(&draft, &[5], toy);
    let greedy = sampler(at(0.0));
    let says = |rule, sampler: &Sampler, rows, history: &[u32], says: &str| {
        let error = accept(rule, sampler, &draft, rows, history).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    };
    let short = TargetRows { stats: &rows.stats[..3], logits: None };
    says(AcceptRule::Greedy, &greedy, short, &[5], "4 nodes, but 3 rows");
    says(AcceptRule::Seeded, &greedy, rows.stats(), &[5], "none were read back");
    let cut = TargetRows { logits: Some(&rows.logits[1..]), ..rows.all() };
    says(AcceptRule::Seeded, &greedy, cut, &[5], "51 logits for 4 nodes");
    says(AcceptRule::Seeded, &greedy, rows.all(), &[5, 6], "root is token 5");
    says(AcceptRule::Greedy, &sampler(at(0.7)), rows.all(), &[5], "--accept greedy");
    let filtered = sampler(SamplerParams { top_p: 0.9, ..at(0.7) });
    says(AcceptRule::TYPICAL, &filtered, rows.all(), &[5], "--temp alone");
    let wild = AcceptRule::Typical { eps: 2.0, alpha: 0.3 };
    says(wild, &greedy, rows.all(), &[5], "eps 2 and alpha 0.3");
    assert!("medusa".parse::<AcceptRule>().is_err());
    assert_eq!("typical".parse::<AcceptRule>().expect("a name"), AcceptRule::TYPICAL);
}

#[test]
fn draws_that_do_not_fit_the_draft_are_named() {
    let draft = small();
    let rows = Rows::of(&draft, &[5], toy);
    let sampler = sampler(at(1.0));
    let fails = |change: &dyn Fn(&mut Vec<Drawn>), says: &str| {
        let mut drawn = Drawn::certain(&draft);
        change(&mut drawn);
        let error = accept_sampled(&sampler, &draft, &drawn, rows.all(), &[5]).expect_err(says);
        assert!(error.to_string().contains(says), "{error}");
    };
    fails(&|drawn| drawn.truncate(3), "draws of 3 nodes for a draft of 4");
    fails(&|drawn| drawn[0].tokens.push(9), "token 9 was drawn below node 0 but is no child");
    fails(&|drawn| drawn[2].tokens.clear(), "node 3 holds token 2, which was not drawn");
    fails(&|drawn| drawn[2].law = Some(Law::certain(1)), "from a law that cannot give it");
}

#[test]
fn draws_run_out_with_the_law() {
    let law = Law::new(vec![(4, 1.0), (6, 1.0)]).expect("valid");
    let mut chance = Keyed { seed: 0 };
    let mut drawn = draw_children(law.clone(), 5, Replacement::Without, 9, 0, &mut chance).tokens;
    drawn.sort_unstable();
    assert_eq!(drawn, [4, 6]);
    assert_eq!(draw_children(law, 5, Replacement::With, 9, 0, &mut chance).tokens.len(), 5);
}
