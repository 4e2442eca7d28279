//! A target for tests that answers what was recorded.

use super::{DraftContext, Method, Proposer};
use crate::spec::{Draft, DraftNode, NodeOutcome, Proposal, RoundOutcome, StageTimes, Verdict};

/// What became of a replayed answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replay {
    pub(super) rounds: usize,
    pub(super) drafted: usize,
    pub(super) accepted: usize,
    /// Deepest draft.
    pub(super) longest: usize,
}

impl Replay {
    /// Runs rounds whose target chooses the tokens of `answer`, up to its end. Heads are wrong
    /// everywhere.
    pub(super) fn run(
        proposer: &mut dyn Proposer,
        prompt: &[u32],
        answer: &[u32],
        max_nodes: usize,
    ) -> Self {
        let mut replay = Self::default();
        proposer.begin(prompt).expect("no device");
        let all = [prompt, answer].concat();
        // The prompt's last row chose the first token of the answer; here it is the first root.
        let mut len = prompt.len();
        while len < all.len() {
            let context = DraftContext {
                ids: &all[..len],
                prompt: prompt.len(),
                max_nodes,
                max_depth: max_nodes - 1,
            };
            let draft = match proposer.propose(&context).expect("no device") {
                Proposal::Tokens(draft) => draft,
                Proposal::Heads(template) => {
                    let mut draft = Draft::new(all[len - 1]);
                    for node in 1..template.len() {
                        let parent = template.parent(node).expect("not the root");
                        let source = crate::spec::Source::Head(template.depth(node) as u8 - 1);
                        let node = DraftNode { source, rank: template.rank(node) as u16, p: None };
                        draft.push(u32::MAX - 1, parent, node);
                    }
                    draft
                }
            };
            let outcome = verify(&draft, &all, len, proposer.method());
            assert!(draft.len() <= max_nodes, "more nodes than allowed");
            replay.rounds += 1;
            replay.drafted += outcome.drafted();
            replay.accepted += outcome.accepted();
            let depths = (0..draft.len()).map(|node| draft.tree().depth(node));
            replay.longest = replay.longest.max(depths.max().unwrap_or(0));
            len += outcome.tokens();
            proposer.observe(&outcome);
        }
        replay
    }
}

/// The round that a draft behind `all[..len]` gives if the rest of `all` is what the target
/// chooses.
pub(super) fn verify(draft: &Draft, all: &[u32], len: usize, method: Method) -> RoundOutcome {
    let tree = draft.tree();
    let mut path = vec![0];
    let mut at = 0;
    // The last token recorded must stay the bonus.
    for &token in &all[len..all.len() - 1] {
        match tree.child(Some(at), token) {
            Some(child) => {
                path.push(child as u32);
                at = child;
            }
            None => break,
        }
    }
    let nodes = (0..draft.len())
        .map(|n| NodeOutcome {
            token: tree.tokens()[n],
            parent: tree.parents()[n].map(|p| p as u32),
            depth: tree.depth(n) as u32,
            source: draft.nodes()[n].source,
            rank: draft.nodes()[n].rank,
            draft_p: draft.nodes()[n].p,
            target_p: None,
            entropy: None,
            threshold: None,
            verdict: match n {
                0 => Verdict::Root,
                n if path.contains(&(n as u32)) => Verdict::Accepted,
                _ => Verdict::Unreached,
            },
        })
        .collect();
    let bonus = all[len + path.len() - 1];
    let times = StageTimes::default();
    let prefix = len as u64 - 1;
    RoundOutcome { round: 0, prefix, method, nodes, path, bonus, expected: None, times }
}
