//! What happened in a round: the one record that trace, statistics, policy, terminal and app read.

use serde::{Deserialize, Serialize};

use super::{Method, Source};

/// What became of a node, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Verdict {
    /// The root: chosen by the target in the round before, so certain.
    Root,
    /// On the path that was kept.
    Accepted,
    /// Its parent was kept and the target chose this other token there.
    Rejected {
        /// The token chosen at its parent.
        wanted: u32,
    },
    /// Its parent was kept and its probability did not pass the threshold.
    BelowThreshold,
    /// Passed, but another path was longer or likelier.
    Outrun,
    /// Its parent was not kept, so it was never looked at.
    Unreached,
}

/// One node of a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeOutcome {
    /// Token.
    pub token: u32,
    /// Index of the parent in the round's nodes; the root has none.
    pub parent: Option<u32>,
    /// Edges from the root.
    pub depth: u32,
    /// Who guessed it.
    pub source: Source,
    /// Place among the proposer's guesses below the same parent.
    pub rank: u16,
    /// Probability the proposer gave it, given its parent.
    pub draft_p: Option<f32>,
    /// Probability the target gave it, given its parent, at temperature 1 without filters; absent
    /// where the round did not read it back.
    pub target_p: Option<f32>,
    /// Entropy in nats of the target's distribution **at** this node (of the token after it).
    pub entropy: Option<f32>,
    /// What its probability had to pass (typical acceptance only).
    pub threshold: Option<f32>,
    /// What became of it.
    pub verdict: Verdict,
}

/// Wall time of the stages of a round in milliseconds. A stage that ran within another's
/// submission has no time of its own and is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTimes {
    /// Proposing on the host or by a draft model.
    pub draft_ms: f64,
    /// The submission with the verification forward, up to its readback.
    pub verify_ms: f64,
    /// Moving accepted rows of the cache, if that was a submission of its own.
    pub commit_ms: f64,
    /// Everything else of the round: acceptance on the host, bookkeeping.
    pub host_ms: f64,
}

impl StageTimes {
    /// All stages together.
    pub fn total_ms(&self) -> f64 {
        self.draft_ms + self.verify_ms + self.commit_ms + self.host_ms
    }

    /// Adds each stage to its own.
    pub fn add(&mut self, other: &Self) {
        self.draft_ms += other.draft_ms;
        self.verify_ms += other.verify_ms;
        self.commit_ms += other.commit_ms;
        self.host_ms += other.host_ms;
    }
}

/// A round: one forward pass of the target over a tree of candidates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundOutcome {
    /// Number of the round in its generation, from 0.
    pub round: u64,
    /// Committed positions before the round; the root has this position.
    pub prefix: u64,
    /// Who drafted; [`Method::Plain`] for a round of the root alone.
    pub method: Method,
    /// Nodes, root first, parents before children.
    pub nodes: Vec<NodeOutcome>,
    /// Kept nodes from the root down; at least the root.
    pub path: Vec<u32>,
    /// The token the target chose behind the last kept node: the next round's root.
    pub bonus: u32,
    /// Tokens that the draft promised, the bonus included, where its shape was chosen by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
    /// Wall times.
    pub times: StageTimes,
}

impl RoundOutcome {
    /// Candidates kept, without root and bonus.
    pub fn accepted(&self) -> usize {
        self.path.len() - 1
    }

    /// Candidates verified, without the root.
    pub fn drafted(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Tokens the round added to the text: those accepted, and the bonus.
    pub fn tokens(&self) -> usize {
        self.path.len()
    }

    /// The tokens added to the text, in order: accepted ones, then the bonus.
    pub fn added(&self) -> Vec<u32> {
        let accepted = self.path[1..].iter().map(|&n| self.nodes[n as usize].token);
        accepted.chain([self.bonus]).collect()
    }
}
