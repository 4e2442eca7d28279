//! One loaded model on one device, generating text.
//!
//! [`Engine`] owns device, model and tokenizer; [`Engine::generate`] is the loop from prompt ids to
//! text. Everything here is synchronous and driven by a callback, so that tests and the command line
//! need no executor; whoever wants a thread of its own puts the engine there.

mod batch;
mod bench;
mod curve;
mod device;
mod drafting;
mod emitter;
mod forms;
mod generate;
mod hidden;
mod load;
mod score;
mod shipped;
mod timings;

pub use batch::{Batch, Finished, Turn};
pub use bench::{RoundTimes, TimedModel};
pub use device::{DeviceSpec, cuda_adapters, cuda_refused, list_adapters, open_device};
pub use drafting::{DraftSources, vocabulary_id};
pub use forms::{DeviceForm, open_form};
pub use generate::{Event, Generation, Request, StopReason};
pub use load::{Engine, LoadOptions};
pub use score::{Perplexity, Scored};
pub use timings::Timings;
