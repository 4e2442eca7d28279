//! Cases of `qmatmul`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Build, Case, Rule, Tensor},
        weights::TestWeight,
    },
    dtype::DType,
    ops::{Activations, QMatMul, Then, Weight},
    quant::{BLOCK, QuantFormat as F, activations::Code, coded_values},
};

#[derive(Clone, Copy)]
struct Shape {
    format: F,
    m: usize,
    n: usize,
    k: usize,
    then: Then,
    activations: Activations,
    bias: bool,
    gap: usize,
}

pub(super) fn cases() -> Vec<Case> {
    let plain = Shape {
        format: F::F32,
        m: 1,
        n: 1,
        k: 32,
        then: Then::Store,
        activations: Activations::F32,
        bias: false,
        gap: 0,
    };
    let mut cases = Vec::new();
    for activations in [Activations::F32, Activations::Q12, Activations::Q8] {
        for format in F::ALL {
            let unit = format.k_multiple();
            let k = if unit == BLOCK { 9 * BLOCK } else { 2 * unit };
            let shape = Shape { format, activations, ..plain };
            cases.push(case(Shape { m: 64, n: 33, k, ..shape }).sweep());
            let (then, bias) = (Then::Add, true);
            cases.push(case(Shape { m: 5, n: 17, k: unit, then, bias, gap: 3, ..shape }));
        }
        for format in [F::F32, F::F16, F::Q8_0, F::Q4_1, F::Q4_K, F::Q6_K] {
            let unit = format.k_multiple();
            let shape = Shape { format, activations, ..plain };
            cases.push(case(Shape { k: unit, ..shape }));
            cases.push(case(Shape { m: 7, n: 96, k: 1024, ..shape }));
            cases.push(case(Shape { m: 2, n: 257, k: 3 * unit, then: Then::Add, ..shape }));
            cases.push(case(Shape { m: 130, n: 31, k: 512, bias: true, ..shape }));
        }
    }
    // rows of a prompt, whose products may be cut in another way than those of a tree
    for (format, activations) in [
        (F::F16, Activations::F32),
        (F::BF16, Activations::F32),
        (F::Q8_0, Activations::Q12),
        (F::Q4_K, Activations::Q8),
        (F::Q4_K, Activations::Q12),
        (F::Q6_K, Activations::Q12),
    ] {
        let k = 3 * format.k_multiple();
        cases.push(case(Shape { format, activations, m: 70, n: 150, k, ..plain }).sweep());
    }
    // more than synthetic small limits let one binding hold
    cases.push(case(Shape { m: 2, n: 300, k: 1024, ..plain }));
    cases.push(case(Shape { format: F::Q4_K, m: 2, n: 1500, k: 1024, bias: true, ..plain }));
    for format in [F::Q8_0, F::Q4_1, F::Q4_K] {
        // Thirty times the mean square of what rounding to codes of that width loses.
        cases.push(accuracy(format, Activations::Q8, 5e-4));
        cases.push(accuracy(format, Activations::Q12, 2e-6));
    }
    cases
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let format = d.pick(&F::ALL);
    let activations = d.pick(&[Activations::F32, Activations::Q12, Activations::Q8]);
    let (m, n) = (d.size(130), d.size(100));
    let k = format.k_multiple() * d.size(1024 / format.k_multiple());
    let then = d.pick(&[Then::Store, Then::Add]);
    let case = case(Shape { format, m, n, k, then, activations, bias: d.flag(), gap: d.gap() });
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    let (then, bias, gap) = (Then::Store, false, 0);
    let formats = [
        (F::Q4_1, Activations::F32),
        (F::Q4_1, Activations::Q12),
        (F::Q4_1, Activations::Q8),
        (F::Q8_0, Activations::F32),
        (F::Q8_0, Activations::Q8),
        (F::Q4_K, Activations::F32),
        (F::Q6_K, Activations::F32),
        (F::F16, Activations::F32),
    ];
    let up = formats.into_iter().map(|(format, activations)| Shape {
        format,
        m,
        n: s.feed_forward,
        k: s.width,
        then,
        activations,
        bias,
        gap,
    });
    let down = Shape {
        format: F::Q8_0,
        m,
        n: s.width,
        k: s.feed_forward,
        then,
        activations: Activations::F32,
        bias,
        gap,
    };
    let output = Shape { n: s.vocab, k: s.width, ..down };
    up.chain([down, output]).map(case).collect()
}

fn name(shape: &Shape) -> String {
    let Shape { format, m, n, k, then, activations, bias, gap } = shape;
    let then = if *then == Then::Add { "add" } else { "store" };
    let x = activations.name();
    format!("{format}, m={m}, n={n}, k={k}, then={then}, x={x}, bias={bias}, gap={gap}")
}

fn case(shape: Shape) -> Case {
    Case::new("qmatmul", name(&shape), move |b| {
        let quantised = !matches!(shape.format, F::F32 | F::F16 | F::BF16);
        let (x, seen) = match shape.activations {
            Activations::Q8 if quantised => coded::<i8>(b, shape),
            Activations::Q12 if quantised => coded::<i16>(b, shape),
            _ => {
                let x = b.random.codable::<i8>(shape.m * shape.k);
                let seen = x.iter().map(|&x| f64::from(x)).collect();
                (x, seen)
            }
        };
        // sums along K in f32: in the worst order about log2(K) roundings of the partial sums
        let units = 4.0 * (shape.k as f64).log2();
        build(b, shape, &x, &seen, Rule::Bound { units });
    })
}

/// Rows of a shape and what their codes stand for.
fn coded<C: Code>(b: &mut Build, shape: Shape) -> (Vec<f32>, Vec<f64>) {
    let x = b.random.codable::<C>(shape.m * shape.k);
    let seen = x.chunks_exact(shape.k).flat_map(coded_values::<C>).collect();
    (x, seen)
}

/// How far coded activations may take a product from the exact one, on inputs that nobody chose.
fn accuracy(format: F, activations: Activations, max: f64) -> Case {
    let (m, n, k) = (8, 48, 1024);
    let name = format!("{format}, m={m}, n={n}, k={k}, x={}, accuracy", activations.name());
    Case::new("qmatmul", name, move |b| {
        let x = b.random.floats(m * k);
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let shape = Shape { format, m, n, k, then: Then::Store, activations, bias: false, gap: 0 };
        let why = "a code may differ by one where a quotient lies at a half";
        build(b, shape, &x, &exact, Rule::Nmse { max, why });
    })
}

fn build(b: &mut Build, shape: Shape, x: &[f32], seen: &[f64], rule: Rule) {
    let Shape { format, m, n, k, then, activations, bias, gap } = shape;
    let w = TestWeight::of(b, format, n, k);
    let bias = bias.then(|| b.random.floats(n));
    let before = b.random.floats(m * n);
    let start = |row: usize, col: usize| {
        let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[col]));
        let before = if then == Then::Add { f64::from(before[row * n + col]) } else { 0.0 };
        (bias + before, bias.abs() + before.abs())
    };
    let wanted = |row: usize, col: usize| {
        let (mut sum, mut magnitude) = start(row, col);
        for i in 0..k {
            sum += w.values[col * k + i] * seen[row * k + i];
            magnitude += w.magnitudes[col * k + i] * seen[row * k + i].abs();
        }
        (sum, magnitude)
    };
    let places = || (0..m).flat_map(|row| (0..n).map(move |col| (row, col)));
    let expect = b.expect(rule, m * n, || places().map(|(row, col)| wanted(row, col)));
    let x = b.push(Tensor::input("x", &[m, k], x).gap(gap).per_row());
    let data = b.push(Tensor::input("w", &[w.bytes.len()], &w.bytes));
    let bias = bias.map(|bias| b.push(Tensor::input("bias", &[n], &bias)));
    let y = match then {
        Then::Store => Tensor::output("y", &[m, n], DType::F32, expect),
        Then::Add => Tensor::update("y", &[m, n], &before, expect),
    };
    let y = b.push(y.gap(gap).per_row());
    let layout = w.layout;
    b.op(move |v| QMatMul {
        w: Weight { layout, data: v.at(data) },
        x: v.at(x),
        y: v.at(y),
        bias: bias.map(|bias| v.at(bias)),
        then,
        activations,
    });
}
