//! Training of draft heads.

pub mod heads;
