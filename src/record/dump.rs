//! Recordings as text, for snapshots and for people.

use std::fmt;

use super::Recording;

impl fmt::Display for Recording {
    /// One op a line: label, op with shapes, operands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            write!(f, "{:<12} {}", node.label, node.op)?;
            for operand in node.op.operands() {
                write!(f, " {}={}", operand.name, operand.view)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
