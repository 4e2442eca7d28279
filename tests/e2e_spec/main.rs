//! Speculation on a tiny model, end to end: whatever is drafted, the text is that of plain decoding.

#[path = "../common/mod.rs"]
mod common;
mod engine;
mod heads;
mod host;
mod layouts;
mod support;
