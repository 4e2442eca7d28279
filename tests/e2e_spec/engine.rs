//! The engine around rounds: ends, limits, cancelling, and what it can draft with.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use coppice::{
    engine::{
        DeviceSpec, DraftSources, Engine, Event, Generation, LoadOptions, Request, StopReason,
    },
    format::heads::HeadKind,
    ops::KvFormat,
    sample::SamplerParams,
    spec::{Method, RoundOutcome, Speculation, TreeChoice},
};

use crate::{
    common::{Tiny, ids},
    support::{Recorded, random_heads},
};

fn options(ctx: usize) -> LoadOptions {
    LoadOptions {
        device: DeviceSpec::Cpu,
        threads: Some(2),
        precision: None,
        quant: None,
        kv: KvFormat::F16,
        context: Some(ctx),
        sequences: 1,
    }
}

fn load(file: &std::path::Path, ctx: usize) -> Engine {
    Engine::load(file, &options(ctx)).expect("the tiny model loads")
}

fn ask(engine: &mut Engine, request: &Request, on_event: &mut dyn FnMut(Event<'_>)) -> Generation {
    engine.generate(request, &AtomicBool::new(false), on_event).expect("it runs")
}

#[test]
fn ends_act_within_a_round_as_between_tokens() {
    let tiny = Tiny::of("qwen3");
    let file = tiny.file(1);
    let plain = Request {
        prompt: ids(12, 8),
        max_tokens: Some(40),
        sampler: SamplerParams { temperature: 1.0, seed: 5, ..Default::default() },
        stop: vec![],
        ignore_eos: true,
        spec: Speculation::default(),
    };
    let mut engine = load(file.path(), 256);
    let whole = ask(&mut engine, &plain, &mut |_| {});
    assert_eq!((whole.ids.len(), whole.stop_reason), (40, StopReason::Length));
    let text: Vec<u32> = plain.prompt.iter().chain(&whole.ids).copied().collect();
    // A token that comes once, in the middle of a round of seven.
    let at = (10..30)
        .find(|&i| i % 7 == 3 && whole.ids.iter().filter(|id| **id == whole.ids[i]).count() == 1)
        .expect("tokens are many");
    let spec = Speculation { gate: false, ..Speculation::by(Method::Lookup) };
    let variants = [
        (Request { ignore_eos: false, ..plain.clone() }, StopReason::Eos),
        (Request { stop: vec![format!(" {}", whole.ids[at])], ..plain.clone() }, StopReason::Stop),
        (Request { max_tokens: Some(at + 1), ..plain.clone() }, StopReason::Length),
        (Request { max_tokens: None, ..plain.clone() }, StopReason::Context),
    ];
    for (request, reason) in variants {
        let file = tiny.file(if reason == StopReason::Eos { whole.ids[at] } else { 1 });
        let ctx = if reason == StopReason::Context { 12 + at } else { 256 };
        let mut engine = load(file.path(), ctx);
        let want = ask(&mut engine, &request, &mut |_| {});
        assert_eq!((want.stop_reason, want.ids.len()), (reason, at + 1), "plain");
        for (right, depth) in [(8, 6), (5, 4)] {
            let mut engine = load(file.path(), ctx);
            engine.set_proposer(Box::new(Recorded::new(&text, right, 1, depth)));
            let request = Request { spec: spec.clone(), ..request.clone() };
            let mut rounds = Vec::new();
            let got = ask(&mut engine, &request, &mut |event| {
                if let Event::Round(round) = event {
                    rounds.push(round.clone());
                }
            });
            let name = format!("{reason:?}, {right} of 8 right");
            assert_eq!(got.ids, want.ids, "{name}");
            assert_eq!((&got.text, got.stop_reason), (&want.text, want.stop_reason), "{name}");
            let t = &got.timings;
            let drafted: usize = rounds.iter().map(RoundOutcome::drafted).sum();
            let accepted: usize = rounds.iter().map(RoundOutcome::accepted).sum();
            assert_eq!((t.draft_n, t.draft_n_accepted), (drafted, accepted), "{name}");
            assert_eq!(t.rounds_n, rounds.len(), "{name}");
            assert!(t.rounds_n < at, "{name}: {} rounds", t.rounds_n);
            // What is behind the end is gone from the cache, so a longer prompt goes on right.
            let longer = Request {
                prompt: text[..12 + at + 1].to_vec(),
                max_tokens: Some(1),
                spec: Speculation::default(),
                ..plain.clone()
            };
            if reason != StopReason::Context {
                let next = ask(&mut engine, &longer, &mut |_| {});
                assert_eq!(next.ids[0], whole.ids[at + 1], "{name}");
                assert_eq!(next.timings.cache_n, 12 + at, "{name}");
            }
        }
    }
}

#[test]
fn a_generation_can_be_cancelled_between_rounds() {
    let tiny = Tiny::of("qwen3");
    let file = tiny.file(1);
    let mut engine = load(file.path(), 256);
    let sources = DraftSources::default();
    engine.draft_by(Method::Lookup, &sources, &options(256)).expect("it needs none");
    let request = Request {
        prompt: ids(12, 8),
        max_tokens: Some(100),
        sampler: SamplerParams::default(),
        stop: vec![],
        ignore_eos: true,
        spec: Speculation { gate: false, ..Speculation::by(Method::Lookup) },
    };
    let cancel = AtomicBool::new(false);
    let mut rounds = 0;
    let got = engine.generate(&request, &cancel, &mut |event| {
        if let Event::Round(round) = event {
            rounds = round.round + 1;
            cancel.store(rounds == 5, Ordering::Relaxed);
        }
    });
    let got = got.expect("it ends");
    assert_eq!((got.stop_reason, rounds), (StopReason::Cancelled, 5));
    assert!(got.ids.len() >= 6, "{} tokens", got.ids.len());
}

#[test]
fn the_engine_makes_what_it_can_draft_with() {
    let tiny = Tiny::of("qwen3");
    let file = tiny.file(1);
    let base = Request {
        prompt: ids(12, 8),
        max_tokens: Some(60),
        sampler: SamplerParams { temperature: 0.7, seed: 2, ..Default::default() },
        stop: vec![],
        ignore_eos: true,
        spec: Speculation::default(),
    };
    let mut engine = load(file.path(), 128);
    let want = ask(&mut engine, &base, &mut |_| {});
    assert_eq!(engine.methods(), [Method::Plain]);
    let medusa = Request { spec: Speculation::by(Method::Medusa), ..base.clone() };
    let never = AtomicBool::new(false);
    let error = engine.generate(&medusa, &never, &mut |_| {}).expect_err("no heads");
    assert!(error.to_string().contains("medusa"), "{error}");
    let folder = tempfile::tempdir().expect("a folder");
    let heads = DraftSources {
        heads: Some(Arc::new(random_heads(HeadKind::Sequential, 64))),
        curves: Some(folder.path().join("curves")),
        ..DraftSources::default()
    };
    let none = DraftSources::default();
    for (method, sources) in
        [(Method::Medusa, &heads), (Method::Lookup, &none), (Method::Auto, &heads)]
    {
        engine.draft_by(method, sources, &options(128)).expect("all is there");
        for gate in [false, true] {
            let spec = Speculation { gate, tree: TreeChoice::Nodes(12), ..Speculation::by(method) };
            let got = ask(&mut engine, &Request { spec, ..base.clone() }, &mut |_| {});
            assert_eq!(got.ids, want.ids, "{method:?}, gate {gate}");
            let drafts = method == Method::Medusa && !gate;
            assert!(!drafts || got.timings.draft_n > 300, "{}", got.timings.draft_n);
        }
    }
    // None is kept where the machine was busy.
    let kept = std::fs::read_dir(folder.path().join("curves")).map_or(0, Iterator::count);
    assert!(kept <= 1, "the curve is measured once for these heads");
}
