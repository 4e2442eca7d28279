//! What changes from step to step: one buffer of u32 arrays, written once a step.
//!
//! A recording is made for a [`StepShape`]; it reads the arrays through [`StepViews`]. The host fills
//! [`StepData`] and writes it whole. Rows beyond those in use are padding: id and slot `u32::MAX`
//! (a zero embedding, no cache write), and nothing to attend to.
//!
//! The rows of a step belong to one sequence (a chunk, a tree), or each to a sequence of its own (a
//! batch).

use crate::{
    backend::{BackendResult, Buffer, View},
    dtype::DType,
    error::{Error, Result},
    kv::{KvTxn, Move},
    ops::RowMeta,
};

/// Numbers of rows that recordings are made for.
pub const ROW_BUCKETS: [usize; 18] =
    [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
/// Most rows of a tree, and most rows whose logits one step gives.
pub const MAX_TREE_ROWS: usize = 64;
/// Most rows of a chunk of a prompt.
pub const MAX_CHUNK_ROWS: usize = 512;
/// Smallest context that recordings are made for.
const MIN_CONTEXT: usize = 256;
/// Arrays start at multiples of this many bytes, the strictest binding offset.
const ALIGN: usize = 256;

/// What a recording of the forward pass is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepShape {
    /// Rows M, one of [`ROW_BUCKETS`].
    pub rows: usize,
    /// No row sees positions from here on; whole pages.
    pub context: usize,
    /// Rows R with logits: 0, 1 or M.
    pub logits: usize,
    /// Sequences B that the rows belong to: 1, or M where each row has its own.
    pub sequences: usize,
    /// Without logits, normalise every row as the output matrix would read it.
    pub hidden: bool,
}

impl StepShape {
    /// The smallest shape for `rows` rows of one sequence that see fewer than `end` positions, in a
    /// cache of `capacity`. Logits are wanted for none, one or (`all`) every row.
    pub(super) fn covering(rows: usize, end: usize, capacity: usize, logits: LogitRows) -> Self {
        let rows = ROW_BUCKETS
            .into_iter()
            .find(|&b| b >= rows)
            .expect("callers cut their rows into chunks of at most 512");
        let context = end.next_power_of_two().max(MIN_CONTEXT).min(capacity);
        let hidden = logits == LogitRows::Hidden;
        let logits = match logits {
            LogitRows::None | LogitRows::Hidden => 0,
            LogitRows::One => 1,
            LogitRows::All => rows,
        };
        Self { rows, context, logits, sequences: 1, hidden }
    }

    /// The same with a sequence for each row.
    pub(super) fn batched(self) -> Self {
        Self { sequences: self.rows, ..self }
    }

    /// Longest path L of a row; chunks beyond a tree's size have none.
    pub(super) fn path(&self) -> usize {
        if self.rows <= MAX_TREE_ROWS { self.rows } else { 1 }
    }
}

/// Which rows of a step have logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogitRows {
    None,
    One,
    All,
    /// None, but every row is normalised.
    Hidden,
}

/// Words of an acceptance rule's parameters.
pub(super) const RULE_WORDS: usize = 4;

/// Word offsets of the arrays of a shape.
struct Offsets {
    table: usize,
    path_slots: usize,
    logit_rows: usize,
    /// ids, positions, slots, seq, prefix, path, parents: `[M]` each.
    rows: [usize; 7],
    hidden_rows: usize,
    /// root, nodes, and four parameters of the acceptance rule.
    round: usize,
    words: usize,
}

impl Offsets {
    fn new(shape: StepShape, page_slots: usize) -> Self {
        let mut words = 0;
        let mut array = |len: usize| {
            let start = words;
            words += len.next_multiple_of(ALIGN / 4);
            start
        };
        Self {
            rows: std::array::from_fn(|_| array(shape.rows)),
            path_slots: array(shape.rows * shape.path()),
            hidden_rows: array(MAX_TREE_ROWS),
            round: array(2 + RULE_WORDS),
            logit_rows: array(shape.logits.max(1)),
            table: array(shape.sequences * shape.context / page_slots),
            words,
        }
    }
}

/// Bytes of the state buffer for every shape of a cache of `capacity` positions.
pub(super) fn buffer_bytes(capacity: usize, page_slots: usize) -> u64 {
    let words = |rows, sequences| {
        let shape = StepShape { rows, context: capacity, logits: rows, sequences, hidden: false };
        Offsets::new(shape, page_slots).words
    };
    4 * words(MAX_CHUNK_ROWS, 1).max(words(MAX_TREE_ROWS, MAX_TREE_ROWS)) as u64
}

/// The arrays as a recording reads them.
#[derive(Clone, Debug)]
pub(super) struct StepViews {
    /// `[M]`.
    pub ids: View,
    /// `[M]`.
    pub positions: View,
    /// `[M]`.
    pub slots: View,
    /// What each row sees.
    pub meta: RowMeta,
    /// `[B, 1, T]`.
    pub table: View,
    /// `[R]` indices of rows; used if R is neither 0 nor M.
    pub logit_rows: View,
    /// `[M]` row of each node's parent; `u32::MAX` for the root.
    pub parents: View,
    /// `[1]` committed positions.
    pub prefix: View,
    /// `[64]` the row of hidden states that heads start from, as often as there are rows.
    pub hidden_rows: View,
    /// `[1]` token of the root.
    pub root: View,
    /// `[1]` rows in use.
    pub nodes: View,
    /// `[4]` parameters of the acceptance rule.
    pub rule: View,
}

impl StepViews {
    pub fn new(buffer: &Buffer, shape: StepShape, page_slots: usize) -> BackendResult<Self> {
        let at = Offsets::new(shape, page_slots);
        let m = shape.rows;
        let view = |word: usize, dims: &[usize]| {
            View::new(
                buffer.clone(),
                4 * word as u64,
                DType::U32,
                crate::shape::Shape::new(dims),
                dims[1..].iter().product(),
            )
        };
        let row = |i: usize| view(at.rows[i], &[m]);
        Ok(Self {
            ids: row(0)?,
            positions: row(1)?,
            slots: row(2)?,
            meta: RowMeta {
                seq: row(3)?,
                prefix: view(at.rows[4], &[m, 1])?,
                path: row(5)?,
                path_slots: view(at.path_slots, &[m, shape.path()])?,
            },
            table: view(at.table, &[shape.sequences, 1, shape.context / page_slots])?,
            logit_rows: view(at.logit_rows, &[shape.logits.max(1)])?,
            parents: row(6)?,
            prefix: view(at.rows[4], &[1])?,
            hidden_rows: view(at.hidden_rows, &[MAX_TREE_ROWS])?,
            root: view(at.round, &[1])?,
            nodes: view(at.round + 1, &[1])?,
            rule: view(at.round + 2, &[RULE_WORDS])?,
        })
    }
}

/// The arrays as the host fills them.
pub(super) struct StepData {
    words: Vec<u32>,
}

impl StepData {
    /// State of a chunk: the staged rows follow each other and see themselves through the table.
    /// A single row of logits is the last one's.
    pub fn chunk(shape: StepShape, txn: &KvTxn<'_>, page_slots: usize) -> Self {
        let txns = std::slice::from_ref(txn);
        Self::new(shape, txns, page_slots, |i| (txn.prefix() + i, txn.prefix() + i + 1, Vec::new()))
    }

    /// State of a tree: the staged rows see the prefix through the table and their ancestors by
    /// slot.
    pub fn tree(
        shape: StepShape,
        txn: &KvTxn<'_>,
        page_slots: usize,
        paths: &[Vec<usize>],
    ) -> Self {
        let slots = txn.slots();
        Self::new(shape, std::slice::from_ref(txn), page_slots, |i| {
            let path: Vec<u32> = paths[i].iter().map(|&a| slots[a]).collect();
            (txn.prefix() + path.len() - 1, txn.prefix(), path)
        })
    }

    /// State of a batch: one staged row in each transaction, each a chunk of one row.
    pub fn batch(shape: StepShape, txns: &[KvTxn<'_>], page_slots: usize) -> Self {
        Self::new(shape, txns, page_slots, |i| (txns[i].prefix(), txns[i].prefix() + 1, Vec::new()))
    }

    /// The rows of all transactions, one behind the other. `of` gives a row's position, prefix and
    /// path.
    fn new(
        shape: StepShape,
        txns: &[KvTxn<'_>],
        page_slots: usize,
        of: impl Fn(usize) -> (usize, usize, Vec<u32>),
    ) -> Self {
        let at = Offsets::new(shape, page_slots);
        let mut words = vec![0; at.words];
        let [ids, positions, slots, sequences, prefixes, lengths, parents] = at.rows;
        words[ids..ids + shape.rows].fill(u32::MAX);
        words[slots..slots + shape.rows].fill(u32::MAX);
        words[parents..parents + shape.rows].fill(u32::MAX);
        let staged = txns.iter().enumerate().flat_map(|(sequence, txn)| {
            txn.ids().iter().zip(txn.slots()).map(move |(&id, slot)| (sequence, id, slot))
        });
        let mut count = 0;
        for (i, (sequence, id, slot)) in staged.enumerate() {
            let (position, prefix, path) = of(i);
            words[ids + i] = id;
            words[slots + i] = slot;
            words[positions + i] = position as u32;
            words[sequences + i] = sequence as u32;
            words[prefixes + i] = prefix as u32;
            words[lengths + i] = path.len() as u32;
            let start = at.path_slots + i * shape.path();
            words[start..start + path.len()].copy_from_slice(&path);
            count = i + 1;
        }
        for (table, txn) in words[at.table..].chunks_mut(shape.context / page_slots).zip(txns) {
            for (word, page) in table.iter_mut().zip(txn.sequence().pages()) {
                *word = page;
            }
        }
        words[at.logit_rows] = (count - 1) as u32;
        words[at.round] = words[ids];
        words[at.round + 1] = count as u32;
        Self { words }
    }

    /// Adds what only rounds of speculation need: how nodes hang together, the row of hidden states
    /// that heads start from, and the parameters of the acceptance rule.
    pub fn with_round(
        mut self,
        shape: StepShape,
        page_slots: usize,
        parents: &[Option<usize>],
        (hidden_row, rule): (u32, [u32; RULE_WORDS]),
    ) -> Self {
        let at = Offsets::new(shape, page_slots);
        for (word, parent) in self.words[at.rows[6]..].iter_mut().zip(parents) {
            *word = parent.map_or(u32::MAX, |parent| parent as u32);
        }
        self.words[at.hidden_rows..at.hidden_rows + MAX_TREE_ROWS].fill(hidden_row);
        self.words[at.round + 2..at.round + 2 + RULE_WORDS].copy_from_slice(&rule);
        self
    }

    /// The words from the start of the buffer.
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}

/// For each node of a tree the nodes from the root to itself. `parents[i]` is below `i`, or `None`
/// for a child of the committed prefix.
pub(super) fn paths(parents: &[Option<usize>]) -> Result<Vec<Vec<usize>>> {
    let mut all: Vec<Vec<usize>> = Vec::with_capacity(parents.len());
    for (i, &parent) in parents.iter().enumerate() {
        let mut path = match parent {
            None => Vec::new(),
            Some(p) if p < i => all[p].clone(),
            Some(p) => {
                return Err(Error::invalid(format!(
                    "tree node {i} has parent {p}; parents come before their children"
                )));
            }
        };
        path.push(i);
        all.push(path);
    }
    Ok(all)
}

/// Moves as the two arrays of a commit of [`MAX_TREE_ROWS`] rows; unused entries skip.
pub(super) fn move_words(moves: &[Move]) -> Vec<u32> {
    let mut words = vec![u32::MAX; 2 * MAX_TREE_ROWS];
    for (i, m) in moves.iter().enumerate() {
        words[i] = m.src;
        words[MAX_TREE_ROWS + i] = m.dst;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{PagePool, Sequence};

    #[test]
    fn shapes_are_the_smallest_that_cover() {
        let of = |rows, end| StepShape::covering(rows, end, 1024, LogitRows::All);
        let one = StepShape { rows: 1, context: 256, logits: 1, sequences: 1, hidden: false };
        assert_eq!(of(1, 3), one);
        assert_eq!(of(5, 257), StepShape { rows: 6, context: 512, logits: 6, ..one });
        assert_eq!(of(65, 1023).rows, 96);
        assert_eq!(StepShape::covering(1, 300, 320, LogitRows::None).context, 320);
    }

    #[test]
    fn a_tree_sees_its_ancestors_and_padding_sees_nothing() {
        let pool = PagePool::new(16, 32);
        let mut sequence = Sequence::new(&pool);
        KvTxn::stage(&mut sequence, &[5; 40]).expect("room").commit_all();
        let txn = KvTxn::stage(&mut sequence, &[7, 8, 9]).expect("room");
        let shape = StepShape::covering(4, 43, 512, LogitRows::All);
        let paths = paths(&[None, Some(0), Some(0)]).expect("a tree");
        let data = StepData::tree(shape, &txn, 32, &paths);
        let at = Offsets::new(shape, 32);
        let row = |i: usize| &data.words[at.rows[i]..at.rows[i] + 4];
        let slots = txn.slots();
        assert_eq!(row(0), [7, 8, 9, u32::MAX]);
        assert_eq!(row(1), [40, 41, 41, 0]);
        assert_eq!(row(2), [slots[0], slots[1], slots[2], u32::MAX]);
        assert_eq!(row(4), [40, 40, 40, 0]);
        assert_eq!(row(5), [1, 2, 2, 0]);
        assert_eq!(data.words[at.path_slots + 8..][..2], [slots[0], slots[2]]);
        let pages: Vec<u32> = txn.sequence().pages().collect();
        assert_eq!(data.words[at.table..][..2], pages[..]);
        assert!(4 * at.words as u64 <= buffer_bytes(512, 32));
    }

    #[test]
    fn rows_of_a_batch_have_tables_of_their_own() {
        let pool = PagePool::new(16, 32);
        let mut all = [Sequence::new(&pool), Sequence::new(&pool), Sequence::new(&pool)];
        for (sequence, len) in all.iter_mut().zip([40, 3, 70]) {
            KvTxn::stage(sequence, &vec![5; len]).expect("room").commit_all();
        }
        let txns: Vec<KvTxn<'_>> =
            all.iter_mut().map(|s| KvTxn::stage(s, &[7]).expect("room")).collect();
        let shape = StepShape::covering(4, 71, 512, LogitRows::All).batched();
        assert_eq!((shape.rows, shape.sequences, shape.context), (4, 4, 256));
        let data = StepData::batch(shape, &txns, 32);
        let at = Offsets::new(shape, 32);
        let row = |i: usize| &data.words[at.rows[i]..at.rows[i] + 4];
        assert_eq!(row(1), [40, 3, 70, 0]);
        assert_eq!(row(3), [0, 1, 2, 0]);
        assert_eq!(row(4), [41, 4, 71, 0]);
        assert_eq!(row(5), [0; 4]);
        for (i, txn) in txns.iter().enumerate() {
            let pages: Vec<u32> = txn.sequence().pages().collect();
            assert_eq!(data.words[at.table + 8 * i..][..pages.len()], pages[..]);
        }
        assert!(4 * at.words as u64 <= buffer_bytes(512, 32));
    }

    #[test]
    fn parents_after_their_children_are_refused() {
        let error = paths(&[None, Some(1)]).expect_err("its own parent");
        assert!(error.to_string().contains("node 1 has parent 1"), "{error}");
    }
}
