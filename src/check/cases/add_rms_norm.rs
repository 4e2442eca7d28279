//! Cases of `add_rms_norm`.

use super::rms_norm::{RULE, normed};
use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Tensor},
    },
    dtype::DType,
    ops::AddRmsNorm,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case(64, 96, 0).sweep(), case(1, 1, 0), case(3, 7, 5), case(2, 1021, 0), case(5, 576, 0)]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let case = case(d.size(70), d.size(1100), d.gap());
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(m, s.width, 0)]
}

fn case(m: usize, d: usize, gap: usize) -> Case {
    Case::new("add_rms_norm", format!("m={m}, d={d}, gap={gap}"), move |b| {
        let (r, x, weight) = (b.random.floats(m * d), b.random.floats(m * d), b.random.floats(d));
        let eps = 1e-6;
        let sum: Vec<f32> = x.iter().zip(&r).map(|(x, r)| x + r).collect();
        let expect = Expect::close(RULE, sum.chunks_exact(d).flat_map(|x| normed(x, &weight, eps)));
        let r = b.push(Tensor::input("r", &[m, d], &r).gap(gap).per_row());
        let x = b.push(Tensor::update("x", &[m, d], &x, Expect::bits(&sum)).gap(gap).per_row());
        let weight = b.push(Tensor::input("weight", &[d], &weight));
        let y = b.push(Tensor::output("y", &[m, d], DType::F32, expect).per_row());
        b.op(move |v| AddRmsNorm { r: v.at(r), x: v.at(x), weight: v.at(weight), y: v.at(y), eps });
    })
}
