//! Cases of `fill`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Tensor},
    },
    dtype::DType,
    ops::{Fill, RandomBits},
    sample::philox4x32_10,
};

/// What a case writes.
#[derive(Clone, Copy)]
struct Pattern {
    bits: u32,
    random: Option<RandomBits>,
}

const SEED: u64 = 0x0123_4567_89ab_cdef;

fn word(bits: u32) -> Pattern {
    Pattern { bits, random: None }
}

fn random(keep: u32, bits: u32) -> Pattern {
    Pattern { bits, random: Some(RandomBits { seed: SEED, keep }) }
}

impl Pattern {
    fn element(self, i: usize) -> u32 {
        let Some(RandomBits { seed, keep }) = self.random else { return self.bits };
        let counter = [(i / 4) as u32, 0, 0, RandomBits::STREAM];
        let words = philox4x32_10(counter, [seed as u32, (seed >> 32) as u32]);
        self.bits | (words[i % 4] & keep)
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(DType::F32, 64, 33, 0, word(1.5f32.to_bits())).sweep(),
        case(DType::U32, 1, 1, 0, word(0)),
        case(DType::F32, 5, 7, 3, word(f32::NEG_INFINITY.to_bits())),
        case(DType::U32, 3, 257, 0, word(u32::MAX - 1)),
        // a row's words depend on where it is, so it is not compared with the same row alone
        case(DType::U32, 64, 33, 0, random(u32::MAX, 0)),
        // halves of both signs with the exponent of 2^-5
        case(DType::U32, 3, 257, 2, random(0x83ff_83ff, 0x2800_2800)),
        case(DType::U32, 5, 3, 0, random(0x0f0f_0f0f, 0)),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let dtype = d.pick(&[DType::U32, DType::F32]);
    let (m, c, gap) = (d.size(70), d.size(600), d.gap());
    let bits = d.pick(&[0, 1.5f32.to_bits(), f32::INFINITY.to_bits(), u32::MAX - 1]);
    let pattern = d.pick(&[word(bits), random(0x0003_ffff, 1.0f32.to_bits())]);
    let case = case(dtype, m, c, gap, pattern);
    if pattern.random.is_some() { case } else { d.sweep(case) }
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(DType::F32, m, s.vocab, 0, word(0))]
}

fn case(dtype: DType, m: usize, c: usize, gap: usize, pattern: Pattern) -> Case {
    let Pattern { bits, random } = pattern;
    let kept = random.map_or(String::new(), |random| format!(", keep={:#x}", random.keep));
    let name = format!("{dtype}, m={m}, c={c}, gap={gap}, bits={bits:#x}{kept}");
    Case::new("fill", name, move |b| {
        let expect: Vec<u32> = (0..m * c).map(|i| pattern.element(i)).collect();
        let expect = Expect::bits(&expect);
        let dst = b.push(Tensor::output("dst", &[m, c], dtype, expect).gap(gap).per_row());
        b.op(move |v| Fill { dst: v.at(dst), bits, random });
    })
}
