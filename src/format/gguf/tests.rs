//! Reader and writer against each other, and against hand-made faults.

use std::path::PathBuf;

use proptest::prelude::*;

use super::{Gguf, Value, ValueType, Writer};
use crate::{
    format::{FormatError, StoredType},
    quant::QuantFormat,
};

fn write(dir: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("writable");
    path
}

fn open(bytes: &[u8]) -> Result<Gguf, FormatError> {
    // the map outlives the folder's entry
    let dir = tempfile::tempdir().expect("a temporary folder");
    Gguf::open(write(&dir, bytes))
}

fn sample() -> Writer {
    let mut w = Writer::new("llama");
    w.u32("llama.block_count", 2)
        .f32("llama.rope.freq_base", 1e5)
        .bool("tokenizer.ggml.add_bos_token", true)
        .strings("tokenizer.ggml.tokens", &["a", "", "höhe"])
        .floats("tokenizer.ggml.scores", &[0.5, -1.0])
        .ints("tokenizer.ggml.token_type", &[1, -3])
        .tensor_f32("norm", [3], &[1.0, 2.0, 3.0])
        .tensor("w", [2, 64], QuantFormat::Q8_0, &[7; 2 * 2 * 34]);
    w
}

/// The header's bytes up to the counts, then whatever `rest` is.
fn header(tensors: u64, keys: u64, rest: &[u8]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(tensors.to_le_bytes());
    out.extend(keys.to_le_bytes());
    out.extend(rest);
    out
}

fn text(s: &str) -> Vec<u8> {
    let mut out = (s.len() as u64).to_le_bytes().to_vec();
    out.extend(s.as_bytes());
    out
}

/// Header of one tensor of `rank` 2 in `[2, 64]`.
fn tensor(name: &str, ty: u32, offset: u64) -> Vec<u8> {
    let mut out = text(name);
    out.extend(2u32.to_le_bytes());
    out.extend(64u64.to_le_bytes());
    out.extend(2u64.to_le_bytes());
    out.extend(ty.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

/// A file with these tensor headers and 1024 bytes of data.
fn with_tensors(headers: &[Vec<u8>]) -> Vec<u8> {
    let mut out = header(headers.len() as u64, 0, &headers.concat());
    out.resize(out.len().next_multiple_of(32) + 1024, 0);
    out
}

fn fault(bytes: &[u8]) -> String {
    open(bytes).expect_err("a faulty file").to_string()
}

#[test]
fn what_was_written_is_read() {
    let g = open(&sample().to_bytes()).expect("a sound file");
    assert_eq!(g.version(), 3);
    assert_eq!(g.string("general.architecture").expect("a string"), Some("llama"));
    assert_eq!(g.unsigned("llama.block_count").expect("an integer"), Some(2));
    assert_eq!(g.get("llama.block_count"), Some(&Value::Unsigned(ValueType::U32, 2)));
    assert_eq!(g.float("llama.rope.freq_base").expect("a float"), Some(1e5));
    assert_eq!(g.bool("tokenizer.ggml.add_bos_token").expect("a bool"), Some(true));
    assert_eq!(g.strings("tokenizer.ggml.tokens").expect("strings"), Some(vec!["a", "", "höhe"]));
    assert_eq!(g.floats("tokenizer.ggml.scores").expect("floats"), Some(vec![0.5, -1.0]));
    assert_eq!(g.ints("tokenizer.ggml.token_type").expect("ints"), Some(vec![1, -3]));
    assert_eq!(g.unsigned("absent").expect("no error"), None);
    let w = g.tensor("w").expect("a weight").expect("present");
    assert_eq!(
        (w.shape.dims(), w.dtype, w.bytes),
        (&[2, 64][..], QuantFormat::Q8_0, &[7; 136][..])
    );
    assert!(g.tensor("absent").expect("no error").is_none());
    let names: Vec<_> = g.tensors().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["norm", "w"]);
    g.release("w");
    assert_eq!(g.tensor("w").expect("a weight").expect("present").bytes, [7; 136]);
}

#[test]
fn a_value_of_another_type_names_the_key_and_both_types() {
    let g = open(&sample().to_bytes()).expect("a sound file");
    let error = g.unsigned("llama.rope.freq_base").expect_err("a float").to_string();
    assert!(error.contains("`llama.rope.freq_base`: expected an integer, found f32"), "{error}");
    let error = g.strings("tokenizer.ggml.scores").expect_err("floats").to_string();
    assert!(error.contains("expected array of string, found array of f32"), "{error}");
}

#[test]
fn every_prefix_of_a_file_is_an_error() {
    let bytes = sample().to_bytes();
    // padding after the last tensor is not needed
    let needed = bytes.len() - (136usize.next_multiple_of(32) - 136);
    for len in 0..needed {
        assert!(open(&bytes[..len]).is_err(), "{len} of {needed} bytes");
    }
    assert!(open(&bytes[..needed]).is_ok());
}

#[test]
fn counts_beyond_the_file_are_refused() {
    assert!(fault(&header(u64::MAX, 0, &[0; 64])).contains("18446744073709551615 tensors"));
    assert!(fault(&header(0, 1 << 40, &[0; 64])).contains("metadata keys"));
    let long_name = [&u64::MAX.to_le_bytes()[..], &[0; 64]].concat();
    assert!(fault(&header(0, 1, &long_name)).contains("bytes of text"));
    let array = [
        text("k"),
        9u32.to_le_bytes().into(),
        10u32.to_le_bytes().into(),
        (1u64 << 60).to_le_bytes().into(),
    ];
    let error = fault(&header(0, 1, &[array.concat(), vec![0; 64]].concat()));
    assert!(error.contains("key `k`") && error.contains("array elements"), "{error}");
}

#[test]
fn deep_nesting_is_refused() {
    let mut nested = text("k");
    nested.extend(9u32.to_le_bytes());
    for _ in 0..100_000 {
        nested.extend(9u32.to_le_bytes());
        nested.extend(1u64.to_le_bytes());
    }
    let error = fault(&header(0, 1, &nested));
    assert!(error.contains("key `k`: arrays are nested deeper than 4"), "{error}");
}

#[test]
fn versions_and_magic_are_checked() {
    let mut bytes = sample().to_bytes();
    bytes[4] = 1;
    assert!(fault(&bytes).contains("version 1 is not supported"));
    bytes[4..8].copy_from_slice(&[0, 0, 0, 3]);
    assert!(fault(&bytes).contains("big-endian"));
    assert!(fault(b"PK\x03\x04 and so on").contains("not a GGUF file"));
}

#[test]
fn alignment_must_be_a_power_of_two() {
    for bad in [0, 3, 48, 1 << 30] {
        let mut w = Writer::new("llama");
        w.u32("general.alignment", bad);
        let error = fault(&w.to_bytes());
        assert!(
            error.contains("`general.alignment`") && error.contains(&bad.to_string()),
            "{error}"
        );
    }
}

#[test]
fn misplaced_tensors_are_refused() {
    let q8_0 = 8;
    assert!(open(&with_tensors(&[tensor("a", q8_0, 0), tensor("b", q8_0, 160)])).is_ok());
    for (offset, why) in [
        (128, "overlaps that of `a`"),
        (17, "not a multiple of the alignment 32"),
        (1024, "end past the file"),
        (u64::MAX - 31, "end past the file"),
    ] {
        let error = fault(&with_tensors(&[tensor("a", q8_0, 0), tensor("b", q8_0, offset)]));
        assert!(error.contains("tensor `b`") && error.contains(why), "{error}");
    }
    let twice = fault(&with_tensors(&[tensor("a", q8_0, 0), tensor("a", q8_0, 160)]));
    assert!(twice.contains("tensor `a`: is given twice"), "{twice}");
    let blocks = fault(&with_tensors(&[tensor("a", 12, 0)]));
    assert!(blocks.contains("rows of 64 elements are not whole blocks of 256"), "{blocks}");
}

#[test]
fn unknown_types_are_listed_but_not_usable() {
    for (number, name) in [(20, "iq4_nl"), (77, "number 77 (unknown)")] {
        let g = open(&with_tensors(&[tensor("a", number, 0)])).expect("can be listed");
        let info = g.info("a").expect("listed");
        assert_eq!(info.dtype, StoredType::Other(name.to_owned()));
        let error = g.tensor("a").expect_err("not a weight");
        assert!(error.to_string().contains("tensor `a`") && error.to_string().contains(name));
        assert!(error.hint().expect("a hint").contains("q4_k"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn metadata_round_trips(
        strings in prop::collection::vec(".{0,20}", 0..20),
        floats in prop::collection::vec(any::<f32>(), 0..20),
        number in any::<u32>(),
    ) {
        let mut w = Writer::new("qwen3");
        w.strings("s", &strings).floats("f", &floats).u32("n", number);
        let g = open(&w.to_bytes()).expect("a sound file");
        prop_assert_eq!(g.strings("s").expect("strings").expect("present"), strings);
        let bits = |xs: &[f32]| xs.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&g.floats("f").expect("floats").expect("present")), bits(&floats));
        prop_assert_eq!(g.unsigned("n").expect("an integer"), Some(number.into()));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 1..400)) {
        let mut file = header(2, 2, &bytes);
        let _ = open(&file);
        file.drain(..8);
        let _ = open(&file);
    }
}
