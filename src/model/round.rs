//! Rounds of speculation on the device: draft, verify, accept and commit in one submission with one
//! readback.

use super::{
    Model, RowStat,
    heads::{DraftPlan, DraftShape},
    run::StepKey,
    state::{self, LogitRows, MAX_TREE_ROWS, RULE_WORDS, StepData, StepShape},
    step::row_stat,
};
use crate::{
    backend::View,
    error::{Error, Result},
    kv::{KvTxn, Sequence},
    ops::{ROW_STATS_FIELDS, VERIFY_HEADER, VERIFY_REPORT_FIELDS, VerdictCode, VerifyRule},
    spec::{CandidateTree, TreeTemplate},
};

/// Candidates of a round, root first.
#[derive(Clone, Copy, Debug)]
pub enum Candidates<'a> {
    /// Tokens known on the host, all below one root.
    Known(&'a CandidateTree),
    /// A shape that the heads fill.
    Heads {
        /// Token of the root.
        root: u32,
        /// Shape.
        template: &'a TreeTemplate,
    },
    /// A tree that the heads grow where they are confident.
    Grown {
        /// Token of the root.
        root: u32,
        /// Nodes with the root.
        nodes: usize,
        /// Most edges between the root and a node.
        depth: usize,
    },
}

/// Rules that the device decides by; see [`VerifyRule`] for what each means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeviceRule {
    /// The most likely token.
    Greedy,
    /// One draw by the keyed noise.
    Seeded {
        /// Key of the noise.
        seed: u64,
        /// Divides the logits.
        temperature: f32,
    },
    /// Typical acceptance.
    Typical {
        /// Probability that always suffices.
        eps: f32,
        /// Weight of the entropy's bound.
        alpha: f32,
        /// Divides the logits.
        temperature: f32,
    },
}

impl DeviceRule {
    pub(super) fn op(self) -> VerifyRule {
        match self {
            Self::Greedy => VerifyRule::Greedy,
            Self::Seeded { .. } => VerifyRule::Seeded,
            Self::Typical { .. } => VerifyRule::Typical,
        }
    }

    fn words(self) -> [u32; RULE_WORDS] {
        match self {
            Self::Greedy => [0; RULE_WORDS],
            Self::Seeded { seed, temperature } => {
                [seed as u32, (seed >> 32) as u32, temperature.to_bits(), 0]
            }
            Self::Typical { eps, alpha, temperature } => {
                [eps.to_bits(), alpha.to_bits(), temperature.to_bits(), 0]
            }
        }
    }
}

/// What the device said of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifiedNode {
    /// Probability that the target gives its token, given its parent, at temperature 1.
    pub target_p: f32,
    /// What that had to pass, where there was something.
    pub threshold: Option<f32>,
    /// The token chosen behind it, if it was kept.
    pub chosen: Option<u32>,
    /// What became of it.
    pub verdict: VerdictCode,
    /// Statistics of the target's row at it.
    pub stat: RowStat,
}

/// A round that the device has decided; its path is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// The candidates, with what heads filled in.
    pub drafted: Drafted,
    /// One for each node.
    pub nodes: Vec<VerifiedNode>,
    /// Kept nodes from the root down.
    pub path: Vec<usize>,
    /// The token chosen behind the last of them.
    pub bonus: u32,
}

/// Candidates as they were verified. A node that nothing could be guessed for holds `u32::MAX`.
#[derive(Clone, Debug, PartialEq)]
pub struct Drafted {
    /// Tokens and parents, root first.
    pub tree: CandidateTree,
    /// Natural logarithms of what heads gave each node, given its parent; the root's means nothing.
    pub logprobs: Option<Vec<f32>>,
}

/// Staged rows of a round, as far as the host knows them.
pub(super) struct Staged {
    pub ids: Vec<u32>,
    pub parents: Vec<Option<usize>>,
    plan: Option<DraftPlan>,
}

impl Staged {
    pub fn known(ids: &[u32], parents: &[Option<usize>]) -> Self {
        Self { ids: ids.to_vec(), parents: parents.to_vec(), plan: None }
    }

    fn grown(&self) -> bool {
        matches!(&self.plan, Some(DraftPlan { shape: DraftShape::Grown { .. }, .. }))
    }
}

/// Where in the buffer of hidden states the one behind which the next root was chosen lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct HiddenMark {
    sequence: u64,
    len: usize,
    row: u32,
}

impl HiddenMark {
    /// The mark of a sequence of `len` positions.
    pub fn new(sequence: u64, len: usize, row: usize) -> Option<Self> {
        Some(Self { sequence, len, row: row as u32 })
    }
}

impl Model {
    /// True if heads can draft behind a sequence: there are heads, and the last forward pass was one
    /// of this sequence that left its last hidden state.
    pub fn can_draft(&self, sequence: &Sequence) -> bool {
        self.heads.is_some() && self.hidden_row(sequence).is_some()
    }

    /// Most levels that heads fill; 0 without heads.
    pub fn draft_depth(&self) -> usize {
        self.heads.as_ref().map_or(0, |heads| heads.len())
    }

    /// Heads in words: what their time depends on.
    pub fn describe_heads(&self) -> Option<String> {
        self.heads.as_ref().map(|heads| heads.describe())
    }

    /// Verifies candidates, and commits the path that the rule keeps. One submission, one readback.
    ///
    /// # Errors
    /// Candidates that do not fit ([`Error::Invalid`]), heads that cannot draft
    /// ([`Self::can_draft`]), a full cache ([`Error::Kv`]).
    pub fn round(
        &mut self,
        sequence: &mut Sequence,
        candidates: Candidates<'_>,
        rule: DeviceRule,
    ) -> Result<Verified> {
        let staged = self.stage(sequence, candidates)?;
        let uid = sequence.uid();
        let mut txn = KvTxn::stage(sequence, &staged.ids)?;
        let (key, data) = self.round_data(uid, &txn, &staged, LogitRows::All, Some(rule))?;
        let m = staged.ids.len();
        let round = &self.scratch.round;
        let mut reads =
            vec![round.out.clone(), round.report.rows(0, m)?, self.scratch.stats.rows(0, m)?];
        reads.extend(self.draft_reads(key.shape, &staged)?);
        let download = self.submit(&key, &data, &reads)?;
        let drafted = drafted(&staged, &download, 3);
        let out = download.to_vec::<u32>(0);
        let path: Vec<usize> = out[VERIFY_HEADER..][..(out[0] as usize).min(m)]
            .iter()
            .map(|&node| node as usize)
            .collect();
        let stats = download.to_vec::<[u32; ROW_STATS_FIELDS]>(2);
        let report = download.to_vec::<[u32; VERIFY_REPORT_FIELDS]>(1);
        let nodes = report.into_iter().zip(stats).map(|([p, threshold, chosen, verdict], stat)| {
            let threshold = f32::from_bits(threshold);
            VerifiedNode {
                target_p: f32::from_bits(p),
                threshold: (!threshold.is_nan()).then_some(threshold),
                chosen: (chosen != u32::MAX).then_some(chosen),
                verdict: VerdictCode::from_word(verdict).unwrap_or(VerdictCode::Padding),
                stat: row_stat(stat),
            }
        });
        let nodes = nodes.collect();
        let last = *path.last().ok_or_else(|| Error::invalid("a round kept no node"))?;
        txn.set_ids(drafted.tree.tokens());
        let len = txn.prefix() + path.len();
        // The device has moved the rows already.
        txn.commit(&path)?;
        self.hidden = HiddenMark::new(uid, len, last);
        Ok(Verified { drafted, nodes, path, bonus: out[1] })
    }

    /// The row of hidden states that belongs to the end of a sequence.
    fn hidden_row(&self, sequence: &Sequence) -> Option<u32> {
        self.hidden
            .filter(|mark| (mark.sequence, mark.len) == (sequence.uid(), sequence.len()))
            .map(|mark| mark.row)
    }

    /// Notes which row of hidden states belongs to the end of a sequence.
    pub(super) fn mark_hidden(&mut self, sequence: &Sequence, row: Option<usize>) {
        self.hidden = row.and_then(|row| HiddenMark::new(sequence.uid(), sequence.len(), row));
    }

    pub(super) fn stage(&self, sequence: &Sequence, candidates: Candidates<'_>) -> Result<Staged> {
        let staged = match candidates {
            Candidates::Known(tree) => Staged::known(tree.tokens(), tree.parents()),
            Candidates::Heads { root, template } => {
                let mut ids = vec![u32::MAX; template.len()];
                ids[0] = root;
                let parents = (0..template.len()).map(|node| template.parent(node)).collect();
                let plan = DraftPlan::of_template(self.drafting(sequence)?, template)?;
                let plan = (template.len() > 1).then_some(plan);
                Staged { ids, parents, plan }
            }
            Candidates::Grown { root, nodes, depth } => {
                let nodes = nodes.clamp(1, MAX_TREE_ROWS);
                let mut ids = vec![u32::MAX; nodes];
                ids[0] = root;
                // Any parents before their children do until the tree has grown.
                let parents = (0..nodes).map(|node| (node > 0).then_some(0)).collect();
                let plan = DraftPlan::grown(self.drafting(sequence)?, depth)?;
                let plan = (nodes > 1 && depth > 0).then_some(plan);
                Staged { ids, parents, plan }
            }
        };
        let known = match &staged.plan {
            Some(_) => &staged.ids[..1],
            None => &staged.ids[..],
        };
        self.check(sequence, known)?;
        self.check_rows(&staged)?;
        Ok(staged)
    }

    /// A tree that the caller knows.
    pub(super) fn check_staged(&self, sequence: &Sequence, staged: &Staged) -> Result<()> {
        self.check(sequence, &staged.ids)?;
        self.check_rows(staged)
    }

    fn check_rows(&self, staged: &Staged) -> Result<()> {
        if staged.ids.len() > MAX_TREE_ROWS || staged.ids.len() != staged.parents.len() {
            return Err(Error::invalid(format!(
                "a tree of {} nodes with {} parents, wanted as many parents and at most \
                 {MAX_TREE_ROWS} nodes",
                staged.ids.len(),
                staged.parents.len()
            )));
        }
        Ok(())
    }

    fn drafting(&self, sequence: &Sequence) -> Result<&super::heads::DeviceHeads> {
        match &self.heads {
            Some(heads) if self.hidden_row(sequence).is_some() => Ok(heads),
            Some(_) => Err(Error::invalid(
                "heads read the hidden state of the last forward pass, which was of another sequence",
            )),
            None => Err(Error::invalid("the model has no heads")),
        }
    }

    /// What to run for staged rows, and the state it reads.
    pub(super) fn round_data(
        &mut self,
        uid: u64,
        txn: &KvTxn<'_>,
        staged: &Staged,
        logits: LogitRows,
        rule: Option<DeviceRule>,
    ) -> Result<(StepKey, StepData)> {
        let (rows, page_slots) = (txn.ids().len(), self.kv.shape.page_slots);
        let end = txn.prefix() + rows;
        let shape = StepShape::covering(rows, end, self.kv.shape.slots(), logits);
        let paths = state::paths(&staged.parents)?;
        let mark = self.hidden.filter(|mark| (mark.sequence, mark.len) == (uid, txn.prefix()));
        let row = mark.map_or(u32::MAX, |mark| mark.row);
        let words = rule.map_or([0; RULE_WORDS], DeviceRule::words);
        let data = StepData::tree(shape, txn, page_slots, &paths).with_round(
            shape,
            page_slots,
            &staged.parents,
            (row, words),
        );
        if let (Some(plan), Some(heads)) = (&staged.plan, &self.heads)
            && !plan.words.is_empty()
            && self.drawn_plan != plan.words
        {
            let view = heads.plan_buffer().rows(0, plan.words.len())?;
            self.backend.write(&view, bytemuck::cast_slice(&plan.words))?;
            self.drawn_plan.clone_from(&plan.words);
        }
        let draft = staged.plan.as_ref().map(|plan| plan.shape.clone());
        Ok((StepKey { shape, draft, rule: rule.map(DeviceRule::op) }, data))
    }

    /// What to read back to know the tree.
    pub(super) fn draft_reads(&self, shape: StepShape, staged: &Staged) -> Result<Vec<View>> {
        let Some(_) = &staged.plan else { return Ok(Vec::new()) };
        let m = staged.ids.len();
        let step = self.step_views(shape)?;
        let mut reads = vec![step.ids.rows(0, m)?, self.scratch.round.draft_logprobs.rows(0, m)?];
        if staged.grown() {
            reads.push(step.parents.rows(0, m)?);
        }
        Ok(reads)
    }
}

/// The tree of staged rows; what heads filled in was read back from view `first` on.
pub(super) fn drafted(
    staged: &Staged,
    download: &crate::backend::Download,
    first: usize,
) -> Drafted {
    let mut tree = CandidateTree::new();
    if staged.plan.is_none() {
        for (&id, &parent) in staged.ids.iter().zip(&staged.parents) {
            tree.push(id, parent);
        }
        return Drafted { tree, logprobs: None };
    }
    let ids = download.to_vec::<u32>(first);
    let parents = match staged.grown() {
        true => {
            let words = download.to_vec::<u32>(first + 2);
            // Rows beyond those grown hang below the root, without a token.
            let parent = |(node, word): (usize, u32)| match node {
                0 => None,
                _ => Some(if (word as usize) < node { word as usize } else { 0 }),
            };
            words.into_iter().enumerate().map(parent).collect()
        }
        false => staged.parents.clone(),
    };
    for (&id, &parent) in ids.iter().zip(&parents) {
        tree.push(id, parent);
    }
    Drafted { tree, logprobs: Some(download.to_vec::<f32>(first + 1)) }
}
