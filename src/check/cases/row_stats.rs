//! Cases of `row_stats`, and what reductions over the vocabulary share.

use crate::{
    check::{
        Draw, ModelSizes, Random,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::{ROW_STATS_FIELDS, RowStats},
};

/// Rows of a vocabulary.
#[derive(Clone, Copy, Debug)]
pub(super) enum Logits {
    /// All different.
    Plain,
    /// Few values, hence ties everywhere.
    Tied,
    /// Large enough to overflow `exp`.
    Large,
}

impl Logits {
    pub(super) fn draw(d: &mut Draw) -> Self {
        d.pick(&[Self::Plain, Self::Tied, Self::Large])
    }

    pub(super) fn make(self, random: &mut Random, len: usize) -> Vec<f32> {
        let value = |random: &mut Random| match self {
            Self::Plain => random.uniform(-10.0, 10.0),
            Self::Tied => random.below(4) as f32 - 2.0,
            Self::Large => random.uniform(180.0, 200.0),
        };
        (0..len).map(|_| value(random)).collect()
    }
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(m, s.vocab, 0, Logits::Plain)]
}

/// What a row's probabilities amount to, in f64, with magnitudes. `exp` may be off by an error that
/// grows with its argument (WGSL grants 3 + 2 |x| ULP), so its arguments count too.
pub(super) struct Stats {
    pub log_sum_exp: (f64, f64),
    pub entropy: (f64, f64),
}

pub(super) fn stats(logits: &[f32]) -> Stats {
    let logits: Vec<f64> = logits.iter().map(|&l| l.into()).collect();
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|l| (l - max).exp()).sum();
    let lse = max + total.ln();
    let (mut entropy, mut mean, mut spread, mut terms) = (0.0, 0.0, 0.0, 0.0);
    for l in &logits {
        let p = (l - lse).exp();
        entropy -= p * (l - lse);
        mean += p * l.abs();
        spread += p * (l - max).abs();
        terms += p * (l - lse).abs() * (1.0 + (l - max).abs());
    }
    Stats {
        log_sum_exp: (lse, 1.0 + max.abs() + total.ln().abs() + 2.0 * spread),
        entropy: (entropy, 1.0 + lse.abs() + mean + 2.0 * terms),
    }
}

const RULES: &[Rule] =
    &[Rule::Bits, Rule::Bits, Rule::Bound { units: 8.0 }, Rule::Bound { units: 8.0 }];

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(64, 101, 0, Logits::Plain).sweep(),
        case(1, 1, 0, Logits::Plain),
        case(3, 257, 7, Logits::Tied),
        case(2, 2048, 0, Logits::Large),
        case(5, 2047, 0, Logits::Plain),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let case = case(d.size(64), d.size(3000), d.gap(), Logits::draw(d));
    d.sweep(case)
}

fn case(m: usize, v: usize, gap: usize, kind: Logits) -> Case {
    Case::new("row_stats", format!("m={m}, v={v}, gap={gap}, logits={kind:?}"), move |b| {
        let logits = kind.make(&mut b.random, m * v);
        let wanted = logits.chunks_exact(v).flat_map(|row| {
            let mut best = 0;
            for (i, &l) in row.iter().enumerate() {
                if l > row[best] {
                    best = i;
                }
            }
            let stats = stats(row);
            let max = f64::from(row[best].to_bits());
            [(max, 0.0), (best as f64, 0.0), stats.log_sum_exp, stats.entropy]
        });
        let expect = Expect::close(Rule::Fields(RULES), wanted);
        let logits = b.push(Tensor::input("logits", &[m, v], &logits).gap(gap).per_row());
        let out = Tensor::output("out", &[m, ROW_STATS_FIELDS], DType::U32, expect);
        let out = b.push(out.per_row());
        b.op(move |views| RowStats { logits: views.at(logits), out: views.at(out) });
    })
}
