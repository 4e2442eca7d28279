//! A sequence: token ids and the pages that hold their keys and values.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{KvError, Move, Page, PagePool};

/// Committed token ids and their pages.
///
/// Position `p` is in slot `pages[p / P] * P + p % P`. Pages that are partly filled belong to one
/// sequence only; full ones may be shared.
#[derive(Debug)]
pub struct Sequence {
    uid: u64,
    pub(super) pool: PagePool,
    pub(super) pages: Vec<Page>,
    pub(super) ids: Vec<u32>,
}

/// A sequence made from another, and the rows to copy before it is used.
#[derive(Debug)]
pub struct Forked {
    /// The new sequence.
    pub sequence: Sequence,
    /// Copies of the rows of a partly filled page.
    pub moves: Vec<Move>,
}

impl Sequence {
    /// An empty sequence.
    pub fn new(pool: &PagePool) -> Self {
        Self { uid: unique(), pool: pool.clone(), pages: Vec::new(), ids: Vec::new() }
    }

    /// A sequence that starts with the published pages holding the longest beginning of `ids`, but
    /// never all of it: the last token must be computed to have its logits.
    pub fn with_prefix(pool: &PagePool, ids: &[u32]) -> Self {
        let pages = pool.find(&ids[..ids.len().saturating_sub(1)]);
        let len = pages.len() * pool.page_slots();
        Self { uid: unique(), pool: pool.clone(), pages, ids: ids[..len].to_vec() }
    }

    /// Makes the full pages findable by [`Self::with_prefix`].
    pub fn publish(&self) {
        self.pool.publish(&self.pages, &self.ids);
    }

    /// Number of this sequence among all of the process.
    pub fn uid(&self) -> u64 {
        self.uid
    }

    /// True if the sequence's pages are of this pool.
    pub fn is_of(&self, pool: &PagePool) -> bool {
        self.pool.is_same(pool)
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True without any position.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Token ids held, by position.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Pages, in order of position; with a transaction open, its pages too.
    pub fn pages(&self) -> impl ExactSizeIterator<Item = u32> {
        self.pages.iter().map(Page::id)
    }

    /// Slot of a position that has a page.
    pub(super) fn slot(&self, position: usize) -> u32 {
        let p = self.pool.page_slots();
        self.pages[position / p].id() * p as u32 + (position % p) as u32
    }

    /// Number of leading ids equal to those of `ids`.
    pub fn common_prefix(&self, ids: &[u32]) -> usize {
        self.ids.iter().zip(ids).take_while(|(a, b)| a == b).count()
    }

    /// Keeps the first `len` positions. If the last page kept becomes partly filled and is shared,
    /// it is replaced by a page of our own: carry out the moves before the next step. Fails with
    /// [`KvError::Length`] beyond the end, and with [`KvError::Full`] (changing nothing) if that
    /// page cannot be had.
    pub fn truncate(&mut self, len: usize) -> Result<Vec<Move>, KvError> {
        if len > self.len() {
            return Err(KvError::Length { wanted: len, len: self.len() });
        }
        let p = self.pool.page_slots();
        let (whole, part) = (len / p, len % p);
        let mut moves = Vec::new();
        if part > 0 && self.pages[whole].is_shared() {
            let old = self.pages[whole].id();
            let page = self.pool.alloc().ok_or_else(|| self.full(0, 1))?;
            moves = copies(old, page.id(), p, part);
            self.pages[whole] = page;
        }
        self.pages.truncate(len.div_ceil(p));
        self.ids.truncate(len);
        Ok(moves)
    }

    /// A second sequence with the first `len` positions: whole pages are shared, rows of a partly
    /// filled one are copied by the moves. Fails as [`Self::truncate`] does.
    pub fn fork(&self, len: usize) -> Result<Forked, KvError> {
        if len > self.len() {
            return Err(KvError::Length { wanted: len, len: self.len() });
        }
        let p = self.pool.page_slots();
        let (whole, part) = (len / p, len % p);
        let mut pages = self.pages[..whole].to_vec();
        let mut moves = Vec::new();
        if part > 0 {
            let page = self.pool.alloc().ok_or_else(|| self.full(part, 1))?;
            moves = copies(self.pages[whole].id(), page.id(), p, part);
            pages.push(page);
        }
        let ids = self.ids[..len].to_vec();
        let sequence = Self { uid: unique(), pool: self.pool.clone(), pages, ids };
        Ok(Forked { sequence, moves })
    }

    /// The error of a pool without `need_pages` more pages.
    pub(super) fn full(&self, wanted: usize, need_pages: usize) -> KvError {
        let usage = self.pool.usage();
        KvError::Full {
            wanted,
            len: self.len(),
            need_pages,
            free_pages: usage.free + usage.reclaimable,
            pages: usage.pages,
            capacity: self.pool.capacity(),
        }
    }
}

fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn copies(src: u32, dst: u32, page_slots: usize, rows: usize) -> Vec<Move> {
    let p = page_slots as u32;
    (0..rows as u32).map(|i| Move { src: src * p + i, dst: dst * p + i }).collect()
}
