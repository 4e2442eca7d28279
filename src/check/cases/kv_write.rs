//! Cases of `kv_write`.

use super::pages::{Cache, FORMATS, Pages, draw_format};
use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Tensor},
    },
    ops::{KvFormat, KvWrite},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in FORMATS {
        cases.push(case(format, 64, [80, 2, 32], 0).sweep());
        cases.push(case(format, 1, [1, 1, 32], 0));
        cases.push(case(format, 5, [48, 3, 64], 192));
        cases.push(case(format, 17, [40, 1, 256], 64));
    }
    cases.push(case(KvFormat::F32, 3, [16, 3, 10], 7));
    cases.push(case(KvFormat::F16, 3, [16, 3, 10], 7));
    cases
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let (format, head) = draw_format(d);
    let (m, g) = (d.size(64), d.size(4));
    let slots = m + d.below(40);
    let case = case(format, m, [slots, g, head], d.gap());
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(s: &ModelSizes, m: usize) -> Vec<Case> {
    [KvFormat::F16, KvFormat::Q8_0]
        .map(|format| case(format, m, [s.context, s.kv_heads, s.head], 0))
        .into()
}

fn case(format: KvFormat, m: usize, dims: [usize; 3], gap: usize) -> Case {
    let [s, g, d] = dims;
    let name = format!("{}, m={m}, g={g}, d={d}, s={s}, gap={gap}", format.name());
    Case::new("kv_write", name, move |b| {
        let cache = Cache::random(&mut b.random, format, dims);
        let new = [(); 2].map(|()| b.random.codable::<i8>(m * g * d));
        let mut slots: Vec<u32> = b.random.permutation(s)[..m].to_vec();
        if m > 2 {
            slots[1] = u32::MAX;
            slots[m - 1] = s as u32;
        }
        let mut wanted = cache.clone();
        let rows = Cache {
            k: Pages::encode(format, &new[0]),
            v: Pages::encode(format, &new[1]),
            ..cache.clone()
        };
        for (row, &slot) in slots.iter().enumerate().filter(|(_, slot)| (**slot as usize) < s) {
            wanted.copy_slot(slot as usize, &rows, row);
        }
        let k = b.push(Tensor::input("k", &[m, g, d], &new[0]).gap(gap).per_row());
        let v = b.push(Tensor::input("v", &[m, g, d], &new[1]).gap(gap).per_row());
        let slots = b.push(Tensor::input("slots", &[m], &slots).per_row());
        let layer = cache.push(b, Some(&wanted));
        b.op(move |views| KvWrite {
            k: views.at(k),
            v: views.at(v),
            slots: views.at(slots),
            cache: layer(views),
        });
    })
}
