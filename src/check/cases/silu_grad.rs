//! Cases of `silu_grad`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::SiluGrad,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case(64, 33, 0).sweep(), case(1, 1, 0), case(3, 7, 5), case(2, 576, 0)]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let case = case(d.size(70), d.size(600), d.gap());
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(m, s.width, 0)]
}

fn case(m: usize, d: usize, gap: usize) -> Case {
    Case::new("silu_grad", format!("m={m}, d={d}, gap={gap}"), move |b| {
        let mut z: Vec<f32> = (0..m * d).map(|_| b.random.uniform(-6.0, 6.0)).collect();
        // far out on both sides, and zero
        for (z, extreme) in z.iter_mut().zip([30.0, -30.0, 0.0]) {
            *z = extreme;
        }
        let dy = b.random.floats(m * d);
        let wanted = z.iter().zip(&dy).map(|(&z, &dy)| {
            let (z, dy) = (f64::from(z), f64::from(dy));
            let s = 1.0 / (1.0 + (-z).exp());
            // The error of an exponential grows with its argument.
            let terms = s * (1.0 + (z * (1.0 - s)).abs()) * (1.0 + z.abs());
            (dy * (s + z * s * (1.0 - s)), dy.abs() * terms)
        });
        let expect = Expect::close(Rule::Bound { units: 8.0 }, wanted);
        let z = b.push(Tensor::input("z", &[m, d], &z).gap(gap).per_row());
        let dy = b.push(Tensor::input("dy", &[m, d], &dy).gap(gap).per_row());
        let dz = b.push(Tensor::output("dz", &[m, d], DType::F32, expect).gap(gap).per_row());
        b.op(move |v| SiluGrad { z: v.at(z), dy: v.at(dy), dz: v.at(dz) });
    })
}
