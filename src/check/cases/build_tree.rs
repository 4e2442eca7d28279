//! Cases of `build_tree`.

use crate::{
    check::{
        Draw, ModelSizes,
        case::{Case, Expect, Tensor},
    },
    ops::BuildTree,
};

/// Whether ids are of the target's vocabulary.
#[derive(Clone, Copy, Debug)]
enum Ids {
    Target,
    /// Of a draft vocabulary; some lie beyond its map.
    Mapped,
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(4, 10, 64, Ids::Target, 0).sweep(),
        case(4, 10, 64, Ids::Mapped, 0).sweep(),
        case(1, 1, 1, Ids::Target, 0),
        case(3, 5, 26, Ids::Mapped, 3),
        case(5, 64, 17, Ids::Target, 1),
    ]
}

pub(super) fn draw(d: &mut Draw) -> Case {
    let (r, k, m) = (d.size(8), d.size(64), d.size(64));
    let case = case(r, k, m, d.pick(&[Ids::Target, Ids::Mapped]), d.gap());
    d.sweep(case)
}

/// Those that are timed.
pub(super) fn timed(_: &ModelSizes, m: usize) -> Vec<Case> {
    vec![case(4, 10, m, Ids::Target, 0)]
}

fn case(r: usize, k: usize, m: usize, ids: Ids, gap: usize) -> Case {
    let name = format!("r={r}, k={k}, m={m}, ids={ids:?}, gap={gap}");
    Case::new("build_tree", name, move |b| {
        let vocabulary = 100;
        let guesses: Vec<u32> = (0..r * k).map(|_| b.random.below(120) as u32).collect();
        let logprobs: Vec<f32> = (0..r * k).map(|_| b.random.uniform(-9.0, 0.0)).collect();
        let map: Vec<u32> = (0..vocabulary).map(|_| b.random.below(50_000) as u32).collect();
        let before: Vec<u32> = (0..m).map(|_| b.random.below(50_000) as u32).collect();
        let logprobs_before = b.random.floats(m);
        let mut template: Vec<[u32; 2]> =
            (0..m).map(|_| [b.random.below(r) as u32, b.random.below(k) as u32]).collect();
        // the root, a row and a rank out of range
        for (node, outside) in
            template.iter_mut().zip([[u32::MAX; 2], [r as u32, 0], [0, k as u32]])
        {
            *node = outside;
        }
        let (mut tokens, mut draft) = (before.clone(), logprobs_before.clone());
        for (m, &[row, rank]) in template.iter().enumerate() {
            let inside = (row as usize) < r && (rank as usize) < k;
            let at = if inside { row as usize * k + rank as usize } else { continue };
            tokens[m] = match ids {
                Ids::Target => guesses[at],
                Ids::Mapped if guesses[at] < vocabulary => map[guesses[at] as usize],
                Ids::Mapped => continue,
            };
            draft[m] = logprobs[at];
        }
        let guesses = b.push(Tensor::input("ids", &[r, k], &guesses).gap(gap));
        let logprobs = b.push(Tensor::input("logprobs", &[r, k], &logprobs).gap(gap));
        let map = match ids {
            Ids::Target => None,
            Ids::Mapped => Some(b.push(Tensor::input("map", &[map.len()], &map))),
        };
        let template = Tensor::input("template", &[m, 2], template.as_flattened());
        let template = b.push(template.gap(gap).per_row());
        let tokens = Tensor::update("tokens", &[m], &before, Expect::bits(&tokens));
        let tokens = b.push(tokens.gap(gap).per_row());
        let draft = Tensor::update("draft_logprobs", &[m], &logprobs_before, Expect::bits(&draft));
        let draft = b.push(draft.gap(gap).per_row());
        b.op(move |v| BuildTree {
            ids: v.at(guesses),
            logprobs: v.at(logprobs),
            map: map.map(|map| v.at(map)),
            template: v.at(template),
            tokens: v.at(tokens),
            draft_logprobs: v.at(draft),
        });
    })
}
