//! Cases of `kv_commit`.

use super::pages::{Cache, FORMATS, draw_format};
use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Tensor},
    },
    ops::{KvCommit, KvFormat},
};

/// Which rows move where.
#[derive(Clone, Copy, Debug)]
enum Moves {
    /// Every row one slot down: each source is the destination of the next move.
    Down,
    /// Distinct slots to distinct slots, some skipped.
    Scattered,
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in FORMATS {
        cases.push(case(format, 64, [160, 2, 32], Moves::Scattered).sweep());
        cases.push(case(format, 40, [48, 1, 64], Moves::Down));
        cases.push(case(format, 1, [2, 3, 32], Moves::Down));
    }
    cases.push(case(KvFormat::F16, 3, [16, 3, 10], Moves::Scattered));
    cases
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let (format, head) = draw_format(d);
    let (m, g) = (d.size(64), d.size(4));
    let moves = d.pick(&[Moves::Down, Moves::Scattered]);
    let slots = 2 * m + d.below(40);
    let case = case(format, m, [slots, g, head], moves);
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(KvFormat::F16, m, [s.context, s.kv_heads, s.head], Moves::Scattered)]
}

fn case(format: KvFormat, m: usize, dims: [usize; 3], moves: Moves) -> Case {
    let [s, g, d] = dims;
    let name = format!("{}, m={m}, g={g}, d={d}, s={s}, moves={moves:?}", format.name());
    Case::new("kv_commit", name, move |b| {
        let cache = Cache::random(&mut b.random, format, dims);
        let (mut src, mut dst): (Vec<u32>, Vec<u32>) = match moves {
            Moves::Down => (0..m as u32).map(|i| (i + 1, i)).unzip(),
            Moves::Scattered => {
                let slots = b.random.permutation(s);
                (slots[..m].to_vec(), slots[m..2 * m].to_vec())
            }
        };
        if m > 2 {
            // a row that is in its place already, and two that are skipped
            dst[0] = src[0];
            src[1] = u32::MAX;
            dst[m - 1] = s as u32;
        }
        let mut wanted = cache.clone();
        for (&src, &dst) in src.iter().zip(&dst) {
            if (src as usize) < s && (dst as usize) < s {
                let now = wanted.clone();
                wanted.copy_slot(dst as usize, &now, src as usize);
            }
        }
        let src = b.push(Tensor::input("src", &[m], &src).per_row());
        let dst = b.push(Tensor::input("dst", &[m], &dst).per_row());
        let layer = cache.push(b, Some(&wanted));
        b.op(move |v| KvCommit { src: v.at(src), dst: v.at(dst), cache: layer(v) });
    })
}
