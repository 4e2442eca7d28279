//! Trees of candidate tokens.
//!
//! A tree is two lists: the token of each node and its parent, which comes before it. That order is
//! kept by construction, so every list of ancestors rises, as
//! [`TreeStep::commit`](crate::model::TreeStep::commit) wants it. Plain decoding is the tree of one
//! node, a draft is a chain.

use super::MAX_NODES;
use crate::error::{Error, Result};

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

    /// A tree from elsewhere: the token and the parent of each node.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the node, if the lists are not equally long, if there are more than
    /// [`MAX_NODES`] nodes, or if a parent does not come before its child.
    pub fn from_parts(tokens: &[u32], parents: &[Option<usize>]) -> Result<Self> {
        if tokens.len() != parents.len() {
            return Err(Error::invalid(format!(
                "a tree with {} tokens and {} parents",
                tokens.len(),
                parents.len()
            )));
        }
        if tokens.len() > MAX_NODES {
            return Err(Error::invalid(format!(
                "a tree of {} nodes, wanted at most {MAX_NODES}",
                tokens.len()
            )));
        }
        let mut tree = Self::new();
        for (node, (&token, &parent)) in tokens.iter().zip(parents).enumerate() {
            if let Some(parent) = parent.filter(|&parent| parent >= node) {
                return Err(Error::invalid(format!(
                    "tree node {node} has the parent {parent}, which does not come before it"
                )));
            }
            tree.push(token, parent);
        }
        Ok(tree)
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

    /// What each node may attend to among the nodes: bit `j` of mask `i` is set if `j` is an ancestor
    /// of `i` or `i` itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`MAX_NODES`] nodes.
    pub fn ancestor_masks(&self) -> Result<Vec<u64>> {
        if self.len() > MAX_NODES {
            return Err(Error::invalid(format!(
                "a tree of {} nodes has no {MAX_NODES}-bit masks",
                self.len()
            )));
        }
        Ok(ancestor_masks(self.parents.iter().copied()))
    }

    /// The child of `parent` (or of the sequence) that holds `token`; the first one added.
    pub fn child(&self, parent: Option<usize>, token: u32) -> Option<usize> {
        (0..self.len()).find(|&n| self.parents[n] == parent && self.tokens[n] == token)
    }
}

/// Masks of at most 64 nodes whose parents come before them.
pub(super) fn ancestor_masks(parents: impl Iterator<Item = Option<usize>>) -> Vec<u64> {
    let mut masks: Vec<u64> = Vec::new();
    for (node, parent) in parents.enumerate() {
        masks.push(parent.map_or(0, |parent| masks[parent]) | 1 << node);
    }
    masks
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

    #[test]
    fn trees_from_elsewhere_are_checked() {
        let chain = CandidateTree::from_parts(&[7, 8, 9], &[None, Some(0), Some(1)]);
        assert_eq!(chain.expect("valid"), CandidateTree::chain(&[7, 8, 9]));
        let says = |tokens: &[u32], parents: &[Option<usize>]| {
            CandidateTree::from_parts(tokens, parents).expect_err("invalid").to_string()
        };
        assert!(says(&[1, 2], &[None]).contains("2 tokens and 1 parents"));
        assert!(says(&[1, 2], &[None, Some(1)]).contains("node 1 has the parent 1"));
        assert!(says(&[1, 2], &[Some(7), None]).contains("node 0 has the parent 7"));
        assert!(says(&[0; 65], &[None; 65]).contains("65 nodes"));
        let wide = CandidateTree::chain(&[0; 65]).ancestor_masks().expect_err("too many");
        assert!(wide.to_string().contains("65 nodes"));
    }

    proptest! {
        #[test]
        fn masks_hold_the_path_and_nothing_else(picks in prop::collection::vec(any::<u16>(), 1..=64)) {
            let mut tree = CandidateTree::new();
            for (i, pick) in picks.iter().enumerate() {
                tree.push(0, (*pick as usize % (i + 1)).checked_sub(1));
            }
            for (node, mask) in tree.ancestor_masks().expect("few enough").into_iter().enumerate() {
                let path = tree.path(node).iter().fold(0u64, |bits, &n| bits | 1 << n);
                prop_assert_eq!(mask, path);
            }
        }

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
