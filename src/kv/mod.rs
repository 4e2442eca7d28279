//! The paged key/value cache.
//!
//! A *page* is P consecutive slots of every layer; a *sequence* is a list of pages and the token ids
//! whose keys and values they hold. Sequences share whole pages by reference count. All changes go
//! through a transaction ([`KvTxn`]): stage slots for new rows, run them, then commit the accepted
//! path; dropping the transaction takes everything back. Nothing here touches device memory except
//! [`KvPages`], which owns it; moves of rows are returned as data for the op
//! [`crate::ops::KvCommit`].

mod pages;
mod pool;
mod prefix;
mod sequence;
mod txn;

pub use pages::{KvPages, KvShape};
pub use pool::{Page, PagePool, PageUse, PoolUse};
pub use sequence::{Forked, Sequence};
pub use txn::KvTxn;

/// Slots of a page unless a caller asks otherwise.
pub const PAGE_SLOTS: usize = 32;

/// One row of keys and values that must move, in every layer, from slot `src` to slot `dst`. Lists
/// of moves are carried out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// Slot read.
    pub src: u32,
    /// Slot written.
    pub dst: u32,
}

/// The cache.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvError {
    /// All pages are taken by live sequences.
    #[error(
        "the key/value cache is full: {wanted} more positions after {len} need {need_pages} pages, \
         {free_pages} of {pages} are free ({capacity} positions in all)"
    )]
    Full {
        /// Positions asked for.
        wanted: usize,
        /// Positions the sequence holds.
        len: usize,
        /// Pages missing for that.
        need_pages: usize,
        /// Pages free.
        free_pages: usize,
        /// Pages of the pool.
        pages: usize,
        /// Positions of the pool.
        capacity: usize,
    },
    /// An accepted path that is no strictly rising list of staged rows.
    #[error("path {path:?} is no rising list of indices below the {staged} staged rows")]
    Path {
        /// The path.
        path: Vec<usize>,
        /// Rows staged.
        staged: usize,
    },
    /// A cut beyond the end of a sequence.
    #[error("cannot keep {wanted} positions of a sequence of {len}")]
    Length {
        /// Positions to keep.
        wanted: usize,
        /// Positions there are.
        len: usize,
    },
}

impl KvError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Full { .. } => {
                Some("use a larger --ctx, a shorter prompt, or start a new conversation".into())
            }
            Self::Path { .. } | Self::Length { .. } => None,
        }
    }
}
