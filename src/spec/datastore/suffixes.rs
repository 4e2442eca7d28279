//! Sorting the suffixes of a text.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::SEPARATOR;

/// Tokens by which suffixes are compared; equal ones stay in order of position. Four times what a
/// search looks for.
pub const SORT_DEPTH: usize = 64;

/// Suffixes sorted between two calls of the progress function.
const BATCH: usize = 1 << 20;

/// Position of a suffix, in as many bytes as the file will have.
pub(super) trait Position: Copy + Default + Ord + Send + Sync {
    /// Bytes in the file.
    const BYTES: usize;
    /// A position that fits.
    fn of(at: usize) -> Self;
    /// As an index.
    fn at(self) -> usize;
    /// As in the file: the low [`Self::BYTES`] bytes.
    fn to_le(self) -> [u8; 8] {
        (self.at() as u64).to_le_bytes()
    }
}

impl Position for u32 {
    const BYTES: usize = 4;
    fn of(at: usize) -> Self {
        Self::try_from(at).expect("the width was chosen for the number of tokens")
    }
    fn at(self) -> usize {
        self as usize
    }
}

impl Position for u64 {
    const BYTES: usize = 8;
    fn of(at: usize) -> Self {
        at as Self
    }
    fn at(self) -> usize {
        self as usize
    }
}

/// All positions of `tokens`, sorted by the tokens from there; separators sort last. Token ids are
/// below `vocabulary`. `progress` gets the share done and gives whether to go on; `None` if not.
pub(super) fn sort<P: Position>(
    tokens: &[u32],
    vocabulary: usize,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Option<Vec<P>> {
    let bucket = |token: u32| if token == SEPARATOR { vocabulary } else { token as usize };
    let mut ends = vec![0usize; vocabulary + 1];
    for &token in tokens {
        ends[bucket(token)] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total;
    }
    // Filling from the back leaves each bucket's start in `starts`, and its positions rising.
    let mut starts = ends.clone();
    let mut suffixes = vec![P::default(); tokens.len()];
    for (at, &token) in tokens.iter().enumerate().rev() {
        let start = &mut starts[bucket(token)];
        *start -= 1;
        suffixes[*start] = P::of(at);
    }
    // Tokens that begin many suffixes are sorted by all threads, rare ones in batches.
    let (mut rest, mut done, mut first) = (&mut suffixes[..], 0, 0);
    while !rest.is_empty() {
        if !progress(done as f32 / tokens.len() as f32) {
            return None;
        }
        let mut batch: Vec<&mut [P]> = Vec::new();
        let mut size = 0;
        while size < BATCH && first < ends.len() {
            let (bucket, behind) = rest.split_at_mut(ends[first] - starts[first]);
            rest = behind;
            first += 1;
            size += bucket.len();
            batch.push(bucket);
        }
        batch.into_par_iter().for_each(|bucket| {
            bucket.par_sort_unstable_by(|&a, &b| compare(tokens, a.at(), b.at()));
        });
        done += size;
    }
    Some(suffixes)
}

/// Order of two suffixes that begin with the same token.
fn compare(tokens: &[u32], a: usize, b: usize) -> Ordering {
    let from = |at: usize| &tokens[at + 1..tokens.len().min(at + SORT_DEPTH)];
    from(a).cmp(from(b)).then(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(tokens: &[u32]) -> Vec<u32> {
        let mut all: Vec<u32> = (0..tokens.len() as u32).collect();
        all.sort_by_key(|&at| {
            let at = at as usize;
            (tokens[at..tokens.len().min(at + SORT_DEPTH)].to_vec(), at)
        });
        all
    }

    proptest! {
        #[test]
        fn sorts_as_comparing_all_does(
            tokens in prop::collection::vec(prop_oneof![9 => 0..5u32, 1 => Just(SEPARATOR)], 0..300),
        ) {
            let narrow: Vec<u32> = sort(&tokens, 5, &mut |_| true).expect("not stopped");
            prop_assert_eq!(&narrow, &naive(&tokens));
            let wide: Vec<u64> = sort(&tokens, 5, &mut |_| true).expect("not stopped");
            prop_assert!(wide.into_iter().eq(narrow.into_iter().map(u64::from)));
        }
    }

    #[test]
    fn a_text_of_one_token_is_sorted_quickly() {
        let tokens = vec![3; 100_000];
        let sorted: Vec<u32> = sort(&tokens, 4, &mut |_| true).expect("not stopped");
        // The ends, which are shorter, come first; the rest are equal to the depth compared.
        assert_eq!(sorted[..3], [99_999, 99_998, 99_997]);
        assert_eq!(sorted[SORT_DEPTH - 1..][..3], [0, 1, 2]);
        assert_eq!(sort::<u32>(&tokens, 4, &mut |_| false), None, "stopped");
    }
}
