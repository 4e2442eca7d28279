//! Cases of `column_sums` and `row_squares`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::{ColumnSums, RowSquares, Then},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        columns(64, 33, 0, Then::Store),
        columns(1, 1, 0, Then::Store),
        columns(5, 7, 3, Then::Add),
        columns(300, 100, 0, Then::Add),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    columns(d.size(300), d.size(130), d.gap(), d.pick(&[Then::Store, Then::Add]))
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![columns(64 * m, s.width, 0, Then::Store), rows(64 * m, s.width, 0)]
}

pub(super) fn draw_rows(d: &mut Draw) -> Case {
    let case = rows(d.size(70), d.size(1100), d.gap());
    d.sweep(case)
}

pub(super) fn row_cases() -> Vec<Case> {
    vec![rows(64, 33, 0).sweep(), rows(1, 1, 0), rows(3, 7, 5), rows(9, 1024, 0)]
}

fn columns(m: usize, c: usize, gap: usize, then: Then) -> Case {
    let name = if then == Then::Add { "add" } else { "store" };
    Case::new("column_sums", format!("m={m}, c={c}, then={name}, gap={gap}"), move |b| {
        let x = b.random.floats(m * c);
        let before = b.random.floats(c);
        let wanted = (0..c).map(|i| {
            let start = if then == Then::Add { f64::from(before[i]) } else { 0.0 };
            x.chunks_exact(c).fold((start, start.abs()), |(sum, size), row| {
                (sum + f64::from(row[i]), size + f64::from(row[i]).abs())
            })
        });
        let expect = Expect::close(Rule::Bound { units: 2.0 + (m as f64).sqrt() }, wanted);
        let x = b.push(Tensor::input("x", &[m, c], &x).gap(gap));
        let out = b.push(match then {
            Then::Store => Tensor::output("out", &[c], DType::F32, expect),
            Then::Add => Tensor::update("out", &[c], &before, expect),
        });
        b.op(move |v| ColumnSums { x: v.at(x), out: v.at(out), then });
    })
}

fn rows(m: usize, c: usize, gap: usize) -> Case {
    Case::new("row_squares", format!("m={m}, c={c}, gap={gap}"), move |b| {
        let x = b.random.floats(m * c);
        let wanted = x.chunks_exact(c).map(|row| {
            let sum: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            (sum, sum)
        });
        let expect = Expect::close(Rule::Bound { units: 8.0 }, wanted);
        let x = b.push(Tensor::input("x", &[m, c], &x).gap(gap).per_row());
        let out = b.push(Tensor::output("out", &[m, 1], DType::F32, expect).per_row());
        b.op(move |v| RowSquares { x: v.at(x), out: v.at(out) });
    })
}
