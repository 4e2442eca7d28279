//! What a proposer hands to verification.

use super::{CandidateTree, TreeTemplate};

/// Who guessed a node.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Nobody: the root, which the target itself chose a round earlier.
    Root,
    /// Head `0..` of a set; head 0 guesses the token after the root.
    Head(u8),
    /// A repeated n-gram of prompt, output or given documents.
    Lookup,
    /// A datastore.
    Rest,
    /// A smaller model.
    Draft,
}

/// What is known of a node before it is verified.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DraftNode {
    /// Who guessed it.
    pub source: Source,
    /// Place among its proposer's guesses below the same parent, 0 for the likeliest.
    pub rank: u16,
    /// Probability its proposer gave it, given its parent; absent where the proposer has none.
    pub p: Option<f32>,
}

impl DraftNode {
    /// The root: certain, guessed by nobody.
    pub const ROOT: Self = Self { source: Source::Root, rank: 0, p: None };
}

/// Candidates behind a root that is certain already. Node 0 is the root; a draft of one node
/// verifies nothing and is a plain step.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    tree: CandidateTree,
    nodes: Vec<DraftNode>,
}

impl Draft {
    /// Only the root.
    pub fn new(root: u32) -> Self {
        Self { tree: CandidateTree::chain(&[root]), nodes: vec![DraftNode::ROOT] }
    }

    /// Adds a candidate below node `parent` and gives its index. A parent that is no node of the
    /// draft is a programming error.
    pub fn push(&mut self, token: u32, parent: usize, node: DraftNode) -> usize {
        self.nodes.push(node);
        self.tree.push(token, Some(parent))
    }

    /// Tokens and parents, root first.
    pub fn tree(&self) -> &CandidateTree {
        &self.tree
    }

    /// What is known of each node.
    pub fn nodes(&self) -> &[DraftNode] {
        &self.nodes
    }

    /// Number of nodes with the root.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: there is a root.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// What one round verifies.
#[derive(Clone, Debug)]
pub enum Proposal {
    /// Candidates known on the host; only the root where the proposer has no guess.
    Tokens(Draft),
    /// Candidates that the heads of the target fill in on the device, in this shape.
    Heads(TreeTemplate),
}
