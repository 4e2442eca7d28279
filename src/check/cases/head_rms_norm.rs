//! Cases of `head_rms_norm`.

use super::rms_norm::{RULE, normed};
use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Tensor},
    },
    ops::HeadRmsNorm,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(64, 3, 32, 0).sweep(),
        case(1, 1, 1, 0),
        case(5, 7, 10, 11),
        case(2, 2, 256, 0),
        case(3, 9, 64, 64),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let case = case(d.size(40), d.size(9), d.size(256), d.gap());
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(m, s.heads, s.head, 0)]
}

fn case(m: usize, h: usize, d: usize, gap: usize) -> Case {
    Case::new("head_rms_norm", format!("m={m}, h={h}, d={d}, gap={gap}"), move |b| {
        let (x, weight) = (b.random.floats(m * h * d), b.random.floats(d));
        let eps = 1e-6;
        let expect = Expect::close(RULE, x.chunks_exact(d).flat_map(|x| normed(x, &weight, eps)));
        let x = b.push(Tensor::update("x", &[m, h, d], &x, expect).gap(gap).per_row());
        let weight = b.push(Tensor::input("weight", &[d], &weight));
        b.op(move |v| HeadRmsNorm { x: v.at(x), weight: v.at(weight), eps });
    })
}
