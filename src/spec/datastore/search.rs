//! Where the end of a context occurs in a datastore.

use std::{cmp::Ordering, ops::Range};

use super::{Datastore, SEPARATOR};
use crate::error::Result;

/// Places that begin with the end of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matches {
    /// Tokens of the context's end that are there.
    pub matched: usize,
    /// Entries of the suffix array, never empty.
    ranks: Range<u64>,
}

impl Matches {
    /// How many places.
    pub fn count(&self) -> u64 {
        self.ranks.end - self.ranks.start
    }
}

impl Datastore {
    /// The places of the longest end of `context`, of `longest` tokens down to `shortest`, that
    /// occurs.
    ///
    /// # Errors
    /// A suffix array that leaves the tokens ([`Error::Format`](crate::Error::Format)).
    pub fn find(
        &self,
        context: &[u32],
        longest: usize,
        shortest: usize,
    ) -> Result<Option<Matches>> {
        // If an end occurs then so do shorter ones, so the length is found by halving.
        let mut best = None;
        let (mut least, mut most) = (shortest.max(1), longest.min(context.len()));
        while least <= most {
            let matched = least + (most - least) / 2;
            let ranks = self.range(&context[context.len() - matched..])?;
            if ranks.is_empty() {
                most = matched - 1;
            } else {
                best = Some(Matches { matched, ranks });
                least = matched + 1;
            }
        }
        Ok(best)
    }

    /// Where the places' continuations begin, at most `limit`: all, or as many spread evenly over
    /// them. Places are sorted by what follows, so an even spread keeps the proportions, which the
    /// first `limit` would not.
    ///
    /// # Errors
    /// An entry that leaves the tokens or is not such a place ([`Error::Format`](crate::Error::Format)).
    pub fn places(&self, matches: &Matches, context: &[u32], limit: usize) -> Result<Vec<u64>> {
        let (count, limit) = (matches.count(), limit as u64);
        let end = &context[context.len() - matches.matched..];
        let taken = count.min(limit);
        (0..taken)
            .map(|i| {
                let step = u128::from(i) * u128::from(count) / u128::from(taken);
                let rank = matches.ranks.start + step as u64;
                let at = self.suffix(rank)?;
                match self.compare(at, end)? {
                    Ordering::Equal => Ok(at + matches.matched as u64),
                    _ => Err(self.fault(format!("the suffix array is not sorted at entry {rank}"))),
                }
            })
            .collect()
    }

    /// At most `most` tokens from a place to the end of its document.
    ///
    /// # Errors
    /// A token beyond the vocabulary ([`Error::Format`](crate::Error::Format)).
    pub fn continuation(&self, place: u64, most: usize) -> Result<Vec<u32>> {
        let end = self.tokens().min(place.saturating_add(most as u64));
        let mut tokens = Vec::with_capacity(most);
        for at in place..end {
            match self.token(at)? {
                SEPARATOR => break,
                token => tokens.push(token),
            }
        }
        Ok(tokens)
    }

    /// Tokens before a place that agree with the end of `context`, at most `most`.
    pub fn agreement(&self, place: u64, context: &[u32], most: usize) -> usize {
        let before = (0..place.min(self.tokens())).rev().map(|at| self.raw_token(at));
        let pairs = before.zip(context.iter().rev().copied());
        pairs.take(most).take_while(|(a, b)| a == b).count()
    }

    /// Entries of the suffix array that begin with `pattern`.
    fn range(&self, pattern: &[u32]) -> Result<Range<u64>> {
        let start = self.partition(0, |order| order == Ordering::Less, pattern)?;
        let end = self.partition(start, |order| order != Ordering::Greater, pattern)?;
        Ok(start..end)
    }

    /// First entry from `low` on whose order against `pattern` is not `before`.
    fn partition(
        &self,
        mut low: u64,
        before: impl Fn(Ordering) -> bool,
        pattern: &[u32],
    ) -> Result<u64> {
        let mut high = self.tokens();
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.compare(self.suffix(middle)?, pattern)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Order of the tokens from `at` against `pattern`; equal if they begin with it.
    fn compare(&self, at: u64, pattern: &[u32]) -> Result<Ordering> {
        for (i, &wanted) in pattern.iter().enumerate() {
            let at = at + i as u64;
            if at >= self.tokens() {
                return Ok(Ordering::Less);
            }
            let order = self.token(at)?.cmp(&wanted);
            if order != Ordering::Equal {
                return Ok(order);
            }
        }
        Ok(Ordering::Equal)
    }
}
