//! Drafts that heads fill in on the device.

use std::sync::atomic::AtomicBool;

use coppice::{
    format::heads::{Dense, Head, HeadKind, Heads, ResBlock},
    kv::Sequence,
    model::{Model, Precision, Want},
    ops::KvFormat,
    quant::QuantFormat,
    sample::{Sampler, SamplerParams},
    spec::{
        AcceptRule, Drafting, Driver, Method, RoundOutcome, RoundStart, Target, TreeTemplate,
        Verdict,
    },
};

use crate::{
    common::{Tiny, VOCAB, devices, ids, reference},
    support::{CONTEXT, Fill, answer, bushy, random_heads, run, set, settings, zeros},
};

/// `x` of `a x = b` for each column of `b`; `a` is symmetric and positive.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    for i in 0..n {
        let (pivot, right) = (a[i].clone(), b[i].clone());
        for j in 0..n {
            let factor = if i == j { 0.0 } else { a[j][i] / pivot[i] };
            a[j].iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
            b[j].iter_mut().zip(&right).for_each(|(x, p)| *x -= factor * p);
        }
    }
    (0..n).map(|i| b[i].iter().map(|x| x / a[i][i]).collect()).collect()
}

/// The matrix that takes each input to the one-hot row of its token, nearly.
fn interpolate(inputs: &[Vec<f32>], tokens: &[u32]) -> Dense {
    let (n, d) = (inputs.len(), inputs[0].len());
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let ridge = 1e-6 * dot(&inputs[0], &inputs[0]);
    let gram = (0..n).map(|i| {
        let row = (0..n).map(|j| dot(&inputs[i], &inputs[j]) + if i == j { ridge } else { 0.0 });
        row.collect()
    });
    let right = inputs.iter().map(|x| x.iter().map(|&x| f64::from(x)).collect()).collect();
    let dual = solve(gram.collect(), right);
    let mut matrix = zeros(VOCAB, d);
    for (row, &token) in dual.iter().zip(tokens) {
        let out = &mut matrix.data[token as usize * d..][..d];
        out.iter_mut().zip(row).for_each(|(w, x)| *w += *x as f32);
    }
    matrix
}

/// Heads that are right along `text`, whose answer begins at `prompt`.
fn perfect_heads(kind: HeadKind, model: &mut Model, text: &[u32], prompt: usize) -> Heads {
    let d = model.config().d_model;
    let mut sequence = Sequence::new(model.pool());
    let no = AtomicBool::new(false);
    let all = model.prefill(&mut sequence, text, Want::AllHidden, &no).expect("it fits");
    let hidden = all.hidden.expect("asked for");
    let table = Tiny::of("qwen3").source();
    let table = table.tensor("token_embd.weight").expect("the table");
    let table: Vec<f32> = bytemuck::pod_collect_to_vec(table.bytes);
    let head = |k: usize| {
        // Position p chose the root at p + 1; head k guesses what is at p + 2 + k.
        let positions: Vec<usize> = (prompt - 1..text.len() - k - 2).collect();
        let inputs = positions.iter().map(|&p| {
            let mut x = hidden[p * d..][..d].to_vec();
            if kind == HeadKind::Sequential {
                for &token in &text[p + 1..=p + 1 + k] {
                    let row = &table[token as usize * d..][..d];
                    x.iter_mut().zip(row).for_each(|(x, e)| *x += 2.0 * e);
                }
            }
            x
        });
        let tokens: Vec<u32> = positions.iter().map(|&p| text[p + 2 + k]).collect();
        let projection = interpolate(&inputs.collect::<Vec<_>>(), &tokens);
        let blocks = match kind {
            HeadKind::Independent => vec![],
            HeadKind::Sequential => {
                // The sum of the hidden state and all embeddings.
                let cols = (k + 2) * d;
                let mut sum = zeros(d, cols);
                (0..d * (k + 2)).for_each(|i| sum.data[(i % d) * cols + i] = 1.0);
                let block =
                    ResBlock { weight: zeros(d, cols), bias: vec![0.0; d], residual: Some(sum) };
                vec![block]
            }
        };
        Head { blocks, projection: Some(projection) }
    };
    let heads = (0..3).map(head).collect();
    Heads { embed_scale: 2.0, ..set(kind, d, heads) }
}

const KINDS: [HeadKind; 2] = [HeadKind::Independent, HeadKind::Sequential];

#[test]
fn heads_never_change_the_text() {
    let tiny = Tiny::of("qwen3");
    let source = tiny.source();
    for device in devices() {
        let mut model = tiny.load(&device, KvFormat::F16, CONTEXT);
        let prompt = ids(30, 5);
        for params in settings() {
            let plain = answer(&mut model, &prompt, 24, &params, None);
            drop(plain.sequence);
            for kind in KINDS {
                let name = format!("{kind:?} on {}, {params:?}", device.name);
                let random = random_heads(kind, 64);
                model.load_heads(&source, &random, QuantFormat::Q8_0).expect("they fit");
                let mut fill = Fill(bushy());
                let got = answer(&mut model, &prompt, 24, &params, Some(&mut fill));
                assert_eq!(got.ids, plain.ids, "random {name}");
                assert!(got.rounds.iter().take(10).all(|round| round.nodes.len() == 10), "{name}");
                drop(got.sequence);

                let perfect = perfect_heads(kind, &mut model, &plain.ids, prompt.len());
                model.load_heads(&source, &perfect, QuantFormat::F32).expect("they fit");
                let got = answer(&mut model, &prompt, 24, &params, Some(&mut fill));
                assert_eq!(got.ids, plain.ids, "perfect {name}");
                // The first token, five rounds of four, and what is left.
                assert!(got.rounds.len() <= 7, "{name}: {} rounds", got.rounds.len());
                let accepted = |round: &RoundOutcome| {
                    round.path[1..].iter().all(|&n| {
                        let node = &round.nodes[n as usize];
                        node.verdict == Verdict::Accepted && node.draft_p.is_some_and(|p| p > 0.0)
                    })
                };
                assert!(got.rounds.iter().all(accepted), "{name}");
            }
        }
    }
}

#[test]
fn grown_trees_never_change_the_text() {
    let tiny = Tiny::of("qwen3");
    let source = tiny.source();
    for device in devices() {
        let mut model = tiny.load(&device, KvFormat::F16, CONTEXT);
        let prompt = ids(30, 5);
        for params in [settings()[0].clone(), settings()[2].clone(), settings()[3].clone()] {
            let plain = answer(&mut model, &prompt, 24, &params, None);
            drop(plain.sequence);
            let perfect =
                perfect_heads(HeadKind::Independent, &mut model, &plain.ids, prompt.len());
            model.load_heads(&source, &perfect, QuantFormat::F32).expect("they fit");
            let mut fill = Fill(bushy());
            let got = run(&mut model, &prompt, 24, &params, Some((&mut fill, true)));
            assert_eq!(got.ids, plain.ids, "{}, {params:?}", device.name);
            let grown = got.rounds[0].nodes.iter().filter(|node| node.token != u32::MAX).count();
            assert!(grown > 1, "{}: {grown} nodes", device.name);
        }
    }
    let mut model = tiny.load(&reference(), KvFormat::F32, CONTEXT);
    let random = random_heads(HeadKind::Sequential, 64);
    model.load_heads(&source, &random, QuantFormat::Q8_0).expect("they fit");
    let sampler = Sampler::new(SamplerParams::default()).expect("valid");
    let mut fill = Fill(bushy());
    let drafting = Drafting { proposer: &mut fill, gate: None, max_nodes: 32, grow: true };
    let prompt = ids(5, 1);
    let mut driver =
        Driver::new(Some(drafting), sampler, AcceptRule::Greedy, &prompt).expect("it begins");
    let mut sequence = Sequence::new(model.pool());
    let no = AtomicBool::new(false);
    model.prefill(&mut sequence, &prompt, Want::LastStats, &no).expect("it fits");
    let mut target = Target { model: &mut model, sequence: &mut sequence };
    let ids: Vec<u32> = prompt.iter().copied().chain([3]).collect();
    let start = RoundStart { ids: &ids, prompt: 5, max_depth: 9 };
    let error = driver.round(&mut target, start).expect_err("they depend on the tree");
    assert!(error.to_string().contains("independent"), "{error}");
}

#[test]
fn a_draft_vocabulary_keeps_its_rows_of_the_output_matrix() {
    let some: Vec<u32> = (0..VOCAB as u32).filter(|id| id % 3 == 1).collect();
    for device in devices() {
        for tiny in [Tiny::llama(QuantFormat::Q4_1), Tiny::llama(QuantFormat::Q6_K)] {
            let mut model = tiny.load(&device, KvFormat::F16, CONTEXT);
            // A head without blocks says again what the target said.
            let echo = Head { blocks: vec![], projection: None };
            let heads = set(HeadKind::Independent, tiny.width, vec![echo]);
            let heads = Heads { draft_vocab: Some(some.clone()), ..heads };
            model.load_heads(&tiny.source(), &heads, QuantFormat::Q8_0).expect("they fit");
            let prompt = ids(9, 3);
            let mut sequence = Sequence::new(model.pool());
            let no = AtomicBool::new(false);
            let row = model.prefill(&mut sequence, &prompt, Want::LastLogits, &no).expect("fits");
            let logits = row.logits.expect("asked for");
            let mut best = some.clone();
            best.sort_by(|&a, &b| {
                logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b))
            });
            let template = TreeTemplate::cartesian(&[3]).expect("three");
            let candidates = coppice::model::Candidates::Heads { root: 5, template: &template };
            let rule = coppice::model::DeviceRule::Greedy;
            let got = model.round(&mut sequence, candidates, rule).expect("it fits");
            let name = format!("{tiny:?} on {}", device.name);
            assert_eq!(got.drafted.tree.tokens(), [5, best[0], best[1], best[2]], "{name}");
            let total: f64 = some.iter().map(|&id| f64::from(logits[id as usize]).exp()).sum();
            let logprobs = got.drafted.logprobs.expect("heads say how sure they are");
            for (node, &id) in best[..3].iter().enumerate() {
                let want = (f64::from(logits[id as usize]).exp() / total).ln() as f32;
                let said = logprobs[node + 1];
                // Heads see 8-bit rows where the target sees 12-bit ones.
                let bound = if device.precision == Precision::MIXED { 0.05 } else { 1e-3 };
                assert!((said - want).abs() < bound, "{name}: {said} {want}");
            }
        }
    }
}

#[test]
fn heads_that_cannot_draft_leave_a_plain_step() {
    let tiny = Tiny::of("llama");
    let mut model = tiny.load(&reference(), KvFormat::F32, CONTEXT);
    let random = random_heads(HeadKind::Independent, 64);
    model.load_heads(&tiny.source(), &random, QuantFormat::Q8_0).expect("they fit");
    let no = AtomicBool::new(false);
    let mut sequence = Sequence::new(model.pool());
    let mut other = Sequence::new(model.pool());
    assert!(!model.can_draft(&sequence), "nothing ran yet");
    model.prefill(&mut sequence, &ids(9, 1), Want::LastStats, &no).expect("it fits");
    assert!(model.can_draft(&sequence) && !model.can_draft(&other));
    model.prefill(&mut other, &ids(9, 1), Want::LastStats, &no).expect("it fits");
    assert!(!model.can_draft(&sequence) && model.can_draft(&other));
    model.truncate(&mut other, 8).expect("a prefix");
    assert!(!model.can_draft(&other), "the state was of a position that is gone");
    model.prefill(&mut other, &[7], Want::Nothing, &no).expect("it fits");
    assert!(!model.can_draft(&other), "the output norm did not run");
    let prompt: Vec<u32> = other.ids().iter().copied().chain([7]).collect();
    let sampler = Sampler::new(SamplerParams::default()).expect("valid");
    let mut fill = Fill(bushy());
    let drafting = Drafting { proposer: &mut fill, gate: None, max_nodes: 32, grow: false };
    let mut driver =
        Driver::new(Some(drafting), sampler, AcceptRule::Greedy, &prompt).expect("it begins");
    let mut target = Target { model: &mut model, sequence: &mut other };
    let start = RoundStart { ids: &prompt, prompt: 9, max_depth: 9 };
    let outcome = driver.round(&mut target, start).expect("a plain step");
    assert_eq!((outcome.method, outcome.nodes.len()), (Method::Plain, 1));
    let ids: Vec<u32> = prompt.iter().copied().chain([outcome.bonus]).collect();
    let start = RoundStart { ids: &ids, prompt: 9, max_depth: 9 };
    let outcome = driver.round(&mut target, start).expect("heads again");
    assert_eq!((outcome.method, outcome.nodes.len()), (Method::Medusa, 10));
}

#[test]
fn heads_of_another_model_are_refused_by_name() {
    let tiny = Tiny::of("llama");
    let mut model = tiny.load(&reference(), KvFormat::F32, 64);
    let source = tiny.source();
    let good = || random_heads(HeadKind::Sequential, 64);
    let mut refused = |heads: &Heads, said: &[&str]| {
        let error = model.load_heads(&source, heads, QuantFormat::Q8_0).expect_err("unfit");
        let text = error.to_string();
        assert!(said.iter().all(|said| text.contains(said)), "{text}");
    };
    refused(&random_heads(HeadKind::Independent, 32), &["width of 32", "has 64"]);
    refused(&Heads { vocab: 511, ..good() }, &["vocabulary of 511", "512"]);
    refused(&Heads { draft_vocab: Some(vec![1, 512]), ..good() }, &["draft vocabulary", "512"]);
    refused(&Heads { heads: vec![], ..good() }, &["without heads"]);
    let mut narrow = good();
    narrow.heads[1].blocks[0].residual = None;
    refused(&narrow, &["head 1", "narrows"]);
    let mut wide = good();
    wide.heads[2].blocks[1].weight = zeros(64, 65);
    refused(&wide, &["head 2", "[64, 65]"]);
}
