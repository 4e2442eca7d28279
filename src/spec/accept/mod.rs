//! Which candidates are kept: the rules, on the host, as pure functions of what the target said.
//!
//! | rule | drafts | what it guarantees |
//! |---|---|---|
//! | [`AcceptRule::Greedy`] | any | the text of plain greedy decoding, token for token |
//! | [`AcceptRule::Seeded`] | any | the text of plain decoding with the same seed, token for token, under every setting of the sampler |
//! | [`AcceptRule::Residual`] | any, also sampled ones | the *distribution* of plain decoding, not its text for a seed |
//! | [`AcceptRule::Typical`] | any | none: text that the target finds likely enough, of a different distribution |
//!
//! "Token for token" supposes that a row's logits do not depend on the rows computed with it, which
//! our kernels keep. A rule looks at nodes, never at root-to-leaf rows: drawing once for each row, as
//! the releases of Medusa and REST do, over-represents drafted tokens (`exact.rs` computes by how
//! much).

mod chosen;
#[cfg(test)]
mod exact;
mod law;
mod report;
mod residual;
mod typical;
mod uniforms;

use std::str::FromStr;

pub use law::Law;
pub use residual::{Drawn, Replacement, accept_sampled, draw_children};
pub use uniforms::{Chance, Keyed};

use super::{Draft, Verdict};
use crate::{
    error::{Error, Result},
    model::RowStat,
    sample::{Sampler, SamplerParams},
};

/// Decides which nodes of a tree are kept; the names are the values of `--accept`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AcceptRule {
    /// From the root on, the child that holds the most likely token. Equals plain greedy decoding
    /// without penalties token for token. Needs no logits.
    Greedy,
    /// One token is drawn at each node reached, by the sampler's whole chain with the penalties of
    /// the node's own path and with noise that belongs to the position; a child that holds it is
    /// kept. As plain decoding draws the same token there, the text is the same for the same seed.
    /// For deterministic drafts it is also the best rule there is: a node is passed with the whole
    /// probability of its children.
    Seeded,
    /// Medusa's typical acceptance (arXiv 2401.10774, section 2.3.1), **not lossless**: with
    /// `p = softmax(logits / T)` at the parent and its entropy `H = -sum p ln p`, a child of a kept
    /// node is kept if `p(token) > min(eps, alpha exp(-H))`. The longest path wins, ties go to the
    /// larger sum of `ln p`, then to the lower node; the bonus is the most likely token behind it.
    Typical {
        /// Probability that always suffices; the paper's epsilon.
        eps: f32,
        /// Weight of the entropy's bound; the paper's delta.
        alpha: f32,
    },
    /// Rejection sampling with the residual distribution (arXiv 2211.17192, 2302.01318; trees
    /// 2305.09781; without replacement 2402.12374). Lossless in distribution. A draft without draws
    /// of its own counts as certain of each of its guesses; drafts that were sampled go to
    /// [`accept_sampled`].
    Residual,
}

impl AcceptRule {
    /// Typical acceptance with the published settings.
    pub const TYPICAL: Self = Self::Typical { eps: 0.09, alpha: 0.3 };

    /// All, in the order of the help text; typical acceptance with its published settings.
    pub const ALL: [Self; 4] = [Self::Greedy, Self::Seeded, Self::TYPICAL, Self::Residual];

    /// Name on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Seeded => "seeded",
            Self::Typical { .. } => "typical",
            Self::Residual => "residual",
        }
    }

    /// The cheapest rule that gives the text of plain decoding.
    pub fn lossless_for(sampler: &Sampler) -> Self {
        if sampler.needs_logits() { Self::Seeded } else { Self::Greedy }
    }

    /// True if the text is that of plain decoding, token for token.
    pub const fn keeps_text(self) -> bool {
        matches!(self, Self::Greedy | Self::Seeded)
    }

    /// True if the rule reads logits, not only the statistics of rows.
    pub const fn needs_logits(self) -> bool {
        !matches!(self, Self::Greedy)
    }

    /// Fails with [`Error::Invalid`] where a rule would pass over a setting of the sampler: greedy
    /// acceptance over any but the default, typical acceptance over all but the temperature; and
    /// where eps or alpha is no probability.
    pub fn check(self, params: &SamplerParams) -> Result<()> {
        let refuse = |what: String, hint: &str| {
            let message = format!("--accept {}: {what}", self.name());
            Err(Error::Invalid { message, hint: Some(hint.into()) })
        };
        match self {
            Self::Greedy if params.temperature > 0.0 || params.has_penalties() => refuse(
                "it takes the most likely token, so neither --temp nor penalties can be set".into(),
                "--accept seeded gives plain decoding's text under every setting",
            ),
            Self::Typical { .. } if params.has_penalties() || params.has_filters() => refuse(
                "of the sampler's settings it knows --temp alone".into(),
                "leave out filters and penalties, or use --accept seeded",
            ),
            Self::Typical { eps, alpha }
                if !(0.0..=1.0).contains(&eps) || !(0.0..=1.0).contains(&alpha) =>
            {
                refuse(format!("eps {eps} and alpha {alpha}, wanted 0 to 1 each"), "0.09 and 0.3")
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for AcceptRule {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == given).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Invalid {
                message: format!("`{given}` names no rule of acceptance"),
                hint: Some(format!("one of {names}")),
            }
        })
    }
}

/// What the target said at each node of a draft.
#[derive(Clone, Copy, Debug)]
pub struct TargetRows<'a> {
    /// One for each node.
    pub stats: &'a [RowStat],
    /// `[nodes, V]`, if read back.
    pub logits: Option<&'a [f32]>,
}

impl<'a> TargetRows<'a> {
    /// Logits at a node, if they were read back.
    fn row(&self, node: usize) -> Option<&'a [f32]> {
        let width = self.logits?.len() / self.stats.len();
        self.logits.map(|all| &all[node * width..(node + 1) * width])
    }

    /// Probability of `token` behind `node` at temperature 1, where that is known: from the logits,
    /// or for the most likely token from the statistics. A token beyond the vocabulary has 0.
    fn p(&self, node: usize, token: u32) -> Option<f32> {
        let stat = &self.stats[node];
        let logit = match self.row(node) {
            Some(row) => row.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY),
            None if stat.argmax == token => stat.max,
            None => return None,
        };
        Some((logit - stat.logsumexp).exp())
    }
}

/// What is known of a node after acceptance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeReport {
    /// Probability the target gave it, given its parent, at temperature 1 without filters; absent
    /// for the root, and where no logits were read back and it is not the most likely token.
    pub target_p: Option<f32>,
    /// Entropy in nats of the target's distribution of the token after it.
    pub entropy: f32,
    /// What its probability had to pass; typical acceptance only, and only where it was looked at.
    pub threshold: Option<f32>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What a rule decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance {
    /// Kept nodes from the root down; at least the root.
    pub path: Vec<usize>,
    /// The token behind the last of them.
    pub bonus: u32,
    /// One for each node.
    pub nodes: Vec<NodeReport>,
}

/// Applies a rule to a draft that was not sampled. `history` is every token so far, the root last.
///
/// # Errors
/// [`Error::Invalid`] if the rule does not go with the sampler ([`AcceptRule::check`]), if it needs
/// logits that are not there, or if rows or history do not fit the draft.
pub fn accept(
    rule: AcceptRule,
    sampler: &Sampler,
    draft: &Draft,
    rows: TargetRows<'_>,
    history: &[u32],
) -> Result<Acceptance> {
    rule.check(sampler.params())?;
    check_rows(rule, draft, rows, history)?;
    match rule {
        AcceptRule::Greedy => {
            Ok(chosen::accept(draft, rows, &mut |node, _| rows.stats[node].argmax))
        }
        AcceptRule::Seeded => {
            let mut ids = history.to_vec();
            Ok(chosen::accept(draft, rows, &mut |node, path| {
                along(draft, history.len(), path, &mut ids);
                let row = rows.row(node).expect("the logits were checked");
                sampler.choose(row, &ids, ids.len() as u64).token
            }))
        }
        AcceptRule::Typical { eps, alpha } => {
            Ok(typical::accept(draft, rows, sampler.params().temperature, eps, alpha))
        }
        AcceptRule::Residual => {
            let drawn = Drawn::certain(draft);
            accept_sampled(sampler, draft, &drawn, rows, history)
        }
    }
}

/// Makes `ids`, which starts with the history of `start` tokens, end with the tokens of `path`
/// behind the root.
fn along(draft: &Draft, start: usize, path: &[usize], ids: &mut Vec<u32>) {
    ids.truncate(start);
    ids.extend(path[1..].iter().map(|&node| draft.tree().tokens()[node]));
}

fn check_rows(
    rule: AcceptRule,
    draft: &Draft,
    rows: TargetRows<'_>,
    history: &[u32],
) -> Result<()> {
    let nodes = draft.len();
    if rows.stats.len() != nodes {
        return Err(Error::invalid(format!(
            "a draft of {nodes} nodes, but {} rows of the target",
            rows.stats.len()
        )));
    }
    match rows.logits {
        None if rule.needs_logits() => {
            return Err(Error::invalid(format!(
                "acceptance `{}` reads logits, and none were read back",
                rule.name()
            )));
        }
        Some(logits) if logits.is_empty() || !logits.len().is_multiple_of(nodes) => {
            return Err(Error::invalid(format!(
                "{} logits for {nodes} nodes: not as many for each",
                logits.len()
            )));
        }
        _ => {}
    }
    let root = draft.tree().tokens()[0];
    if history.last() != Some(&root) {
        return Err(Error::invalid(format!(
            "the draft's root is token {root}, but the history ends with {:?}",
            history.last()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
