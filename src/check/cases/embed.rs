//! Cases of `embed`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Rule, Tensor},
        weights::TestWeight,
    },
    dtype::DType,
    ops::{Embed, Weight},
    quant::QuantFormat,
};

struct Shape {
    format: QuantFormat,
    m: usize,
    v: usize,
    d: usize,
    scale: f32,
    gap: usize,
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in QuantFormat::ALL {
        let d = format.k_multiple();
        cases.push(case(Shape { format, m: 6, v: 37, d, scale: 1.0, gap: 0 }));
        cases.push(case(Shape { format, m: 3, v: 16, d: 3 * d, scale: 12.5, gap: 5 }));
    }
    let format = QuantFormat::Q8_0;
    cases.push(case(Shape { format, m: 64, v: 100, d: 96, scale: 1.0, gap: 0 }).sweep());
    // more than synthetic small limits let one binding hold
    cases.push(case(Shape { format, m: 9, v: 700, d: 1024, scale: 1.0, gap: 0 }));
    cases.push(case(Shape { format, m: 1, v: 1, d: 32, scale: 1.0, gap: 0 }));
    cases
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let format = d.pick(&QuantFormat::ALL);
    let (m, v) = (d.size(70), d.size(70));
    let width = format.k_multiple() * d.size(4);
    let shape = Shape { format, m, v, d: width, scale: d.pick(&[1.0, 12.5]), gap: d.gap() };
    d.sweep(case(shape))
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    [QuantFormat::Q8_0, QuantFormat::Q4_K]
        .map(|format| case(Shape { format, m, v: s.vocab, d: s.width, scale: 1.0, gap: 0 }))
        .into()
}

fn case(shape: Shape) -> Case {
    let Shape { format, m, v, d, scale, gap } = shape;
    let name = format!("{format}, m={m}, v={v}, d={d}, scale={scale}, gap={gap}");
    Case::new("embed", name, move |b| {
        let table = TestWeight::of(b, format, v, d);
        // the last row, a repeated id and ids beyond the table
        let mut ids: Vec<u32> = (0..m).map(|_| b.random.below(v) as u32).collect();
        ids[0] = v as u32 - 1;
        if m > 2 {
            ids[1] = v as u32;
            ids[m - 1] = u32::MAX;
        }
        let wanted = |id: usize, i: usize| {
            let factor = if id < v { f64::from(scale) } else { 0.0 };
            let at = id.min(v - 1) * d + i;
            (factor * table.values[at], factor * table.magnitudes[at])
        };
        let places = || ids.iter().flat_map(|&id| (0..d).map(move |i| (id as usize, i)));
        let rule = Rule::Bound { units: 4.0 };
        let expect = b.expect(rule, m * d, || places().map(|(id, i)| wanted(id, i)));
        let ids = b.push(Tensor::input("ids", &[m], &ids).per_row());
        let data = b.push(Tensor::input("table", &[table.bytes.len()], &table.bytes));
        let out = b.push(Tensor::output("out", &[m, d], DType::F32, expect).gap(gap).per_row());
        let layout = table.layout;
        b.op(move |views| Embed {
            ids: views.at(ids),
            table: Weight { layout, data: views.at(data) },
            out: views.at(out),
            scale,
        });
    })
}
