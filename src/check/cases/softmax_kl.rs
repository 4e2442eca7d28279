//! Cases of `softmax_kl`.

use super::row_stats::{Logits, stats};
use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::SoftmaxKl,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case([64, 101], 0, Logits::Plain).sweep(),
        case([64, 37], 0, Logits::Tied).sweep(),
        case([1, 1], 0, Logits::Plain),
        case([3, 40], 5, Logits::Large),
        case([2, 8192], 0, Logits::Plain),
        equal(3, 2049),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let case = case([d.size(64), d.size(1000)], d.gap(), Logits::draw(d));
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case([m, s.vocab], 0, Logits::Plain)]
}

fn case([m, v]: [usize; 2], gap: usize, kind: Logits) -> Case {
    Case::new("softmax_kl", format!("m={m}, v={v}, gap={gap}, logits={kind:?}"), move |b| {
        let logits = kind.make(&mut b.random, m * v);
        let teacher = kind.make(&mut b.random, m * v);
        let mut weights: Vec<f32> = (0..m).map(|_| b.random.uniform(0.0, 1.0)).collect();
        weights.iter_mut().step_by(5).skip(1).for_each(|w| *w = 0.0);
        let (mut loss, mut gradient) = (Vec::new(), Vec::new());
        let rows = logits.chunks_exact(v).zip(teacher.chunks_exact(v));
        for ((l, t), &w) in rows.zip(&weights) {
            let ((own, own_size), (other, other_size)) =
                (stats(l).log_sum_exp, stats(t).log_sum_exp);
            let w = f64::from(w);
            let (mut sum, mut size) = (0.0, 0.0);
            for (&l, &t) in l.iter().zip(t) {
                let (ln_p, ln_q) = (f64::from(l) - own, f64::from(t) - other);
                let (p, q) = (ln_p.exp(), ln_q.exp());
                // An error of logit or logarithm is a relative one of the exponential.
                let p_size = f64::from(l).abs() + own.abs() + own_size;
                let q_size = f64::from(t).abs() + other.abs() + other_size;
                sum += q * (ln_q - ln_p);
                size += q * (p_size + q_size + (ln_q - ln_p).abs() * (1.0 + q_size));
                gradient.push((w * (p - q), w * (p * (1.0 + p_size) + q * (1.0 + q_size))));
            }
            loss.push((w * sum, w * size));
        }
        let rule = Rule::Bound { units: 8.0 };
        push(
            b,
            [m, v],
            gap,
            [&logits, &teacher, &weights],
            [gradient, loss].map(|wanted| Expect::close(rule.clone(), wanted)),
        );
    })
}

/// Equal logits have no distance at all.
fn equal(m: usize, v: usize) -> Case {
    Case::new("softmax_kl", format!("m={m}, v={v}, equal"), move |b| {
        let logits = Logits::Plain.make(&mut b.random, m * v);
        let nothing = [m * v, m].map(|len| Expect::bits(&vec![0f32; len]));
        push(b, [m, v], 0, [&logits, &logits, &vec![1.0; m]], nothing);
    })
}

fn push(
    b: &mut crate::check::case::Build,
    [m, v]: [usize; 2],
    gap: usize,
    [logits, teacher, weights]: [&Vec<f32>; 3],
    [gradient, loss]: [Expect; 2],
) {
    let logits = b.push(Tensor::update("logits", &[m, v], logits, gradient).gap(gap).per_row());
    let teacher = b.push(Tensor::input("teacher", &[m, v], teacher).gap(gap).per_row());
    let weights = b.push(Tensor::input("weights", &[m, 1], weights).gap(gap).per_row());
    let loss = b.push(Tensor::output("loss", &[m, 1], DType::F32, loss).per_row());
    b.op(move |v| SoftmaxKl {
        logits: v.at(logits),
        teacher: v.at(teacher),
        weights: v.at(weights),
        loss: v.at(loss),
    });
}
