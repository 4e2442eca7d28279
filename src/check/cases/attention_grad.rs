//! Cases of `span_softmax` and `softmax_grad`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    ops::{SoftmaxGrad, SpanSoftmax},
};

pub(super) fn softmax_cases() -> Vec<Case> {
    vec![
        softmax(64, 33, 0, 0.7).sweep(),
        softmax(1, 1, 0, 1.0),
        softmax(5, 7, 3, 4.0),
        softmax(9, 600, 0, 0.125),
    ]
}

pub(super) fn grad_cases() -> Vec<Case> {
    vec![
        grad(64, 33, 0, 0.7).sweep(),
        grad(1, 1, 0, 1.0),
        grad(5, 7, 3, 4.0),
        grad(9, 600, 0, 0.125),
    ]
}

pub(super) fn draw_softmax(d: &mut Draw) -> Case {
    let case = softmax(d.size(64), d.size(600), d.gap(), d.pick(&[1.0, 0.125, 4.0]));
    d.sweep(case)
}

pub(super) fn draw_grad(d: &mut Draw) -> Case {
    let case = grad(d.size(64), d.size(600), d.gap(), d.pick(&[1.0, 0.125, 4.0]));
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![softmax(s.heads * m, s.context, 0, 0.125), grad(s.heads * m, s.context, 0, 0.125)]
}

fn softmax(m: usize, n: usize, gap: usize, scale: f32) -> Case {
    Case::new("span_softmax", format!("m={m}, n={n}, scale={scale}, gap={gap}"), move |b| {
        let x: Vec<f32> = (0..m * n).map(|_| b.random.uniform(-9.0, 9.0)).collect();
        let mut spans = Vec::with_capacity(2 * m);
        for row in 0..m {
            let first = b.random.below(n);
            // Whole rows, empty spans, reversed ones, one column, and ends beyond the row.
            spans.extend(match row % 6 {
                0 => [0, n as u32],
                1 => [first as u32, first as u32],
                2 => [n as u32 - 1, 0],
                3 => [first as u32, first as u32 + 1],
                4 => [first as u32, u32::MAX],
                _ => [(first / 2) as u32, first as u32 + 1],
            });
        }
        let mut wanted = Vec::with_capacity(m * n);
        for (row, x) in x.chunks_exact(n).enumerate() {
            let (first, end) = (spans[2 * row] as usize, spans[2 * row + 1] as usize);
            let seen = |i: usize| i >= first && i < end;
            let score = |i: usize| f64::from(scale) * f64::from(x[i]);
            let total: f64 = (0..n).filter(|&i| seen(i)).map(|i| score(i).exp()).sum();
            let most = (0..n).filter(|&i| seen(i)).map(|i| score(i).abs()).fold(0.0, f64::max);
            wanted.extend((0..n).map(|i| match seen(i) {
                // An error of a score is a relative one of its exponential.
                true => {
                    let p = score(i).exp() / total;
                    (p, p * (1.0 + score(i).abs() + most + total.ln().abs()))
                }
                false => (0.0, 0.0),
            }));
        }
        let expect = Expect::close(Rule::Bound { units: 8.0 }, wanted);
        let x = b.push(Tensor::update("x", &[m, n], &x, expect).gap(gap).per_row());
        let spans = b.push(Tensor::input("spans", &[m, 2], &spans).gap(gap).per_row());
        b.op(move |v| SpanSoftmax { x: v.at(x), spans: v.at(spans), scale });
    })
}

fn grad(m: usize, n: usize, gap: usize, scale: f32) -> Case {
    Case::new("softmax_grad", format!("m={m}, n={n}, scale={scale}, gap={gap}"), move |b| {
        // Any numbers will do for the formula; those of a row of probabilities add up to 1.
        let mut p: Vec<f32> = (0..m * n).map(|_| b.random.uniform(0.0, 1.0)).collect();
        for row in p.chunks_exact_mut(n) {
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|p| *p /= total);
        }
        let dp = b.random.floats(m * n);
        let mut wanted = Vec::with_capacity(m * n);
        for (p, dp) in p.chunks_exact(n).zip(dp.chunks_exact(n)) {
            let terms = || p.iter().zip(dp).map(|(&p, &dp)| f64::from(p) * f64::from(dp));
            let (sum, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
            let scale = f64::from(scale);
            wanted.extend(p.iter().zip(dp).map(|(&p, &dp)| {
                let (p, dp) = (f64::from(p), f64::from(dp));
                (scale * p * (dp - sum), scale * p * (dp.abs() + size))
            }));
        }
        let expect = Expect::close(Rule::Bound { units: 4.0 + (n as f64).sqrt() }, wanted);
        let p = b.push(Tensor::input("p", &[m, n], &p).gap(gap).per_row());
        let dp = b.push(Tensor::update("dp", &[m, n], &dp, expect).gap(gap).per_row());
        b.op(move |v| SoftmaxGrad { p: v.at(p), dp: v.at(dp), scale });
    })
}
