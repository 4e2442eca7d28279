//! Cases of `copy`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Element, Expect, Tensor},
    },
    ops::Copy,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case::<f32>([64, 33], [0, 0], f32::from_bits).sweep(),
        case::<f32>([1, 1], [0, 0], f32::from_bits),
        case::<f32>([5, 7], [3, 0], f32::from_bits),
        case::<u32>([3, 257], [0, 5], |bits| bits),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let (shape, gaps) = ([d.size(70), d.size(600)], [d.gap(), d.gap()]);
    let case = match d.flag() {
        false => case::<u32>(shape, gaps, |bits| bits),
        true => case::<f32>(shape, gaps, f32::from_bits),
    };
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case::<f32>([m, s.vocab], [0, 0], f32::from_bits)]
}

fn case<T: Element>([m, c]: [usize; 2], gaps: [usize; 2], from_bits: fn(u32) -> T) -> Case {
    let name = format!("{}, m={m}, c={c}, gaps={gaps:?}", T::DTYPE);
    Case::new("copy", name, move |b| {
        // finite floats of every exponent but the highest
        let bits = |b: u64| (b as u32) & !(1 << 30);
        let src: Vec<T> = (0..m * c).map(|_| from_bits(bits(b.random.word()))).collect();
        let expect = Expect::bits(&src);
        let src = b.push(Tensor::input("src", &[m, c], &src).gap(gaps[0]).per_row());
        let dst = b.push(Tensor::output("dst", &[m, c], T::DTYPE, expect).gap(gaps[1]).per_row());
        b.op(move |v| Copy { src: v.at(src), dst: v.at(dst) });
    })
}
