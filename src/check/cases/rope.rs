//! Cases of `rope`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Rule, Tensor},
    },
    ops::{Rope, RopeStyle},
};

#[derive(Clone, Copy)]
struct Shape {
    style: RopeStyle,
    m: usize,
    h: usize,
    d: usize,
    rot: usize,
    gap: usize,
}

/// Positions in the table.
const TABLE: usize = 40;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for style in [RopeStyle::Interleaved, RopeStyle::Halved] {
        cases.push(case(Shape { style, m: 64, h: 3, d: 32, rot: 32, gap: 0 }).sweep());
        cases.push(case(Shape { style, m: 5, h: 7, d: 10, rot: 6, gap: 11 }));
        cases.push(case(Shape { style, m: 1, h: 1, d: 2, rot: 2, gap: 0 }));
        cases.push(case(Shape { style, m: 3, h: 2, d: 256, rot: 256, gap: 512 }));
    }
    cases
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let style = d.pick(&[RopeStyle::Interleaved, RopeStyle::Halved]);
    let (m, h, half) = (d.size(64), d.size(8), d.size(128));
    let rot = 2 * d.size(half);
    let case = case(Shape { style, m, h, d: 2 * half, rot, gap: d.gap() });
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    let style = RopeStyle::Halved;
    vec![case(Shape { style, m, h: s.heads, d: s.head, rot: s.head, gap: 0 })]
}

fn case(shape: Shape) -> Case {
    let Shape { style, m, h, d, rot, gap } = shape;
    let half = rot / 2;
    let name = match style {
        RopeStyle::Interleaved => "interleaved",
        RopeStyle::Halved => "halved",
    };
    let name = format!("{name}, m={m}, h={h}, d={d}, rot={rot}, gap={gap}");
    Case::new("rope", name, move |b| {
        let x = b.random.floats(m * h * d);
        let (cos, sin) = (b.random.floats(TABLE * half), b.random.floats(TABLE * half));
        let mut positions: Vec<u32> = (0..m).map(|_| b.random.below(TABLE) as u32).collect();
        positions[0] = TABLE as u32 - 1;
        if m > 2 {
            positions[1] = TABLE as u32;
            positions[m - 1] = u32::MAX;
        }
        let mut wanted: Vec<(f64, f64)> = x.iter().map(|&x| (x.into(), 0.0)).collect();
        for (row, &position) in positions.iter().enumerate() {
            if position as usize >= TABLE {
                continue;
            }
            for head in 0..h {
                for i in 0..half {
                    let start = (row * h + head) * d;
                    let (a, b) = match style {
                        RopeStyle::Interleaved => (start + 2 * i, start + 2 * i + 1),
                        RopeStyle::Halved => (start + i, start + i + half),
                    };
                    let at = position as usize * half + i;
                    let (c, s) = (f64::from(cos[at]), f64::from(sin[at]));
                    let (xa, xb) = (f64::from(x[a]), f64::from(x[b]));
                    wanted[a] = (xa * c - xb * s, (xa * c).abs() + (xb * s).abs());
                    wanted[b] = (xa * s + xb * c, (xa * s).abs() + (xb * c).abs());
                }
            }
        }
        let expect = Expect::close(Rule::Bound { units: 4.0 }, wanted);
        let x = b.push(Tensor::update("x", &[m, h, d], &x, expect).gap(gap).per_row());
        let positions = b.push(Tensor::input("positions", &[m], &positions).per_row());
        let cos = b.push(Tensor::input("cos", &[TABLE, half], &cos));
        let sin = b.push(Tensor::input("sin", &[TABLE, half], &sin));
        b.op(move |v| Rope {
            x: v.at(x),
            positions: v.at(positions),
            cos: v.at(cos),
            sin: v.at(sin),
            style,
        });
    })
}
