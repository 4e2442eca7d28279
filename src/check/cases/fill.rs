//! Cases of `fill`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Tensor},
    },
    dtype::DType,
    ops::Fill,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(DType::F32, 64, 33, 0, 1.5f32.to_bits()).sweep(),
        case(DType::U32, 1, 1, 0, 0),
        case(DType::F32, 5, 7, 3, f32::NEG_INFINITY.to_bits()),
        case(DType::U32, 3, 257, 0, u32::MAX - 1),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let dtype = d.pick(&[DType::U32, DType::F32]);
    let (m, c, gap) = (d.size(70), d.size(600), d.gap());
    let bits = d.pick(&[0, 1.5f32.to_bits(), f32::INFINITY.to_bits(), u32::MAX - 1]);
    d.sweep(case(dtype, m, c, gap, bits))
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(DType::F32, m, s.vocab, 0, 0)]
}

fn case(dtype: DType, m: usize, c: usize, gap: usize, bits: u32) -> Case {
    let name = format!("{dtype}, m={m}, c={c}, gap={gap}, bits={bits:#x}");
    Case::new("fill", name, move |b| {
        let expect = Expect::bits(&vec![bits; m * c]);
        let dst = b.push(Tensor::output("dst", &[m, c], dtype, expect).gap(gap).per_row());
        b.op(move |v| Fill { dst: v.at(dst), bits });
    })
}
