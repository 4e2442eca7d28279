//! Self-distillation: conversations in which the model itself wrote the answers.
//!
//! Heads guess what *this* model says next, so they learn from its own answers and not from anyone's
//! corpus ([`arXiv 2401.10774`](https://arxiv.org/abs/2401.10774), section 2.3.2). Prompts are given
//! ([`Job::read`]), or the model writes them too: behind the header of a user's turn an instruction
//! model goes on with what users say (arXiv 2406.08464).
//!
//! [`write()`] runs many conversations at once and appends each to a [`DataSet`] file when it is
//! complete. What a conversation becomes depends on its key and the settings alone, not on its
//! neighbours, so a run that was killed and started again makes the same set as one that was not.

mod conversation;
mod frame;
mod prompts;
mod set;
mod write;

pub use frame::Frame;
pub use prompts::{Job, UserTurn};
pub use set::{DataSet, Header, Record, SetWriter, Settings};
pub use write::{Progress, write};
