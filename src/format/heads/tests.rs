use std::{fs, io::Write as _};

use half::{bf16, f16};
use tempfile::TempDir;

use super::*;

const D: usize = 4;
const V: usize = 6;

/// Numbers that f16 and bf16 hold exactly.
fn matrix(rows: usize, cols: usize, seed: usize) -> Dense {
    let data = (0..rows * cols).map(|i| ((i * 7 + seed * 5) % 31) as f32 / 8.0 - 1.75).collect();
    Dense { rows, cols, data }
}

fn heads(projections: bool) -> Heads {
    let head = |k: usize| Head {
        blocks: vec![ResBlock {
            weight: matrix(D, D, k),
            bias: matrix(1, D, 10 + k).data,
            residual: None,
        }],
        projection: projections.then(|| matrix(V, D, 20 + k)),
    };
    Heads {
        kind: HeadKind::Independent,
        width: D,
        vocab: if projections { V } else { 0 },
        draft_vocab: None,
        embed_scale: 1.0,
        heads: (0..3).map(head).collect(),
        record: HeadRecord::default(),
    }
}

/// A tensor as published files hold it.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    fn of(name: String, m: &Dense) -> Self {
        Self { name, shape: vec![m.rows, m.cols], data: m.data.clone() }
    }

    fn bf16(&self) -> Vec<u8> {
        self.data.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect()
    }

    fn f16(&self) -> Vec<u8> {
        self.data.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()
    }
}

/// `{prefix}{k}.0.linear.*`, and projections where there are any.
fn medusa(heads: &Heads, prefix: &str) -> Vec<Tensor> {
    let mut all = Vec::new();
    for (k, head) in heads.heads.iter().enumerate() {
        let block = &head.blocks[0];
        all.push(Tensor::of(format!("{prefix}{k}.0.linear.weight"), &block.weight));
        let (name, data) = (format!("{prefix}{k}.0.linear.bias"), block.bias.clone());
        all.push(Tensor { name, shape: vec![D], data });
        if let Some(p) = &head.projection {
            all.push(Tensor::of(format!("{prefix}{k}.1.weight"), p));
        }
    }
    all
}

/// A safetensors file in f16, with further entries of raw bytes.
fn safetensors(tensors: &[Tensor], more: &[(&str, &str, usize, Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut add = |name: &str, dtype: &str, shape: &[usize], bytes: &[u8]| {
        let span = [data.len(), data.len() + bytes.len()];
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": span});
        header.insert(name.to_owned(), entry);
        data.extend_from_slice(bytes);
    };
    for t in tensors {
        add(&t.name, "F16", &t.shape, &t.f16());
    }
    for (name, dtype, len, bytes) in more {
        add(name, dtype, &[*len], bytes);
    }
    let header = serde_json::to_vec(&header).expect("plain data");
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    out.extend(data);
    out
}

/// What `torch.save(OrderedDict(...))` writes, in bf16.
fn torch(tensors: &[Tensor]) -> Vec<u8> {
    let text = |text: &str| {
        let mut out = b"X".to_vec();
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
        out
    };
    let int = |n: usize| {
        let mut out = b"J".to_vec();
        out.extend((n as i32).to_le_bytes());
        out
    };
    let tuple = |sizes: &[usize]| {
        let mut out = b"(".to_vec();
        sizes.iter().for_each(|&n| out.extend(int(n)));
        out.push(b't');
        out
    };
    let mut p = b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(".to_vec();
    let mut files = vec![("byteorder".to_owned(), b"little".to_vec())];
    for (i, t) in tensors.iter().enumerate() {
        p.extend(text(&t.name));
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        p.extend(text("storage"));
        p.extend(b"ctorch\nBFloat16Storage\n");
        p.extend(text(&i.to_string()));
        p.extend(text("cuda:0"));
        p.extend(int(t.data.len()));
        p.extend(b"tQ");
        p.extend(int(0));
        p.extend(tuple(&t.shape));
        p.extend(tuple(if t.shape.len() == 2 { &[D, 1] } else { &[1] }));
        p.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        files.push((format!("data/{i}"), t.bf16()));
    }
    p.extend(b"u.");
    files.push(("data.pkl".into(), p));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        zip.start_file(format!("medusa_lm_head/{name}"), options).expect("a new entry");
        zip.write_all(&bytes).expect("in memory");
    }
    zip.finish().expect("in memory").into_inner()
}

/// vLLM's names; with a token map the projections' rows are in its order.
fn vllm(heads: &Heads, map: Option<[i64; V]>) -> Vec<u8> {
    let mut all = Vec::new();
    for (k, head) in heads.heads.iter().enumerate() {
        let block = &head.blocks[0];
        all.push(Tensor::of(format!("blocks.{k}.layers.0.weight"), &block.weight));
        let (name, data) = (format!("blocks.{k}.layers.0.bias"), block.bias.clone());
        all.push(Tensor { name, shape: vec![D], data });
        let p = head.projection.as_ref().expect("these have projections");
        all.push(Tensor::of(format!("lm_heads.{k}.weight"), p));
    }
    let bytes = |map: [i64; V]| map.iter().flat_map(|id| id.to_le_bytes()).collect();
    let more: Vec<_> = map.map(|map| ("token_map", "I64", V, bytes(map))).into_iter().collect();
    safetensors(&all, &more)
}

fn put(dir: &TempDir, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).expect("writable");
    path
}

/// A model's own tensors, beside which merged heads lie.
fn base() -> Vec<Tensor> {
    ["model.layers.0.mlp.down_proj.weight", "lm_head.weight", "model.norm.weight"]
        .map(|name| Tensor::of(name.into(), &matrix(V, D, 3)))
        .into()
}

#[test]
fn the_five_published_layouts_give_the_same_heads() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let wanted = heads(true);
    // A: Medusa v0.1, a pickle of its own in a folder whose configuration counts two heads.
    put(&dir, "config.json", br#"{"medusa_num_heads": 2, "medusa_num_layers": 1}"#);
    let a = put(&dir, "medusa_lm_head.pt", &torch(&medusa(&wanted, "")));
    for path in [a.as_path(), dir.path()] {
        assert_eq!(Heads::load(path).expect("A"), (Layout::Separate, wanted.clone()));
    }
    // B: Medusa v1.0, merged with a model, in one or several files of either container.
    let mut merged = medusa(&wanted, "medusa_head.");
    merged.extend(base());
    let b = put(&dir, "pytorch_model.bin", &torch(&merged));
    assert_eq!(Heads::load(&b).expect("B, pickle"), (Layout::Merged, wanted.clone()));
    let shards = tempfile::tempdir().expect("a temporary folder");
    put(&shards, "model-1.safetensors", &safetensors(&merged[..5], &[]));
    put(&shards, "model-2.safetensors", &safetensors(&merged[5..], &[]));
    let file = |i: usize| if i < 5 { "model-1.safetensors" } else { "model-2.safetensors" };
    let map: serde_json::Map<String, serde_json::Value> =
        merged.iter().enumerate().map(|(i, t)| (t.name.clone(), file(i).into())).collect();
    let index = serde_json::json!({"metadata": {}, "weight_map": map}).to_string();
    put(&shards, "model.safetensors.index.json", index.as_bytes());
    assert_eq!(Heads::load(shards.path()).expect("B"), (Layout::Merged, wanted.clone()));
    // C: the target's output matrix.
    let c = put(&dir, "c.safetensors", &safetensors(&medusa(&heads(false), ""), &[]));
    assert_eq!(Heads::load(&c).expect("C"), (Layout::Shared, heads(false)));
    // D: vLLM, whole and with a reduced vocabulary in some order.
    let d = put(&dir, "d.safetensors", &vllm(&wanted, None));
    assert_eq!(Heads::load(&d).expect("D"), (Layout::Vllm, wanted.clone()));
    let d = put(&dir, "d2.safetensors", &vllm(&wanted, Some([50, 3, 41, 0, 7, 9])));
    let (_, reduced) = Heads::load(&d).expect("D, reduced");
    assert_eq!(reduced.draft_vocab, Some(vec![0, 3, 7, 9, 41, 50]));
    let row = |heads: &Heads, k: usize, row: usize| {
        let p = heads.heads[k].projection.as_ref().expect("given");
        p.data[row * D..][..D].to_vec()
    };
    for k in 0..3 {
        for (to, from) in [3, 1, 4, 5, 2, 0].into_iter().enumerate() {
            assert_eq!(row(&reduced, k, to), row(&wanted, k, from));
        }
    }
    // E: Lepton's, Medusa's names in safetensors.
    let e = put(&dir, "e.safetensors", &safetensors(&medusa(&wanted, ""), &[]));
    assert_eq!(Heads::load(&e).expect("E"), (Layout::Separate, wanted));
}

fn sequential() -> Heads {
    let d = 32;
    let head = |k: usize| Head {
        blocks: vec![
            ResBlock {
                weight: matrix(d, d * (k + 2), k),
                bias: matrix(1, d, 10 + k).data,
                residual: Some(matrix(d, d * (k + 2), 30 + k)),
            },
            ResBlock { weight: matrix(d, d, 40), bias: matrix(1, d, 50).data, residual: None },
        ],
        projection: None,
    };
    let training = serde_json::json!({"steps": 7, "command": "coppice train medusa"});
    Heads {
        kind: HeadKind::Sequential,
        width: d,
        vocab: 100,
        draft_vocab: Some(vec![1, 5, 99]),
        embed_scale: 24.5,
        heads: (0..2).map(head).collect(),
        record: HeadRecord {
            base_model: Some("tiny".into()),
            base_norms_sha256: Some("b".repeat(64)),
            base_sha256: Some("00ff".into()),
            accuracy: vec![vec![0.5, 0.25], vec![0.125]],
            paths: vec![PathCount { ranks: vec![0, 1], hits: 3, trials: 7 }],
            training: Some(training),
        },
    }
}

#[test]
fn our_own_file_keeps_everything() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("own.safetensors");
    for heads in [heads(true), sequential()] {
        for precision in [Precision::F32, Precision::F16] {
            heads.save(&path, precision).expect("written");
            assert_eq!(Heads::load(&path).expect("read"), (Layout::Coppice, heads.clone()));
        }
    }
    let wide = fs::metadata(&path).expect("there").len();
    sequential().save(&path, Precision::Q8).expect("written over");
    let bytes = fs::read(&path).expect("there");
    assert!((bytes.len() as f64) < 0.65 * wide as f64, "{} of {wide}", bytes.len());
    let (_, rounded) = Heads::load(&path).expect("read");
    rounded.save(&path, Precision::Q8).expect("written");
    assert_eq!(Heads::load(&path).expect("read").1, rounded, "what is rounded stays");
    let files: Vec<_> = fs::read_dir(dir.path()).expect("readable").collect();
    assert_eq!(files.len(), 1, "no partial file is left");
}

#[test]
fn heads_that_do_not_fit_are_refused_with_both_numbers() {
    let own = sequential();
    own.check(32, 100).expect("they fit");
    for (width, vocab, said) in
        [(64, 100, "32, the model has 64"), (32, 200, "100, the model has 200")]
    {
        let error = own.check(width, vocab).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("tiny")));
    }
    let shared = heads(false);
    shared.check(D, 12345).expect("the file does not name a vocabulary");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let error = shared.save(&dir.path().join("x"), Precision::F16).expect_err("none to write");
    assert!(error.to_string().contains("vocabulary"), "{error}");
}

#[test]
fn parts_that_do_not_fit_together_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let saved = |change: &dyn Fn(&mut Heads)| {
        let mut heads = sequential();
        change(&mut heads);
        heads.save(&dir.path().join("x"), Precision::F16).expect_err("it does not fit").to_string()
    };
    let cut = |heads: &mut Heads| heads.heads[1].blocks[0].residual = None;
    assert!(saved(&cut).contains("head 1: block 0 takes 96 and gives 32"));
    assert!(saved(&|heads| heads.heads[0].blocks.clear()).contains("no block"));
    assert!(saved(&|heads| heads.draft_vocab = Some(vec![5, 5])).contains("5 is followed by 5"));
    assert!(saved(&|heads| heads.vocab = 99).contains("token 99 is beyond 99"));
    assert!(saved(&|heads| heads.heads.clear()).contains("no heads"));
    let large = |heads: &mut Heads| heads.heads[0].blocks[0].weight.data[3] = 1e6;
    assert!(saved(&large).contains("0.0.linear.weight`: value 3, 1000000,"));
    let short = |heads: &mut Heads| {
        heads.heads[1].blocks[1].bias.pop();
    };
    assert!(saved(&short).contains("a bias of 31"));
}

#[test]
fn files_without_heads_say_what_they_have() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut gap = medusa(&heads(true), "");
    gap.retain(|t| !t.name.starts_with("1."));
    let mut lost = medusa(&heads(true), "");
    lost.retain(|t| t.name != "1.0.linear.weight");
    let mut narrow = medusa(&heads(true), "");
    narrow[2] = Tensor::of("0.1.weight".into(), &matrix(V, D - 1, 0));
    let mut two = medusa(&heads(true), "");
    two.extend(medusa(&heads(true), "medusa_head."));
    for (bytes, said) in [
        (safetensors(&base(), &[]), "`lm_head.weight`"),
        (safetensors(&[], &[]), "no tensors"),
        (safetensors(&gap, &[]), "2 heads up to number 2"),
        (safetensors(&lost, &[]), "head 1 lacks the weight of block 0"),
        (safetensors(&narrow, &[]), "[6, 3], wanted [6, 4]"),
        (safetensors(&two, &[]), "`0.0.linear.bias`"),
        (vllm(&heads(true), Some([1, 2, 3, 3, 4, 5])), "token 3 twice"),
        (vllm(&heads(true), Some([1, 2, 3, -3, 4, 5])), "id -3"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P".to_vec(), "before 1.6"),
        (b"GGUF and more".to_vec(), "neither safetensors nor"),
        (vec![], "empty"),
    ] {
        let path = put(&dir, "x.bin", &bytes);
        let error = Heads::load(&path).expect_err(said).to_string();
        assert!(error.contains(said) && error.contains("x.bin"), "{said}: {error}");
    }
    for (bytes, are) in [
        (safetensors(&base(), &[]), false),
        (safetensors(&medusa(&heads(true), "a."), &[]), true),
        (vllm(&heads(true), Some([1, 2, 3, 4, 5, 6])), true),
        (torch(&base()), true),
        (b"\x80\x02\x8a\x0al\xfc".to_vec(), true),
        (b"GGUF and more".to_vec(), false),
    ] {
        assert_eq!(Heads::are_in(&put(&dir, "y", &bytes)), are);
    }
    let error = Heads::load(&dir.path().join("none")).expect_err("no such file").to_string();
    assert!(error.contains("none"), "{error}");
    let empty = tempfile::tempdir().expect("a temporary folder");
    let error = Heads::load(empty.path()).expect_err("nothing in it");
    assert!(error.hint().is_some_and(|hint| hint.contains("medusa_lm_head.pt")), "{error}");
    let index = br#"{"weight_map": {"a": "../x.bin"}}"#;
    let path = put(&dir, "a.index.json", index);
    let error = Heads::load(&path).expect_err("another folder").to_string();
    assert!(error.contains("../x.bin"), "{error}");
}

/// Every file cut at every length and with every byte changed in some ways: an error or heads that
/// are consistent, never a panic.
#[test]
fn damage_is_never_more_than_an_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = dir.path().join("own");
    sequential_small().save(&own, Precision::Q8).expect("written");
    let one = Heads { heads: heads(true).heads[..1].to_vec(), ..heads(true) };
    let files = [
        torch(&medusa(&one, "")),
        safetensors(&medusa(&one, "medusa_head."), &[]),
        vllm(&one, Some([5, 4, 3, 2, 1, 0])),
        fs::read(&own).expect("written"),
    ];
    let path = dir.path().join("damaged");
    let try_load = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("writable");
        if let Ok((_, heads)) = Heads::load(&path) {
            heads.consistent().expect("what is loaded is consistent");
        }
    };
    for sound in files {
        for at in (0..sound.len()).step_by(7) {
            try_load(&sound[..at]);
        }
        let mut bytes = sound.clone();
        for at in 0..sound.len() {
            for value in [sound[at] ^ (1 << (at % 8)), 0xff, sound[at].wrapping_add(1)] {
                bytes[at] = value;
                try_load(&bytes);
            }
            bytes[at] = sound[at];
        }
    }
}

fn sequential_small() -> Heads {
    let mut heads = sequential();
    heads.heads.truncate(1);
    heads
}
