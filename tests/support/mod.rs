//! What integration tests share.

pub mod expected;
pub mod faulty;
