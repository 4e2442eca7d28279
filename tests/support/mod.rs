//! What integration tests share.

pub mod adapters;
#[cfg(feature = "cuda")]
pub mod cuda_host;
