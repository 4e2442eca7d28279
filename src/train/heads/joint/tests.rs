//! Gradients against finite differences, whole runs, and the merged file.

use std::{path::Path, sync::Arc, sync::atomic::AtomicBool};

use super::{
    Adapters, Backbone, JointOptions, Matrix, Ramp, Trainee,
    adapters::AdapterLayout,
    graph::JointGraph,
    memory::{JointMemory, estimate},
    merge, train_joint,
    windows::{Window, Windows},
};
use crate::{
    backend::{SharedBackend, cpu::Cpu},
    error::{Error, Result},
    format::{ModelSource, gguf::Writer, heads::HeadKind},
    kv::Sequence,
    model::{Model, ModelOptions, Want},
    ops::{Activations, KvFormat},
    quant::QuantFormat,
    sample::philox4x32_10,
    train::heads::{
        Event, Options, Target, Targets, Trained, features::Conversation, graph::Frozen,
        parameters::Layout, vocabulary::DraftVocab,
    },
};

const VOCAB: usize = 48;
const WIDTH: usize = 32;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const GROUPS: usize = 2;
const HEAD: usize = 8;
const FEED_FORWARD: usize = 64;

/// Numbers in -1 to 1.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let word = |i: usize| philox4x32_10([i as u32, 0, 0, 0], [seed, 0])[0];
    (0..count).map(|i| (word(i) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// A tiny model of a family, with matrices in f32.
fn tiny(arch: &str, dir: &Path) -> ModelSource {
    spoilt_tiny(arch, dir, None)
}

/// The same, with a token whose embedding is no number.
fn spoilt_tiny(arch: &str, dir: &Path, spoilt: Option<u32>) -> ModelSource {
    let mut w = Writer::new(arch);
    let key = |suffix: &str| format!("{arch}.{suffix}");
    w.u32(&key("block_count"), LAYERS as u32)
        .u32(&key("embedding_length"), WIDTH as u32)
        .u32(&key("feed_forward_length"), FEED_FORWARD as u32)
        .u32(&key("attention.head_count"), HEADS as u32)
        .u32(&key("attention.head_count_kv"), GROUPS as u32)
        .u32(&key("attention.key_length"), HEAD as u32)
        .u32(&key("attention.value_length"), HEAD as u32)
        .u32(&key("context_length"), 256)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .f32(&key("rope.freq_base"), 10_000.0);
    let gemma = arch == "gemma3";
    if gemma {
        w.u32(&key("attention.sliding_window"), 5);
        w.u32(&key("attention.sliding_window_pattern"), 2);
    }
    let mut seed = 10;
    let mut matrix = |w: &mut Writer, name: &str, n: usize, k: usize| {
        seed += 1;
        let scale = (3.0 / k as f32).sqrt();
        let mut values: Vec<f32> = noise(n * k, seed).iter().map(|x| scale * x).collect();
        if let Some(id) = spoilt.filter(|_| name == "token_embd.weight") {
            values[id as usize * k..][..k].fill(f32::NAN);
        }
        w.tensor_f32(name, [n, k], &values);
    };
    matrix(&mut w, "token_embd.weight", VOCAB, WIDTH);
    if spoilt.is_some() {
        // Untied, so that a spoilt embedding is seen only where it is read.
        matrix(&mut w, "output.weight", VOCAB, WIDTH);
    }
    let around = |center: f32, len: usize, seed: u32| -> Vec<f32> {
        noise(len, seed).iter().map(|x| center + 0.2 * x).collect()
    };
    for layer in 0..LAYERS {
        for (name, n, k) in [
            ("attn_q", HEADS * HEAD, WIDTH),
            ("attn_k", GROUPS * HEAD, WIDTH),
            ("attn_v", GROUPS * HEAD, WIDTH),
            ("attn_output", WIDTH, HEADS * HEAD),
            ("ffn_gate", FEED_FORWARD, WIDTH),
            ("ffn_up", FEED_FORWARD, WIDTH),
            ("ffn_down", WIDTH, FEED_FORWARD),
        ] {
            matrix(&mut w, &format!("blk.{layer}.{name}.weight"), n, k);
            if arch == "qwen2" && matches!(name, "attn_q" | "attn_k" | "attn_v") {
                let bias = around(0.0, n, 70 + layer as u32);
                w.tensor_f32(&format!("blk.{layer}.{name}.bias"), [n], &bias);
            }
        }
        let mut norms = vec![("attn_norm", WIDTH), ("ffn_norm", WIDTH)];
        if gemma {
            norms.extend([("attn_q_norm", HEAD), ("attn_k_norm", HEAD)]);
            norms.extend([("post_attention_norm", WIDTH), ("post_ffw_norm", WIDTH)]);
        }
        for (i, (name, len)) in norms.into_iter().enumerate() {
            let values = around(1.0, len, 90 + (10 * layer + i) as u32);
            w.tensor_f32(&format!("blk.{layer}.{name}.weight"), [len], &values);
        }
    }
    w.tensor_f32("output_norm.weight", [WIDTH], &around(1.0, WIDTH, 99));
    let path = dir.join(format!("{arch}.gguf"));
    w.write(&path).expect("a temporary folder can be written");
    ModelSource::open(path).expect("what was written can be read")
}

fn load(source: &ModelSource, backend: SharedBackend) -> Model {
    let options = ModelOptions {
        quant: None,
        precision: Activations::F32.into(),
        kv_format: KvFormat::F32,
        capacity: 256,
    };
    Model::load(source, backend, &options, &mut |_| {}).expect("the tiny model loads")
}

/// Conversations in which each token follows from the last.
fn conversations() -> Vec<Conversation> {
    let one = |c: usize| {
        let mut ids = vec![(c * 11 % VOCAB) as u32];
        for _ in 0..24 {
            let last = ids[ids.len() - 1] as usize;
            ids.push(((last * 5 + 3) % VOCAB) as u32);
        }
        Conversation { answers: vec![[2, 20], [22, 25]], ids, held_out: c.is_multiple_of(8) }
    };
    (0..64).map(one).collect()
}

fn frozen(model: &Model, vocab: &DraftVocab) -> Frozen {
    Frozen {
        backend: Arc::clone(model.backend()),
        embed: model.embedding().clone(),
        embed_scale: 1.5,
        projection: model.output_rows(vocab.ids()).expect("below the vocabulary"),
        width: WIDTH,
    }
}

/// A graph with random parameters, and one window.
struct Bench {
    graph: JointGraph,
    values: Vec<f32>,
    window: Window,
    heads: usize,
}

impl Bench {
    fn new(arch: &str, backend: SharedBackend) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let source = tiny(arch, dir.path());
        let model = load(&source, backend);
        let joint = JointOptions { rank: 3, window: 30, ..JointOptions::default() };
        let options = Options {
            heads: 2,
            batch: joint.window,
            draft_vocab: VOCAB - 8,
            targets: Targets::Hard,
            ..Options::default()
        };
        let vocab = DraftVocab::most_frequent(&[1; VOCAB], options.draft_vocab);
        let backbone = Backbone::load(&model, &source).expect("room");
        let layout = Layout::new(&options, WIDTH);
        let adapters = AdapterLayout::new(&backbone.config, &joint);
        let graph = JointGraph::new(
            (&options, &joint),
            (&layout, &adapters),
            (&backbone, &frozen(&model, &vocab)),
        )
        .expect("prepared");
        // Zeros between the tensors, as in a run.
        let random: Vec<f32> = noise(layout.elements(), 3).iter().map(|x| 0.3 * x).collect();
        let whole = layout.to_heads(&random, (VOCAB, &[0]), 1.0, Default::default());
        let mut values = layout.values_of(&whole).expect("its own layout");
        let heads = values.len();
        let random = noise(adapters.elements(), 4);
        values.extend(std::iter::repeat_n(0.0, adapters.elements()));
        for pair in adapters.layers.iter().flatten() {
            for place in [pair.a, pair.b] {
                for i in place.offset..place.offset + place.rows * place.cols {
                    values[heads + i] = 0.3 * random[i];
                }
            }
        }
        let all = conversations();
        let near = backbone.config.window.unwrap_or(0);
        let windows = Windows::pack(&all, false, (&options, &joint, near));
        let mut window = windows.window(1, &vocab);
        window.weigh((0.02, 0.8), 0.03);
        Self { graph, values, window, heads }
    }

    fn loss(&self, values: &[f32]) -> f64 {
        let zeros = vec![0.0; values.len()];
        self.graph.set_values(&[values.to_vec(), zeros.clone(), zeros]).expect("as large");
        let (losses, divergences) = self.graph.add(&self.window).expect("runs");
        losses.into_iter().chain(divergences).map(f64::from).sum()
    }

    fn gradient(&self) -> Vec<f32> {
        self.graph.begin().expect("runs");
        self.loss(&self.values);
        self.graph.gradients().concat()
    }
}

fn devices() -> Vec<SharedBackend> {
    let fast = Cpu::fast(2).expect("threads start");
    #[allow(unused_mut, reason = "wgpu is a feature")]
    let mut all: Vec<SharedBackend> = vec![Arc::new(fast)];
    #[cfg(feature = "wgpu")]
    if !crate::backend::wgpu::list().is_empty() {
        let device = crate::backend::wgpu::open(0, &crate::backend::wgpu::Options::default());
        all.push(Arc::new(device.expect("a listed adapter opens")));
    }
    all
}

/// Grouped keys, biases, and all that Gemma adds: norms of queries, keys and outputs, windows.
#[test]
fn gradients_are_those_of_finite_differences_in_every_family() {
    for arch in ["llama", "qwen2", "gemma3"] {
        let bench = Bench::new(arch, Arc::new(Cpu::reference()));
        let gradient = bench.gradient();
        let parts = [0..bench.heads, bench.heads..gradient.len()];
        for part in parts {
            // Along the gradient itself all of it counts at once, and nothing drowns in rounding.
            let norm2: f64 = gradient[part.clone()].iter().map(|&g| f64::from(g).powi(2)).sum();
            assert!(norm2 > 1e-4, "{arch}: {norm2}");
            let along = |by: f64| {
                let mut values = bench.values.clone();
                for i in part.clone() {
                    values[i] += (by / norm2.sqrt() * f64::from(gradient[i])) as f32;
                }
                bench.loss(&values)
            };
            let slope = (along(1e-2) - along(-1e-2)) / 2e-2;
            assert!(
                (slope - norm2.sqrt()).abs() < 2e-3 * norm2.sqrt(),
                "{arch}: {slope} along a gradient of {}",
                norm2.sqrt()
            );
            // Single numbers too: the largest of each stretch.
            let step = part.len() / 24;
            for first in part.clone().step_by(step) {
                let stretch = first..part.end.min(first + step);
                let at = stretch.max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()));
                let at = at.expect("not empty");
                let shifted = |by: f32| {
                    let mut values = bench.values.clone();
                    values[at] += by;
                    (f64::from(values[at]), bench.loss(&values))
                };
                let ((high, above), (low, below)) = (shifted(8e-3), shifted(-8e-3));
                let wanted = (above - below) / (high - low);
                let got = f64::from(gradient[at]);
                assert!(
                    (got - wanted).abs() < 2e-5 + 1e-2 * wanted.abs(),
                    "{arch} {at}: {got} {wanted}"
                );
            }
        }
    }
}

#[test]
fn every_device_gives_the_reference_s_gradients() {
    for arch in ["llama", "gemma3"] {
        let wanted = Bench::new(arch, Arc::new(Cpu::reference())).gradient();
        let norm: f64 = wanted.iter().map(|&g| f64::from(g).powi(2)).sum();
        for device in devices() {
            let got = Bench::new(arch, Arc::clone(&device)).gradient();
            let away: f64 =
                got.iter().zip(&wanted).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            let share = (away / norm).sqrt();
            assert!(share < 1e-4, "{}: {arch} {share}", device.adapter());
        }
    }
}

#[test]
fn windows_hold_whole_pieces_and_every_guess_once() {
    let joint = JointOptions { window: 10, ..JointOptions::default() };
    let options = Options { heads: 2, ..Options::default() };
    let vocab = DraftVocab::most_frequent(&[1; VOCAB], VOCAB);
    let all = conversations();
    let windows = Windows::pack(&all[1..3], false, (&options, &joint, 3));
    let mut guesses = 0;
    for index in 0..windows.len() {
        let window = windows.window(index, &vocab);
        for row in 0..joint.window {
            let [first, end] = [window.spans[0][2 * row], window.spans[0][2 * row + 1]];
            if window.ids[row] == u32::MAX {
                assert_eq!((first, end, window.kl[row]), (0, 0, 0.0));
                continue;
            }
            // A row sees its own piece, the nearest three in a windowed layer.
            assert_eq!(end as usize, row + 1);
            assert_eq!(window.positions[row], row as u32 - first);
            assert_eq!(window.spans[1][2 * row], first.max((row as u32 + 1).saturating_sub(3)));
            if let Some(token) = window.tokens[row] {
                // Tokens follow from each other, so the guess two ahead does too.
                let next = |id: u32| (id * 5 + 3) % VOCAB as u32;
                assert_eq!(token, next(next(window.ids[row])));
                assert_eq!(window.head_ids[row], next(window.ids[row]));
                assert_eq!(window.targets[row], vocab.place(token));
                guesses += 1;
            }
        }
    }
    // Answers of 18 and 3 tokens: all but the last of each have a token behind them.
    assert_eq!(guesses, 2 * (17 + 2));
}

fn options(lr: f32) -> Options {
    Options {
        kind: HeadKind::Independent,
        heads: 2,
        draft_vocab: VOCAB - 4,
        targets: Targets::Hard,
        batch: 150,
        epochs: 6,
        lr,
        every: 20,
        ..Options::default()
    }
}

fn joint(head_rate: f32) -> JointOptions {
    JointOptions {
        rank: 4,
        alpha: 4.0,
        head_rate,
        head_loss: 1.0,
        ramp: Ramp::Constant,
        window: 50,
        ..JointOptions::default()
    }
}

/// A run in `dir`; `stop` says after which evaluation it is interrupted.
fn run(
    dir: &Path,
    options: (&Options, &JointOptions),
    how: (usize, Option<u64>),
    seen: &mut Vec<Trained>,
) -> Result<(Trained, Adapters)> {
    let what = What { spoilt: None, conversations: &conversations() };
    run_on(dir, options, how, what, seen)
}

/// What a run learns from.
struct What<'a> {
    /// A token whose embedding is no number.
    spoilt: Option<u32>,
    conversations: &'a [Conversation],
}

fn run_on(
    dir: &Path,
    (options, joint): (&Options, &JointOptions),
    (threads, stop): (usize, Option<u64>),
    what: What<'_>,
    seen: &mut Vec<Trained>,
) -> Result<(Trained, Adapters)> {
    let source = spoilt_tiny("llama", dir, what.spoilt);
    let model = load(&source, Arc::new(Cpu::fast(threads).expect("threads start")));
    let backbone = Backbone::load(&model, &source)?;
    let target = Target {
        backend: Arc::clone(model.backend()),
        embed: model.embedding().clone(),
        embed_rows: &|ids| model.embedding_rows(ids),
        output_rows: &|ids| model.output_rows(ids),
        counts: &[1; VOCAB],
        made_by: "tiny".into(),
    };
    let trainee = Trainee { target: &target, backbone: &backbone };
    let cancel = AtomicBool::new(false);
    let place = (dir, None, false);
    train_joint(&trainee, what.conversations, (options, joint), place, &cancel, &mut |event| {
        if let Event::Evaluated(trained) = event {
            seen.push(trained.clone());
            let stops = stop.is_some_and(|stop| trained.evaluation.step == stop);
            cancel.store(stops, std::sync::atomic::Ordering::Relaxed);
        }
    })
}

#[test]
fn joint_training_beats_heads_alone_and_stays_near_the_original() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // The same rate for heads; adapters at a ten-thousandth of it hardly move.
    let mut alone = Vec::new();
    run(dir.path(), (&options(1e-5), &joint(1000.0)), (2, None), &mut alone).expect("trains");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut both = Vec::new();
    run(dir.path(), (&options(2.5e-3), &joint(4.0)), (2, None), &mut both).expect("trains");
    let [alone, together] = [&alone, &both].map(|seen| &seen[seen.len() - 1].evaluation);
    let top1 = |heads: &[super::super::accuracy::HeadAccuracy]| -> f64 {
        heads.iter().map(|head| head.top1).sum()
    };
    assert!(alone.divergence.is_some_and(|d| d < 1e-3), "{alone:?}");
    assert!(together.divergence.is_some_and(|d| d > 1e-4 && d < 0.5), "{together:?}");
    assert!(top1(&together.heads) > top1(&alone.heads) + 0.1, "{together:?} {alone:?}");
    assert_eq!(both[0].evaluation.divergence, Some(0.0), "fresh adapters change nothing");
    let text = std::fs::read_to_string(dir.path().join("log.jsonl")).expect("a log");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("an object"));
    let losses: Vec<f64> = lines.filter_map(|l: serde_json::Value| l["loss"][0].as_f64()).collect();
    assert!(losses.len() > 3 && losses[losses.len() - 1] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one() {
    let settings = (options(2.5e-3), JointOptions { ramp: Ramp::Sine, ..joint(4.0) });
    let settings = (&settings.0, &settings.1);
    let whole = tempfile::tempdir().expect("a temporary folder");
    let wanted = run(whole.path(), settings, (1, None), &mut vec![]).expect("trains");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let stopped = run(dir.path(), settings, (2, Some(20)), &mut vec![]);
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    let mut seen = Vec::new();
    let resumed = run(dir.path(), settings, (2, None), &mut seen).expect("goes on");
    assert_eq!(seen[0].evaluation.step, 20, "it went on where it was");
    assert_eq!(resumed.1, wanted.1);
    assert_eq!(resumed.0.heads, wanted.0.heads);
    assert_eq!(resumed.0.evaluation, wanted.0.evaluation);
    let alone = JointOptions { rank: 5, ..settings.1.clone() };
    let error = run(dir.path(), (settings.0, &alone), (2, None), &mut vec![]).expect_err("another");
    assert!(error.to_string().contains("`rank` was 4, now it is 5"), "{error}");
}

#[test]
fn a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint() {
    // A token whose embedding is no number, in one conversation only.
    let spoilt = 47;
    let mut all = conversations();
    let mut seen = false;
    all.retain(|c| !c.ids.contains(&spoilt) || !(c.held_out || std::mem::replace(&mut seen, true)));
    assert!(seen && all.iter().filter(|c| c.ids.contains(&spoilt)).count() == 1);
    for seed in 0..5 {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = Options { every: 1, seed, ..options(2.5e-3) };
        let what = What { spoilt: Some(spoilt), conversations: &all };
        let error = run_on(dir.path(), (&options, &joint(4.0)), (2, None), what, &mut vec![]);
        let text = error.expect_err("no number").to_string();
        assert!(text.contains("batch ") && text.contains("is not finite"), "{text}");
        let step: u64 = text
            .split_once(',')
            .and_then(|(step, _)| step.strip_prefix("step ")?.parse().ok())
            .expect("the message names the step");
        if step == 1 {
            continue;
        }
        let bytes = std::fs::read(dir.path().join("checkpoint.safetensors"));
        let bytes = bytes.expect("the last good one stays");
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("sound");
        let kept = header.metadata().as_ref().and_then(|all| all.get("step")).cloned();
        assert_eq!(kept, Some((step - 1).to_string()));
        return;
    }
    panic!("the spoilt conversation came first with every seed");
}

#[test]
fn the_merged_file_is_the_model_with_its_adapters() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for arch in ["llama", "gemma3"] {
        let bench = Bench::new(arch, Arc::new(Cpu::reference()));
        let source = tiny(arch, dir.path());
        let joint = JointOptions { rank: 3, ..JointOptions::default() };
        let config = source.config().expect("sound");
        let layout = AdapterLayout::new(&config, &joint);
        bench.loss(&bench.values);
        let with_adapters = bench.graph.hidden();
        let adapters = Adapters::new(layout, bench.values[bench.heads..].to_vec());
        // The first piece of the window.
        let rows = (1..30).take_while(|&row| bench.window.positions[row] == row as u32).count() + 1;
        let ids = &bench.window.ids[..rows];
        let distance = |format: QuantFormat| {
            let path = dir.path().join("merged.gguf");
            merge(&source, &adapters, format, &path, &mut |_| {}).expect("merges");
            let merged = ModelSource::open(&path).expect("readable");
            assert_eq!(merged.config().expect("sound"), config, "metadata is the same");
            let mut model = load(&merged, Arc::new(Cpu::reference()));
            let mut sequence = Sequence::new(model.pool());
            let never = AtomicBool::new(false);
            let output = model.prefill(&mut sequence, ids, Want::AllHidden, &never).expect("runs");
            let got = output.hidden.expect("asked for");
            let away = got.iter().zip(&with_adapters).map(|(a, b)| (a - b).abs());
            away.fold(0f32, f32::max)
        };
        let exact = distance(QuantFormat::F32);
        assert!(exact < 2e-4, "{arch}: {exact}");
        let rounded = distance(QuantFormat::F16);
        assert!(rounded < 2e-2, "{arch}: {rounded}");
        let mut original = load(&source, Arc::new(Cpu::reference()));
        let mut sequence = Sequence::new(original.pool());
        let never = AtomicBool::new(false);
        let output = original.prefill(&mut sequence, ids, Want::AllHidden, &never).expect("runs");
        let plain = output.hidden.expect("asked for");
        let moved = plain.iter().zip(&with_adapters).any(|(a, b)| (a - b).abs() > 0.1);
        assert!(moved, "{arch}: adapters that change nothing show nothing");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_parts() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = tiny("llama", dir.path()).config().expect("sound");
    let (options, joint) = (options(1e-3), joint(4.0));
    let memory = estimate(&config, &options, &joint, 40);
    let matrices = 2 * (32 * 32 * 2 + 2 * 16 * 32 + 3 * 64 * 32) + 48 * 32;
    assert_eq!(memory.weights_bytes, 4 * matrices as u64);
    assert!(memory.check(None).is_ok() && memory.check(Some(memory.total_bytes())).is_ok());
    let large = JointMemory { weights_bytes: 9 << 30, ..memory };
    let error = large.check(Some(1 << 30)).expect_err("too large").to_string();
    assert!(error.contains("9216 for matrices") && error.contains("1024 MiB are free"), "{error}");
    let bad = JointOptions { window: 64, ..joint.clone() };
    let error = bad.check(&options).expect_err("150 is no multiple").to_string();
    assert!(error.contains("150 positions is not a whole number of windows of 64"), "{error}");
    assert!("wq".parse::<Matrix>().is_err_and(|e| e.to_string().contains("gate")));
}
