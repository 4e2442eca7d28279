//! What integration tests share.

pub mod adapters;
pub mod expected;
pub mod faulty;
