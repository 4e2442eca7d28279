//! Configurations of all families, from both kinds of files, and the uniform source over them.

use std::path::Path;

use serde_json::{Value, json};

use super::{FormatError, ModelSource, gguf::Writer};
use crate::{
    model::config::{Gate, ModelConfig, RopeScaling, RopeStyle},
    quant::QuantFormat,
};

fn gguf(arch: &str, edit: impl FnOnce(&mut Writer)) -> Result<ModelConfig, FormatError> {
    let mut w = Writer::new(arch);
    edit(&mut w);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("m.gguf");
    w.write(&path).expect("writable");
    ModelSource::open(path).expect("a sound file").config()
}

fn base(w: &mut Writer, arch: &str) {
    for (key, value) in [
        ("block_count", 12),
        ("embedding_length", 512),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 2),
        ("feed_forward_length", 1024),
        ("context_length", 2048),
        ("vocab_size", 1000),
    ] {
        w.u32(&format!("{arch}.{key}"), value);
    }
    w.f32(&format!("{arch}.attention.layer_norm_rms_epsilon"), 1e-5);
}

/// A folder with `config` and one safetensors file holding `tensors` in F32.
fn folder(dir: &Path, config: &Value, tensors: &[(&str, &[usize])]) {
    std::fs::write(dir.join("config.json"), config.to_string()).expect("writable");
    std::fs::write(dir.join("model.safetensors"), shard(tensors)).expect("writable");
}

fn shard(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in tensors {
        let bytes = 4 * shape.iter().product::<usize>();
        let info = json!({"dtype": "F32", "shape": shape, "data_offsets": [at, at + bytes]});
        header.insert((*name).to_owned(), info);
        at += bytes;
    }
    let header = Value::Object(header).to_string();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + at, 0);
    out
}

fn hf(config: &Value) -> Result<ModelConfig, FormatError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    folder(dir.path(), config, &[]);
    ModelSource::open(dir.path())?.config()
}

fn hf_base(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "num_hidden_layers": 12, "hidden_size": 512,
        "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 1024,
        "vocab_size": 1000, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "eos_token_id": [1, 2],
    })
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

#[test]
fn a_llama_reads_alike_from_both_kinds_except_for_its_pairing() {
    let from_gguf = gguf("llama", |w| {
        base(w, "llama");
        w.u32("tokenizer.ggml.eos_token_id", 1).u32("tokenizer.ggml.eot_token_id", 2);
        w.tensor_f32("output.weight", [1, 32], &[0.0; 32]);
    });
    let mut from_gguf = from_gguf.expect("a sound configuration");
    let from_hf = hf(&hf_base("llama")).expect("a sound configuration");
    assert_eq!(from_gguf.rope.style, RopeStyle::Interleaved);
    from_gguf.rope.style = RopeStyle::Halved;
    assert_eq!(from_gguf, from_hf);
    assert_eq!((from_hf.head_dim, from_hf.attn_scale, from_hf.gate), (64, 0.125, Gate::Silu));
}

#[test]
fn families_differ_where_they_should() {
    let c = gguf("qwen2", |w| base(w, "qwen2")).expect("sound");
    assert!(c.qkv_bias && !c.qk_norm && c.rope.style == RopeStyle::Halved && c.tie_embeddings);
    let c = gguf("qwen3", |w| base(w, "qwen3")).expect("sound");
    assert!(!c.qkv_bias && c.qk_norm);
    let c = hf(&with(hf_base("mistral"), "sliding_window", json!(4096))).expect("sound");
    assert_eq!((c.layer_window(0), c.layer_window(11)), (Some(4096), Some(4096)));
    let c = hf(&with(hf_base("qwen3"), "sliding_window", json!(4096))).expect("sound");
    assert_eq!(c.layer_window(11), None, "Qwen's window needs use_sliding_window");
}

#[test]
fn gemma3_alternates_windows_and_bases() {
    let from_gguf = gguf("gemma3", |w| {
        base(w, "gemma3");
        w.u32("gemma3.attention.key_length", 256).u32("gemma3.attention.value_length", 256);
        w.u32("gemma3.attention.sliding_window", 512).f32("gemma3.rope.freq_base", 1e6);
        w.string("gemma3.rope.scaling.type", "linear").f32("gemma3.rope.scaling.factor", 8.0);
    });
    let text = json!({
        "num_hidden_layers": 12, "hidden_size": 512, "num_attention_heads": 8,
        "num_key_value_heads": 2, "intermediate_size": 1024, "vocab_size": 1000,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "sliding_window": 512,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    });
    let nested = json!({"model_type": "gemma3", "text_config": text, "eos_token_id": [1, 106]});
    let from_hf = hf(&nested).expect("sound");
    let mut c = from_gguf.expect("sound");
    assert_eq!(from_hf.eos, [1, 106], "read from around text_config");
    assert!(from_hf.norm_plus_one && !c.norm_plus_one);
    (c.norm_plus_one, c.eos) = (true, from_hf.eos.clone());
    assert_eq!(c, from_hf);
    let windows: Vec<_> = (0..12).map(|i| c.layer_window(i).is_some()).collect();
    let five_in_six = [true, true, true, true, true, false];
    assert_eq!(windows, [five_in_six, five_in_six].concat());
    assert_eq!(c.layer_rope(4).base, 10_000.0);
    assert_eq!((c.layer_rope(5).base, &c.layer_rope(4).scaling), (1e6, &RopeScaling::None));
    assert_eq!(c.layer_rope(5).scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!((c.attn_scale, c.embed_scale, c.gate), (0.0625, 512f32.sqrt(), Gate::GeluTanh));
}

#[test]
fn gemma3_with_one_rope_a_layer_type_reads_the_same() {
    let plain = json!({"model_type": "gemma3_text", "num_hidden_layers": 4});
    let old = with(plain.clone(), "sliding_window_pattern", json!(2));
    let rope = json!({"sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        "full_attention": {"rope_type": "default", "rope_theta": 1e6}});
    let new = with(plain, "rope_parameters", rope);
    let types = ["sliding_attention", "full_attention"].repeat(2);
    let new = hf(&with(new, "layer_types", json!(types))).expect("sound");
    assert_eq!(new.windowed, [true, false, true, false]);
    assert_eq!(hf(&old).expect("sound"), new);
}

#[test]
fn rope_scalings_are_read() {
    let llama3 = json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    let c = hf(&with(hf_base("llama"), "rope_scaling", llama3)).expect("sound");
    let want = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    };
    assert_eq!(c.rope.scaling, want);
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048});
    let c = hf(&with(hf_base("qwen2"), "rope_scaling", yarn)).expect("sound");
    assert_eq!(c.max_context, 8192);
    let new_style = json!({"rope_type": "default", "rope_theta": 5e5});
    let c = hf(&with(hf_base("llama"), "rope_parameters", new_style)).expect("sound");
    assert_eq!((c.rope.base, c.rope.scaling), (5e5, RopeScaling::None));
    let factors: Vec<f32> = (1..=32).map(|x| x as f32).collect();
    let c = gguf("llama", |w| {
        base(w, "llama");
        w.tensor_f32("rope_freqs.weight", [32], &factors);
    });
    assert_eq!(c.expect("sound").rope.scaling, RopeScaling::Factors { factors });
}

#[test]
fn faults_name_the_key_and_the_value() {
    let cases = [
        ("num_hidden_layers", json!(0), "0 is not within 1 to 1024"),
        ("num_hidden_layers", json!(1u64 << 60), "is not within 1 to 1024"),
        ("num_hidden_layers", json!(-1), "expected a whole number, found -1"),
        ("num_hidden_layers", Value::Null, "is missing"),
        ("num_attention_heads", json!(7), "512 does not split into 7 heads"),
        ("num_attention_heads", json!(0), "512 does not split into 0 heads"),
        ("num_key_value_heads", json!(3), "8 query heads are not a multiple of 3"),
        ("num_key_value_heads", json!(0), "0 is not within"),
        ("rms_norm_eps", json!(-1e-5), "not a positive number"),
        ("vocab_size", json!("many"), "expected a whole number, found \"many\""),
        ("hidden_act", json!("relu"), "`relu` is not supported"),
        ("rope_theta", json!(0.0), "base 0 is not at least 1"),
        ("attention_bias", json!(true), "not supported"),
        ("eos_token_id", json!("</s>"), "token id"),
    ];
    for (key, value, why) in cases {
        let error = hf(&with(hf_base("llama"), key, value)).expect_err(key).to_string();
        assert!(error.contains(key) && error.contains(why), "{key}: {error}");
        assert!(error.contains("config.json"), "{error}");
    }
    let error = gguf("llama", |w| {
        base(w, "llama");
        w.f32("llama.rope.freq_base", f32::NAN);
    });
    let error = error.expect_err("not a number").to_string();
    assert!(error.contains("`llama.rope`: base NaN"), "{error}");
    let error = gguf("llama", |_| {}).expect_err("nothing there").to_string();
    assert!(error.contains("key `llama.block_count` is missing"), "{error}");
}

#[test]
fn unknown_architectures_list_the_known_ones() {
    for error in [gguf("rwkv7", |_| {}), hf(&hf_base("rwkv7"))] {
        let error = error.expect_err("unknown");
        assert!(error.to_string().contains("`rwkv7`"), "{error}");
        assert_eq!(
            error.hint().as_deref(),
            Some("supported are llama, mistral, qwen2, qwen3, gemma3")
        );
    }
}

#[test]
fn safetensors_come_under_gguf_names() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let tensors: &[(&str, &[usize])] = &[
        ("model.layers.0.self_attn.q_proj.weight", &[8, 4]),
        ("vision.patches", &[1, 2, 1, 2, 1]),
    ];
    folder(dir.path(), &hf_base("llama"), tensors);
    std::fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id": 9}"#)
        .expect("writable");
    for path in [dir.path().to_owned(), dir.path().join("model.safetensors")] {
        let source = ModelSource::open(path).expect("a sound model");
        let q = source.tensor("blk.0.attn_q.weight").expect("present");
        assert_eq!((q.shape.dims(), q.dtype, q.bytes.len()), (&[8, 4][..], QuantFormat::F32, 128));
        assert_eq!(source.config().expect("sound").eos, [9], "generation_config.json decides");
        let error = source.tensor("vision.patches").expect_err("five dimensions").to_string();
        assert!(error.contains("`vision.patches`"), "{error}");
        let error = source.tensor("output.weight").expect_err("absent");
        assert!(matches!(error, FormatError::MissingTensor { .. }), "{error}");
        assert_eq!(source.tensors().len(), 2);
        assert!(source.companion("generation_config.json").is_some());
        assert!(source.companion("tokenizer.json").is_none());
    }
}

#[test]
fn shards_are_joined_and_may_not_lie_elsewhere() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    folder(dir.path(), &hf_base("llama"), &[("model.norm.weight", &[4])]);
    let one = dir.path().join("model.safetensors");
    std::fs::rename(one, dir.path().join("a.safetensors")).expect("renamed");
    std::fs::write(dir.path().join("b.safetensors"), shard(&[("lm_head.weight", &[2, 2])]))
        .expect("writable");
    let index = |map: Value| {
        let text = json!({"metadata": {}, "weight_map": map}).to_string();
        std::fs::write(dir.path().join("model.safetensors.index.json"), text).expect("writable");
        ModelSource::open(dir.path())
    };
    let good = json!({"model.norm.weight": "a.safetensors", "lm_head.weight": "b.safetensors"});
    let source = index(good).expect("sound");
    assert!(source.tensor("output.weight").is_ok() && source.tensor("output_norm.weight").is_ok());
    for bad in ["../a.safetensors", "/etc/passwd", "x/a.safetensors", "..", "", "x\\a"] {
        let error = index(json!({"model.norm.weight": bad})).expect_err(bad).to_string();
        assert!(error.contains("is not a plain file name"), "{bad}: {error}");
    }
    let misplaced =
        json!({"model.norm.weight": "b.safetensors", "lm_head.weight": "b.safetensors"});
    let error = index(misplaced).expect_err("not in that file").to_string();
    assert!(error.contains("tensor `model.norm.weight` is missing"), "{error}");
}
