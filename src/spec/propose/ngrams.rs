//! Where the end of a growing context occurred before.
//!
//! For each length up to a small maximum a table leads from an n-gram to where it ended last, and
//! each place leads to the one before it with the same n-gram. Adding a token is one entry a
//! length, whatever the context. A suffix automaton would find matches of any length, but its
//! counts and latest places cost a walk a token; here a match at the longest length is simply
//! compared further back.

use std::collections::HashMap;

const NONE: u32 = u32::MAX;

/// An earlier occurrence of the context's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Occurrence {
    /// Index of the token that followed.
    pub(super) next: usize,
    /// Tokens before it that agree with the end of the context.
    pub(super) matched: usize,
}

/// Tokens, and where their n-grams occurred.
#[derive(Clone, Debug)]
pub(super) struct Ngrams {
    longest: usize,
    tokens: Vec<u32>,
    /// Index of the last token of the latest occurrence, by hash of length and content.
    latest: HashMap<u64, u32>,
    /// For index `i` and length `n` at `i * longest + n - 1`: the occurrence before.
    before: Vec<u32>,
}

impl Ngrams {
    /// No tokens; lengths from 1 to `longest`, at least 1.
    pub(super) fn new(longest: usize) -> Self {
        let longest = longest.max(1);
        Self { longest, tokens: Vec::new(), latest: HashMap::new(), before: Vec::new() }
    }

    /// Makes the tokens those of `ids`: adds what is new, or begins anew if the beginning differs.
    pub(super) fn follow(&mut self, ids: &[u32]) {
        if !ids.starts_with(&self.tokens) {
            self.tokens.clear();
            self.latest.clear();
            self.before.clear();
        }
        for &token in &ids[self.tokens.len()..] {
            self.push(token);
        }
    }

    /// The n-grams that end before `token` have a continuation now, so they are entered.
    fn push(&mut self, token: u32) {
        if let Some(last) = self.tokens.len().checked_sub(1) {
            self.before.resize((last + 1) * self.longest, NONE);
            let mut hash = 0;
            for n in 1..=self.longest.min(last + 1) {
                hash = mix(hash, self.tokens[last + 1 - n]);
                let before = self.latest.insert(hash, last as u32);
                self.before[last * self.longest + n - 1] = before.unwrap_or(NONE);
            }
        }
        self.tokens.push(token);
    }

    /// Occurrences of the context's end of `shortest` tokens or more: longest matches first, of
    /// equal ones the latest first; at most `limit` of each length up to the longest, and matches
    /// are measured up to `measured` tokens.
    pub(super) fn find(&self, shortest: usize, limit: usize, measured: usize) -> Vec<Occurrence> {
        let end = self.tokens.len();
        let most = self.longest.min(end);
        let hashes: Vec<u64> = (1..=most)
            .scan(0, |hash, n| {
                *hash = mix(*hash, self.tokens[end - n]);
                Some(*hash)
            })
            .collect();
        let mut found = Vec::new();
        for n in (shortest.max(1)..=most).rev() {
            let mut at = self.latest.get(&hashes[n - 1]).copied().unwrap_or(NONE);
            let mut visited = 0;
            while at != NONE && visited < limit {
                let last = at as usize;
                let matched = self.common(last, measured.max(n));
                // Longer matches were found already, shorter ones are collisions of hashes.
                if matched >= n && (n == most || matched == n) {
                    found.push(Occurrence { next: last + 1, matched });
                }
                visited += 1;
                at = self.before[last * self.longest + n - 1];
            }
        }
        found.sort_by(|a, b| b.matched.cmp(&a.matched).then(b.next.cmp(&a.next)));
        found
    }

    /// Tokens up to `last` that agree with the end of the context, at most `most`.
    fn common(&self, last: usize, most: usize) -> usize {
        let pairs = self.tokens[..=last].iter().rev().zip(self.tokens.iter().rev());
        pairs.take(most).take_while(|(a, b)| a == b).count()
    }

    /// What follows from index `next`, endlessly: where the context ends, it goes on with what was
    /// already given, as a repetition would.
    pub(super) fn continuation(&self, next: usize) -> impl Iterator<Item = u32> {
        let period = self.tokens.len() - next;
        (0..).map(move |i| self.tokens[next + i % period])
    }
}

/// Extends the hash of an n-gram by the token before it.
fn mix(hash: u64, token: u32) -> u64 {
    // splitmix64's finaliser (Steele, Lea, Flood 2014).
    let mut z = hash.wrapping_add(u64::from(token)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All occurrences by comparing everywhere.
    fn naive(ids: &[u32], shortest: usize, measured: usize) -> Vec<Occurrence> {
        let mut all: Vec<Occurrence> = (1..ids.len())
            .map(|next| {
                let pairs = ids[..next].iter().rev().zip(ids.iter().rev());
                let matched = pairs.take(measured).take_while(|(a, b)| a == b).count();
                Occurrence { next, matched }
            })
            .filter(|found| found.matched >= shortest)
            .collect();
        all.sort_by(|a, b| b.matched.cmp(&a.matched).then(b.next.cmp(&a.next)));
        all
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_search_finds(
            ids in prop::collection::vec(0..4u32, 0..120),
            cut in any::<prop::sample::Index>(),
            longest in 1..7usize,
            shortest in 1..4usize,
        ) {
            let mut ngrams = Ngrams::new(longest);
            // In two steps, as the context grows.
            ngrams.follow(&ids[..cut.index(ids.len() + 1)]);
            ngrams.follow(&ids);
            let found = ngrams.find(shortest, usize::MAX, 64);
            let wanted = if shortest > longest { Vec::new() } else { naive(&ids, shortest, 64) };
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn a_limit_keeps_the_latest_of_each_length(
            ids in prop::collection::vec(0..3u32, 2..80),
            limit in 1..5usize,
        ) {
            let mut ngrams = Ngrams::new(4);
            ngrams.follow(&ids);
            let all = naive(&ids, 1, 64);
            let found = ngrams.find(1, limit, 64);
            prop_assert!(found.iter().all(|f| all.contains(f)));
            if let Some(last) = all.iter().map(|f| f.next).max() {
                prop_assert!(found.iter().any(|f| f.next == last), "the latest is there");
            }
        }
    }

    #[test]
    fn another_beginning_starts_anew() {
        let mut ngrams = Ngrams::new(3);
        ngrams.follow(&[1, 2, 3, 1, 2]);
        assert_eq!(ngrams.find(2, 8, 8), [Occurrence { next: 2, matched: 2 }]);
        ngrams.follow(&[1, 2, 9]);
        assert_eq!(ngrams.find(1, 8, 8), []);
        ngrams.follow(&[1, 2, 9, 1]);
        assert_eq!(ngrams.find(1, 8, 8), [Occurrence { next: 1, matched: 1 }]);
    }

    #[test]
    fn a_repetition_goes_on_past_the_end() {
        let mut ngrams = Ngrams::new(4);
        ngrams.follow(&[7, 1, 2, 3, 1, 2, 3, 1]);
        let found = ngrams.find(4, 8, 64);
        assert_eq!(found, [Occurrence { next: 5, matched: 4 }]);
        let next: Vec<u32> = ngrams.continuation(found[0].next).take(7).collect();
        assert_eq!(next, [2, 3, 1, 2, 3, 1, 2]);
    }
}
