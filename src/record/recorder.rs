//! The checked builder of recordings.

use super::{Node, Recording};
use crate::{
    backend::BackendError,
    error::{Result, Site},
    ops::{Access, Op},
};

/// Collects ops, checking shapes, types and aliasing at the place where each is recorded.
#[derive(Debug, Default)]
pub struct Recorder {
    nodes: Vec<Node>,
    label: String,
}

impl Recorder {
    /// An empty recorder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Label of the ops that follow.
    pub fn label(&mut self, label: impl Into<String>) {
        self.label = label.into();
    }

    /// Adds an op. Fails with [`BackendError::Operand`] if its operands do not fit, or if a view
    /// that it writes overlaps another of its views: WebGPU forbids such aliasing, so it is checked
    /// for every backend.
    #[track_caller]
    pub fn push(&mut self, op: impl Into<Op>) -> Result<()> {
        let (op, site) = (op.into(), Site::caller());
        check_op(&op).map_err(|message| BackendError::Operand {
            op: op.to_string(),
            site,
            message,
        })?;
        self.nodes.push(Node { op, site, label: self.label.clone() });
        Ok(())
    }

    /// The recording.
    pub fn finish(self) -> Recording {
        Recording { nodes: self.nodes }
    }
}

/// Checks an op's shapes, types and parameters, and that no view it writes overlaps another of its
/// views. Backends check again when they prepare, since a [`Recording`] is plain data.
pub fn check_op(op: &Op) -> Result<(), String> {
    op.check().and_then(|()| check_aliasing(op))
}

fn check_aliasing(op: &Op) -> Result<(), String> {
    let operands = op.operands();
    for (i, a) in operands.iter().enumerate() {
        for b in &operands[i + 1..] {
            let written = a.access != Access::Read || b.access != Access::Read;
            if written && a.view.overlaps(b.view) {
                return Err(format!(
                    "operand `{}` ({}) overlaps operand `{}` ({})",
                    a.name, a.view, b.name, b.view
                ));
            }
        }
    }
    Ok(())
}
