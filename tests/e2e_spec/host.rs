//! Drafts that the host knows.

use std::sync::atomic::AtomicBool;

use coppice::{
    Result,
    kv::Sequence,
    model::Want,
    ops::KvFormat,
    quant::QuantFormat,
    sample::{Sampler, SamplerParams},
    spec::{
        AcceptRule, Draft, DraftContext, DraftNode, Drafting, Driver, Method, Proposal, Proposer,
        RoundOutcome, RoundStart, Source, Target,
    },
};

use crate::{
    common::{Tiny, devices, ids, reference},
    support::{CONTEXT, Recorded, answer, settings},
};

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
    let drafting = Drafting { proposer: &mut deep, gate: None, max_nodes: 32, grow: false };
    let mut driver = Driver::new(Some(drafting), sampler, rule, &[1]).expect("it begins");
    let mut target = Target { model: &mut model, sequence: &mut sequence };
    let start = RoundStart { ids: &[1], prompt: 1, max_depth: 2 };
    let error = driver.round(&mut target, start).expect_err("too deep").to_string();
    assert!(error.contains("rest") && error.contains("depth 3"), "{error}");
}
