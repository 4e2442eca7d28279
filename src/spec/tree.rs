//! Trees of candidate tokens.
//!
//! A tree is two lists: the token of each node and its parent, which comes before it. That order is
//! kept by construction, so every list of ancestors rises, as
//! [`TreeStep::commit`](crate::model::TreeStep::commit) wants it. Plain decoding is the tree of one
//! node, a draft is a chain.

/// Candidates behind a sequence. A node without a parent follows the sequence itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CandidateTree {
    tokens: Vec<u32>,
    parents: Vec<Option<usize>>,
    depths: Vec<usize>,
}

impl CandidateTree {
    /// A tree without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree without branches.
    pub fn chain(tokens: &[u32]) -> Self {
        let mut tree = Self::new();
        for (i, &token) in tokens.iter().enumerate() {
            tree.push(token, i.checked_sub(1));
        }
        tree
    }

    /// Adds a node below `parent`, or behind the sequence, and gives its index. A parent that is no
    /// node of the tree is a programming error.
    pub fn push(&mut self, token: u32, parent: Option<usize>) -> usize {
        let depth = parent.map_or(0, |p| self.depths[p] + 1);
        self.tokens.push(token);
        self.parents.push(parent);
        self.depths.push(depth);
        self.tokens.len() - 1
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Token of each node.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Parent of each node.
    pub fn parents(&self) -> &[Option<usize>] {
        &self.parents
    }

    /// Number of ancestors of a node: its position behind the sequence.
    pub fn depth(&self, node: usize) -> usize {
        self.depths[node]
    }

    /// The node's ancestors from the root down, and the node.
    pub fn path(&self, node: usize) -> Vec<usize> {
        let mut path: Vec<usize> =
            std::iter::successors(Some(node), |&n| self.parents[n]).collect();
        path.reverse();
        path
    }

    /// The child of `parent` (or of the sequence) that holds `token`; the first one added.
    pub fn child(&self, parent: Option<usize>, token: u32) -> Option<usize> {
        (0..self.len()).find(|&n| self.parents[n] == parent && self.tokens[n] == token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chain_has_one_path() {
        let tree = CandidateTree::chain(&[7, 8, 9]);
        assert_eq!(tree.path(2), [0, 1, 2]);
        assert_eq!(tree.parents(), [None, Some(0), Some(1)]);
        assert_eq!(tree.depth(2), 2);
    }

    #[test]
    fn children_are_found_by_token_below_their_parent() {
        let mut tree = CandidateTree::new();
        let root = tree.push(1, None);
        let left = tree.push(2, Some(root));
        let right = tree.push(3, Some(root));
        let deep = tree.push(3, Some(left));
        assert_eq!(tree.child(None, 1), Some(root));
        assert_eq!(tree.child(Some(root), 3), Some(right));
        assert_eq!(tree.child(Some(left), 3), Some(deep));
        assert_eq!(tree.child(Some(right), 3), None);
    }

    proptest! {
        #[test]
        fn paths_rise_and_are_as_long_as_depths(picks in prop::collection::vec(any::<u16>(), 1..64)) {
            let mut tree = CandidateTree::new();
            for (i, pick) in picks.iter().enumerate() {
                let parent = (*pick as usize % (i + 1)).checked_sub(1);
                tree.push(u32::from(*pick), parent);
            }
            for node in 0..tree.len() {
                let path = tree.path(node);
                prop_assert_eq!(path.len(), tree.depth(node) + 1);
                prop_assert_eq!(path.last(), Some(&node));
                prop_assert_eq!(tree.parents()[path[0]], None);
                prop_assert!(path.windows(2).all(|w| tree.parents()[w[1]] == Some(w[0]) && w[0] < w[1]));
            }
        }
    }
}
