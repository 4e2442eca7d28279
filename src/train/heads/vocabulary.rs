//! The draft vocabulary: tokens that heads can guess.
//!
//! Drafts outside it are impossible, not wrong, so speculation stays exact; a smaller projection is
//! read for every level of a tree (FR-Spec, arXiv 2502.14856).

/// The most frequent tokens of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftVocab {
    /// Target ids, rising.
    ids: Vec<u32>,
    /// Index among `ids` of each target id, `u32::MAX` where there is none.
    index: Vec<u32>,
}

impl DraftVocab {
    /// The `size` tokens of the highest counts, lowest id first among equals. Where fewer occur, low
    /// ids fill up: a tokenizer made its frequent ones first.
    pub fn most_frequent(counts: &[u64], size: usize) -> Self {
        let vocab = counts.len();
        let mut order: Vec<u32> = (0..vocab as u32).collect();
        order.sort_by(|&a, &b| counts[b as usize].cmp(&counts[a as usize]).then(a.cmp(&b)));
        order.truncate(size.min(vocab));
        order.sort_unstable();
        Self::index_of(order, vocab)
    }

    fn index_of(ids: Vec<u32>, vocab: usize) -> Self {
        let mut index = vec![u32::MAX; vocab];
        for (i, &id) in ids.iter().enumerate() {
            index[id as usize] = i as u32;
        }
        Self { ids, index }
    }

    /// Target ids, rising.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Place of a target id in the vocabulary, `u32::MAX` if it is not there.
    pub fn place(&self, id: u32) -> u32 {
        self.index[id as usize]
    }

    /// Share of `tokens` that it has.
    pub fn coverage(&self, tokens: &[u32]) -> f64 {
        let inside = tokens.iter().filter(|&&token| self.place(token) != u32::MAX).count();
        inside as f64 / tokens.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_are_taken_and_kept_in_order() {
        let vocab = DraftVocab::most_frequent(&[0, 0, 2, 0, 0, 1, 0, 3, 0, 1], 3);
        assert_eq!(vocab.ids(), [2, 5, 7]);
        assert_eq!([vocab.place(2), vocab.place(7), vocab.place(9)], [0, 2, u32::MAX]);
        assert!((vocab.coverage(&[7, 2, 9, 0]) - 0.5).abs() < 1e-12);
        let one = [0, 0, 0, 1, 0, 0];
        assert_eq!(DraftVocab::most_frequent(&one, 4).ids(), [0, 1, 2, 3]);
        assert_eq!(DraftVocab::most_frequent(&one, 9).ids().len(), 6);
    }
}
