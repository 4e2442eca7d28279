//! Choosing tokens: a chain of filters and noise that is a pure function of its key.
//!
//! Pure and on the host: nothing here knows devices. Instead of a generator with a state, the noise of
//! a token is a function of (seed, absolute position, token id), and a token is chosen by adding Gumbel
//! noise to log-probabilities and taking the largest. So a seed gives one text whatever the batch
//! width, the order of evaluation or the method of decoding.

mod chain;
mod filters;
#[cfg(test)]
mod law;
mod params;
mod penalties;
pub mod rng;

pub use chain::{Candidate, Choice, Sampler, draw_any};
pub use params::SamplerParams;
pub use rng::{gumbel, philox4x32_10, uniform};
