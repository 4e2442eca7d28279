//! The model: its configuration, its weights and the recorded forward pass.

pub mod config;
