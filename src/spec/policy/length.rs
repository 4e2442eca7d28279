//! How long a chain to draft, where drafting takes time token by token.

use crate::spec::{RoundOutcome, Verdict};

/// Depths with an estimate of their own; deeper ones share the last.
const DEPTHS: usize = 16;
/// Weight of the prior in rounds.
const PRIOR_WEIGHT: f64 = 4.0;
/// What a round is worth after the next one that tests the same depth: about the last 40 count.
const FADE: f64 = 0.975;

/// Chooses the length of chains from how deep they were kept and how long drafting took. Estimates by
/// depth, since the longer a guess has been right the likelier it goes on; they fade, so that they
/// follow the text. Depths that are never drafted are never learned of, so a caller that wants to go
/// on learning drafts at least one token.
#[derive(Clone, Debug)]
pub struct DraftLength {
    prior: f64,
    seen: [Seen; DEPTHS],
    /// Milliseconds of drafting one level.
    level_ms: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    hits: f64,
    trials: f64,
}

impl DraftLength {
    /// Nothing seen yet; a token is expected to be kept with probability `prior` if those before it
    /// were.
    pub fn new(prior: f64) -> Self {
        Self { prior: prior.clamp(0.0, 1.0), seen: [Seen::default(); DEPTHS], level_ms: None }
    }

    /// Counts how deep a round was kept: each depth whose parent was kept, as right if any of its
    /// candidates was.
    pub fn observe(&mut self, round: &RoundOutcome) {
        let reached =
            |n: &&crate::spec::NodeOutcome| n.depth > 0 && n.verdict != Verdict::Unreached;
        let deepest = round.nodes.iter().filter(reached).map(|n| n.depth as usize).max();
        if let Some(levels) = round.nodes.iter().map(|n| n.depth).max().filter(|&depth| depth > 0) {
            let ms = round.times.draft_ms / f64::from(levels);
            // A machine busy with something else for a while says little of the next draft.
            let ms = self.level_ms.map_or(ms, |mean| mean + 0.1 * (ms.min(2.0 * mean) - mean));
            self.level_ms = Some(ms);
        }
        for depth in 1..=deepest.unwrap_or(0) {
            let seen = &mut self.seen[depth.min(DEPTHS) - 1];
            let hit = depth <= round.accepted();
            seen.hits = seen.hits * FADE + if hit { 1.0 } else { 0.0 };
            seen.trials = seen.trials * FADE + 1.0;
        }
    }

    /// Probability that a candidate at `depth`, from 1, is kept if those before it are.
    pub fn p(&self, depth: usize) -> f64 {
        let seen = self.seen[depth.clamp(1, DEPTHS) - 1];
        (PRIOR_WEIGHT * self.prior + seen.hits) / (PRIOR_WEIGHT + seen.trials)
    }

    /// The length up to `most` that gives most tokens a unit of time, by the milliseconds of verifying
    /// so many nodes, root included, and the drafting seen so far; of equals the shortest. 0 where no
    /// draft pays.
    pub fn best(&self, verify_ms: impl Fn(usize) -> f64, most: usize) -> usize {
        let (mut best, mut rate) = (0, 1.0 / verify_ms(1));
        let (mut tokens, mut p) = (1.0, 1.0);
        for length in 1..=most {
            p *= self.p(length);
            tokens += p;
            let drafting = length as f64 * self.level_ms.unwrap_or(0.0);
            let at = tokens / (drafting + verify_ms(length + 1));
            if at > rate {
                (best, rate) = (length, at);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Method, NodeOutcome, Source, StageTimes};

    /// A chain of `drafted` of which `kept` were kept.
    fn round(drafted: u32, kept: u32) -> RoundOutcome {
        let node = |depth: u32| NodeOutcome {
            token: depth,
            parent: depth.checked_sub(1),
            depth,
            source: if depth == 0 { Source::Root } else { Source::Draft },
            rank: 0,
            draft_p: None,
            target_p: None,
            entropy: None,
            threshold: None,
            verdict: match depth {
                0 => Verdict::Root,
                depth if depth <= kept => Verdict::Accepted,
                depth if depth == kept + 1 => Verdict::Rejected { wanted: 99 },
                _ => Verdict::Unreached,
            },
        };
        RoundOutcome {
            round: 0,
            prefix: 0,
            method: Method::Draft,
            nodes: (0..=drafted).map(node).collect(),
            path: (0..=kept).collect(),
            bonus: 0,
            expected: None,
            times: StageTimes { draft_ms: 1.5 * f64::from(drafted), ..StageTimes::default() },
        }
    }

    /// A row more is 1 ms.
    fn verify_ms(nodes: usize) -> f64 {
        9.0 + nodes as f64
    }

    #[test]
    fn lengths_follow_what_is_kept() {
        let mut length = DraftLength::new(0.6);
        let before = length.best(verify_ms, 15);
        for _ in 0..60 {
            length.observe(&round(8, 8));
        }
        assert!(length.best(verify_ms, 15) > before.max(7), "all kept, so more pays");
        assert_eq!(length.best(verify_ms, 3), 3);
        for _ in 0..200 {
            length.observe(&round(8, 0));
        }
        assert_eq!(length.best(verify_ms, 15), 0, "nothing kept, so nothing pays");
        assert!(length.p(1) < 0.1 && length.p(5) > 0.9, "depths that were not reached keep theirs");
        for _ in 0..60 {
            length.observe(&round(1, 1));
        }
        assert!(length.best(verify_ms, 15) > 1, "and are believed again once they are reached");
    }

    #[test]
    fn the_best_length_has_the_largest_ratio() {
        let at = |p: f64, level_ms: Option<f64>| {
            DraftLength { level_ms, ..DraftLength::new(p) }.best(verify_ms, 15)
        };
        // p = 0.5 at every depth: 1.5 / 12.5, 1.75 / 15, 1.875 / 17.5: one is best, beats 1 / 10.
        assert_eq!(at(0.5, Some(1.5)), 1);
        // 0.2: 1.2 / 12.5 is below 1 / 10.
        assert_eq!(at(0.2, Some(1.5)), 0);
        // 0.8: 1.8 / 12.5 = .144, 2.44 / 15 = .1627, 2.952 / 17.5 = .16869, 3.3616 / 20 = .16808
        assert_eq!(at(0.8, Some(1.5)), 3);
        // 0.5, free: 1.5 / 11 = .1364, 1.75 / 12 = .1458, 1.875 / 13 = .1442
        assert_eq!(at(0.5, None), 2);
    }
}
