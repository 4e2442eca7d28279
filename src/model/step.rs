//! Steps: tokens behind a sequence, as a chunk, a tree or a batch, and what they give.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    Model,
    round::{Candidates, Drafted, HiddenMark, Staged, drafted},
    state::{LogitRows, MAX_CHUNK_ROWS, MAX_TREE_ROWS, StepData, StepShape},
};
use crate::{
    error::{Error, Result},
    kv::{KvTxn, Sequence},
    ops::ROW_STATS_FIELDS,
};

/// What a step reads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing: only the cache is filled.
    Nothing,
    /// Statistics of the last row.
    LastStats,
    /// Statistics and logits of the last row.
    LastLogits,
    /// Statistics of every row.
    AllStats,
    /// Statistics and logits of every row.
    AllLogits,
    /// The hidden state of every row after the final norm, as the output matrix reads it; the
    /// output matrix itself does not run.
    AllHidden,
}

impl Want {
    pub(super) fn rows(self) -> LogitRows {
        match self {
            Self::Nothing => LogitRows::None,
            Self::LastStats | Self::LastLogits => LogitRows::One,
            Self::AllStats | Self::AllLogits => LogitRows::All,
            Self::AllHidden => LogitRows::Hidden,
        }
    }

    pub(super) fn logits(self) -> bool {
        matches!(self, Self::LastLogits | Self::AllLogits)
    }
}

/// Statistics of a row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowStat {
    /// Largest logit.
    pub max: f32,
    /// Its id, the lowest on ties.
    pub argmax: u32,
    /// `ln sum exp(l)`.
    pub logsumexp: f32,
    /// Entropy of the softmax in nats.
    pub entropy: f32,
}

/// What a step gave, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutput {
    /// One for each row wanted.
    pub stats: Vec<RowStat>,
    /// `V` for each row wanted, if logits were.
    pub logits: Option<Vec<f32>>,
    /// `D` for each row, if hidden states were wanted.
    pub hidden: Option<Vec<f32>>,
}

impl Model {
    /// Appends `ids` to a sequence in chunks of at most [`MAX_CHUNK_ROWS`] rows, or
    /// [`MAX_TREE_ROWS`] if every row's logits or statistics are wanted, and commits them.
    ///
    /// # Errors
    /// Empty `ids` or ids beyond the vocabulary ([`Error::Invalid`]); a full cache
    /// ([`Error::Kv`]); [`Error::Cancelled`] if `cancel` is raised between chunks. Chunks done before
    /// stay committed.
    pub fn prefill(
        &mut self,
        sequence: &mut Sequence,
        ids: &[u32],
        want: Want,
        cancel: &AtomicBool,
    ) -> Result<StepOutput> {
        self.check(sequence, ids)?;
        let all = matches!(want.rows(), LogitRows::All | LogitRows::Hidden);
        let size = if want.rows() == LogitRows::All { MAX_TREE_ROWS } else { MAX_CHUNK_ROWS };
        let mut output = StepOutput::default();
        let mut left = ids;
        while !left.is_empty() {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let (chunk, rest) = left.split_at(size.min(left.len()));
            let want = if all || rest.is_empty() { want } else { Want::Nothing };
            let txn = KvTxn::stage(sequence, chunk)?;
            let shape = self.shape(&txn, want);
            let data = StepData::chunk(shape, &txn, self.kv.shape.page_slots);
            let step = self.run(&shape.into(), &data, (chunk.len(), want), &[])?.0;
            txn.commit_all();
            let row = match want.rows() {
                LogitRows::One => Some(0),
                LogitRows::All => Some(chunk.len() - 1),
                LogitRows::None | LogitRows::Hidden => None,
            };
            self.mark_hidden(sequence, row);
            output.stats.extend(step.stats);
            if let Some(logits) = step.logits {
                output.logits.get_or_insert_default().extend(logits);
            }
            if let Some(hidden) = step.hidden {
                output.hidden.get_or_insert_default().extend(hidden);
            }
            left = rest;
        }
        Ok(output)
    }

    /// Appends one token: the tree of one node, committed.
    pub fn decode(&mut self, sequence: &mut Sequence, id: u32, want: Want) -> Result<StepOutput> {
        let step = self.tree_step(sequence, &[id], &[None], want)?;
        let output = step.output.clone();
        step.commit(&[0])?;
        Ok(output)
    }

    /// Runs a tree of candidates behind a sequence: node `i` holds `ids[i]` and follows node
    /// `parents[i]`, which comes before it, or the sequence itself. Nothing is committed until
    /// [`TreeStep::commit`]. *Last* in `want` is the last node.
    ///
    /// # Errors
    /// More than [`MAX_TREE_ROWS`] nodes, a bad parent or id ([`Error::Invalid`]); a full cache
    /// ([`Error::Kv`]).
    pub fn tree_step<'a>(
        &'a mut self,
        sequence: &'a mut Sequence,
        ids: &[u32],
        parents: &[Option<usize>],
        want: Want,
    ) -> Result<TreeStep<'a>> {
        let staged = Staged::known(ids, parents);
        self.check_staged(sequence, &staged)?;
        self.staged_step(sequence, &staged, want)
    }

    /// Like [`Self::tree_step`], for candidates that heads may fill in.
    ///
    /// # Errors
    /// As [`Self::tree_step`], and heads that cannot draft ([`Self::can_draft`]).
    pub fn candidate_step<'a>(
        &'a mut self,
        sequence: &'a mut Sequence,
        candidates: Candidates<'_>,
        want: Want,
    ) -> Result<TreeStep<'a>> {
        let staged = self.stage(sequence, candidates)?;
        self.staged_step(sequence, &staged, want)
    }

    fn staged_step<'a>(
        &'a mut self,
        sequence: &'a mut Sequence,
        staged: &Staged,
        want: Want,
    ) -> Result<TreeStep<'a>> {
        let uid = sequence.uid();
        let mut txn = KvTxn::stage(sequence, &staged.ids)?;
        let (key, data) = self.round_data(uid, &txn, staged, want.rows(), None)?;
        let extra = self.draft_reads(key.shape, staged)?;
        let (output, download) = self.run(&key, &data, (staged.ids.len(), want), &extra)?;
        let first = download.ranges.len() - extra.len();
        let drafted = drafted(staged, &download, first);
        txn.set_ids(drafted.tree.tokens());
        let hidden = want.rows();
        Ok(TreeStep { output, drafted, model: self, txn, hidden, uid })
    }

    /// Appends one token to each of several sequences, in one step, and commits it: `ids[i]` to
    /// `sequences[i]`. Row `i` of what is wanted has the bits that [`Self::decode`] gives; *last* in
    /// `want` is the last sequence.
    ///
    /// # Errors
    /// No sequences or more than [`MAX_TREE_ROWS`], not as many ids, a bad id ([`Error::Invalid`]);
    /// a full cache ([`Error::Kv`]), which leaves all sequences as they were.
    pub fn batch_decode(
        &mut self,
        sequences: &mut [&mut Sequence],
        ids: &[u32],
        want: Want,
    ) -> Result<StepOutput> {
        if sequences.len() > MAX_TREE_ROWS || sequences.len() != ids.len() {
            return Err(Error::invalid(format!(
                "a batch of {} sequences with {} tokens, wanted one each for at most \
                 {MAX_TREE_ROWS} sequences",
                sequences.len(),
                ids.len()
            )));
        }
        for sequence in sequences.iter() {
            self.check(sequence, ids)?;
        }
        let mut txns = Vec::with_capacity(ids.len());
        for (sequence, id) in sequences.iter_mut().zip(ids) {
            txns.push(KvTxn::stage(sequence, std::slice::from_ref(id))?);
        }
        let end = txns.iter().map(|txn| txn.prefix() + 1).max();
        let end = end.ok_or_else(|| Error::invalid("a step needs at least one token"))?;
        let shape = StepShape::covering(ids.len(), end, self.kv.shape.slots(), want.rows());
        let shape = shape.batched();
        let data = StepData::batch(shape, &txns, self.kv.shape.page_slots);
        let (output, _) = self.run(&shape.into(), &data, (ids.len(), want), &[])?;
        txns.into_iter().for_each(KvTxn::commit_all);
        Ok(output)
    }
}

/// A tree that has run and is not yet committed. Dropping it rolls back.
#[must_use = "dropping a tree step rolls it back"]
pub struct TreeStep<'a> {
    /// Results of the nodes wanted.
    pub output: StepOutput,
    /// The nodes.
    pub drafted: Drafted,
    model: &'a mut Model,
    txn: KvTxn<'a>,
    hidden: LogitRows,
    uid: u64,
}

impl TreeStep<'_> {
    /// Accepts the nodes of a path from the root, in order of depth; their keys and values become
    /// the sequence's next positions.
    pub fn commit(self, path: &[usize]) -> Result<()> {
        let (len, last) = (self.txn.prefix() + path.len(), self.txn.ids().len() - 1);
        let moves = self.txn.commit(path)?;
        self.model.carry_out(&moves)?;
        self.model.hidden = match (self.hidden, path.last()) {
            (LogitRows::All, Some(&row)) => HiddenMark::new(self.uid, len, row),
            (LogitRows::One, Some(&row)) if row == last => HiddenMark::new(self.uid, len, 0),
            _ => None,
        };
        Ok(())
    }
}

pub(super) fn row_stat([max, argmax, logsumexp, entropy]: [u32; ROW_STATS_FIELDS]) -> RowStat {
    RowStat {
        max: f32::from_bits(max),
        argmax,
        logsumexp: f32::from_bits(logsumexp),
        entropy: f32::from_bits(entropy),
    }
}
