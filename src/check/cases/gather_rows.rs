//! Cases of `gather_rows`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Tensor},
    },
    dtype::DType,
    ops::GatherRows,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case(70, 64, 33, 0).sweep(), case(1, 1, 1, 0), case(9, 5, 7, 3), case(3, 17, 576, 0)]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let case = case(d.size(70), d.size(70), d.size(600), d.gap());
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(64, m, s.width, 0)]
}

fn case(r: usize, m: usize, c: usize, gap: usize) -> Case {
    Case::new("gather_rows", format!("r={r}, m={m}, c={c}, gap={gap}"), move |b| {
        let src = b.random.floats(r * c);
        let mut rows: Vec<u32> = (0..m).map(|_| b.random.below(r) as u32).collect();
        rows[0] = r as u32 - 1;
        if m > 2 {
            rows[1] = r as u32;
            rows[m - 1] = u32::MAX;
        }
        let zeros = vec![0.0; c];
        let row = |i: u32| src.chunks_exact(c).nth(i as usize).unwrap_or(&zeros);
        let wanted: Vec<f32> = rows.iter().flat_map(|&i| row(i)).copied().collect();
        let expect = Expect::bits(&wanted);
        let src = b.push(Tensor::input("src", &[r, c], &src).gap(gap));
        let rows = b.push(Tensor::input("rows", &[m], &rows).per_row());
        let dst = b.push(Tensor::output("dst", &[m, c], DType::F32, expect).gap(gap).per_row());
        b.op(move |v| GatherRows { src: v.at(src), rows: v.at(rows), dst: v.at(dst) });
    })
}
