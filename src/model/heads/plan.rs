//! Which row of which head fills which node, as index arrays.

use super::DeviceHeads;
use crate::{
    error::{Error, Result},
    format::heads::HeadKind,
    model::state::{MAX_TREE_ROWS, ROW_BUCKETS},
    spec::TreeTemplate,
};

/// Arrays start at multiples of this many words.
const ALIGN: usize = 64;

/// What a recording of drafting is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::model) enum DraftShape {
    /// All heads at once, into a shape known beforehand.
    Independent {
        /// Heads used.
        heads: usize,
        /// Guesses of each.
        k: usize,
    },
    /// One head after the other.
    Sequential(Vec<Level>),
    /// All heads at once, into a tree of the most confident guesses.
    Grown {
        /// Heads used.
        heads: usize,
        /// Guesses of each.
        k: usize,
    },
}

/// One level of sequential heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::model) struct Level {
    /// Rows: nodes of the level that have children, rounded up.
    pub rows: usize,
    /// Guesses of each row.
    pub k: usize,
}

/// Drafting of one tree.
#[derive(Debug)]
pub(in crate::model) struct DraftPlan {
    pub shape: DraftShape,
    /// What the plan's buffer holds.
    pub words: Vec<u32>,
}

/// Words before level `level` of sequential heads, for a tree of any size.
fn level_start(level: usize) -> usize {
    // Rows of the ancestors at depths 0 to the level, then row and rank of each node.
    (0..level).map(|l| (l + 3) * MAX_TREE_ROWS).sum()
}

/// Words of the largest plan of so many heads.
pub(super) fn most_words(heads: usize) -> usize {
    level_start(heads).next_multiple_of(ALIGN)
}

/// Word at which the row indices of the ancestors at `depth` of a level's rows start.
pub(super) fn ancestors_at(level: usize, depth: usize) -> usize {
    level_start(level) + depth * MAX_TREE_ROWS
}

/// Word at which a level's (row, rank) pairs start.
pub(super) fn template_at(level: usize) -> usize {
    ancestors_at(level, level + 1)
}

impl DraftPlan {
    /// The plan that fills a template.
    ///
    /// # Errors
    /// A template deeper than there are heads ([`Error::Invalid`]).
    pub fn of_template(heads: &DeviceHeads, template: &TreeTemplate) -> Result<Self> {
        if template.max_depth() > heads.len() {
            return Err(Error::invalid(format!(
                "a tree of depth {} for {} heads",
                template.max_depth(),
                heads.len()
            )));
        }
        Ok(match heads.kind() {
            HeadKind::Independent => independent(heads, template),
            HeadKind::Sequential => sequential(heads, template),
        })
    }

    /// The plan of a tree that grows where heads are confident.
    ///
    /// # Errors
    /// Sequential heads, whose guesses depend on the tree ([`Error::Invalid`]).
    pub fn grown(heads: &DeviceHeads, depth: usize) -> Result<Self> {
        if heads.kind() == HeadKind::Sequential {
            return Err(Error::invalid("trees grow from independent heads only"));
        }
        let k = heads.most_guesses().min(16);
        let shape = DraftShape::Grown { heads: depth.min(heads.len()), k };
        Ok(Self { shape, words: Vec::new() })
    }
}

/// Guesses to ask for: few different numbers, so that few recordings are made.
fn guesses(heads: &DeviceHeads, width: usize) -> usize {
    width.next_power_of_two().min(heads.most_guesses())
}

fn independent(heads: &DeviceHeads, template: &TreeTemplate) -> DraftPlan {
    let mut words = vec![u32::MAX; 2 * MAX_TREE_ROWS];
    for node in 1..template.len() {
        words[2 * node] = template.depth(node) as u32 - 1;
        words[2 * node + 1] = template.rank(node) as u32;
    }
    let k = guesses(heads, template.widths().into_iter().max().unwrap_or(1));
    DraftPlan { shape: DraftShape::Independent { heads: template.max_depth(), k }, words }
}

fn sequential(heads: &DeviceHeads, template: &TreeTemplate) -> DraftPlan {
    let mut words = vec![u32::MAX; level_start(template.max_depth())];
    let mut levels = Vec::with_capacity(template.max_depth());
    for (level, width) in template.widths().into_iter().enumerate() {
        let mut parents: Vec<usize> = Vec::new();
        for node in (1..template.len()).filter(|&node| template.depth(node) == level + 1) {
            let parent = template.parent(node).expect("not the root");
            let row = parents.iter().position(|&p| p == parent).unwrap_or_else(|| {
                parents.push(parent);
                parents.len() - 1
            });
            let pair = template_at(level) + 2 * node;
            words[pair] = row as u32;
            words[pair + 1] = template.rank(node) as u32;
        }
        for (row, &parent) in parents.iter().enumerate() {
            let mut at = Some(parent);
            for depth in (0..=level).rev() {
                let node = at.expect("a node at depth n has n ancestors");
                words[ancestors_at(level, depth) + row] = node as u32;
                at = template.parent(node);
            }
        }
        let rows = ROW_BUCKETS.into_iter().find(|&bucket| bucket >= parents.len());
        let rows = rows.expect("a tree has at most 64 nodes");
        levels.push(Level { rows, k: guesses(heads, width) });
    }
    DraftPlan { shape: DraftShape::Sequential(levels), words }
}
