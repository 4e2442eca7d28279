//! Cases of `gate_grad`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    dtype::DType,
    ops::{Gate, GateGrad},
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
    Case::new("gate_grad", format!("{name}, m={m}, f={f}, gap={gap}"), move |b| {
        let mut x: Vec<f32> = (0..2 * m * f).map(|_| b.random.uniform(-6.0, 6.0)).collect();
        // far out on both sides, and zero
        for (i, extreme) in [30.0, -30.0, 0.0].into_iter().enumerate().take(f) {
            x[i] = extreme;
        }
        let dout = b.random.floats(m * f);
        let mut wanted = Vec::with_capacity(2 * m * f);
        for (x, dout) in x.chunks_exact(2 * f).zip(dout.chunks_exact(f)) {
            let at = |i: usize| (f64::from(x[i]), f64::from(x[f + i]), f64::from(dout[i]));
            wanted.extend((0..f).map(|i| {
                let (g, up, dout) = at(i);
                let [_, (slope, size)] = activation(gate, g);
                (dout * up * slope, (dout * up).abs() * size)
            }));
            wanted.extend((0..f).map(|i| {
                let (g, _, dout) = at(i);
                let [(value, size), _] = activation(gate, g);
                (dout * value, dout.abs() * size)
            }));
        }
        let expect = Expect::close(Rule::Bound { units: 16.0 }, wanted);
        let gate_up = b.push(Tensor::input("gate_up", &[m, 2 * f], &x).gap(gap).per_row());
        let dout = b.push(Tensor::input("dout", &[m, f], &dout).gap(gap).per_row());
        let grad = Tensor::output("grad", &[m, 2 * f], DType::F32, expect);
        let grad = b.push(grad.gap(gap).per_row());
        b.op(move |v| GateGrad {
            gate_up: v.at(gate_up),
            dout: v.at(dout),
            grad: v.at(grad),
            gate,
        });
    })
}

/// Value `g s(y)` and slope `s(y) (1 + g s(-y) y')` with their magnitudes.
fn activation(gate: Gate, g: f64) -> [(f64, f64); 2] {
    let (y, rise) = match gate {
        Gate::Silu => (g, 1.0),
        Gate::GeluTanh => {
            let root = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
            (root * (g + 0.044715 * g.powi(3)), root * (1.0 + 3.0 * 0.044715 * g * g))
        }
    };
    let s = |y: f64| 1.0 / (1.0 + (-y).exp());
    let (first, second) = (s(y), s(y) * g * s(-y) * rise);
    // The error of an exponential grows with its argument. Exponentials are held at e^-87, which
    // leaves of a 0 that times the other factors.
    let size = |value: f64, factor: f64| {
        let held = (-87f64).exp() * (1.0 + factor.abs()) / f64::from(f32::EPSILON);
        value.abs() * (1.0 + y.abs().min(90.0)) + held
    };
    let slope_size = size(first, g) + size(second, g * rise);
    [(g * first, size(g * first, g)), (first + second, slope_size)]
}
