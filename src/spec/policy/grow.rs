//! A tree for one round, from how sure its guesses are (arXiv 2406.16858, section 4.2, for guesses
//! that do not see each other): what [`ops::GrowTree`](crate::ops::GrowTree) does on a device.

use crate::spec::{Draft, DraftNode, Source};

/// A guess of a level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// Token.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// The tree of up to `nodes` nodes with the root whose paths have the largest sums of
/// log-probabilities, taken in f32 from the root down. `levels[d]` holds the guesses for depth
/// `d + 1`, best first; below each node they are taken in that order. Of equals the less deep one
/// comes first, then the one below the earlier parent, then the lower rank. A guess whose sum is not
/// above minus infinity is left out. `source` gives who guessed at a depth, from 1.
pub fn grow(
    root: u32,
    levels: &[Vec<Guess>],
    nodes: usize,
    source: &dyn Fn(usize) -> Source,
) -> Draft {
    let mut draft = Draft::new(root);
    // For each node: the sum along its path, and how many of its children were taken.
    let mut state: Vec<(f32, usize)> = vec![(0.0, 0)];
    while draft.len() < nodes {
        let mut best: Option<(f32, usize)> = None;
        for (node, &(sum, taken)) in state.iter().enumerate() {
            let guesses = levels.get(draft.tree().depth(node)).map_or(&[][..], Vec::as_slice);
            let Some(guess) = guesses.get(taken) else { continue };
            let sum = sum + guess.logprob;
            let better = best.is_none_or(|(most, at)| {
                let shallower = draft.tree().depth(node) < draft.tree().depth(at);
                sum > most || (sum == most && shallower)
            });
            if sum > f32::NEG_INFINITY && better {
                best = Some((sum, node));
            }
        }
        let Some((sum, parent)) = best else { break };
        let depth = draft.tree().depth(parent);
        let rank = state[parent].1;
        let guess = levels[depth][rank];
        let node = DraftNode {
            source: source(depth + 1),
            rank: rank as u16,
            p: Some(guess.logprob.exp()),
        };
        draft.push(guess.token, parent, node);
        state[parent].1 += 1;
        state.push((sum, 0));
    }
    draft
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(guesses: &[(u32, f32)]) -> Vec<Guess> {
        guesses.iter().map(|&(token, logprob)| Guess { token, logprob }).collect()
    }

    fn head(depth: usize) -> Source {
        Source::Head(depth as u8 - 1)
    }

    #[test]
    fn confident_paths_grow_first_and_ties_go_up() {
        let levels = [level(&[(1, -0.5), (2, -1.0)]), level(&[(3, -0.5), (4, -2.0)])];
        let draft = grow(9, &levels, 5, &head);
        // 1 at -0.5; then 2 at -1.0 before its equal 3 below 1, which is deeper; then 3 below 2.
        assert_eq!(draft.tree().tokens(), [9, 1, 2, 3, 3]);
        assert_eq!(draft.tree().parents(), [None, Some(0), Some(0), Some(1), Some(2)]);
        let known = draft.nodes()[2];
        assert_eq!((known.source, known.rank), (Source::Head(0), 1));
        assert_eq!(draft.nodes()[4].source, Source::Head(1));
        assert!((known.p.expect("known") - (-1.0f32).exp()).abs() < 1e-7);
    }

    #[test]
    fn impossible_guesses_are_left_out() {
        let levels = [level(&[(1, f32::NEG_INFINITY), (2, -1.0)]), level(&[(3, f32::NAN)])];
        assert_eq!(grow(9, &levels, 64, &head).len(), 1);
        assert_eq!(grow(9, &[], 64, &head).len(), 1);
        assert_eq!(grow(9, &[level(&[(1, -1.0)])], 0, &head).len(), 1, "the root is always there");
    }

    proptest! {
        /// No candidate that was left out is surer than one that was taken.
        #[test]
        fn the_surest_nodes_are_taken(
            levels in prop::collection::vec(prop::collection::vec(0.01f32..4.0, 1..6), 1..4),
            nodes in 1usize..40,
        ) {
            let levels: Vec<Vec<Guess>> = levels.iter().map(|steps| {
                // running sums, so that each level falls
                let falling = steps.iter().scan(0.0, |sum, step| { *sum -= step; Some(*sum) });
                (0..).zip(falling).map(|(token, logprob)| Guess { token, logprob }).collect()
            }).collect();
            let draft = grow(0, &levels, nodes, &head);
            let sum = |choice: &[usize]| choice.iter().zip(&levels).fold(0.0, |sum, (&r, l)| sum + l[r].logprob);
            let choice = |node: usize| -> Vec<usize> {
                draft.tree().path(node)[1..].iter().map(|&n| usize::from(draft.nodes()[n].rank)).collect()
            };
            let taken: Vec<Vec<usize>> = (1..draft.len()).map(choice).collect();
            let least = taken.iter().map(|c| sum(c)).fold(f32::INFINITY, f32::min);
            let mut all: Vec<Vec<usize>> = vec![vec![]];
            let mut at = 0;
            while at < all.len() {
                let above = all[at].clone();
                for rank in 0..levels.get(above.len()).map_or(0, Vec::len) {
                    all.push([above.clone(), vec![rank]].concat());
                }
                at += 1;
            }
            prop_assert_eq!(draft.len(), nodes.min(all.len()));
            for other in all.iter().skip(1).filter(|c| !taken.contains(c)) {
                prop_assert!(sum(other) <= least);
            }
        }
    }
}
