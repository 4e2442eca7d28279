//! Cases of `softmax_xent`.

use super::row_stats::{Logits, stats};
use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::SoftmaxXent,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case([64, 101, 1], 0, Logits::Plain).sweep(),
        case([64, 37, 5], 0, Logits::Tied).sweep(),
        case([1, 1, 1], 0, Logits::Plain),
        case([3, 40, 8], 5, Logits::Large),
        case([2, 8192, 3], 0, Logits::Plain),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let case = case([d.size(64), d.size(1000), d.size(8)], d.gap(), Logits::draw(d));
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case([m, s.vocab, 4], 0, Logits::Plain)]
}

fn case([m, v, j]: [usize; 3], gap: usize, logits: Logits) -> Case {
    Case::new(
        "softmax_xent",
        format!("m={m}, v={v}, j={j}, gap={gap}, logits={logits:?}"),
        move |b| {
            let values = logits.make(&mut b.random, m * v);
            let mut targets = Vec::with_capacity(m * j);
            for row in 0..m {
                let mut ids = b.random.permutation(v.max(j));
                ids.truncate(j);
                // Some targets lie outside the vocabulary, and whole rows have none.
                if row % 3 == 1 {
                    ids[0] = u32::MAX;
                }
                if row % 7 == 2 {
                    ids.fill(u32::MAX);
                }
                targets.extend(ids);
            }
            let weights: Vec<f32> = (0..m * j).map(|_| b.random.uniform(0.0, 1.0)).collect();
            let (mut loss, mut gradient) = (Vec::new(), Vec::new());
            for (row, l) in values.chunks_exact(v).enumerate() {
                let of_row = row * j..(row + 1) * j;
                let pairs: Vec<(usize, f64)> =
                    (targets[of_row.clone()].iter().zip(&weights[of_row]))
                        .map(|(&t, &w)| (t as usize, f64::from(w)))
                        .filter(|&(t, _)| t < v)
                        .collect();
                let (lse, lse_size) = stats(l).log_sum_exp;
                let total: f64 = pairs.iter().map(|&(_, w)| w).sum();
                loss.push(pairs.iter().fold((0.0, 0.0), |(sum, size), &(t, w)| {
                    let l = f64::from(l[t]);
                    (sum + w * (lse - l), size + w * (lse_size + lse.abs() + l.abs()))
                }));
                for (i, &l) in l.iter().enumerate() {
                    let p = total * (f64::from(l) - lse).exp();
                    let here: f64 = pairs.iter().filter(|&&(t, _)| t == i).map(|&(_, w)| w).sum();
                    // An error of logit or logarithm is a relative one of the exponential.
                    let size = p * (1.0 + f64::from(l).abs() + lse.abs() + lse_size) + here;
                    gradient.push((p - here, size));
                }
            }
            let rule = Rule::Bound { units: 8.0 };
            let gradient = Expect::close(rule.clone(), gradient);
            let loss = Expect::close(rule, loss);
            let logits =
                b.push(Tensor::update("logits", &[m, v], &values, gradient).gap(gap).per_row());
            let targets = b.push(Tensor::input("targets", &[m, j], &targets).gap(gap).per_row());
            let weights = b.push(Tensor::input("weights", &[m, j], &weights).gap(gap).per_row());
            let loss = b.push(Tensor::output("loss", &[m, 1], DType::F32, loss).per_row());
            b.op(move |v| SoftmaxXent {
                logits: v.at(logits),
                targets: v.at(targets),
                weights: v.at(weights),
                loss: v.at(loss),
            });
        },
    )
}
