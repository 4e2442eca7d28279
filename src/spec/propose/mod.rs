//! Who guesses tokens.
//!
//! | file | what it does |
//! |---|---|
//! | `lookup` | repeats of prompt, answer and given documents ([`Lookup`]) |
//! | `rest` | repeats of a datastore ([`Rest`]) |
//! | `draft_model` | a smaller model ([`DraftModel`]) |
//! | `medusa` | shapes that the heads of the target fill ([`Medusa`]) |
//! | `auto` | whichever of several promises most a unit of time ([`Auto`]) |
//! | `ngrams` | where the end of a growing context occurred before |
//! | `continuations` | what followed those places, merged into a tree with probabilities |
//! | `match_rates` | how often a match of some length was right, learnt as rounds go |
//! | `costs` | what a round costs, so that drafts are no longer than they pay ([`RoundCosts`]) |
//! | `vocabulary` | whether one model can draft for another |
//!
//! Retrieval never pads a draft: what it has no reason to expect is not verified. The probability
//! it gives a node is an estimate of the target's rates, so that drafts of different origin
//! can be weighed against each other and against the time that verifying them takes.

mod auto;
mod continuations;
mod costs;
mod draft_model;
mod lookup;
mod match_rates;
mod medusa;
mod ngrams;
#[cfg(test)]
mod replay;
mod rest;
mod vocabulary;

pub use auto::Auto;
pub use costs::RoundCosts;
pub use draft_model::{DraftModel, DraftModelOptions};
pub use lookup::{Lookup, LookupOptions};
pub use medusa::Medusa;
pub use rest::{Rest, RestOptions};
pub use vocabulary::{VocabularyDifference, compare_vocabularies};

use serde::{Deserialize, Serialize};

use super::{Proposal, RoundOutcome, TreeChoice};
use crate::error::Result;

/// A way to draft; the names are the values of `--spec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// None: one token a step.
    Plain,
    /// Heads on the target's last hidden state (arXiv 2401.10774, 2402.05109).
    Medusa,
    /// Repeated n-grams of prompt, output or documents (arXiv 2304.04487).
    Lookup,
    /// Retrieval from a datastore (arXiv 2311.08252).
    Rest,
    /// A smaller model (arXiv 2211.17192).
    Draft,
    /// Whichever of these promises most in each round.
    Auto,
}

impl Method {
    /// All, in the order of the help text.
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Medusa, Self::Lookup, Self::Rest, Self::Draft, Self::Auto];

    /// Name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Medusa => "medusa",
            Self::Lookup => "lookup",
            Self::Rest => "rest",
            Self::Draft => "draft",
            Self::Auto => "auto",
        }
    }
}

/// What a proposer may look at.
#[derive(Clone, Copy, Debug)]
pub struct DraftContext<'a> {
    /// Every token so far: prompt, answer, and last the root of the round.
    pub ids: &'a [u32],
    /// How many of them are the prompt.
    pub prompt: usize,
    /// Most nodes of the tree with the root, at least 1.
    pub max_nodes: usize,
    /// Most edges between the root and a node.
    pub max_depth: usize,
}

impl DraftContext<'_> {
    /// The token every draft starts from.
    ///
    /// # Panics
    /// If there are no tokens; the driver always has the root.
    pub fn root(&self) -> u32 {
        *self.ids.last().expect("a context ends with its root")
    }
}

/// Guesses tokens. A guess never changes the text, only the time it takes.
pub trait Proposer: Send {
    /// Which method this is.
    fn method(&self) -> Method;

    /// Forgets what belongs to the last generation; called before the first round of the next.
    fn begin(&mut self, prompt: &[u32]) -> Result<()>;

    /// Candidates behind the last of `context.ids`.
    ///
    /// # Errors
    /// Only those of a device or a file; having no guess is a draft of the root alone.
    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal>;

    /// Tokens that the last proposal promises, the bonus included, where the proposer chose it by
    /// what it promises.
    fn expected(&self) -> Option<f64> {
        None
    }

    /// Speed over plain decoding that a draft behind this context promises, where that is known
    /// without asking for one.
    fn speedup(&mut self, _context: &DraftContext<'_>) -> Option<f64> {
        None
    }

    /// Learns what became of a round, its own or another proposer's.
    fn observe(&mut self, outcome: &RoundOutcome);

    /// Takes what rounds cost on this device, so that drafts are no longer than they pay. Who has
    /// nothing to weigh ignores it.
    fn set_costs(&mut self, _costs: &RoundCosts) {}

    /// Takes which shape the trees of heads are to have. Who drafts otherwise ignores it.
    fn set_tree(&mut self, _tree: &TreeChoice) {}
}
