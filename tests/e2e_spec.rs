//! Speculation on a tiny model, end to end: whatever is drafted, the text is that of plain decoding.

use std::sync::atomic::AtomicBool;

use coppice::{
    Result,
    kv::Sequence,
    model::{Model, Want},
    ops::KvFormat,
    quant::QuantFormat,
    sample::{Sampler, SamplerParams},
    spec::{
        AcceptRule, Draft, DraftContext, DraftNode, Driver, Method, Proposal, Proposer,
        RoundOutcome, RoundStart, Source, Target,
    },
};

mod common;

use common::{Tiny, VOCAB, devices, ids, reference};

const CONTEXT: usize = 192;

/// Drafts along a recorded text, each node beside wrong ones, and some of them wrong themselves.
struct Recorded {
    text: Vec<u32>,
    /// Of 8 guesses along the text so many are right.
    right: u32,
    /// Wrong siblings of each node.
    siblings: usize,
    depth: usize,
}

impl Recorded {
    fn new(text: &[u32], right: u32, siblings: usize, depth: usize) -> Self {
        Self { text: text.to_vec(), right, siblings, depth }
    }
}

impl Proposer for Recorded {
    fn method(&self) -> Method {
        Method::Lookup
    }

    fn begin(&mut self, _: &[u32]) -> Result<()> {
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        let at = context.ids.len();
        let node = |rank: usize| DraftNode { source: Source::Lookup, rank: rank as u16, p: None };
        let mut draft = Draft::new(context.root());
        let mut parent = 0;
        for depth in 0..self.depth.min(context.max_depth) {
            let Some(&token) = self.text.get(at + depth) else { break };
            if draft.len() + self.siblings + 1 > context.max_nodes {
                break;
            }
            for rank in 0..self.siblings {
                let other = (token + 1 + rank as u32) % VOCAB as u32;
                draft.push(other, parent, node(rank));
            }
            let hit = ids(1, (at + depth) as u64)[0] % 8 < self.right;
            let token = if hit { token } else { (token + 100) % VOCAB as u32 };
            parent = draft.push(token, parent, node(self.siblings));
        }
        Ok(Proposal::Tokens(draft))
    }

    fn observe(&mut self, _: &RoundOutcome) {}
}

/// An answer, its rounds, and the cache behind it.
struct Answer {
    ids: Vec<u32>,
    rounds: Vec<RoundOutcome>,
    sequence: Sequence,
}

fn answer(
    model: &mut Model,
    prompt: &[u32],
    tokens: usize,
    params: &SamplerParams,
    proposer: Option<&mut dyn Proposer>,
) -> Answer {
    let sampler = Sampler::new(params.clone()).expect("valid settings");
    let rule = AcceptRule::lossless_for(&sampler);
    let mut sequence = Sequence::new(model.pool());
    let mut driver = Driver::new(proposer, sampler, rule, 32, prompt).expect("it begins");
    let mut target = Target { model, sequence: &mut sequence };
    let no = AtomicBool::new(false);
    let row = target
        .model
        .prefill(target.sequence, prompt, driver.wants_of_prompt(), &no)
        .expect("it fits");
    let mut ids = prompt.to_vec();
    ids.push(driver.first(row.stats[0], row.logits.as_deref(), prompt));
    let mut rounds: Vec<RoundOutcome> = Vec::new();
    while ids.len() < prompt.len() + tokens {
        let max_depth = prompt.len() + tokens - ids.len() - 1;
        let start = RoundStart { ids: &ids, prompt: prompt.len(), max_depth };
        let outcome = driver.round(&mut target, start).expect("it fits");
        assert_eq!(outcome.round, rounds.len() as u64);
        assert_eq!(outcome.prefix as usize + 1, ids.len());
        assert_eq!(target.sequence.len(), outcome.prefix as usize + outcome.path.len());
        ids.extend(outcome.added());
        assert_eq!(target.sequence.ids(), &ids[..ids.len() - 1]);
        rounds.push(outcome);
    }
    Answer { ids, rounds, sequence }
}

fn settings() -> Vec<SamplerParams> {
    let of = |temperature: f32| SamplerParams { temperature, seed: 11, ..Default::default() };
    let penalties = |params: SamplerParams| SamplerParams {
        repeat_penalty: 1.3,
        presence_penalty: 0.2,
        frequency_penalty: 0.1,
        penalty_last_n: 32,
        ..params
    };
    vec![
        of(0.0),
        of(0.7),
        of(1.0),
        SamplerParams { top_p: 0.9, ..of(0.7) },
        SamplerParams { top_k: 40, min_p: 0.02, typical_p: 0.95, ..of(1.0) },
        penalties(of(0.0)),
        penalties(SamplerParams { top_p: 0.9, ..of(1.0) }),
    ]
}

#[test]
fn host_drafts_never_change_the_text() {
    for device in devices() {
        let mut model = Tiny::of("qwen3").load(&device, KvFormat::F16, CONTEXT);
        let prompt = ids(30, 5);
        for params in settings() {
            let name = format!("{}, {params:?}", device.name);
            let plain = answer(&mut model, &prompt, 40, &params, None);
            assert_eq!(plain.rounds.len(), 39, "{name}: a token a round");
            drop(plain.sequence);
            for (right, siblings, depth, least) in [(0, 2, 3, 1.0), (8, 0, 7, 7.0), (5, 2, 6, 1.3)]
            {
                let mut drafts = Recorded::new(&plain.ids, right, siblings, depth);
                let got = answer(&mut model, &prompt, 40, &params, Some(&mut drafts));
                assert_eq!(got.ids, plain.ids, "{name}, {right} of 8 right");
                let tokens: usize = got.rounds.iter().map(RoundOutcome::tokens).sum();
                let mean = tokens as f64 / got.rounds.len() as f64;
                assert!(mean >= least, "{name}: {mean} tokens a round with {right} of 8 right");
                if right == 0 {
                    assert_eq!(mean, 1.0, "{name}: nothing was right");
                }
            }
        }
    }
}

#[test]
fn the_cache_behind_many_rounds_is_that_of_a_fresh_prompt() {
    let mut model = Tiny::of("gemma3").load(&reference(), KvFormat::F32, 1024);
    let params = SamplerParams { temperature: 1.0, seed: 3, ..Default::default() };
    let prompt = ids(20, 6);
    let plain = answer(&mut model, &prompt, 420, &params, None);
    drop(plain.sequence);
    let mut drafts = Recorded::new(&plain.ids, 5, 1, 4);
    let mut got = answer(&mut model, &prompt, 420, &params, Some(&mut drafts));
    assert_eq!(got.ids, plain.ids);
    assert!(got.rounds.len() >= 150, "{} rounds", got.rounds.len());
    let next = model.decode(&mut got.sequence, 7, Want::LastLogits).expect("it fits");
    let seen = got.sequence.ids().to_vec();
    drop(got.sequence);
    let mut fresh = Sequence::new(model.pool());
    let no = AtomicBool::new(false);
    let want = model.prefill(&mut fresh, &seen, Want::LastLogits, &no).expect("it fits");
    assert_eq!(next.logits, want.logits);
}

#[test]
fn a_draft_out_of_bounds_is_refused_by_name() {
    struct Deep;
    impl Proposer for Deep {
        fn method(&self) -> Method {
            Method::Rest
        }
        fn begin(&mut self, _: &[u32]) -> Result<()> {
            Ok(())
        }
        fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
            let mut draft = Draft::new(context.root());
            let node = DraftNode { source: Source::Rest, rank: 0, p: None };
            (0..=context.max_depth).for_each(|depth| {
                draft.push(1, depth, node);
            });
            Ok(Proposal::Tokens(draft))
        }
        fn observe(&mut self, _: &RoundOutcome) {}
    }
    let mut model = Tiny::llama(QuantFormat::Q8_0).load(&reference(), KvFormat::F32, 64);
    let sampler = Sampler::new(SamplerParams::default()).expect("valid");
    let mut sequence = Sequence::new(model.pool());
    let (rule, mut deep) = (AcceptRule::Greedy, Deep);
    let mut driver = Driver::new(Some(&mut deep), sampler, rule, 32, &[1]).expect("it begins");
    let mut target = Target { model: &mut model, sequence: &mut sequence };
    let start = RoundStart { ids: &[1], prompt: 1, max_depth: 2 };
    let error = driver.round(&mut target, start).expect_err("too deep").to_string();
    assert!(error.contains("rest") && error.contains("depth 3"), "{error}");
}
