//! Which shapes are timed: those of a decoding step, of a verified tree and of a training step.

use crate::check::{Case, cases::timed};

/// Sizes of a model.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Hidden width D.
    pub width: usize,
    /// Feed-forward width F.
    pub feed_forward: usize,
    /// Query heads H.
    pub heads: usize,
    /// Key/value heads G.
    pub kv_heads: usize,
    /// Elements of a head d.
    pub head: usize,
    /// Vocabulary V.
    pub vocab: usize,
    /// Keys that attention sees.
    pub context: usize,
}

/// A model of 135 million parameters; K-quants want a width of whole super-blocks.
const SMALL: Sizes = Sizes {
    width: 768,
    feed_forward: 1536,
    heads: 12,
    kv_heads: 4,
    head: 64,
    vocab: 16_384,
    context: 512,
};

/// A model of 8 thousand million parameters.
const REAL: Sizes = Sizes {
    width: 4096,
    feed_forward: 14_336,
    heads: 32,
    kv_heads: 8,
    head: 128,
    vocab: 128_256,
    context: 4096,
};

/// The timed cases: one row and a tree of eight of a small model, or with `full` also 64 rows of a large
/// one.
pub fn cases(full: bool) -> Vec<Case> {
    let mut all: Vec<Case> = [1, 8].into_iter().flat_map(|m| timed(&SMALL, m)).collect();
    if full {
        all.extend([1, 8, 64].into_iter().flat_map(|m| timed(&REAL, m)));
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|case| seen.insert(case.name.clone()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;

    #[test]
    fn every_op_is_timed() {
        for full in [false, true] {
            let cases = cases(full);
            for op in Op::NAMES {
                assert!(cases.iter().any(|case| case.op == *op), "{op} is not timed");
            }
        }
    }
}
