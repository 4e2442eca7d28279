//! Cases of `gate_mul`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::{Gate, GateMul},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for gate in [Gate::Silu, Gate::GeluTanh] {
        cases.push(case(gate, 64, 33, 0).sweep());
        cases.push(case(gate, 1, 1, 0));
        cases.push(case(gate, 3, 7, 5));
        cases.push(case(gate, 2, 1536, 0));
    }
    cases
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let case = case(d.pick(&[Gate::Silu, Gate::GeluTanh]), d.size(64), d.size(1600), d.gap());
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(Gate::Silu, m, s.feed_forward, 0)]
}

fn case(gate: Gate, m: usize, f: usize, gap: usize) -> Case {
    let name = match gate {
        Gate::Silu => "silu",
        Gate::GeluTanh => "gelu_tanh",
    };
    Case::new("gate_mul", format!("{name}, m={m}, f={f}, gap={gap}"), move |b| {
        let mut x: Vec<f32> = (0..2 * m * f).map(|_| b.random.uniform(-6.0, 6.0)).collect();
        // far out on both sides, and zero
        for (i, extreme) in [30.0, -30.0, 0.0].into_iter().enumerate().take(f) {
            x[i] = extreme;
        }
        let wanted = x.chunks_exact(2 * f).flat_map(|row| {
            let (g, up) = row.split_at(f);
            g.iter().zip(up).map(|(&g, &up)| gated(gate, g.into(), up.into()))
        });
        let expect = Expect::close(Rule::Bound { units: 8.0 }, wanted);
        let gate_up = b.push(Tensor::input("gate_up", &[m, 2 * f], &x).gap(gap).per_row());
        let out = b.push(Tensor::output("out", &[m, f], DType::F32, expect).gap(gap).per_row());
        b.op(move |v| GateMul { gate_up: v.at(gate_up), out: v.at(out), gate });
    })
}

/// Value and magnitude. An `exp` is allowed to be off by an error that grows with its argument (WGSL
/// grants 3 + 2 |x| ULP), hence the factor `1 + |argument|`.
fn gated(gate: Gate, g: f64, up: f64) -> (f64, f64) {
    match gate {
        Gate::Silu => {
            let y = up * g * (1.0 / (1.0 + (-g).exp()));
            (y, y.abs() * (1.0 + g.abs()))
        }
        Gate::GeluTanh => {
            let inner = 0.797_884_560_802_865_4 * g * (1.0 + 0.044715 * g * g);
            // 1 + tanh(z) = 2 / (1 + exp(-2 z))
            let y = up * g / (1.0 + (-2.0 * inner).exp());
            let terms = (up * g / 2.0).abs() * (1.0 + inner.tanh().abs());
            (y, terms * (1.0 + inner.abs().min(10.0)))
        }
    }
}
