//! Random cases, and the smallest one that still fails.

use super::{Draw, draw, draw::simpler, random::Random, work::CaseId};
use crate::ops::Op;

/// Most cases that are tried to make a failing one smaller.
const MOST_TRIES: usize = 200;

/// The `index`-th drawn case of a campaign; the ops take turns.
pub fn drawn(ops: &[String], seed: u64, index: usize) -> Option<CaseId> {
    let all: Vec<&str> = Op::NAMES
        .iter()
        .copied()
        .filter(|op| ops.is_empty() || ops.iter().any(|wanted| wanted == op))
        .collect();
    let op = *all.get(index % all.len().max(1))?;
    // Campaigns of neighbouring seeds share nothing.
    let mut random = Random::new(seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut choices = Draw::random(random.word());
    draw(op, &mut choices)?;
    Some(CaseId::Drawn {
        op: op.into(),
        choices: choices.choices().to_vec(),
        seed: random.word() >> 32,
    })
}

/// The simplest case that still fails, by trying simpler lists of choices; `fails` runs one. Gives `case`
/// itself if no simpler one fails.
pub fn shrink(case: &CaseId, mut fails: impl FnMut(&CaseId) -> bool) -> CaseId {
    let CaseId::Drawn { op, choices, seed } = case else { return case.clone() };
    let with =
        |choices: &[u32]| CaseId::Drawn { op: op.clone(), choices: choices.into(), seed: *seed };
    let mut best = choices.clone();
    let mut tries = 0;
    'smaller: loop {
        for simpler in simpler(&best) {
            if tries == MOST_TRIES {
                break 'smaller;
            }
            // A choice that another one bounds may be cut: what was really drawn is kept.
            let mut drawn = Draw::replay(&simpler);
            if draw(op, &mut drawn).is_none() {
                continue;
            }
            tries += 1;
            if fails(&with(drawn.choices())) {
                best = drawn.choices().to_vec();
                continue 'smaller;
            }
        }
        break;
    }
    with(&best)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn campaigns_repeat_and_differ_by_seed() {
        let names = |seed: u64| -> Vec<String> {
            (0..60)
                .map(|i| drawn(&[], seed, i).expect("there are ops").case().expect("legal").name)
                .collect()
        };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
        let ops: HashSet<String> =
            names(3).iter().map(|name| name.split('(').next().unwrap_or_default().into()).collect();
        assert_eq!(ops.len(), Op::NAMES.len(), "the ops take turns");
        assert_eq!(drawn(&["no_op".into()], 1, 0), None);
    }

    #[test]
    fn failures_shrink_to_the_smallest_case() {
        // fails from 5 rows and 17 columns on
        let fails = |case: &CaseId| {
            let CaseId::Drawn { choices, .. } = case else { return false };
            let mut d = Draw::replay(choices);
            d.size(70) >= 5 && d.size(600) >= 17
        };
        let start = CaseId::Drawn { op: "add".into(), choices: vec![60, 577, 3, 4, 3], seed: 9 };
        let CaseId::Drawn { choices, seed, .. } = shrink(&start, fails) else {
            panic!("a drawn case")
        };
        assert_eq!((&choices[..2], seed), (&[4, 16][..], 9));
        assert!(choices[2..].iter().all(|&choice| choice == 0), "{choices:?}");
    }
}
