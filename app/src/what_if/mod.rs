//! What if: recorded rounds scored again with another tree or another rule.
//!
//! A trace knows the candidates that were drafted and what the model said of them, and nothing of
//! any others. So each round is judged where the trace started it, a count that depends on a
//! candidate nobody drafted becomes a range, and times are those of a measured curve, for the rounds
//! as recorded too, so that like is compared with like.

mod job;
mod rescore;

use coppice::spec::TreeTemplate;

pub use job::{Job, Rescored, curve_of};
pub use rescore::{Judged, judge};

/// Shape of the trees.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Trees {
    /// Those of the trace, cut by the limits.
    #[default]
    Recorded,
    /// This one in each round that heads drafted, cut by the limits.
    Template(TreeTemplate),
}

/// Which candidates are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rule {
    /// As the trace has it.
    #[default]
    Recorded,
    /// Typical acceptance (arXiv 2401.10774) at temperature 1.
    Typical {
        /// Probability that always suffices.
        eps: f32,
        /// Weight of the entropy's bound.
        alpha: f32,
    },
}

/// What is changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Shape of the trees.
    pub trees: Trees,
    /// Most nodes with the root: the likeliest by their drafts.
    pub nodes: usize,
    /// Most edges between the root and a node.
    pub depth: usize,
    /// Most guesses below the same parent.
    pub ranks: usize,
    /// Least probability of a path by its drafts; paths of unknown probability stay.
    pub path_p: f32,
    /// Which candidates are kept.
    pub rule: Rule,
}

impl Default for Change {
    fn default() -> Self {
        Self {
            trees: Trees::Recorded,
            nodes: coppice::spec::MAX_NODES,
            depth: coppice::spec::MAX_NODES - 1,
            ranks: coppice::spec::MAX_NODES,
            path_p: 0.0,
            rule: Rule::Recorded,
        }
    }
}

impl Change {
    /// Whether a trace accepted by this rule, as its header names it, can be scored again: draws of
    /// residual acceptance are not in a trace.
    pub fn applies_to(&self, acceptance: &str) -> bool {
        acceptance != "residual" || matches!(self.rule, Rule::Typical { .. })
    }

    /// What whoever reads the figures should know.
    pub fn notes(&self, result: &Rescored, acceptance: &str, temperature: f32) -> Vec<String> {
        let mut notes = vec![
            "Each round is judged where the trace started it; with other trees, rounds would start \
             elsewhere"
                .to_owned(),
        ];
        if result.uncertain > 0 {
            notes.push(format!(
                "In {} of {} rounds the count depends on candidates that the trace does not have, or \
                 whose probability was not read back: the range is from none of them to all",
                result.uncertain, result.rounds
            ));
        }
        if result.untouched > 0 && self.trees != Trees::Recorded {
            notes.push(format!(
                "{} rounds without guesses of heads stay as they were",
                result.untouched
            ));
        }
        if let Rule::Typical { .. } = self.rule {
            let mut note = String::from(
                "Typical acceptance changes the text: what comes after the first difference is not in \
                 the trace",
            );
            if temperature != 1.0 && acceptance != "typical" {
                note.push_str(&format!(
                    "; probabilities are at temperature 1, the trace ran at {temperature}"
                ));
            }
            notes.push(note);
        }
        notes
    }
}
