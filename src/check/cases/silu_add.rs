//! Cases of `silu_add`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    ops::SiluAdd,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case(64, 33, 0).sweep(), case(1, 1, 0), case(5, 7, 3), case(3, 576, 0)]
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
    Case::new("silu_add", format!("m={m}, d={d}, gap={gap}"), move |b| {
        let x = b.random.floats(m * d);
        let mut y: Vec<f32> = (0..m * d).map(|_| b.random.uniform(-6.0, 6.0)).collect();
        // far out on both sides, and zero
        for (y, extreme) in y.iter_mut().zip([30.0, -30.0, 0.0]) {
            *y = extreme;
        }
        let wanted = x.iter().zip(&y).map(|(&x, &y)| {
            let (x, y) = (f64::from(x), f64::from(y));
            let silu = y * (1.0 / (1.0 + (-y).exp()));
            // an `exp` may be off by an error that grows with its argument
            (x + silu, x.abs() + silu.abs() * (1.0 + y.abs()))
        });
        let expect = Expect::close(Rule::Bound { units: 8.0 }, wanted);
        let y = b.push(Tensor::input("y", &[m, d], &y).gap(gap).per_row());
        let x = b.push(Tensor::update("x", &[m, d], &x, expect).gap(gap).per_row());
        b.op(move |v| SiluAdd { y: v.at(y), x: v.at(x) });
    })
}
