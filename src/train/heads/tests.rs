//! Gradients against finite differences, and whole runs on a language that is simple to learn.

use std::{path::Path, sync::Arc, sync::atomic::AtomicBool};

use super::{
    Event, Options, Target, Targets, Trained,
    batch::Batch,
    features::{Conversation, Features},
    graph::{Frozen, Graph},
    parameters::Layout,
    train,
};
use crate::{
    backend::{Backend, BufferDesc, SharedBackend, Usage, cpu::Cpu},
    dtype::DType,
    error::{Error, Result},
    format::heads::{HeadKind, HeadRecord, Heads},
    ops::Weight,
    quant::{self, QuantFormat, repack},
    sample::philox4x32_10,
};

const VOCAB: usize = 48;
const WIDTH: usize = 32;

/// Numbers in -1 to 1.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let word = |i: usize| philox4x32_10([i as u32, 0, 0, 0], [seed, 0])[0];
    (0..count).map(|i| (word(i) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// An f32 matrix as a packed weight.
fn weight(backend: &dyn Backend, values: &[f32], [n, k]: [usize; 2]) -> Weight {
    let layout = quant::Layout::new(QuantFormat::F32, n, k).expect("whole blocks");
    let bytes = repack(&layout, bytemuck::cast_slice(values)).expect("as many rows");
    let desc = BufferDesc { label: "w".into(), bytes: bytes.len() as u64, usage: Usage::Weights };
    let buffer = backend.alloc(&desc).expect("memory");
    let data = buffer.view(0, DType::U8, [bytes.len()]).expect("fits");
    backend.write(&data, &bytes).expect("fits");
    Weight { layout, data }
}

fn frozen(backend: SharedBackend, draft_vocab: usize) -> Frozen {
    Frozen {
        embed: weight(&*backend, &noise(VOCAB * WIDTH, 1), [VOCAB, WIDTH]),
        backend,
        embed_scale: 1.5,
        projection: noise(draft_vocab * WIDTH, 2),
        width: WIDTH,
    }
}

/// Loss of a batch by the formulas of [`Heads`], in f64.
fn loss(heads: &Heads, batch: &Batch, frozen: &Frozen, per_row: usize) -> f64 {
    let rows = batch.states.len() / WIDTH;
    let embeddings = noise(VOCAB * WIDTH, 1);
    let mut total = 0.0;
    for (k, head) in heads.heads.iter().enumerate() {
        for row in 0..rows {
            let state = &batch.states[row * WIDTH..][..WIDTH];
            let mut x: Vec<f64> = state.iter().copied().map(f64::from).collect();
            if heads.kind == HeadKind::Sequential {
                for slot in 0..=k {
                    let id = batch.ids[slot * rows + row] as usize;
                    let scale = f64::from(frozen.embed_scale);
                    x.extend((0..WIDTH).map(|d| match id < VOCAB {
                        true => scale * f64::from(embeddings[id * WIDTH + d]),
                        false => 0.0,
                    }));
                }
            }
            for block in &head.blocks {
                let product = |data: &[f32], d: usize| -> f64 {
                    let row = &data[d * x.len()..][..x.len()];
                    row.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum()
                };
                let y = (0..WIDTH).map(|d| {
                    let z = product(&block.weight.data, d) + f64::from(block.bias[d]);
                    let residual =
                        block.residual.as_ref().map_or_else(|| x[d], |r| product(&r.data, d));
                    residual + z / (1.0 + (-z).exp())
                });
                x = y.collect();
            }
            let logits: Vec<f64> = frozen
                .projection
                .chunks_exact(WIDTH)
                .map(|p| p.iter().zip(&x).map(|(p, x)| f64::from(*p) * x).sum())
                .collect();
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum = most + logits.iter().map(|l| (l - most).exp()).sum::<f64>().ln();
            for j in 0..per_row {
                let at = (k * rows + row) * per_row + j;
                if let Some(logit) = logits.get(batch.targets[at] as usize) {
                    total += f64::from(batch.weights[at]) * (sum - logit);
                }
            }
        }
    }
    total
}

/// The CPU paths, and the first adapter of wgpu where there is one.
fn devices() -> Vec<SharedBackend> {
    let fast = Cpu::fast(2).expect("threads start");
    let mut all: Vec<SharedBackend> = vec![Arc::new(Cpu::reference()), Arc::new(fast)];
    #[cfg(feature = "wgpu")]
    if !crate::backend::wgpu::list().is_empty() {
        let device = crate::backend::wgpu::open(0, &crate::backend::wgpu::Options::default());
        all.push(Arc::new(device.expect("a listed adapter opens")));
    }
    all
}

#[test]
fn gradients_are_those_of_finite_differences_on_every_device() {
    for device in devices() {
        check_gradients(&device);
    }
}

fn check_gradients(device: &SharedBackend) {
    const ROWS: usize = 5;
    const DRAFT: usize = 20;
    for kind in [HeadKind::Independent, HeadKind::Sequential] {
        let (heads, targets) = (2, Targets::Soft { top: 3 });
        let options =
            Options { kind, heads, blocks: 2, targets, batch: ROWS, ..Options::default() };
        let frozen = frozen(Arc::clone(device), DRAFT);
        let layout = Layout::new(&options, WIDTH);
        let graph = Graph::new(&options, layout.clone(), &frozen).expect("prepared");
        let values: Vec<f32> = noise(layout.elements(), 3).iter().map(|x| 0.3 * x).collect();
        // Zeros between the tensors, as in a run.
        let whole = layout.to_heads(&values, (VOCAB, &[0]), 1.0, HeadRecord::default());
        let values = layout.values_of(&whole).expect("its own layout");
        let zeros = vec![0.0; values.len()];
        graph.set_values(&[values.clone(), zeros.clone(), zeros]).expect("as large");
        let count = heads * ROWS * 3;
        let mut batch = Batch {
            states: noise(ROWS * WIDTH, 4),
            ids: (0..heads as u32 * ROWS as u32).map(|i| i * 7 % 48).collect(),
            targets: (0..count as u32).map(|i| (i * 7) % DRAFT as u32).collect(),
            weights: noise(count, 5).iter().map(|w| w.abs()).collect(),
            exists: vec![true; heads * ROWS],
        };
        batch.ids[3] = u32::MAX;
        batch.targets[4] = u32::MAX;
        let hyper = [0.0, 0.9, 0.9, 1e-8, 0.0, 1.0, 1.0, f32::INFINITY];
        let result = graph.step(&batch, [hyper; 2]).expect("runs");
        let wanted = loss(&whole, &batch, &frozen, 3);
        let got: f64 = result.losses.iter().copied().map(f64::from).sum();
        assert!((got - wanted).abs() < 1e-5 * wanted, "{kind:?}: {got} is not {wanted}");
        let gradients = graph.gradients();
        let norm2: f64 = gradients.iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
        assert!((f64::from(result.norm2) - norm2).abs() < 1e-5 * norm2);
        let (mut checked, mut largest) = (0, 0f64);
        for i in (0..values.len()).step_by(11) {
            // Steps that f32 holds exactly, since the heads' values are f32.
            let shifted = |by: f32| {
                let mut values = values.clone();
                values[i] += by;
                let at = f64::from(values[i]);
                let heads = layout.to_heads(&values, (VOCAB, &[0]), 1.0, HeadRecord::default());
                (at, loss(&heads, &batch, &frozen, 3))
            };
            let ((high, above), (low, below)) = (shifted(1e-3), shifted(-1e-3));
            let wanted = (above - below) / (high - low);
            let got = f64::from(gradients[i]);
            assert!(
                (got - wanted).abs() < 2e-5 + 1e-3 * wanted.abs(),
                "{kind:?} {i}: {got} {wanted}"
            );
            checked += usize::from(wanted != 0.0);
            largest = largest.max(wanted.abs());
        }
        assert!(checked > 100 && largest > 0.01, "{checked} that matter, up to {largest}");
    }
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

/// A state tells its token, and a little of its place.
fn states(ids: &[u32]) -> Result<Vec<f32>> {
    let rows = noise(VOCAB * WIDTH, 6);
    let state = |(i, &id): (usize, &u32)| {
        let row = &rows[id as usize * WIDTH..][..WIDTH];
        row.iter()
            .enumerate()
            .map(move |(d, x)| x + 0.1 * ((i + d) as f32).sin())
            .collect::<Vec<_>>()
    };
    Ok(ids.iter().enumerate().flat_map(state).collect())
}

fn options(kind: HeadKind) -> Options {
    Options {
        kind,
        heads: 3,
        draft_vocab: VOCAB - 4,
        batch: 48,
        epochs: 6,
        lr: 1e-2,
        every: 20,
        ..Options::default()
    }
}

/// A run in `dir`; `stop` says after which evaluation it is interrupted.
fn run(
    dir: &Path,
    options: &Options,
    (threads, stop): (usize, Option<u64>),
    seen: &mut Vec<Trained>,
) -> Result<Trained> {
    let backend: SharedBackend = match threads {
        0 => Arc::new(Cpu::reference()),
        n => Arc::new(Cpu::fast(n).expect("threads start")),
    };
    let all = conversations();
    let features =
        Features::open(&dir.join("hidden"), &all, ("tiny", WIDTH), &mut states, &mut |_| {})?;
    let rows = |seed: u32| {
        move |ids: &[u32]| -> Result<Vec<f32>> {
            let matrix = noise(VOCAB * WIDTH, seed);
            Ok(ids.iter().flat_map(|&id| matrix[id as usize * WIDTH..][..WIDTH].to_vec()).collect())
        }
    };
    let target = Target {
        embed: weight(&*backend, &noise(VOCAB * WIDTH, 1), [VOCAB, WIDTH]),
        backend,
        embed_rows: &rows(1),
        output_rows: &rows(2),
        counts: &[1; VOCAB],
        made_by: "tiny".into(),
    };
    let cancel = AtomicBool::new(false);
    train(&target, &features, options, (dir, None, false), &cancel, &mut |event| {
        if let Event::Evaluated(trained) = event {
            seen.push(trained.clone());
            let stops = stop.is_some_and(|stop| trained.evaluation.step == stop);
            cancel.store(stops, std::sync::atomic::Ordering::Relaxed);
        }
    })
}

#[test]
fn heads_learn_and_beat_untrained_ones_on_what_they_have_not_seen() {
    for (kind, targets) in [
        (HeadKind::Sequential, Targets::Hard),
        (HeadKind::Independent, Targets::Hard),
        (HeadKind::Sequential, Targets::Soft { top: 4 }),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = Options { targets, ..options(kind) };
        let mut seen = Vec::new();
        let trained = run(dir.path(), &options, (2, None), &mut seen).expect("trains");
        let text = std::fs::read_to_string(dir.path().join("log.jsonl")).expect("a log");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("an object"));
        let losses: Vec<f64> =
            lines.filter_map(|l: serde_json::Value| l["loss"][0].as_f64()).collect();
        assert!(losses.len() > 5 && losses[losses.len() - 1] < 0.5 * losses[0], "{losses:?}");
        if targets == Targets::Hard {
            let (before, after) = (&seen[0].evaluation.heads, &trained.evaluation.heads);
            for (before, after) in before.iter().zip(after) {
                assert!(after.top1 > 0.7 && after.top1 > before.top1 + 0.3, "{before:?} {after:?}");
                assert!(after.top5 >= after.top1 && after.positions > 50);
            }
        }
        assert_eq!(trained.heads.draft_vocab.as_ref().map(Vec::len), Some(VOCAB - 4));
        assert_eq!(trained.heads.record.accuracy.len(), 3);
    }
}

#[test]
fn an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one() {
    let options = options(HeadKind::Sequential);
    let whole = tempfile::tempdir().expect("a temporary folder");
    let wanted = run(whole.path(), &options, (1, None), &mut vec![]).expect("trains");
    let dir = tempfile::tempdir().expect("a temporary folder");
    for stop in [20, 60] {
        let stopped = run(dir.path(), &options, (3, Some(stop)), &mut vec![]);
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    }
    let mut seen = Vec::new();
    let resumed = run(dir.path(), &options, (2, None), &mut seen).expect("goes on");
    assert_eq!(seen[0].evaluation.step, 60, "it went on where it was");
    assert_eq!(resumed.heads, wanted.heads);
    let log = |dir: &Path| {
        let text = std::fs::read_to_string(dir.join("log.jsonl")).expect("a log");
        let losses = text.lines().filter_map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("an object");
            Some((value["step"].as_u64()?, value["norm"].clone()))
        });
        losses.collect::<Vec<_>>()
    };
    assert_eq!(log(dir.path()), log(whole.path()));
}

#[test]
fn a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let calm = options(HeadKind::Sequential);
    run(dir.path(), &calm, (1, Some(20)), &mut vec![]).expect_err("interrupted");
    let checkpoint = dir.path().join("checkpoint.safetensors");
    let kept = std::fs::read(&checkpoint).expect("written");
    // States beyond what f32 can square.
    let wild = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(&checkpoint, wild.path().join("checkpoint.safetensors")).expect("copied");
    let all = conversations();
    let mut large = |ids: &[u32]| Ok(states(ids)?.iter().map(|x| 6e4 * x).collect());
    Features::open(&wild.path().join("hidden"), &all, ("tiny", WIDTH), &mut large, &mut |_| {})
        .expect("kept");
    let options = Options { max_norm: 0.0, lr: 10.0, ..calm.clone() };
    let error = run(wild.path(), &options, (1, None), &mut vec![]).expect_err("of another run");
    assert!(error.to_string().contains("`lr`"), "{error}");
    std::fs::remove_file(wild.path().join("checkpoint.safetensors")).expect("there");
    let options = Options { lr: 10.0, warmup: 0.0, every: 1, ..calm };
    let error = run(wild.path(), &options, (1, None), &mut vec![]).expect_err("diverges");
    let text = error.to_string();
    assert!(text.contains("step ") && text.contains("batch ") && text.contains("finite"), "{text}");
    let left = std::fs::read(wild.path().join("checkpoint.safetensors"));
    assert!(left.is_ok_and(|left| !left.is_empty()) || text.contains("step 1,"), "{text}");
    assert_eq!(std::fs::read(&checkpoint).expect("untouched"), kept);
}
