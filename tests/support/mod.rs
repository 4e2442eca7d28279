//! What integration tests share.

pub mod adapters;
#[cfg(feature = "cuda")]
#[allow(dead_code, reason = "the primitives' test runs single launches")]
pub mod cuda_host;
