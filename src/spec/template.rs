//! Shapes of candidate trees: which guess of which head goes where, before any token is known.

use super::tree::ancestor_masks;
use crate::error::{Error, Result};

/// Most nodes of a tree with its root: the ancestors of a node fit one 64-bit mask.
pub const MAX_NODES: usize = 64;

/// A tree without tokens. Node 0 is the root; node `i > 0` at depth `d` holds guess number
/// `rank(i)` of head `d - 1`, below a parent that comes before it. Nodes are sorted by depth.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeTemplate {
    parents: Vec<u8>,
    ranks: Vec<u8>,
    depths: Vec<u8>,
}

impl TreeTemplate {
    /// From choices as published for Medusa: the path `[a, b, c]` takes guess `a` of head 0, guess
    /// `b` of head 1, guess `c` of head 2. Order and duplicates do not matter; prefixes that are
    /// missing are added.
    ///
    /// # Errors
    /// An empty path, a rank above 63, or more than 63 nodes below the root ([`Error::Invalid`],
    /// naming the path).
    pub fn from_choices(choices: &[Vec<usize>]) -> Result<Self> {
        let mut paths = std::collections::BTreeSet::new();
        for path in choices {
            if path.is_empty() || path.iter().any(|&rank| rank >= MAX_NODES) {
                return Err(Error::invalid(format!(
                    "tree choice {path:?}: a path has at least one rank, each from 0 to 63"
                )));
            }
            paths.extend((1..=path.len()).map(|n| (n, path[..n].to_vec())));
        }
        if paths.len() >= MAX_NODES {
            return Err(Error::invalid(format!(
                "a tree of {} nodes below the root, wanted at most {}",
                paths.len(),
                MAX_NODES - 1
            )));
        }
        let paths: Vec<Vec<usize>> = paths.into_iter().map(|(_, path)| path).collect();
        let mut tree = Self::root();
        for path in &paths {
            let (&rank, parent) = path.split_last().expect("no path is empty");
            let parent = match parent {
                [] => 0,
                _ => 1 + paths.iter().position(|p| p == parent).expect("prefixes were added"),
            };
            tree.push(parent, rank);
        }
        Ok(tree)
    }

    /// Only the root: a plain step.
    pub fn root() -> Self {
        Self { parents: vec![0], ranks: vec![0], depths: vec![0] }
    }

    /// The first guess of each of `depth` heads.
    ///
    /// # Errors
    /// More than 63 of them ([`Error::Invalid`]).
    pub fn chain(depth: usize) -> Result<Self> {
        Self::cartesian(&vec![1; depth])
    }

    /// Every combination of the first `widths[k]` guesses of each head `k`.
    ///
    /// # Errors
    /// A width of 0, or more than 63 nodes below the root ([`Error::Invalid`]).
    pub fn cartesian(widths: &[usize]) -> Result<Self> {
        if widths.contains(&0) {
            return Err(Error::invalid(format!("tree widths {widths:?}: a level has no node")));
        }
        let mut tree = Self::root();
        let mut level = 0..1;
        for &width in widths {
            let nodes = level.len().saturating_mul(width).saturating_add(tree.len());
            if nodes > MAX_NODES {
                return Err(Error::invalid(format!(
                    "tree widths {widths:?} make more than {} nodes below the root",
                    MAX_NODES - 1
                )));
            }
            let next = tree.len();
            for parent in level {
                (0..width).for_each(|rank| tree.push(parent, rank));
            }
            level = next..tree.len();
        }
        Ok(tree)
    }

    /// Appends a node; the caller keeps the order by depth and the limits.
    pub(super) fn push(&mut self, parent: usize, rank: usize) {
        self.depths.push(self.depths[parent] + 1);
        self.parents.push(parent as u8);
        self.ranks.push(rank as u8);
    }

    /// The first `nodes` nodes of at most `depth` edges from the root; at least the root.
    pub fn cut(&self, nodes: usize, depth: usize) -> Self {
        let shallow = self.depths.partition_point(|&d| usize::from(d) <= depth);
        let n = shallow.min(nodes).max(1);
        Self {
            parents: self.parents[..n].to_vec(),
            ranks: self.ranks[..n].to_vec(),
            depths: self.depths[..n].to_vec(),
        }
    }

    /// Number of nodes with the root.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Never: there is a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Parent of a node; the root has none.
    pub fn parent(&self, node: usize) -> Option<usize> {
        (node > 0).then(|| usize::from(self.parents[node]))
    }

    /// Which guess of its head a node holds; 0 for the root.
    pub fn rank(&self, node: usize) -> usize {
        usize::from(self.ranks[node])
    }

    /// Edges between the root and a node.
    pub fn depth(&self, node: usize) -> usize {
        usize::from(self.depths[node])
    }

    /// Ranks along the path to a node: the choice it was made from; empty for the root.
    pub fn choice(&self, node: usize) -> Vec<usize> {
        let upwards = std::iter::successors(Some(node), |&n| self.parent(n));
        let mut ranks: Vec<usize> = upwards.take_while(|&n| n > 0).map(|n| self.rank(n)).collect();
        ranks.reverse();
        ranks
    }

    /// Choices of all nodes below the root: the published form.
    pub fn choices(&self) -> Vec<Vec<usize>> {
        (1..self.len()).map(|node| self.choice(node)).collect()
    }

    /// What each node may attend to among the nodes: bit `j` of mask `i` is set if `j` is an ancestor
    /// of `i` or `i` itself.
    pub fn ancestor_masks(&self) -> Vec<u64> {
        ancestor_masks((0..self.len()).map(|node| self.parent(node)))
    }

    /// Depth of the deepest node: the number of heads needed.
    pub fn max_depth(&self) -> usize {
        self.depths.last().map_or(0, |&d| usize::from(d))
    }

    /// Ranks needed of each head, by depth from 1: one more than the largest used.
    pub fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.max_depth()];
        for node in 1..self.len() {
            let width = &mut widths[self.depth(node) - 1];
            *width = (*width).max(self.rank(node) + 1);
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_has_its_order_and_depths() {
        let choices: Vec<Vec<usize>> =
            [&[0][..], &[0, 0], &[0, 1], &[0, 2], &[1], &[1, 0], &[1, 1], &[1, 2]]
                .map(<[usize]>::to_vec)
                .to_vec();
        let tree = TreeTemplate::from_choices(&choices).expect("valid");
        let depths: Vec<usize> = (0..tree.len()).map(|n| tree.depth(n)).collect();
        assert_eq!(depths, [0, 1, 1, 2, 2, 2, 2, 2, 2]);
        let pool: Vec<usize> = (0..tree.len())
            .map(|n| if n == 0 { 0 } else { 1 + 10 * (tree.depth(n) - 1) + tree.rank(n) })
            .collect();
        assert_eq!(pool, [0, 1, 2, 11, 12, 13, 11, 12, 13]);
        assert_eq!((tree.max_depth(), tree.widths()), (2, vec![2, 3]));
    }

    #[test]
    fn cartesian_trees_have_every_combination() {
        let tree = TreeTemplate::cartesian(&[3, 2]).expect("valid");
        let pairs = (0..3).flat_map(|a| (0..2).map(move |b| vec![a, b]));
        let choices: Vec<Vec<usize>> = (0..3).map(|a| vec![a]).chain(pairs).collect();
        assert_eq!(tree.choices(), choices);
        assert_eq!(tree, TreeTemplate::from_choices(&choices).expect("valid"));
        assert_eq!(TreeTemplate::chain(0).expect("valid"), TreeTemplate::root());
        assert_eq!(TreeTemplate::chain(63).expect("valid").max_depth(), 63);
        assert_eq!(TreeTemplate::cartesian(&[7, 8]).expect("63 below the root").len(), 64);
        for wrong in [&[64][..], &[8, 8], &[2, 0], &[usize::MAX, usize::MAX]] {
            let error = TreeTemplate::cartesian(wrong).expect_err("invalid").to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }

    #[test]
    fn masks_of_a_small_tree() {
        let tree = TreeTemplate::from_choices(&[vec![0, 1], vec![1]]).expect("valid");
        assert_eq!(tree.ancestor_masks(), [0b0001, 0b0011, 0b0101, 0b1011]);
    }

    #[test]
    fn missing_prefixes_are_added_and_limits_named() {
        let tree = TreeTemplate::from_choices(&[vec![1, 0, 2]]).expect("valid");
        assert_eq!(tree.len(), 4);
        assert_eq!(tree.parent(3), Some(2));
        let error = TreeTemplate::from_choices(&[vec![]]).expect_err("empty path");
        assert!(error.to_string().contains("[]"), "{error}");
        let wide: Vec<Vec<usize>> = (0..64).map(|r| vec![r]).collect();
        let error = TreeTemplate::from_choices(&wide).expect_err("64 below the root");
        assert!(error.to_string().contains("64 nodes"), "{error}");
    }
}
