//! Speculation, independent of the device.
//!
//! A round starts from a *root*: a token the target has chosen and whose keys are not in the cache
//! yet. A [`Proposer`] guesses what may follow it as a tree; one forward pass of the target runs the
//! whole tree; the acceptance rule keeps a path from the root, and the token that the target chooses
//! behind the path's end, the *bonus*, is the root of the next round. A round without guesses is a
//! plain step. [`RoundOutcome`] records all of it.

mod accept;
mod choices;
pub mod datastore;
mod draft;
mod driver;
mod outcome;
pub mod policy;
mod propose;
#[cfg(test)]
pub(crate) mod sample_rounds;
mod settings;
mod stats;
mod template;
pub mod trace;
mod tree;

pub use accept::{
    AcceptRule, Acceptance, Chance, Drawn, Keyed, Law, NodeReport, Replacement, TargetRows, accept,
    accept_sampled, draw_children,
};
pub use draft::{Draft, DraftNode, Proposal, Source};
pub use driver::{Drafting, Driver, RoundStart, Target};
pub use outcome::{NodeOutcome, RoundOutcome, StageTimes, Verdict};
pub use propose::{
    Auto, DraftContext, DraftModel, DraftModelOptions, Lookup, LookupOptions, Medusa, Method,
    Proposer, Rest, RestOptions, RoundCosts, VocabularyDifference, compare_vocabularies,
};
pub use settings::{Speculation, TreeChoice};
pub use stats::{
    CALIBRATION_BINS, CalibrationBin, DepthTally, Promised, Ratio, SourceTally, SpecStats, Tally,
    calibrate,
};
pub use template::{MAX_NODES, TreeTemplate};
pub use tree::CandidateTree;
