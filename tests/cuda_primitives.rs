//! The primitives of `cuda/shared/prim.cuh`: their twins on the processor against what PTX defines, and, where
//! there is a CUDA device, against that device.
//!
//! A device's results are written to `cuda-primitives.json` in the tests' temporary folder, or to the file that
//! `COPPICE_VECTORS` names; with `COPPICE_REQUIRE_CUDA=1` the test fails where there is no device. Results kept as
//! `tests/cuda_primitives.json` are compared with the twins everywhere.
#![cfg(feature = "cuda")]

use std::{env, fs, path::Path};

use coppice::{
    backend::{
        Backend, BufferDesc, Usage, View, Wait,
        cuda::{
            self,
            kernels::primitives::{IN_WORDS, OUT_USED, OUT_WORDS, launch},
        },
    },
    dtype::DType,
    record::Recording,
    sample::philox4x32_10,
};
use half::{bf16, f16};
use serde_json::json;

#[path = "support/cuda_host/mod.rs"]
mod cuda_host;

const LANES: usize = 32;
/// Sets of inputs.
const ROUNDS: u32 = 48;

type Words = Vec<u32>;

/// Inputs of a round: whatever their bits are read as, sums of products stay finite.
fn given(round: u32) -> Words {
    let word = |lane: usize, i: usize| {
        let random = philox4x32_10([(lane * IN_WORDS + i) as u32, round, 0, 0], [7, 0])[0];
        match i {
            // two halves or two bf16 from 1 to 2 with signs, or four bytes
            0..=5 => (random & 0x807f_807f) | 0x3f80_3f80,
            6..=9 => random >> 8,
            10..=13 => (random & 0x807f_ffff) | 0x3f00_0000,
            // floats of every exponent that a half has, and some beyond
            14 => (random & 0x807f_ffff) | ((100 + random % 45) << 23),
            // finite halves
            _ => random & if random & 0x7c00 == 0x7c00 { 0xbfff } else { 0xffff },
        }
    };
    (0..LANES).flat_map(|lane| (0..IN_WORDS).map(move |i| word(lane, i))).collect()
}

/// A result, as the definition has it.
enum Wanted {
    Bits(u32),
    /// A sum of products, and the sum of their magnitudes: the order of adding is the device's own.
    Near(f64, f64),
}

impl Wanted {
    fn fits(&self, got: u32) -> bool {
        match *self {
            Self::Bits(bits) => bits == got,
            Self::Near(sum, magnitude) => {
                (f64::from(f32::from_bits(got)) - sum).abs()
                    <= 16.0 * magnitude / f64::from(1 << 24)
            }
        }
    }
}

/// Result word `i` of a lane.
fn wanted(given: &[u32], lane: usize, i: usize) -> Wanted {
    let word = |lane: usize, i: usize| given[lane * IN_WORDS + i];
    let (g, q) = (lane / 4, lane % 4);
    // row and column of the four sums of a lane
    let place = |i: usize| (g + 8 * (i / 2), 2 * q + i % 2);
    // of 8-bit tiles [16, 32] and [32, 8]: element k of a row and of a column
    let code = |word: u32, k: usize| i64::from((word >> (8 * (k % 4))) as u8 as i8);
    let a8 = |row: usize, k: usize| code(word(row % 8 * 4 + k % 16 / 4, row / 8 + 2 * (k / 16)), k);
    let b8 = |column: usize, k: usize| code(word(column * 4 + k % 16 / 4, 4 + k / 16), k);
    let integers = |i: usize, depth: usize| {
        let (row, column) = place(i);
        let products = (0..depth).map(|k| a8(row, k) * b8(column, k)).sum::<i64>();
        Wanted::Bits((i64::from(word(lane, 6 + i) as i32) + products) as u32)
    };
    // of 16-bit tiles [16, 16] and [16, 8]
    let half = |word: u32, k: usize| (word >> (16 * (k % 2))) as u16;
    let floats = |i: usize, value: fn(u16) -> f64| {
        let (row, column) = place(i);
        let start = f64::from(f32::from_bits(word(lane, 10 + i)));
        let products = (0..16).map(|k| {
            let a = half(word(row % 8 * 4 + k % 8 / 2, row / 8 + 2 * (k / 8)), k);
            let b = half(word(column * 4 + k % 8 / 2, 4 + k / 8), k);
            value(a) * value(b)
        });
        let (sum, magnitude) =
            products.fold((start, start.abs()), |(s, m), p| (s + p, m + p.abs()));
        Wanted::Near(sum, magnitude)
    };
    let (number, bits) = (f32::from_bits(word(lane, 14)), word(lane, 15) as u16);
    let other = LANES - 1 - lane;
    match i {
        0..=3 => integers(i, 32),
        4..=7 => integers(i - 4, 16),
        8..=11 => floats(i - 8, |h| f16::from_bits(h).into()),
        12..=15 => floats(i - 12, |h| bf16::from_bits(h).into()),
        16 => Wanted::Bits(u32::from(f16::from_f32(number).to_bits())),
        17 => Wanted::Bits(f16::from_bits(bits).to_f32().to_bits()),
        18 => Wanted::Bits(u32::from(bf16::from_f32(number).to_bits())),
        19 => Wanted::Bits(bf16::from_bits(bits).to_f32().to_bits()),
        20..=23 => Wanted::Bits(word(other, i - 20)),
        24 | 25 => Wanted::Bits(word(other, i - 24)),
        _ => Wanted::Bits(word(other, 0)),
    }
}

/// Every word that is not as wanted.
fn faults(who: &str, round: u32, got: &[u32]) -> Vec<String> {
    let given = given(round);
    let places = (0..LANES).flat_map(|lane| (0..OUT_USED).map(move |i| (lane, i)));
    let wrong =
        places.filter(|&(lane, i)| !wanted(&given, lane, i).fits(got[lane * OUT_WORDS + i]));
    wrong.map(|(lane, i)| format!("{who}, round {round}: lane {lane}, word {i}")).collect()
}

/// A device with buffers for inputs and results.
struct Bench<'d> {
    device: &'d dyn Backend,
    given: View,
    got: View,
}

impl<'d> Bench<'d> {
    fn new(device: &'d dyn Backend) -> Self {
        let buffer = |label: &str, words: usize| {
            let desc =
                BufferDesc { label: label.into(), bytes: 4 * words as u64, usage: Usage::Scratch };
            let buffer = device.alloc(&desc).expect("there is memory");
            buffer.view(0, DType::U32, [words]).expect("it fits")
        };
        Self {
            device,
            given: buffer("given", LANES * IN_WORDS),
            got: buffer("got", LANES * OUT_WORDS),
        }
    }

    fn run(&self, round: u32, run: impl FnOnce(&View, &View)) -> Words {
        let words = given(round);
        self.device.write(&self.given, bytemuck::cast_slice(&words)).expect("it fits");
        run(&self.given, &self.got);
        let nothing = self.device.prepare(&Recording::default()).expect("there is nothing to do");
        let ticket = self.device.submit(&nothing, std::slice::from_ref(&self.got));
        let download = self.device.finish(ticket.expect("it runs"), Wait::Park).expect("it ends");
        download.to_vec(0)
    }
}

fn twins() -> Vec<Words> {
    assert!(cuda_host::available(), "no C++ compiler: install g++ or clang, as `c++`");
    let device = cuda_host::open();
    let bench = Bench::new(&*device);
    let run = |given: &View, got: &View| {
        let launch = launch(given, got).expect("a possible launch");
        cuda_host::run_alone(&launch).expect("the twins compile");
    };
    (0..ROUNDS).map(|round| bench.run(round, run)).collect()
}

/// A device's results; `None` without a device.
fn on_device() -> Option<(String, Vec<Words>)> {
    if let Err(reason) = cuda::list() {
        let required = env::var_os("COPPICE_REQUIRE_CUDA").is_some_and(|v| v == "1");
        assert!(!required, "no CUDA device: {reason}");
        println!("not compared with a device: {reason}");
        return None;
    }
    let device = cuda::open(0).expect("the device opens");
    let bench = Bench::new(&device);
    let run = |given: &View, got: &View| {
        let launch = launch(given, got).expect("a possible launch");
        let work = device.prepare_launches(vec![launch], 0).expect("the kernel compiles");
        device.finish(device.submit(&work, &[]).expect("it runs"), Wait::Park).expect("it ends");
    };
    let results = (0..ROUNDS).map(|round| bench.run(round, run)).collect();
    Some((device.adapter().to_string(), results))
}

#[test]
fn twins_and_devices_are_as_defined() {
    let twins = twins();
    let judge = |who: &str, results: &[Words]| -> Vec<String> {
        let rounds = results.iter().enumerate();
        rounds.flat_map(|(round, got)| faults(who, round as u32, got)).collect()
    };
    let mut wrong = judge("twins", &twins);
    if let Some((name, results)) = on_device() {
        wrong.extend(judge(&name, &results));
        let path = env::var_os("COPPICE_VECTORS").map_or_else(
            || Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-primitives.json"),
            Into::into,
        );
        let text = json!({ "device": name, "results": results }).to_string();
        fs::write(&path, text).expect("the file can be written");
        println!("results of {name}: {}", path.display());
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda_primitives.json");
    if let Ok(text) = fs::read_to_string(kept) {
        let kept: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let results: Vec<Words> =
            serde_json::from_value(kept["results"].clone()).expect("a list of rounds");
        wrong.extend(judge("the kept device", &results));
    }
    assert!(
        wrong.is_empty(),
        "{} words are wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

#[test]
fn a_wrong_word_is_noticed() {
    let mut got = twins().swap_remove(0);
    assert!(faults("twins", 0, &got).is_empty());
    for i in 0..OUT_USED {
        got[5 * OUT_WORDS + i] ^= 1 << 20;
        assert_eq!(faults("twins", 0, &got).len(), 1, "word {i}");
        got[5 * OUT_WORDS + i] ^= 1 << 20;
    }
}
