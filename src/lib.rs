//! Coppice: speculative decoding with candidate trees, on any GPU.
//!
//! # Map
//!
//! | module | what lives there |
//! |---|---|
//! | [`mod@format`] | bytes on disk: GGUF, safetensors |
//! | [`quant`] | weight formats and the packed layout all backends read |
//! | [`text`] | tokenizer, chat templates, streaming detokeniser |
//! | [`sample`] | sampler chain and keyed noise |
//! | [`ops`] | what an op is: parameters, operands, checks, formula |
//! | [`record`] | how ops are collected into a plain-data [`record::Recording`] |
//! | [`backend`] | where ops run: CPU reference, fast CPU, wgpu |
//! | [`kv`] | the paged key/value cache and its transactions |
//! | [`model`] | configuration, weights, the recorded forward pass |
//! | [`spec`] | speculation, independent of the device |
//! | [`draw`] | pictures as SVG: rounds, bars, lines |
//! | [`engine`] | one loaded model on one device, generating text |
//! | [`train`] | what heads are trained from, and their training |
//! | [`check`] | the op table: cases, inputs, comparators, report |
//! | [`hub`] | where models come from |
//! | [`cli`] | the command line |
//!
//! A forward pass is recorded once for a (row bucket, context bucket), prepared by a backend and
//! replayed each step; what changes from step to step lives in device buffers. Plain decoding is a
//! candidate tree of one node.

pub mod backend;
pub mod check;
pub mod cli;
pub mod draw;
pub mod dtype;
pub mod engine;
pub mod error;
pub mod format;
pub mod hub;
pub mod kv;
pub mod model;
pub mod ops;
pub mod quant;
pub mod record;
pub mod sample;
pub mod shape;
pub mod spec;
pub mod text;
pub mod train;

pub use error::{Error, Result};
