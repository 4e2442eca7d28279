//! What integration tests share.

#[cfg(feature = "wgpu")]
pub mod adapters;
pub mod expected;
pub mod faulty;
