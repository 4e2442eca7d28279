//! Files in the published layouts draft what our own file of the same weights drafts, and files of
//! our own know their model.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use coppice::{
    format::heads::{Dense, Head, HeadKind, Heads, Layout, Precision, ResBlock, describe_native},
    kv::Sequence,
    model::{Candidates, DeviceRule, Model, Want},
    ops::KvFormat,
    quant::QuantFormat,
    spec::TreeTemplate,
};
use half::{bf16, f16};
use tempfile::TempDir;

use crate::{
    common::{Tiny, VOCAB, ids, reference},
    support::{CONTEXT, set},
};

const D: usize = 64;

/// Numbers that f16 and bf16 hold exactly.
fn matrix(rows: usize, cols: usize, seed: u64) -> Dense {
    let value = |id: u32| (id % 65) as f32 / 64.0 - 0.5;
    Dense { rows, cols, data: ids(rows * cols, seed).into_iter().map(value).collect() }
}

/// Three heads of a block, as they are published.
fn heads(projections: bool) -> Heads {
    let head = |k: u64| Head {
        blocks: vec![ResBlock {
            weight: matrix(D, D, 10 + k),
            bias: matrix(1, D, 20 + k).data,
            residual: None,
        }],
        projection: projections.then(|| matrix(VOCAB, D, 30 + k)),
    };
    set(HeadKind::Independent, D, (0..3).map(head).collect())
}

struct Tensor {
    name: String,
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// Tensors of heads by the names that a layout has for a head's weight, bias and projection.
fn tensors(heads: &Heads, name: impl Fn(usize, &str) -> String) -> Vec<Tensor> {
    let of = |name: String, m: &Dense| {
        let shape = vec![m.rows, m.cols];
        Tensor { name, shape, data: m.data.clone() }
    };
    let mut all = Vec::new();
    for (k, head) in heads.heads.iter().enumerate() {
        let block = &head.blocks[0];
        all.push(of(name(k, "weight"), &block.weight));
        let (name_of_bias, data) = (name(k, "bias"), block.bias.clone());
        all.push(Tensor { name: name_of_bias, shape: vec![D], data });
        all.extend(head.projection.as_ref().map(|p| of(name(k, "projection"), p)));
    }
    all
}

fn medusa(prefix: &'static str) -> impl Fn(usize, &str) -> String {
    move |k, part| match part {
        "projection" => format!("{prefix}{k}.1.weight"),
        part => format!("{prefix}{k}.0.linear.{part}"),
    }
}

fn vllm(k: usize, part: &str) -> String {
    match part {
        "projection" => format!("lm_heads.{k}.weight"),
        part => format!("blocks.{k}.layers.0.{part}"),
    }
}

/// A safetensors file in f16.
fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for t in tensors {
        let start = data.len();
        data.extend(t.data.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()));
        let span = [start, data.len()];
        let entry = serde_json::json!({"dtype": "F16", "shape": t.shape, "data_offsets": span});
        header.insert(t.name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).expect("plain data");
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// What `torch.save` writes of a state dictionary in bf16.
fn torch(tensors: &[Tensor]) -> Vec<u8> {
    let text =
        |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let int = |n: usize| [&b"J"[..], &(n as i32).to_le_bytes()].concat();
    let tuple = |sizes: &[usize]| {
        let sizes: Vec<u8> = sizes.iter().flat_map(|&n| int(n)).collect();
        [&b"("[..], &sizes, &b"t"[..]].concat()
    };
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(".to_vec();
    let mut files = vec![("byteorder".to_owned(), b"little".to_vec())];
    for (i, t) in tensors.iter().enumerate() {
        pickle.extend(text(&t.name));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(text("storage"));
        pickle.extend(b"ctorch\nBFloat16Storage\n");
        pickle.extend(text(&i.to_string()));
        pickle.extend(text("cpu"));
        pickle.extend(int(t.data.len()));
        pickle.extend(b"tQ");
        pickle.extend(int(0));
        pickle.extend(tuple(&t.shape));
        pickle.extend(tuple(if t.shape.len() == 2 { &[D, 1] } else { &[1] }));
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        let bytes = t.data.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes());
        files.push((format!("data/{i}"), bytes.collect()));
    }
    pickle.extend(b"u.");
    files.push(("data.pkl".into(), pickle));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        zip.start_file(format!("heads/{name}"), stored).expect("a new entry");
        zip.write_all(&bytes).expect("in memory");
    }
    zip.finish().expect("in memory").into_inner()
}

fn put(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).expect("writable");
    path
}

/// Tokens that heads of a file draft behind ten prompts, and how sure of them they are.
fn drafts(model: &mut Model, path: &Path, layout: Layout) -> Vec<(Vec<u32>, Vec<f32>)> {
    let (found, heads) = Heads::load(path).expect("a published layout");
    assert_eq!(found, layout, "{}", path.display());
    let source = Tiny::of("llama").source();
    model.load_heads(&source, &heads, QuantFormat::Q8_0).expect("they fit");
    let template = TreeTemplate::cartesian(&[3, 2, 2]).expect("22 nodes");
    let no = AtomicBool::new(false);
    let one = |seed: u64| {
        let mut sequence = Sequence::new(model.pool());
        let prompt = ids(9, seed);
        model.prefill(&mut sequence, &prompt, Want::LastStats, &no).expect("it fits");
        let candidates = Candidates::Heads { root: 5, template: &template };
        let round = model.round(&mut sequence, candidates, DeviceRule::Greedy).expect("it fits");
        let tokens = round.drafted.tree.tokens().to_vec();
        (tokens, round.drafted.logprobs.expect("heads say how sure they are")[1..].to_vec())
    };
    (1..=10).map(one).collect()
}

#[test]
fn the_five_published_layouts_draft_what_our_own_file_drafts() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut model = Tiny::of("llama").load(&reference(), KvFormat::F32, CONTEXT);
    let (own, shared) = (heads(true), heads(false));
    let mut merged = tensors(&own, medusa("medusa_head."));
    let base = matrix(VOCAB, D, 3);
    merged.push(Tensor { name: "lm_head.weight".into(), shape: vec![VOCAB, D], data: base.data });
    let separate = tensors(&own, medusa(""));
    let files = [
        (&own, Layout::Separate, put(&dir, "medusa_lm_head.pt", &torch(&separate))),
        (&own, Layout::Merged, put(&dir, "pytorch_model.bin", &torch(&merged))),
        (&own, Layout::Merged, put(&dir, "merged.safetensors", &safetensors(&merged))),
        (
            &shared,
            Layout::Shared,
            put(&dir, "tgi.safetensors", &safetensors(&tensors(&shared, medusa("")))),
        ),
        (&own, Layout::Vllm, put(&dir, "vllm.safetensors", &safetensors(&tensors(&own, vllm)))),
        (&own, Layout::Separate, put(&dir, "lepton.safetensors", &safetensors(&separate))),
    ];
    let mut of_ours = Vec::new();
    for (i, heads) in [&own, &shared].into_iter().enumerate() {
        let path = dir.path().join(format!("ours-{i}.safetensors"));
        heads.save(&path, Precision::F32).expect("they can be saved");
        of_ours.push(drafts(&mut model, &path, Layout::Coppice));
    }
    assert_ne!(of_ours[0], of_ours[1], "projections matter");
    let tokens: std::collections::BTreeSet<u32> =
        of_ours[0].iter().flat_map(|(tokens, _)| tokens[1..].to_vec()).collect();
    assert!(tokens.len() > 12, "heads that always guess {tokens:?} show little");
    for (heads, layout, path) in files {
        let wanted = &of_ours[usize::from(heads.heads[0].projection.is_none())];
        assert_eq!(drafts(&mut model, &path, layout), *wanted, "{}", path.display());
    }
}

#[test]
fn heads_know_their_model_however_it_is_quantised() {
    let dir = tempfile::tempdir().expect("a folder");
    let trained_on = Tiny::of("llama").source();
    let is_of = |heads: &Heads, tiny: Tiny| {
        let path = dir.path().join("heads.safetensors");
        heads.save(&path, Precision::F16).expect("they can be saved");
        let bytes = fs::read(&path).expect("just written");
        let said = describe_native(&path, &bytes).expect("its own");
        said.is_of(&tiny.source()).expect("a sound model")
    };
    let mut heads = heads(false);
    assert!(!is_of(&heads, Tiny::of("llama")), "nothing says whose they are");
    heads.record.base_sha256 = Some(trained_on.sha256());
    assert!(is_of(&heads, Tiny::of("llama")), "the very file");
    assert!(!is_of(&heads, Tiny::llama(QuantFormat::Q8_0)), "another file");
    heads.record.base_norms_sha256 = Some(trained_on.norms_sha256().expect("norms are floats"));
    assert!(is_of(&heads, Tiny::llama(QuantFormat::Q8_0)), "the same norms");
    assert!(!is_of(&heads, Tiny::of("qwen3")), "other norms");
    assert!(!is_of(&Heads { vocab: VOCAB - 1, ..heads }, Tiny::of("llama")), "another vocabulary");
}
