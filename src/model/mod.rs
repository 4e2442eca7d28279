//! The model: its configuration, its weights and the recorded forward pass.
//!
//! [`Model`] owns weights, pages and activations on one device. A step is always the same thing: rows
//! are staged in a sequence, a recording made for (row bucket, context bucket, rows with logits) is
//! replayed in one submission with one readback, and the rows are committed. A chunk of a prompt, one
//! token and a tree of candidates differ only in the state that is written before.

pub mod config;
mod heads;
mod llama;
mod load;
mod plan;
mod precision;
mod published;
pub mod rope;
mod round;
mod rows;
mod run;
mod scratch;
mod state;
mod step;
mod synthetic;
mod weights;

pub use load::{MemoryEstimate, ModelOptions};
pub use precision::Precision;
pub use published::Published;
pub use round::{Candidates, DeviceRule, Drafted, Verified, VerifiedNode};
pub use run::Model;
pub use state::{MAX_CHUNK_ROWS, MAX_TREE_ROWS, ROW_BUCKETS, StepShape};
pub use step::{RowStat, StepOutput, TreeStep, Want};
pub use weights::{Layer, Linear, Part, Rotation, Weights};
