//! Cases of `mat_mul`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Rule, Tensor},
    },
    dtype::DType,
    ops::{MatMul, Side, Then},
};

#[derive(Clone, Copy)]
struct Shape {
    sides: [Side; 2],
    dims: [usize; 3],
    then: Then,
    bias: bool,
    gap: usize,
}

pub(super) fn cases() -> Vec<Case> {
    use Side::{Plain, Transposed};
    let mut cases = Vec::new();
    for sides in [[Plain, Plain], [Plain, Transposed], [Transposed, Plain], [Transposed; 2]] {
        let shape =
            |dims: [usize; 3], then, gap| case(Shape { sides, dims, then, bias: gap > 0, gap });
        let first = shape([64, 33, 50], Then::Store, 0);
        // rows of a transposed `a` are columns in memory
        cases.push(if sides[0] == Plain { first.sweep() } else { first });
        cases.push(shape([1, 1, 1], Then::Store, 0));
        cases.push(shape([7, 17, 300], Then::Add, 3));
        cases.push(shape([70, 130, 15], Then::Add, 0));
    }
    let longer = Shape {
        sides: [Plain, Transposed],
        dims: [9, 48, 1500],
        then: Then::Store,
        bias: true,
        gap: 5,
    };
    cases.push(case(longer));
    cases
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let side = [Side::Plain, Side::Transposed];
    let shape = Shape {
        sides: [d.pick(&side), d.pick(&side)],
        dims: [d.size(70), d.size(130), d.size(600)],
        then: d.pick(&[Then::Store, Then::Add]),
        bias: d.flag(),
        gap: d.gap(),
    };
    // rows of a transposed `a` are columns in memory
    if shape.sides[0] == Side::Plain { d.sweep(case(shape)) } else { case(shape) }
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(Shape {
        sides: [Side::Plain, Side::Transposed],
        dims: [8 * m, s.width, s.width],
        then: Then::Store,
        bias: false,
        gap: 0,
    })]
}

fn case(shape: Shape) -> Case {
    let Shape { sides, dims: [m, n, k], then, bias, gap } = shape;
    let letter = |side| if side == Side::Plain { 'n' } else { 't' };
    let (a_side, b_side) = (sides[0], sides[1]);
    let kind = format!("{}{}", letter(a_side), letter(b_side));
    let add = if then == Then::Add { "add" } else { "store" };
    let parameters = format!("{kind}, m={m}, n={n}, k={k}, then={add}, bias={bias}, gap={gap}");
    Case::new("mat_mul", parameters, move |build| {
        let a = build.random.floats(m * k);
        let b = build.random.floats(k * n);
        let y = build.random.floats(m * n);
        let biases = build.random.floats(n);
        let at = |side, row: usize, column: usize, (rows, columns): (usize, usize)| match side {
            Side::Plain => row * columns + column,
            Side::Transposed => column * rows + row,
        };
        let wanted = |i: usize| {
            let (row, column) = (i / n, i % n);
            let before = if then == Then::Add { f64::from(y[i]) } else { 0.0 };
            let shift = if bias { f64::from(biases[column]) } else { 0.0 };
            (0..k).fold((before + shift, before.abs() + shift.abs()), |(sum, size), j| {
                let term = f64::from(a[at(a_side, row, j, (m, k))])
                    * f64::from(b[at(b_side, j, column, (k, n))]);
                (sum + term, size + term.abs())
            })
        };
        // One rounding a term along one chain of sums, which seldom add up.
        let rule = Rule::Bound { units: 4.0 + (k as f64).sqrt() };
        let expect = build.expect(rule, m * n, || (0..m * n).map(wanted));
        let stored = |side, rows, columns| match side {
            Side::Plain => [rows, columns],
            Side::Transposed => [columns, rows],
        };
        let a_tensor = Tensor::input("a", &stored(a_side, m, k), &a).gap(gap);
        let a = build.push(if a_side == Side::Plain { a_tensor.per_row() } else { a_tensor });
        let b = build.push(Tensor::input("b", &stored(b_side, k, n), &b).gap(gap));
        let bias = bias.then(|| build.push(Tensor::input("bias", &[n], &biases)));
        let output = match then {
            Then::Store => Tensor::output("y", &[m, n], DType::F32, expect),
            Then::Add => Tensor::update("y", &[m, n], &y, expect),
        };
        let y = build.push(output.gap(gap).per_row());
        build.op(move |v| MatMul {
            a: v.at(a),
            b: v.at(b),
            y: v.at(y),
            bias: bias.map(|bias| v.at(bias)),
            a_side,
            b_side,
            then,
        });
    })
}
