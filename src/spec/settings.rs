//! What a caller asks of speculation.

use super::{AcceptRule, MAX_NODES, Method, TreeTemplate};
use crate::error::{Error, Result};

/// Shape of the trees that heads fill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TreeChoice {
    /// The one that promises most tokens a unit of time.
    #[default]
    Auto,
    /// The one of so many nodes, root included, that promises most tokens a round.
    Nodes(usize),
    /// This one.
    Shape(TreeTemplate),
}

/// How to speculate; the default does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Speculation {
    /// Who drafts.
    pub method: Method,
    /// Which candidates are kept; the cheapest rule that gives the text of plain decoding if absent.
    pub accept: Option<AcceptRule>,
    /// Shape of the heads' trees.
    pub tree: TreeChoice,
    /// Heads place the nodes of a tree where they are confident in each round; independent heads
    /// only.
    pub grow: bool,
    /// Most nodes of a tree with its root, 1 to [`MAX_NODES`].
    pub max_nodes: usize,
    /// Fall back to plain steps where drafting does not pay.
    pub gate: bool,
}

impl Default for Speculation {
    fn default() -> Self {
        Self {
            method: Method::Plain,
            accept: None,
            tree: TreeChoice::default(),
            grow: false,
            max_nodes: MAX_NODES,
            gate: true,
        }
    }
}

impl Speculation {
    /// Speculation by a method with all else at its default.
    pub fn by(method: Method) -> Self {
        Self { method, ..Self::default() }
    }

    /// Fails with [`Error::Invalid`], naming the value, if the number of nodes is none of a tree's.
    pub fn check(&self) -> Result<()> {
        let nodes = match &self.tree {
            TreeChoice::Nodes(nodes) => *nodes,
            TreeChoice::Auto | TreeChoice::Shape(_) => self.max_nodes,
        };
        for nodes in [nodes, self.max_nodes] {
            if !(1..=MAX_NODES).contains(&nodes) {
                return Err(Error::invalid(format!(
                    "a tree of {nodes} nodes, wanted 1 to {MAX_NODES} with the root"
                )));
            }
        }
        Ok(())
    }
}
