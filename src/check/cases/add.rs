//! Cases of `add`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Tensor},
    },
    ops::Add,
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

fn case(m: usize, c: usize, gap: usize) -> Case {
    Case::new("add", format!("m={m}, c={c}, gap={gap}"), move |b| {
        let (x, y) = (b.random.floats(m * c), b.random.floats(m * c));
        let sums: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        let x = b.push(Tensor::input("x", &[m, c], &x).gap(gap).per_row());
        let y = b.push(Tensor::update("y", &[m, c], &y, Expect::bits(&sums)).gap(gap).per_row());
        b.op(move |v| Add { x: v.at(x), y: v.at(y) });
    })
}
