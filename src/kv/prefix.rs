//! Which pages hold which beginnings of token sequences.
//!
//! A page is known by the hash of its token ids chained with the hash of the page before it, so one
//! look-up per page finds the longest shared beginning. Ids are compared too: a collision of hashes
//! must not make one user see another's text.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Hash of a page and everything before it.
pub(super) type Chain = u64;

#[derive(Debug)]
struct Entry {
    page: u32,
    parent: Chain,
    ids: Box<[u32]>,
    depth: u32,
    last_used: u64,
}

/// Pages by chained hash.
#[derive(Debug, Default)]
pub(super) struct PrefixIndex {
    entries: HashMap<Chain, Entry>,
    clock: u64,
}

impl PrefixIndex {
    /// Chain before the first page.
    pub(super) const ROOT: Chain = 0;

    /// Adds `page` with `ids` after `parent`. Gives its chain, and whether it was added: not if the
    /// chain has a page already.
    pub(super) fn insert(&mut self, parent: Chain, ids: &[u32], page: u32) -> (Chain, bool) {
        self.clock += 1;
        let chain = chained(parent, ids);
        let depth = self.entries.get(&parent).map_or(0, |e| e.depth + 1);
        let last_used = self.clock;
        let mut inserted = false;
        let entry = self.entries.entry(chain).or_insert_with(|| {
            inserted = true;
            Entry { page, parent, ids: ids.into(), depth, last_used }
        });
        entry.last_used = last_used;
        (chain, inserted)
    }

    /// Pages of the longest chain that matches.
    pub(super) fn find<'a>(&mut self, pages: impl Iterator<Item = &'a [u32]>) -> Vec<u32> {
        self.clock += 1;
        let mut found = Vec::new();
        let mut parent = Self::ROOT;
        for ids in pages {
            let chain = chained(parent, ids);
            match self.entries.get_mut(&chain) {
                Some(e) if e.parent == parent && *e.ids == *ids => {
                    e.last_used = self.clock;
                    found.push(e.page);
                }
                _ => break,
            }
            parent = chain;
        }
        found
    }

    /// Forgets and gives the least recently used page for which `free` holds; of one chain the last.
    pub(super) fn evict(&mut self, free: impl Fn(u32) -> bool) -> Option<u32> {
        let (&chain, _) = self
            .entries
            .iter()
            .filter(|(_, e)| free(e.page))
            .min_by_key(|(_, e)| (e.last_used, u32::MAX - e.depth, e.page))?;
        self.entries.remove(&chain).map(|e| e.page)
    }

    /// All pages, in no order.
    pub(super) fn pages(&self) -> impl Iterator<Item = u32> {
        self.entries.values().map(|e| e.page)
    }
}

fn chained(parent: Chain, ids: &[u32]) -> Chain {
    let mut hasher = DefaultHasher::new();
    (parent, ids).hash(&mut hasher);
    // ROOT stays the mark of the beginning.
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_ids_after_another_beginning_are_another_page() {
        let mut index = PrefixIndex::default();
        let (a, _) = index.insert(PrefixIndex::ROOT, &[1, 2], 0);
        index.insert(a, &[3, 4], 1);
        let (b, _) = index.insert(PrefixIndex::ROOT, &[9, 9], 2);
        let (_, inserted) = index.insert(b, &[3, 4], 3);
        assert!(inserted);
        let find = |index: &mut PrefixIndex, ids: &[u32]| index.find(ids.chunks_exact(2));
        assert_eq!(find(&mut index, &[1, 2, 3, 4, 5]), [0, 1]);
        assert_eq!(find(&mut index, &[9, 9, 3, 4]), [2, 3]);
        assert_eq!(find(&mut index, &[3, 4]), Vec::<u32>::new());
    }

    #[test]
    fn a_collision_of_hashes_is_no_match() {
        let mut index = PrefixIndex::default();
        let (chain, _) = index.insert(PrefixIndex::ROOT, &[1, 2], 0);
        let entry = index.entries.get_mut(&chain).expect("just inserted");
        entry.ids = Box::new([7, 7]);
        assert!(index.find([1, 2].chunks_exact(2)).is_empty());
    }
}
