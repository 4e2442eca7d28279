//! How ops are collected: a checked [`Recorder`] builds a plain-data [`Recording`].

mod dump;
mod recorder;

pub use recorder::{Recorder, check_op};

use crate::{error::Site, ops::Op};

/// One op with its origin.
#[derive(Clone, Debug)]
pub struct Node {
    /// The op.
    pub op: Op,
    /// Where it was recorded.
    pub site: Site,
    /// Group it belongs to, such as `blk.3.attn`.
    pub label: String,
}

/// Ops in the order of execution. Plain data: it can be printed, compared and sent to any backend.
///
/// Every op sees the writes of all earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// The ops.
    pub nodes: Vec<Node>,
}
