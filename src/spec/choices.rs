//! Tree shapes in files.
//!
//! The published form is a JSON list of choices, each a list of ranks: `[[0], [0, 0], [1]]`. A shape is
//! also determined by the number of children of each node, breadth first and without trailing zeros,
//! where the ranks of siblings are `0, 1, 2, …`: the same tree is `2,1`.

use std::path::Path;

use super::{MAX_NODES, TreeTemplate};
use crate::error::{Error, Result};

impl TreeTemplate {
    /// Reads a file of choices.
    ///
    /// # Errors
    /// A file that cannot be read ([`Error::Io`]), and what [`TreeTemplate::parse_choices`] refuses,
    /// naming the file.
    pub fn read_choices(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            action: "cannot read",
            path: path.into(),
            source,
        })?;
        Self::parse_choices(&text)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    }

    /// From the published form.
    ///
    /// # Errors
    /// [`Error::Invalid`]: text that is no JSON list of lists of ranks (with line and column), no
    /// choice at all, and what [`TreeTemplate::from_choices`] refuses.
    pub fn parse_choices(text: &str) -> Result<Self> {
        let choices: Vec<Vec<usize>> = serde_json::from_str(text).map_err(|e| Error::Invalid {
            message: format!("these are no tree choices: {e}"),
            hint: Some("wanted a list of lists of ranks, as [[0], [0, 0], [1]]".into()),
        })?;
        if choices.is_empty() {
            return Err(Error::invalid("the list of tree choices is empty"));
        }
        Self::from_choices(&choices)
    }

    /// From the numbers of children in breadth-first order.
    ///
    /// # Errors
    /// [`Error::Invalid`]: a count for a node that does not exist, naming it, or more than 63 nodes
    /// below the root.
    pub fn from_child_counts(counts: &[usize]) -> Result<Self> {
        let mut tree = Self::root();
        for (node, &count) in counts.iter().enumerate() {
            if node >= tree.len() {
                return Err(Error::invalid(format!(
                    "there is a child count for node {node}, but only {} nodes",
                    tree.len()
                )));
            }
            if count > MAX_NODES - tree.len() {
                return Err(Error::invalid(format!(
                    "{count} children of node {node} make more than {} nodes below the root",
                    MAX_NODES - 1
                )));
            }
            (0..count).for_each(|rank| tree.push(node, rank));
        }
        Ok(tree)
    }

    /// Numbers of children in breadth-first order without trailing zeros; loses ranks that are not
    /// those of [`TreeTemplate::from_child_counts`].
    pub fn child_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.len()];
        (1..self.len()).filter_map(|node| self.parent(node)).for_each(|parent| counts[parent] += 1);
        while counts.last() == Some(&0) {
            counts.pop();
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (name, child counts, nodes by depth, leaves) of the trees shipped with Medusa.
    const SHIPPED: [(&str, &str, &[usize], usize); 9] = [
        (
            "mc_sim_7b_63",
            "10,10,7,3,2,1,1,1,1,1,1,10,3,2,1,1,1,1,1,0,0,2,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,2",
            &[10, 28, 23, 2],
            42,
        ),
        (
            "vicuna_7b_stage2",
            "10,10,5,2,2,1,1,1,1,0,0,9,4,2,1,1,1,0,0,0,0,3,1,0,0,0,1,0,0,0,0,0,0,0,4,1,1,0,0,0,0,0,0,1",
            &[10, 23, 23, 7],
            42,
        ),
        (
            "vicuna_13b_stage2",
            "10,10,4,2,1,1,1,0,0,0,0,10,4,2,1,1,1,0,0,0,0,3,1,0,0,1,0,1,0,0,4,2,1,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,1",
            &[10, 19, 25, 9],
            42,
        ),
        (
            "vicuna_33b_stage2",
            "10,10,5,3,2,1,1,1,1,0,0,10,4,2,1,1,1,0,0,0,0,3,1,0,0,0,1,0,0,0,0,0,0,0,0,3,1,0,0,0,0,0,0,0,0,1",
            &[10, 24, 24, 5],
            43,
        ),
        (
            "zephyr_stage2",
            "10,10,6,4,2,2,1,1,1,0,0,10,4,2,1,1,1,0,0,0,0,2,1,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,2,1",
            &[10, 27, 23, 3],
            44,
        ),
        (
            "vicuna_7b_stage1",
            "10,10,7,4,3,2,2,1,1,1,1,9,3,2,1,1,1,0,0,0,0,2,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1",
            &[10, 32, 20, 1],
            44,
        ),
        (
            "vicuna_13b_stage1",
            "10,10,7,4,2,2,1,1,1,1,0,10,4,2,1,1,1,0,0,0,0,2,1,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,1",
            &[10, 29, 23, 1],
            44,
        ),
        (
            "vicuna_33b_stage1",
            "10,10,8,5,3,2,2,1,1,1,1,9,3,2,1,1,0,0,0,0,0,2,0,0,0,0,0,0,0,1",
            &[10, 34, 19],
            46,
        ),
        (
            "vicuna_7b_stage1_ablation",
            "10,10,4,2,2,1,1,1,0,0,0,10,4,2,1,1,1,0,0,0,0,3,1,0,0,1,0,1,0,0,0,0,4,1,1,0,0,0,0,0,0,0,1",
            &[10, 21, 25, 7],
            42,
        ),
    ];

    #[test]
    fn the_shipped_trees_have_their_published_counts() {
        for (name, text, by_depth, leaves) in SHIPPED {
            let counts: Vec<usize> =
                text.split(',').map(|n| n.parse().expect("a number")).collect();
            let tree = TreeTemplate::from_child_counts(&counts).expect(name);
            assert_eq!(tree.len(), 64, "{name}");
            let at = |depth| (0..64).filter(|&n| tree.depth(n) == depth).count();
            let found: Vec<usize> = (1..=tree.max_depth()).map(at).collect();
            assert_eq!(found, by_depth, "{name}");
            let inner = tree.child_counts().iter().filter(|&&n| n > 0).count();
            assert_eq!(64 - inner, leaves, "{name}");
            assert_eq!(tree.child_counts(), counts, "{name}");
            assert_eq!(TreeTemplate::from_choices(&tree.choices()).expect(name), tree, "{name}");
        }
    }

    #[test]
    fn files_of_choices_are_read_and_their_faults_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tree.json");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("writable");
            TreeTemplate::read_choices(&path)
        };
        assert_eq!(read("[[0], [0, 0],\n [1]]").expect("valid").child_counts(), [2, 1]);
        for (text, says) in [
            ("[[0], [0, -1]]", "line 1 column"),
            ("{\"a\": 1}", "no tree choices"),
            ("[]", "empty"),
            ("[[]]", "tree choice []"),
            ("[[64]]", "[64]"),
        ] {
            let error = read(text).expect_err("invalid").to_string();
            assert!(error.contains(says) && error.contains("tree.json"), "{error}");
        }
        let missing = TreeTemplate::read_choices(&dir.path().join("none.json"));
        assert!(missing.expect_err("no file").to_string().contains("none.json"));
    }

    #[test]
    fn child_counts_are_checked() {
        let says = |counts: &[usize]| {
            TreeTemplate::from_child_counts(counts).expect_err("invalid").to_string()
        };
        assert!(says(&[1, 0, 4]).contains("node 2, but only 2 nodes"));
        assert!(says(&[60, 4]).contains("4 children of node 1"));
        assert!(says(&[usize::MAX]).contains("children of node 0"));
        assert_eq!(TreeTemplate::from_child_counts(&[]).expect("a root"), TreeTemplate::root());
    }
}
