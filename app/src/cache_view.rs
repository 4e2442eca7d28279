//! Rows and pages of the key/value cache as a round saw them, computed from the round alone.
//!
//! A round stages a row for each node behind the committed positions, in order of the nodes. Kept
//! rows become the next positions; a kept row whose place among the nodes is not its depth is moved.
//! The bonus has no row yet: it is the next round's root.

use coppice::spec::RoundOutcome;

/// What a position of the cache holds while a round runs, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Committed before the round.
    Committed,
    /// Staged and kept where it was.
    Kept,
    /// Staged and kept, but moved to an earlier position.
    Moved,
    /// Staged and given back.
    Dropped,
    /// Nothing.
    Empty,
}

impl Slot {
    /// All, in order of the legend.
    pub const ALL: [Self; 5] =
        [Self::Committed, Self::Kept, Self::Moved, Self::Dropped, Self::Empty];

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Kept => "staged and kept",
            Self::Moved => "staged, kept and moved",
            Self::Dropped => "staged and given back",
            Self::Empty => "empty",
        }
    }
}

/// The pages that a round touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundPages {
    /// Positions committed before it.
    pub prefix: usize,
    /// Rows staged.
    pub staged: usize,
    /// Rows kept.
    pub kept: usize,
    /// Those of them that were moved.
    pub moved: usize,
    /// Number of the first page in `pages`, in order of positions.
    pub first: usize,
    /// The page with the first staged row and those behind it, each with its positions.
    pub pages: Vec<Vec<Slot>>,
    /// Pages that go back to the pool when the round is committed.
    pub returned: usize,
}

impl RoundPages {
    /// Pages of `page_slots` positions (at least 1) that a round touches.
    pub fn of(round: &RoundOutcome, page_slots: usize) -> Self {
        let page_slots = page_slots.max(1);
        let (prefix, staged) = (round.prefix as usize, round.nodes.len());
        let mut rows = vec![Slot::Dropped; staged];
        for (depth, &row) in round.path.iter().enumerate() {
            rows[row as usize] = if row as usize == depth { Slot::Kept } else { Slot::Moved };
        }
        let first = prefix / page_slots;
        let needed = (prefix + staged).div_ceil(page_slots);
        let slot = |position: usize| match position.checked_sub(prefix) {
            None => Slot::Committed,
            Some(row) => rows.get(row).copied().unwrap_or(Slot::Empty),
        };
        let page = |page: usize| (0..page_slots).map(|at| slot(page * page_slots + at)).collect();
        let kept = round.path.len();
        Self {
            prefix,
            staged,
            kept,
            moved: rows.iter().filter(|row| **row == Slot::Moved).count(),
            first,
            pages: (first..needed).map(page).collect(),
            returned: needed - (prefix + kept).div_ceil(page_slots),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_demonstration_are_where_the_cache_puts_them() {
        for round in crate::demo::trace().rounds {
            let round = &round.outcome;
            let pages = RoundPages::of(round, 32);
            let all: Vec<Slot> = pages.pages.iter().flatten().copied().collect();
            let count = |slot| all.iter().filter(|there| **there == slot).count();
            assert_eq!(count(Slot::Committed), round.prefix as usize % 32);
            assert_eq!(count(Slot::Kept) + count(Slot::Moved), round.tokens());
            assert_eq!(count(Slot::Moved), pages.moved);
            assert_eq!(count(Slot::Dropped), round.nodes.len() - round.tokens());
            assert_eq!(all.len(), pages.pages.len() * 32);
            assert_eq!(all[round.prefix as usize % 32], Slot::Kept, "the root stays where it is");
        }
    }

    #[test]
    fn pages_behind_the_kept_path_go_back() {
        let mut round = crate::demo::trace().rounds[0].outcome.clone();
        round.prefix = 30;
        let (nodes, kept) = (round.nodes.len(), round.path.len());
        assert!(nodes > 10 && kept < 3, "a tree over a page's end, with a short path in it");
        let pages = RoundPages::of(&round, 8);
        assert_eq!(pages.first, 3);
        assert_eq!(pages.pages.len(), (30 + nodes).div_ceil(8) - 3);
        assert_eq!(pages.returned, (30 + nodes).div_ceil(8) - (30 + kept).div_ceil(8));
        assert_eq!(RoundPages::of(&round, 0).pages.len(), nodes, "a page has a position at least");
    }
}
