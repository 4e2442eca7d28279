//! Damaged and hostile model files: each gives a model or an error that names the file, tensor or
//! key; never a panic, a huge allocation or a hang.
//!
//! All damage is seeded: a failure names the file, its seed and what was done, and repeats.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use coppice::{
    format::{ModelSource, gguf::Writer},
    quant::QuantFormat,
    text::{AddSpecial, ChatTemplate, ParseSpecial, Tokenizer},
};
use serde_json::json;

/// Most memory a case may use beyond what was in use before it. The files have a few KiB.
const MEMORY_LIMIT: usize = 64 << 20;
/// A single request above this is refused outright, which ends the test process.
const REQUEST_LIMIT: usize = 1 << 30;
/// Longest a case may take. They take about a millisecond.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The system's allocator, counting.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every request is passed to `System` unchanged or refused with null, as the contract of
// `GlobalAlloc` allows; the counters touch no memory of the allocations.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > REQUEST_LIMIT {
            return std::ptr::null_mut();
        }
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's layout, unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counters are the process's: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Numbers that break readers.
const NASTY: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    1 << 40,
    1 << 62,
    1 << 63,
    u64::MAX,
];

/// Damages a file in one of several ways and says how.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) -> String {
    let at = rng.below(bytes.len());
    match rng.below(7) {
        0 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        1 => {
            let flips = 1 + rng.below(8);
            for _ in 0..flips {
                let at = rng.below(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
            format!("{flips} bits flipped")
        }
        2 | 3 => {
            let number = NASTY[rng.below(NASTY.len())];
            let width = [4, 8][rng.below(2)];
            let end = bytes.len().min(at + width);
            bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            format!("{number:#x} written over {width} bytes at {at}")
        }
        4 => {
            let end = bytes.len().min(at + 1 + rng.below(40));
            bytes.drain(at..end);
            format!("bytes {at}..{end} taken out")
        }
        5 => {
            let end = bytes.len().min(at + 1 + rng.below(200));
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
            format!("bytes {at}..{end} doubled")
        }
        _ => {
            let noise: Vec<u8> = (0..1 + rng.below(32)).map(|_| rng.next() as u8).collect();
            let end = bytes.len().min(at + noise.len());
            bytes.splice(at..end, noise);
            format!("noise over {at}..{end}")
        }
    }
}

/// Replaces one number or string of a JSON text by something nasty, or damages its bytes.
fn mutate_json(bytes: &mut Vec<u8>, rng: &mut Rng) -> String {
    const VALUES: [&str; 16] = [
        "0",
        "-1",
        "1e400",
        "1e30",
        "1e-300",
        "18446744073709551615",
        "99999999999999999999",
        "0.5",
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"../../x\"",
        "[0,0,0,0,0,0,0,0,0,0,0,0]",
        "4294967296",
    ];
    if rng.below(3) == 0 {
        return mutate(bytes, rng);
    }
    let text = String::from_utf8(bytes.clone()).expect("JSON is text");
    if rng.below(12) == 0 {
        let deep = 1 + rng.below(200_000);
        *bytes = [text.as_bytes(), &vec![b'['; deep]].concat();
        *bytes = bytes.iter().rev().copied().collect();
        return format!("{deep} brackets in front");
    }
    // the starts of values: after a colon, a comma or a bracket
    let starts: Vec<usize> = text
        .bytes()
        .enumerate()
        .filter(|(_, b)| matches!(b, b':' | b',' | b'['))
        .map(|(i, _)| i + 1)
        .collect();
    let start = starts[rng.below(starts.len())];
    let rest = &text[start..];
    let end = start + rest.find([',', '}', ']']).unwrap_or(rest.len());
    let value = VALUES[rng.below(VALUES.len())];
    *bytes = [&text[..start], value, &text[end..]].concat().into_bytes();
    format!("`{}` at {start} replaced by {value}", &text[start..end])
}

/// Everything that loading does with a model's files. Errors of use, after a sound load, are fine.
fn exercise(path: &Path) -> coppice::Result<()> {
    let source = ModelSource::open(path)?;
    let (tokenizer, template) = match source.gguf() {
        Some(gguf) => {
            source.config()?;
            let tokenizer = Tokenizer::from_gguf(gguf)?;
            let template = ChatTemplate::from_gguf(gguf, &tokenizer)?;
            (tokenizer, template)
        }
        None => {
            let tokenizer = Tokenizer::from_hf_dir(path)?;
            let template = ChatTemplate::from_hf_dir(path, &tokenizer)?;
            (tokenizer, template)
        }
    };
    let _ = template;
    for text in ["ab  a<end>é\u{1f600}", ""] {
        if let Ok(ids) = tokenizer.encode(text, AddSpecial::Yes, ParseSpecial::Yes) {
            let _ = tokenizer.decode(&ids);
        }
    }
    for info in source.tensors() {
        let tensor = source.tensor(&info.name)?;
        let row = tensor.dtype.row_bytes(tensor.shape.dim(tensor.shape.rank() - 1));
        assert!(row.is_some_and(|row| tensor.bytes.len().is_multiple_of(row)), "{tensor:?}");
        std::hint::black_box(tensor.bytes.iter().fold(0u8, |a, &b| a ^ b));
        source.release(&info.name);
    }
    Ok(())
}

/// Whether a message says which file within `folder`, or which key of its vocabulary, is at fault.
fn names_its_subject(message: &str, folder: &Path) -> bool {
    let inside = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
    message.contains(&inside) || message.contains("tokenizer.ggml.")
}

/// Runs `cases` damaged variants of `file` within `folder`, opening `open` each time; returns how
/// many were refused.
fn run(
    folder: &Path,
    (file, open): (&str, &Path),
    cases: u64,
    damage: impl Fn(&mut Vec<u8>, &mut Rng) -> String + Sync,
) -> usize {
    let target = folder.join(file);
    let sound = fs::read(&target).expect("the sound file");
    let (started, progress) = channel();
    let refused = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let started = started;
            let mut refused = 0;
            for seed in 0..cases {
                let mut bytes = sound.clone();
                let what = damage(&mut bytes, &mut Rng(seed));
                let case = format!("{file}, seed {seed}: {what}");
                started.send(case.clone()).expect("the watch lives");
                fs::write(&target, bytes).expect("writable");
                refused += usize::from(check_case(&case, folder, open));
            }
            refused
        });
        let mut current = String::new();
        loop {
            match progress.recv_timeout(TIME_LIMIT) {
                Ok(case) => current = case,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    // a scope waits for its threads, so a panic would never be seen
                    eprintln!("hangs: {current}");
                    std::process::abort();
                }
            }
        }
        worker.join().expect("no case failed")
    });
    fs::write(&target, sound).expect("writable");
    refused
}

/// Runs one case; whether it was refused.
fn check_case(case: &str, folder: &Path, open: &Path) -> bool {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let outcome = catch_unwind(AssertUnwindSafe(|| exercise(open)));
    let used = PEAK.load(Relaxed).saturating_sub(before);
    assert!(used <= MEMORY_LIMIT, "{case}: {used} bytes of memory");
    match outcome {
        Err(_) => panic!("{case}: panicked"),
        Ok(Ok(())) => false,
        Ok(Err(error)) => {
            let message = error.to_string();
            assert!(names_its_subject(&message, folder), "{case}: unnamed fault: {message}");
            assert!(message.len() < 4096, "{case}: {} bytes of message", message.len());
            true
        }
    }
}

fn model(tokenizer: &str) -> Writer {
    let mut w = Writer::new("llama");
    for (key, value) in [
        ("block_count", 1),
        ("embedding_length", 64),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("feed_forward_length", 64),
        ("context_length", 128),
    ] {
        w.u32(&format!("llama.{key}"), value);
    }
    w.f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
    w.string("tokenizer.ggml.model", tokenizer);
    if tokenizer == "gpt2" {
        w.string("tokenizer.ggml.pre", "gpt-2");
        w.strings("tokenizer.ggml.tokens", &["a", "b", "ab", "Ġ", "<end>"]);
        w.strings("tokenizer.ggml.merges", &["a b"]);
    } else {
        w.strings("tokenizer.ggml.tokens", &["<unk>", "a", "b", "ab", "<end>"]);
        w.floats("tokenizer.ggml.scores", &[0.0, -1.0, -2.0, -0.5, 0.0]);
        w.u32("tokenizer.ggml.unknown_token_id", 0);
    }
    w.ints("tokenizer.ggml.token_type", &[1, 1, 1, 1, 3]);
    w.u32("tokenizer.ggml.eos_token_id", 4);
    w.string("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}");
    w.tensor_f32("output_norm.weight", [64], &[1.0; 64]);
    w.tensor("token_embd.weight", [5, 64], QuantFormat::Q8_0, &[3; 5 * 2 * 34]);
    w.tensor("blk.0.attn_q.weight", [64, 64], QuantFormat::Q4_1, &[5; 64 * 2 * 20]);
    w
}

/// A safetensors file of F32 tensors `[4, 2]`.
fn safetensors(names: &[&str]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    for (i, name) in names.iter().enumerate() {
        let at = [32 * i, 32 * (i + 1)];
        header.insert(
            (*name).to_owned(),
            json!({"dtype": "F32", "shape": [4, 2], "data_offsets": at}),
        );
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + 32 * names.len(), 1);
    out
}

/// A sharded Hugging Face folder.
fn hugging_face(dir: &Path) {
    let put = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).expect("writable");
    let config = json!({
        "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 64, "vocab_size": 5,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "rope_theta": 10000.0, "tie_word_embeddings": true, "eos_token_id": 4,
        "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    });
    put("config.json", config.to_string().as_bytes());
    put("generation_config.json", br#"{"eos_token_id":[4,2],"bos_token_id":1}"#);
    put("model-1.safetensors", &safetensors(&["model.norm.weight", "model.embed_tokens.weight"]));
    put("model-2.safetensors", &safetensors(&["model.layers.0.mlp.up_proj.weight"]));
    let index = json!({"metadata": {"total_size": 96}, "weight_map": {
        "model.norm.weight": "model-1.safetensors",
        "model.embed_tokens.weight": "model-1.safetensors",
        "model.layers.0.mlp.up_proj.weight": "model-2.safetensors",
    }});
    put("model.safetensors.index.json", index.to_string().as_bytes());
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 4, "content": "<end>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "<end>": 4}, "merges": ["a b"]},
    });
    put("tokenizer.json", tokenizer.to_string().as_bytes());
    let tokenizer_config = json!({"bos_token": "a", "eos_token": {"content": "<end>"},
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"});
    put("tokenizer_config.json", tokenizer_config.to_string().as_bytes());
}

#[test]
fn sound_files_load() {
    let _turn = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().expect("a temporary folder");
    for kind in ["gpt2", "llama"] {
        let path = dir.path().join("model.gguf");
        model(kind).write(&path).expect("writable");
        exercise(&path).expect("a sound GGUF loads");
    }
    hugging_face(dir.path());
    exercise(dir.path()).expect("a sound folder loads");
}

#[test]
fn damaged_gguf() {
    let _turn = ONE_AT_A_TIME.lock();
    for kind in ["gpt2", "llama"] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("model.gguf");
        let file = model(kind).to_bytes();
        // damage to weights cannot be seen, so nearly all goes to the header
        let header = file.len() - (256 + 352 + 2560);
        fs::write(&path, &file).expect("writable");
        let refused = run(dir.path(), ("model.gguf", &path), 1000, |bytes, rng| {
            if rng.below(8) == 0 {
                return mutate(bytes, rng);
            }
            let data = bytes.split_off(header);
            let what = mutate(bytes, rng);
            bytes.extend(data);
            what
        });
        assert!(refused > 300, "only {refused} of 1000 damaged files were refused");
    }
}

#[test]
fn invented_gguf_headers() {
    let _turn = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("model.gguf");
    fs::write(&path, b"GGUF").expect("writable");
    let refused = run(dir.path(), ("model.gguf", &path), 500, |bytes, rng| {
        *bytes = b"GGUF\x03\0\0\0".to_vec();
        let number = |rng: &mut Rng| match rng.below(4) {
            0 => NASTY[rng.below(NASTY.len())],
            _ => rng.below(12) as u64,
        };
        for _ in 0..rng.below(400) {
            match rng.below(4) {
                0 => bytes.extend((number(rng) as u32).to_le_bytes()),
                1 => bytes.extend(b"\x01\0\0\0\0\0\0\0k"),
                2 => bytes.push(rng.next() as u8),
                _ => bytes.extend(number(rng).to_le_bytes()),
            }
        }
        format!("{} invented bytes", bytes.len())
    });
    assert_eq!(refused, 500, "none of these is a model");
}

#[test]
fn damaged_hugging_face_folders() {
    let _turn = ONE_AT_A_TIME.lock();
    let dir = tempfile::tempdir().expect("a temporary folder");
    hugging_face(dir.path());
    for (file, cases, least) in [
        ("model-1.safetensors", 500, 300),
        ("config.json", 500, 150),
        ("generation_config.json", 100, 30),
        ("model.safetensors.index.json", 200, 80),
        ("tokenizer.json", 400, 100),
        ("tokenizer_config.json", 150, 20),
    ] {
        let json = file.ends_with(".json");
        let refused = run(dir.path(), (file, dir.path()), cases, |bytes, rng| {
            if json { mutate_json(bytes, rng) } else { mutate(bytes, rng) }
        });
        assert!(refused >= least, "{file}: only {refused} of {cases} were refused");
    }
}
