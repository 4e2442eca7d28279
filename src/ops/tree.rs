//! Trees of candidates: from the heads' best guesses to nodes, and from the target's logits to the
//! accepted path.
//!
//! Row 0 of a tree is its root: the token that the target chose in the round before. Rows are in an
//! order in which a parent comes before its children. Everything that changes from round to round is
//! state, so drafting, verification and commit are one recording without a readback between them.

use super::{CheckResult, Operand, ROW_STATS_FIELDS, dense, expect, ranked, read, update, write};
use crate::{backend::View, dtype::DType};

/// Most rows M of a tree: the ancestors of a node fit one 64-bit mask.
pub const MAX_TREE_NODES: usize = 64;

fn tree_rows(name: &str, view: &View) -> Result<usize, String> {
    let m = ranked(name, view, DType::U32, 1)?[0];
    if m == 0 || m > MAX_TREE_NODES {
        return Err(format!("operand `{name}` has {m} rows, wanted 1 to {MAX_TREE_NODES}"));
    }
    Ok(m)
}

/// Best guesses of heads, as [`TopK`](super::TopK) gives them; gives `[R, k]`.
fn guesses(ids: &View, logprobs: &View, map: Option<&View>) -> Result<[usize; 2], String> {
    let dims = ranked("ids", ids, DType::U32, 2)?;
    if dims[1] == 0 {
        return Err("rows of no guesses".into());
    }
    expect("logprobs", logprobs, DType::F32, dims)?;
    if let Some(map) = map {
        ranked("map", map, DType::U32, 1)?;
        dense("map", map)?;
    }
    Ok([dims[0], dims[1]])
}

fn map_summary(map: Option<&View>) -> String {
    map.map_or(String::new(), |map| format!(", map={}", map.shape.dim(0)))
}

/// Guesses into the nodes of a static tree: for each `m` with `(row, rank) = template[m]` inside
/// `[R, k]`, `tokens[m] = ids[row, rank]` and `draft_logprobs[m] = logprobs[row, rank]`. With a
/// `map`, the token is `map[ids[row, rank]]`. A row or rank out of range (use `u32::MAX`), or an id
/// not below V', leaves the node untouched: the root, and levels of other calls.
///
/// Independent heads (arXiv 2401.10774) fill a tree in one call, sequential ones (arXiv 2402.05109)
/// call it once a level.
#[derive(Clone, Debug)]
pub struct BuildTree {
    /// `[R, k]` u32.
    pub ids: View,
    /// `[R, k]` f32.
    pub logprobs: View,
    /// `[V']` u32: the target's id of each id of a draft vocabulary; dense.
    pub map: Option<View>,
    /// `[M, 2]` u32: row and rank.
    pub template: View,
    /// `[M]` u32 in place.
    pub tokens: View,
    /// `[M]` f32 in place: natural logarithms of the draft's probabilities, given the parent.
    pub draft_logprobs: View,
}

impl BuildTree {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let mut all = vec![read("ids", &self.ids), read("logprobs", &self.logprobs)];
        all.extend(self.map.iter().map(|map| read("map", map)));
        all.extend([
            read("template", &self.template),
            update("tokens", &self.tokens),
            update("draft_logprobs", &self.draft_logprobs),
        ]);
        all
    }

    pub(super) fn check(&self) -> CheckResult {
        guesses(&self.ids, &self.logprobs, self.map.as_ref())?;
        let m = tree_rows("tokens", &self.tokens)?;
        expect("template", &self.template, DType::U32, &[m, 2])?;
        expect("draft_logprobs", &self.draft_logprobs, DType::F32, &[m])
    }

    pub(super) fn summary(&self) -> String {
        let (ids, m) = (self.ids.shape, self.tokens.shape.dim(0));
        let map = map_summary(self.map.as_ref());
        format!("r={}, k={}, m={m}{map}", ids.dim(0), ids.dim(1))
    }
}

/// A tree of the `nodes` most confident candidates of independent heads (the dynamic tree of
/// arXiv 2406.16858, section 4.2, for heads that do not see each other).
///
/// Row `r` of the guesses is for depth `r + 1`, best first. A candidate is the next guess not taken
/// yet below a node; its confidence is the sum of log-probabilities along its path, taken in f32 from
/// the root down. Beginning with the root, the candidate of the largest confidence becomes the next
/// row; ties go to the smaller depth, then to the lower parent. So parents precede children, and the
/// rank of a node among its siblings is the number of earlier rows with its parent. A candidate whose
/// confidence is not a number above minus infinity is never taken.
///
/// Rows beyond `nodes`, or beyond the candidates there are, are padding: token and parent
/// `u32::MAX`, position, path and `draft_logprobs` 0.
#[derive(Clone, Debug)]
pub struct GrowTree {
    /// `[R, k]` u32.
    pub ids: View,
    /// `[R, k]` f32.
    pub logprobs: View,
    /// `[V']` u32: the target's id of each id of a draft vocabulary; dense. An id not below V' gives
    /// token `u32::MAX`, which no rule accepts.
    pub map: Option<View>,
    /// `[1]` u32: the root's token.
    pub root: View,
    /// `[1]` u32: committed positions; the root has this position.
    pub prefix: View,
    /// `[M]` u32: the cache slot of each row.
    pub slots: View,
    /// `[1]` u32: rows to grow, with the root; more than M means M.
    pub nodes: View,
    /// `[M]` u32.
    pub tokens: View,
    /// `[M]` f32: natural logarithms of the draft's probabilities, given the parent; the root's is 0.
    pub draft_logprobs: View,
    /// `[M]` u32: row of the parent; `u32::MAX` for the root.
    pub parents: View,
    /// `[M]` u32: prefix and depth.
    pub positions: View,
    /// `[M]` u32: length of the path in `path_slots`, 1 for the root.
    pub path: View,
    /// `[M, L]` u32, `L >= min(R + 1, M)`: slots of the ancestors from the root down, then the row's
    /// own; 0 behind them.
    pub path_slots: View,
}

impl GrowTree {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let mut all = vec![read("ids", &self.ids), read("logprobs", &self.logprobs)];
        all.extend(self.map.iter().map(|map| read("map", map)));
        all.extend([
            read("root", &self.root),
            read("prefix", &self.prefix),
            read("slots", &self.slots),
            read("nodes", &self.nodes),
            write("tokens", &self.tokens),
            write("draft_logprobs", &self.draft_logprobs),
            write("parents", &self.parents),
            write("positions", &self.positions),
            write("path", &self.path),
            write("path_slots", &self.path_slots),
        ]);
        all
    }

    pub(super) fn check(&self) -> CheckResult {
        let [r, _] = guesses(&self.ids, &self.logprobs, self.map.as_ref())?;
        let m = tree_rows("tokens", &self.tokens)?;
        for (name, view) in [("root", &self.root), ("prefix", &self.prefix), ("nodes", &self.nodes)]
        {
            expect(name, view, DType::U32, &[1])?;
        }
        expect("slots", &self.slots, DType::U32, &[m])?;
        expect("draft_logprobs", &self.draft_logprobs, DType::F32, &[m])?;
        expect("parents", &self.parents, DType::U32, &[m])?;
        expect("positions", &self.positions, DType::U32, &[m])?;
        expect("path", &self.path, DType::U32, &[m])?;
        let paths = ranked("path_slots", &self.path_slots, DType::U32, 2)?;
        let longest = m.min(r + 1);
        if paths[0] != m || paths[1] < longest {
            return Err(format!(
                "operand `path_slots` is {}, wanted {m} rows of at least {longest}",
                self.path_slots.shape
            ));
        }
        Ok(())
    }

    pub(super) fn summary(&self) -> String {
        let (ids, m) = (self.ids.shape, self.tokens.shape.dim(0));
        let (l, map) = (self.path_slots.shape.dim(1), map_summary(self.map.as_ref()));
        format!("r={}, k={}, m={m}, l={l}{map}", ids.dim(0), ids.dim(1))
    }
}

/// How [`VerifyTree`] decides which nodes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VerifyRule {
    /// From the root on, the first child that holds the argmax of its parent's row. Lossless: equals
    /// greedy decoding token for token.
    Greedy,
    /// At each node reached one token is drawn by the keyed noise of [`crate::sample::rng`], as
    /// [`crate::sample::draw_any`] says, at position `positions[node] + 1`; the first child that
    /// holds it is kept. Lossless: the same seed gives the text of plain decoding.
    ///
    /// `params` are the seed's low and high half, the temperature's f32 bits, and a word not used. A
    /// temperature of 0 takes the argmax.
    Seeded,
    /// Typical acceptance (arXiv 2401.10774, section 2.3.1; not lossless). With
    /// `p = softmax(logits[parent] / T)` and `H` its entropy in nats, a child of a kept node is kept
    /// if `p(token) > min(eps, alpha exp(-H))`. The longest path of kept nodes wins, ties go to the
    /// larger sum of `ln p`, then to the lower row. The bonus is the argmax at its end.
    ///
    /// `params` are the f32 bits of eps, alpha and T, and a word not used. At T = 1 log-sum-exp and
    /// entropy are those in `stats`; at T = 0 the argmax has all probability.
    Typical,
}

impl VerifyRule {
    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Seeded => "seeded",
            Self::Typical => "typical",
        }
    }
}

/// Words of [`VerifyTree::out`] before the path.
pub const VERIFY_HEADER: usize = 4;
/// Words of [`VerifyTree::out`].
pub const VERIFY_WORDS: usize = VERIFY_HEADER + MAX_TREE_NODES;
/// Words of one row of [`VerifyTree::report`].
pub const VERIFY_REPORT_FIELDS: usize = 4;

/// What became of a row: the last word of its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum VerdictCode {
    /// Row 0.
    Root = 0,
    /// On the path that was kept.
    Accepted = 1,
    /// Its parent was kept and another token chosen there.
    Rejected = 2,
    /// Its parent passed and its probability did not pass the threshold.
    BelowThreshold = 3,
    /// Passed, but another path was longer or likelier, or an earlier sibling holds the same token.
    Outrun = 4,
    /// Its parent was not kept, so it was never looked at.
    Unreached = 5,
    /// No node: not below `nodes`, or without a parent before it.
    Padding = 6,
}

impl VerdictCode {
    /// The verdict that a report's word stands for.
    pub fn from_word(word: u32) -> Option<Self> {
        use VerdictCode::{Accepted, BelowThreshold, Outrun, Padding, Rejected, Root, Unreached};
        [Root, Accepted, Rejected, BelowThreshold, Outrun, Unreached, Padding]
            .into_iter()
            .find(|&code| code as u32 == word)
    }
}

/// Which candidates the target accepts, and the moves that bring their keys and values behind the
/// prefix.
#[derive(Clone, Debug)]
pub struct VerifyTree {
    /// Which nodes are kept.
    pub rule: VerifyRule,
    /// `[M, V]` f32: logits at each row, that is of the token behind it.
    pub logits: View,
    /// `[M, 4]` u32: what [`RowStats`](super::RowStats) says of `logits`.
    pub stats: View,
    /// `[M]` u32.
    pub tokens: View,
    /// `[M]` u32: row of the parent, below the row itself; not looked at for row 0.
    pub parents: View,
    /// `[M]` u32: position of each row's own token.
    pub positions: View,
    /// `[M]` u32: the cache slot of each row.
    pub slots: View,
    /// `[1]` u32: rows in use, with the root; more than M means M.
    pub nodes: View,
    /// `[4]` u32: see [`VerifyRule`]; dense.
    pub params: View,
    /// `[68]` u32, dense: number of kept nodes with the root, bonus token, last kept node, 0; then
    /// the kept nodes from the root down, and `u32::MAX` behind them. Without a node the first three
    /// are 0, `u32::MAX`, `u32::MAX`.
    pub out: View,
    /// `[M, 4]` u32 for each row: f32 bits of the probability that the target gives its token at its
    /// parent, at temperature 1 (root 1, padding 0); f32 bits of the threshold that it had to pass, or
    /// of a NaN where there was none; the token chosen at the row, or `u32::MAX` where none was;
    /// [`VerdictCode`].
    pub report: View,
    /// `[M]` u32: for [`KvCommit`](super::KvCommit), the slot of the i-th kept node ...
    pub src: View,
    /// `[M]` u32: ... and the slot of row i; both `u32::MAX` where they are the same slot, and behind
    /// the path.
    pub dst: View,
}

impl VerifyTree {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![
            read("logits", &self.logits),
            read("stats", &self.stats),
            read("tokens", &self.tokens),
            read("parents", &self.parents),
            read("positions", &self.positions),
            read("slots", &self.slots),
            read("nodes", &self.nodes),
            read("params", &self.params),
            write("out", &self.out),
            write("report", &self.report),
            write("src", &self.src),
            write("dst", &self.dst),
        ]
    }

    pub(super) fn check(&self) -> CheckResult {
        let m = tree_rows("tokens", &self.tokens)?;
        let v = ranked("logits", &self.logits, DType::F32, 2)?[1];
        if v == 0 {
            return Err("rows of no logits".into());
        }
        expect("logits", &self.logits, DType::F32, &[m, v])?;
        expect("stats", &self.stats, DType::U32, &[m, ROW_STATS_FIELDS])?;
        for (name, view) in [
            ("parents", &self.parents),
            ("positions", &self.positions),
            ("slots", &self.slots),
            ("src", &self.src),
            ("dst", &self.dst),
        ] {
            expect(name, view, DType::U32, &[m])?;
        }
        expect("nodes", &self.nodes, DType::U32, &[1])?;
        expect("params", &self.params, DType::U32, &[4])?;
        dense("params", &self.params)?;
        expect("out", &self.out, DType::U32, &[VERIFY_WORDS])?;
        dense("out", &self.out)?;
        expect("report", &self.report, DType::U32, &[m, VERIFY_REPORT_FIELDS])
    }

    pub(super) fn summary(&self) -> String {
        let l = self.logits.shape;
        format!("{}, m={}, v={}", self.rule.name(), l.dim(0), l.dim(1))
    }
}
