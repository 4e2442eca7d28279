//! Cases of `rms_norm`, and what the norms share.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::RmsNorm,
};

/// A sum of squares has no cancellation, so the result's own size is the magnitude.
pub(super) const RULE: Rule = Rule::Bound { units: 8.0 };

/// `x / sqrt(mean(x^2) + eps) * weight` with its magnitude.
pub(super) fn normed(x: &[f32], weight: &[f32], eps: f32) -> Vec<(f64, f64)> {
    let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / x.len() as f64;
    let root = (mean + f64::from(eps)).sqrt();
    x.iter()
        .zip(weight)
        .map(|(&x, &w)| f64::from(x) / root * f64::from(w))
        .map(|y| (y, y.abs()))
        .collect()
}

pub(super) fn cases() -> Vec<Case> {
    vec![case(64, 96, 0).sweep(), case(1, 1, 0), case(3, 7, 0), case(2, 1021, 3), case(5, 576, 0)]
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
    Case::new("rms_norm", format!("m={m}, d={d}, gap={gap}"), move |b| {
        let (x, weight) = (b.random.floats(m * d), b.random.floats(d));
        let eps = 1e-5;
        let wanted = x.chunks_exact(d).flat_map(|x| normed(x, &weight, eps));
        let expect = Expect::close(RULE, wanted);
        let x = b.push(Tensor::input("x", &[m, d], &x).gap(gap).per_row());
        let weight = b.push(Tensor::input("weight", &[d], &weight));
        let y = b.push(Tensor::output("y", &[m, d], DType::F32, expect).gap(gap).per_row());
        b.op(move |v| RmsNorm { x: v.at(x), weight: v.at(weight), y: v.at(y), eps });
    })
}
