//! Transactions on a sequence: stage, then commit; dropping rolls back.

use super::{KvError, Move, Sequence};

/// Rows staged at the end of a sequence, whose keys and values a step writes. The sequence stays
/// what it was until [`KvTxn::commit`].
#[derive(Debug)]
#[must_use = "dropping a transaction takes its rows back"]
pub struct KvTxn<'a> {
    sequence: &'a mut Sequence,
    pages_before: usize,
    ids: Vec<u32>,
}

impl<'a> KvTxn<'a> {
    /// Reserves slots for rows with these token ids: row `i` gets the slot of position `len + i`,
    /// whatever its depth. Fails with [`KvError::Full`], leaving the sequence as it was.
    pub fn stage(sequence: &'a mut Sequence, ids: &[u32]) -> Result<Self, KvError> {
        let pages_before = sequence.pages.len();
        let need = (sequence.len() + ids.len()).div_ceil(sequence.pool.page_slots());
        while sequence.pages.len() < need {
            match sequence.pool.alloc() {
                Some(page) => sequence.pages.push(page),
                None => {
                    // Count what is missing before giving back what was had.
                    sequence.pages.truncate(pages_before);
                    return Err(sequence.full(ids.len(), need - pages_before));
                }
            }
        }
        Ok(Self { sequence, pages_before, ids: ids.to_vec() })
    }

    /// The sequence, with the pages of the staged rows in its table.
    pub fn sequence(&self) -> &Sequence {
        self.sequence
    }

    /// Position of the first row's first possible place: the number of committed positions.
    pub fn prefix(&self) -> usize {
        self.sequence.len()
    }

    /// Token ids of the staged rows.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Slots of the staged rows.
    pub fn slots(&self) -> Vec<u32> {
        let len = self.sequence.len();
        (len..len + self.ids.len()).map(|p| self.sequence.slot(p)).collect()
    }

    /// Names the staged rows: for candidates that a device chooses after their slots were reserved.
    ///
    /// # Panics
    /// If there are not as many ids as rows.
    pub fn set_ids(&mut self, ids: &[u32]) {
        self.ids.copy_from_slice(ids);
    }

    /// Accepts the staged rows `path`, rising, as the next positions; gives the moves that bring
    /// their keys and values there: none if the path is the first rows staged. Pages not needed
    /// any more return to the pool. A path that is not rising or leaves the staged rows is
    /// [`KvError::Path`], and nothing is committed.
    pub fn commit(mut self, path: &[usize]) -> Result<Vec<Move>, KvError> {
        let staged = self.ids.len();
        if path.iter().any(|&i| i >= staged) || path.windows(2).any(|w| w[0] >= w[1]) {
            return Err(KvError::Path { path: path.to_vec(), staged });
        }
        let len = self.sequence.len();
        let moves = path
            .iter()
            .enumerate()
            .filter(|&(depth, &row)| depth != row)
            .map(|(depth, &row)| Move {
                src: self.sequence.slot(len + row),
                dst: self.sequence.slot(len + depth),
            })
            .collect();
        self.sequence.ids.extend(path.iter().map(|&row| self.ids[row]));
        let needed = self.sequence.len().div_ceil(self.sequence.pool.page_slots());
        // `drop` cuts the table here.
        self.pages_before = needed;
        Ok(moves)
    }

    /// Accepts all staged rows in order: a chunk of a prompt, or plain decoding.
    pub fn commit_all(self) {
        let path: Vec<usize> = (0..self.ids.len()).collect();
        let moves = self.commit(&path).expect("all rows in order are a rising path");
        debug_assert!(moves.is_empty());
    }
}

impl Drop for KvTxn<'_> {
    fn drop(&mut self) {
        self.sequence.pages.truncate(self.pages_before);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kv::{Forked, PagePool};

    fn chain(ids: &[u32]) -> Sequence {
        let mut sequence = Sequence::new(&PagePool::new(8, 4));
        KvTxn::stage(&mut sequence, ids).expect("room").commit_all();
        sequence
    }

    #[test]
    fn dropping_a_transaction_takes_its_pages_back() {
        let mut sequence = chain(&[1, 2, 3]);
        let pool = sequence.pool.clone();
        let before = pool.usage();
        let txn = KvTxn::stage(&mut sequence, &[4, 5, 6, 7, 8, 9]).expect("room");
        assert_eq!(txn.slots().len(), 6);
        assert_eq!(pool.usage().free, before.free - 2);
        drop(txn);
        assert_eq!((pool.usage(), sequence.ids()), (before, &[1, 2, 3][..]));
    }

    #[test]
    fn a_path_with_gaps_gives_moves_and_the_first_rows_give_none() {
        let mut sequence = chain(&[1, 2, 3]);
        let txn = KvTxn::stage(&mut sequence, &[10, 11, 12, 13]).expect("room");
        let slots = txn.slots();
        let moves = txn.commit(&[0, 2, 3]).expect("rising");
        assert_eq!(
            moves,
            [Move { src: slots[2], dst: slots[1] }, Move { src: slots[3], dst: slots[2] }]
        );
        assert_eq!(sequence.ids(), [1, 2, 3, 10, 12, 13]);
        let txn = KvTxn::stage(&mut sequence, &[7, 8]).expect("room");
        assert_eq!(txn.commit(&[0]).expect("rising"), []);
    }

    #[test]
    fn a_bad_path_commits_nothing() {
        let mut sequence = chain(&[1]);
        for path in [&[1, 0][..], &[0, 0], &[5]] {
            let txn = KvTxn::stage(&mut sequence, &[2, 3]).expect("room");
            assert!(matches!(txn.commit(path), Err(KvError::Path { staged: 2, .. })));
            assert_eq!(sequence.ids(), [1]);
        }
    }

    #[test]
    fn a_full_pool_names_its_capacity() {
        let mut sequence = chain(&[1; 30]);
        let error = KvTxn::stage(&mut sequence, &[2; 3]).expect_err("32 positions in all");
        let text = error.to_string();
        assert!(
            text.contains("3 more positions after 30") && text.contains("32 positions"),
            "{text}"
        );
        assert!(error.hint().is_some_and(|h| h.contains("--ctx")));
        assert_eq!(sequence.len(), 30);
    }

    /// One step of the model below.
    #[derive(Clone, Debug)]
    enum Step {
        /// Stage rows with these ids on a sequence; accept those with a set bit, or none.
        Rows {
            of: usize,
            ids: Vec<u32>,
            accept: Option<u16>,
        },
        Fork {
            of: usize,
            keep: usize,
        },
        Truncate {
            of: usize,
            keep: usize,
        },
        Publish {
            of: usize,
        },
        FromPrefix {
            of: usize,
        },
        Drop {
            of: usize,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let of = 0..8usize;
        prop_oneof![
            6 => (of.clone(), prop::collection::vec(0..3u32, 1..9), any::<Option<u16>>())
                .prop_map(|(of, ids, accept)| Step::Rows { of, ids, accept }),
            2 => (of.clone(), 0..40usize).prop_map(|(of, keep)| Step::Fork { of, keep }),
            1 => (of.clone(), 0..40usize).prop_map(|(of, keep)| Step::Truncate { of, keep }),
            1 => of.clone().prop_map(|of| Step::Publish { of }),
            1 => of.clone().prop_map(|of| Step::FromPrefix { of }),
            1 => of.prop_map(|of| Step::Drop { of }),
        ]
    }

    /// What the device's slots hold: hash of all ids up to the row written there.
    struct Memory(Vec<u64>);

    impl Memory {
        fn apply(&mut self, moves: &[Move]) {
            for m in moves {
                self.0[m.dst as usize] = self.0[m.src as usize];
            }
        }

        fn holds(&self, sequence: &Sequence) -> bool {
            let mut hash = 0;
            sequence.ids().iter().enumerate().all(|(p, &id)| {
                hash = mix(hash, id);
                self.0[sequence.slot(p) as usize] == hash
            })
        }
    }

    fn mix(hash: u64, id: u32) -> u64 {
        (hash ^ u64::from(id + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    }

    fn run(steps: &[Step]) {
        let pool = PagePool::new(24, 4);
        let mut memory = Memory(vec![0; pool.capacity()]);
        let mut all = vec![Sequence::new(&pool)];
        for step in steps {
            match step {
                Step::Rows { of, ids, accept } => {
                    let of = of % all.len();
                    let sequence = &mut all[of];
                    let Ok(txn) = KvTxn::stage(sequence, ids) else { continue };
                    // Rows outside the accepted path are siblings that leave rubbish behind.
                    let path: Vec<usize> = match accept {
                        Some(bits) => (0..ids.len()).filter(|i| bits >> i & 1 == 1).collect(),
                        None => Vec::new(),
                    };
                    let mut hash = txn.sequence().ids().iter().fold(0, |h, &id| mix(h, id));
                    for (row, slot) in txn.slots().into_iter().enumerate() {
                        let on_path = path.contains(&row);
                        hash = if on_path { mix(hash, ids[row]) } else { hash };
                        memory.0[slot as usize] = if on_path { hash } else { u64::MAX };
                    }
                    if accept.is_some() {
                        memory.apply(&txn.commit(&path).expect("rising"));
                    }
                }
                Step::Fork { of, keep } => {
                    let source = &all[of % all.len()];
                    if let Ok(Forked { sequence, moves }) = source.fork(keep % (source.len() + 1)) {
                        memory.apply(&moves);
                        all.push(sequence);
                    }
                }
                Step::Truncate { of, keep } => {
                    let of = of % all.len();
                    let keep = keep % (all[of].len() + 1);
                    if let Ok(moves) = all[of].truncate(keep) {
                        memory.apply(&moves);
                    }
                }
                Step::Publish { of } => all[of % all.len()].publish(),
                Step::FromPrefix { of } => {
                    let ids = all[of % all.len()].ids().to_vec();
                    let sequence = Sequence::with_prefix(&pool, &ids);
                    assert!(ids.starts_with(sequence.ids()));
                    assert!(ids.is_empty() || sequence.len() < ids.len());
                    all.push(sequence);
                }
                Step::Drop { of } if all.len() > 1 => drop(all.swap_remove(of % all.len())),
                Step::Drop { .. } => {}
            }
            all.truncate(8);
            check(&pool, &all, &memory);
        }
        drop(all);
        let usage = pool.usage();
        assert_eq!(usage.free + usage.reclaimable, usage.pages, "no page leaks");
    }

    fn check(pool: &PagePool, all: &[Sequence], memory: &Memory) {
        let mut held: Vec<u32> = all.iter().flat_map(Sequence::pages).collect();
        held.sort_unstable();
        held.dedup();
        assert_eq!(pool.usage().live(), held.len(), "live pages are those of the sequences");
        for sequence in all {
            assert_eq!(sequence.pages().len(), sequence.len().div_ceil(4));
            assert!(memory.holds(sequence), "rows of {:?} were overwritten", sequence.ids());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn random_steps_keep_counts_and_contents(steps in prop::collection::vec(step(), 200)) {
            run(&steps);
        }
    }
}
