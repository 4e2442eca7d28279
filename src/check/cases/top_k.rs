//! Cases of `top_k`.

use super::row_stats::{Logits, stats};
use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::TopK,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(64, 101, 5, Logits::Plain).sweep(),
        case(1, 1, 1, Logits::Plain),
        case(3, 257, 10, Logits::Tied),
        case(2, 64, 64, Logits::Plain),
        case(2, 2048, 64, Logits::Large),
        case(5, 2047, 1, Logits::Plain),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let (m, v) = (d.size(64), d.size(3000));
    let case = case(m, v, d.size(v.min(TopK::MAX_K)), Logits::draw(d));
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(m, s.vocab, 10, Logits::Plain)]
}

fn case(m: usize, v: usize, k: usize, kind: Logits) -> Case {
    Case::new("top_k", format!("m={m}, v={v}, k={k}, logits={kind:?}"), move |b| {
        let logits = kind.make(&mut b.random, m * v);
        let (mut ids, mut logprobs) = (Vec::new(), Vec::new());
        for row in logits.chunks_exact(v) {
            let mut order: Vec<usize> = (0..v).collect();
            // stable, so the lowest id stays first among equals
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let (lse, magnitude) = stats(row).log_sum_exp;
            for &id in &order[..k] {
                let l = f64::from(row[id]);
                ids.push(id as u32);
                logprobs.push((l - lse, l.abs() + magnitude));
            }
        }
        let ids = Tensor::output("ids", &[m, k], DType::U32, Expect::bits(&ids));
        let close = Expect::close(Rule::Bound { units: 8.0 }, logprobs);
        let logprobs = Tensor::output("logprobs", &[m, k], DType::F32, close);
        let logits = b.push(Tensor::input("logits", &[m, v], &logits).per_row());
        let (ids, logprobs) = (b.push(ids.per_row()), b.push(logprobs.per_row()));
        b.op(move |v| TopK { logits: v.at(logits), ids: v.at(ids), logprobs: v.at(logprobs) });
    })
}
