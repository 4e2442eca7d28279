//! Speculation on a tiny model, end to end: whatever is drafted, the text is that of plain decoding.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use coppice::{
    Result,
    engine::{
        DeviceSpec, DraftSources, Engine, Event, Generation, LoadOptions, Request, StopReason,
    },
    format::heads::{Dense, Head, HeadKind, HeadRecord, Heads, ResBlock},
    kv::Sequence,
    model::{Model, Precision, Want},
    ops::KvFormat,
    quant::QuantFormat,
    sample::{Sampler, SamplerParams},
    spec::{
        AcceptRule, Draft, DraftContext, DraftNode, Drafting, Driver, Method, Proposal, Proposer,
        RoundOutcome, RoundStart, Source, Speculation, Target, TreeTemplate, Verdict,
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
    run(model, prompt, tokens, params, proposer.map(|proposer| (proposer, false)))
}

/// The proposer comes with whether heads grow their trees.
fn run(
    model: &mut Model,
    prompt: &[u32],
    tokens: usize,
    params: &SamplerParams,
    proposer: Option<(&mut dyn Proposer, bool)>,
) -> Answer {
    let sampler = Sampler::new(params.clone()).expect("valid settings");
    let rule = AcceptRule::lossless_for(&sampler);
    let mut sequence = Sequence::new(model.pool());
    let drafting =
        proposer.map(|(proposer, grow)| Drafting { proposer, gate: None, max_nodes: 32, grow });
    let mut driver = Driver::new(drafting, sampler, rule, prompt).expect("it begins");
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
    let drafting = Drafting { proposer: &mut deep, gate: None, max_nodes: 32, grow: false };
    let mut driver = Driver::new(Some(drafting), sampler, rule, &[1]).expect("it begins");
    let mut target = Target { model: &mut model, sequence: &mut sequence };
    let start = RoundStart { ids: &[1], prompt: 1, max_depth: 2 };
    let error = driver.round(&mut target, start).expect_err("too deep").to_string();
    assert!(error.contains("rest") && error.contains("depth 3"), "{error}");
}

/// Heads fill this shape.
struct Fill(TreeTemplate);

impl Proposer for Fill {
    fn method(&self) -> Method {
        Method::Medusa
    }

    fn begin(&mut self, _: &[u32]) -> Result<()> {
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        Ok(Proposal::Heads(self.0.cut(context.max_nodes, context.max_depth)))
    }

    fn observe(&mut self, _: &RoundOutcome) {}
}

/// Three heads, three guesses of the first, two of the others, some of them only.
fn bushy() -> TreeTemplate {
    let choices: [&[usize]; 9] =
        [&[0], &[1], &[2], &[0, 0], &[0, 1], &[1, 0], &[0, 0, 0], &[0, 0, 1], &[1, 0, 0]];
    TreeTemplate::from_choices(&choices.map(<[usize]>::to_vec)).expect("nine nodes")
}

fn dense(rows: usize, cols: usize, seed: u64, scale: f32) -> Dense {
    let data = ids(rows * cols, seed).into_iter();
    let data = data.map(|id| scale * (id as f32 / VOCAB as f32 - 0.5)).collect();
    Dense { rows, cols, data }
}

fn zeros(rows: usize, cols: usize) -> Dense {
    Dense { rows, cols, data: vec![0.0; rows * cols] }
}

fn set(kind: HeadKind, width: usize, heads: Vec<Head>) -> Heads {
    Heads {
        kind,
        width,
        vocab: VOCAB,
        draft_vocab: None,
        embed_scale: 1.0,
        heads,
        record: HeadRecord::default(),
    }
}

/// Heads of random weights: two blocks each, the middle one with a projection of its own.
fn random_heads(kind: HeadKind, d: usize) -> Heads {
    let head = |k: usize| {
        let cols = if kind == HeadKind::Sequential { (k + 2) * d } else { d };
        let seed = 50 * k as u64;
        let narrows = kind == HeadKind::Sequential || k == 2;
        let first = ResBlock {
            weight: dense(d, cols, seed + 1, 0.3),
            bias: dense(1, d, seed + 2, 0.2).data,
            residual: narrows.then(|| dense(d, cols, seed + 3, 0.3)),
        };
        let second = ResBlock {
            weight: dense(d, d, seed + 4, 0.3),
            bias: dense(1, d, seed + 5, 0.2).data,
            residual: None,
        };
        let projection = (k == 1).then(|| dense(VOCAB, d, seed + 6, 0.3));
        Head { blocks: vec![first, second], projection }
    };
    set(kind, d, (0..3).map(head).collect())
}

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
                // Heads see 8-bit rows where the target sees 15-bit ones.
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
            let spec = Speculation {
                gate,
                tree: coppice::spec::TreeChoice::Nodes(12),
                ..Speculation::by(method)
            };
            let got = ask(&mut engine, &Request { spec, ..base.clone() }, &mut |_| {});
            assert_eq!(got.ids, want.ids, "{method:?}, gate {gate}");
            let drafts = method == Method::Medusa && !gate;
            assert!(!drafts || got.timings.draft_n > 300, "{}", got.timings.draft_n);
        }
    }
    let kept = std::fs::read_dir(folder.path().join("curves")).expect("it was made");
    assert_eq!(kept.count(), 1, "the curve is measured once for these heads");
}
