//! Speculation, independent of the device.

mod tree;

pub use tree::CandidateTree;
