//! Pages with reference counts.
//!
//! A [`Page`] is a handle that counts itself: cloning shares, dropping releases. Leaks and double
//! frees are thus impossible to write by hand. The pool also keeps *published* pages, whose token ids
//! are known, for later sequences with the same beginning ([`super::prefix`]); it gives them up, least
//! recently used first, when an allocation needs room.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::prefix::PrefixIndex;

/// Pages of a cache. Clones share it.
#[derive(Clone, Debug)]
pub struct PagePool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pages: usize,
    page_slots: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// References to each page, the index's included.
    refs: Vec<u32>,
    /// Pages without a reference; the last is handed out next.
    free: Vec<u32>,
    index: PrefixIndex,
}

/// How many pages are in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Pages in all.
    pub pages: usize,
    /// Pages that nobody holds.
    pub free: usize,
    /// Pages that only the prefix index holds: given up when room is needed.
    pub reclaimable: usize,
}

impl PoolUse {
    /// Pages that live sequences hold.
    pub fn live(&self) -> usize {
        self.pages - self.free - self.reclaimable
    }
}

/// Who holds a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageUse {
    /// Handles of live sequences and of open transactions.
    pub held: u32,
    /// The prefix index knows what it holds, so that later sequences can take it over.
    pub published: bool,
}

impl PageUse {
    /// True if a new page may take its place at once: nobody holds it and the index does not know it.
    pub fn is_free(self) -> bool {
        self.held == 0 && !self.published
    }
}

impl PagePool {
    /// A pool of `pages` free pages of `page_slots` slots.
    pub fn new(pages: usize, page_slots: usize) -> Self {
        let state = State {
            refs: vec![0; pages],
            free: (0..pages as u32).rev().collect(),
            index: PrefixIndex::default(),
        };
        Self(Arc::new(Inner { pages, page_slots, state: Mutex::new(state) }))
    }

    /// True if both are handles of one pool.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Slots of a page, P.
    pub fn page_slots(&self) -> usize {
        self.0.page_slots
    }

    /// Positions that all pages together can hold.
    pub fn capacity(&self) -> usize {
        self.0.pages * self.0.page_slots
    }

    /// Pages by state.
    pub fn usage(&self) -> PoolUse {
        let state = self.lock();
        let reclaimable = state.index.pages().filter(|&p| state.refs[p as usize] == 1).count();
        PoolUse { pages: self.0.pages, free: state.free.len(), reclaimable }
    }

    /// Who holds each page, by index. May be asked for while an engine generates.
    pub fn page_uses(&self) -> Vec<PageUse> {
        let state = self.lock();
        let use_of = |&held: &u32| PageUse { held, published: false };
        let mut uses: Vec<PageUse> = state.refs.iter().map(use_of).collect();
        for page in state.index.pages() {
            let page = &mut uses[page as usize];
            page.published = true;
            page.held -= 1;
        }
        uses
    }

    /// A page of one's own, or `None` if sequences hold all of them.
    pub fn alloc(&self) -> Option<Page> {
        let mut state = self.lock();
        let State { refs, free, index } = &mut *state;
        if free.is_empty()
            && let Some(page) = index.evict(|page| refs[page as usize] == 1)
        {
            refs[page as usize] = 0;
            free.push(page);
        }
        let id = free.pop()?;
        refs[id as usize] = 1;
        Some(Page { id, pool: self.clone() })
    }

    /// Makes full pages findable by later sequences; `ids` are the token ids they hold in order.
    pub(super) fn publish(&self, pages: &[Page], ids: &[u32]) {
        let mut state = self.lock();
        let State { refs, index, .. } = &mut *state;
        let mut chain = PrefixIndex::ROOT;
        for (page, ids) in pages.iter().zip(ids.chunks_exact(self.0.page_slots)) {
            let (next, inserted) = index.insert(chain, ids, page.id);
            if inserted {
                refs[page.id as usize] += 1;
            }
            chain = next;
        }
    }

    /// The published pages that hold the longest beginning of `ids` in whole pages.
    pub(super) fn find(&self, ids: &[u32]) -> Vec<Page> {
        let mut state = self.lock();
        let State { refs, index, .. } = &mut *state;
        let found = index.find(ids.chunks_exact(self.0.page_slots));
        for &id in &found {
            refs[id as usize] += 1;
        }
        drop(state);
        found.into_iter().map(|id| Page { id, pool: self.clone() }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code between lock and unlock can panic half-way through a change.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A counted reference to a page.
#[derive(Debug)]
pub struct Page {
    id: u32,
    pool: PagePool,
}

impl Page {
    /// Index of the page: its slots are `id * P ..`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// True if another sequence or the prefix index holds this page too, so that it must not be
    /// written.
    pub fn is_shared(&self) -> bool {
        self.pool.lock().refs[self.id as usize] > 1
    }
}

impl Clone for Page {
    fn clone(&self) -> Self {
        self.pool.lock().refs[self.id as usize] += 1;
        Self { id: self.id, pool: self.pool.clone() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        let refs = &mut state.refs[self.id as usize];
        *refs -= 1;
        if *refs == 0 {
            state.free.push(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_return_when_the_last_handle_goes() {
        let pool = PagePool::new(2, 4);
        let a = pool.alloc().expect("two are free");
        let b = a.clone();
        assert!(a.is_shared());
        drop(a);
        assert_eq!(pool.usage().free, 1);
        assert_eq!(pool.page_uses().iter().map(|page| page.held).sum::<u32>(), 1);
        assert!(!b.is_shared());
        drop(b);
        assert_eq!(pool.usage().free, 2);
        assert!(pool.page_uses().iter().all(|page| page.is_free()));
    }

    #[test]
    fn an_exhausted_pool_gives_none() {
        let pool = PagePool::new(1, 4);
        let held = pool.alloc();
        assert!(held.is_some() && pool.alloc().is_none());
    }

    #[test]
    fn published_pages_are_found_and_given_up_for_room() {
        let pool = PagePool::new(2, 2);
        let pages: Vec<_> = (0..2).map(|_| pool.alloc().expect("free")).collect();
        pool.publish(&pages, &[1, 2, 3, 4]);
        let ids: Vec<_> = pages.iter().map(Page::id).collect();
        assert_eq!(pool.page_uses(), [PageUse { held: 1, published: true }; 2]);
        drop(pages);
        assert_eq!(pool.usage(), PoolUse { pages: 2, free: 0, reclaimable: 2 });
        assert_eq!(pool.page_uses(), [PageUse { held: 0, published: true }; 2]);

        let found = pool.find(&[1, 2, 3, 4, 5]);
        assert_eq!(found.iter().map(Page::id).collect::<Vec<_>>(), ids);
        assert_eq!(pool.usage().live(), 2);
        assert!(pool.alloc().is_none(), "a page in use is never given up");
        drop(found);
        assert_eq!(pool.find(&[1, 2, 9, 9]).len(), 1);

        let own = pool.alloc().expect("a published page is given up");
        assert_eq!(own.id(), ids[1], "the end of a chain goes before its beginning");
        assert_eq!(pool.find(&[1, 2, 3, 4]).len(), 1);
    }
}
