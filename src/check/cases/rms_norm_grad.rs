//! Cases of `rms_norm_grad`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::{RmsNormGrad, Then},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case([64, 3, 32], 0, Then::Store).sweep(),
        case([64, 1, 33], 0, Then::Add).sweep(),
        case([1, 1, 1], 0, Then::Store),
        case([5, 7, 10], 11, Then::Add),
        case([3, 1, 576], 0, Then::Add),
        case([2, 2, 1021], 3, Then::Store),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let then = d.pick(&[Then::Store, Then::Add]);
    let case = case([d.size(64), d.size(4), d.size(600)], d.gap(), then);
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case([m, 1, s.width], 0, Then::Store)]
}

fn case([m, h, d]: [usize; 3], gap: usize, then: Then) -> Case {
    let add = if then == Then::Add { "add" } else { "store" };
    Case::new("rms_norm_grad", format!("m={m}, h={h}, d={d}, then={add}, gap={gap}"), move |b| {
        let (x, weight) = (b.random.floats(m * h * d), b.random.floats(d));
        let (dy, before) = (b.random.floats(m * h * d), b.random.floats(m * h * d));
        let eps = 1e-5;
        let mut wanted = Vec::with_capacity(m * h * d);
        for (head, (x, dy)) in x.chunks_exact(d).zip(dy.chunks_exact(d)).enumerate() {
            let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / d as f64;
            let root = (mean + f64::from(eps)).sqrt();
            let g = |i: usize| f64::from(weight[i]) * f64::from(dy[i]);
            let along: f64 = (0..d).map(|i| f64::from(x[i]) * g(i)).sum();
            let size: f64 = (0..d).map(|i| (f64::from(x[i]) * g(i)).abs()).sum();
            wanted.extend((0..d).map(|i| {
                let start = match then {
                    Then::Store => 0.0,
                    Then::Add => f64::from(before[head * d + i]),
                };
                let back = f64::from(x[i]) / root.powi(3) / d as f64;
                let value = g(i) / root - back * along;
                (start + value, start.abs() + (g(i) / root).abs() + back.abs() * size)
            }));
        }
        let units = 8.0 + (d as f64).sqrt() / 2.0;
        let expect = Expect::close(Rule::Bound { units }, wanted);
        let dims = [m, h, d];
        let x = b.push(Tensor::input("x", &dims, &x).gap(gap).per_row());
        let weight = b.push(Tensor::input("weight", &[d], &weight));
        let dy = b.push(Tensor::input("dy", &dims, &dy).gap(gap).per_row());
        let dx = match then {
            Then::Store => Tensor::output("dx", &dims, DType::F32, expect),
            Then::Add => Tensor::update("dx", &dims, &before, expect),
        };
        let dx = b.push(dx.gap(gap).per_row());
        b.op(move |v| RmsNormGrad {
            x: v.at(x),
            weight: v.at(weight),
            dy: v.at(dy),
            dx: v.at(dx),
            eps,
            then,
        });
    })
}
