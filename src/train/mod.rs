//! Training of draft heads: what they learn from, and how.

pub mod data;
pub mod heads;
