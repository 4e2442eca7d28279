//! Batches: what the host writes before a step.

use super::{Options, Targets, features::Features, teacher::SoftTargets, vocabulary::DraftVocab};
use crate::{format::heads::HeadKind, sample::philox4x32_10};

/// Arrays of a step of B positions and K heads. Positions beyond those given are padding: no
/// embedding, no target.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// `[B, D]`.
    pub states: Vec<f32>,
    /// `[K, B]`: the root, then the tokens behind it; empty for independent heads.
    pub ids: Vec<u32>,
    /// `[K, B, J]` places in the draft vocabulary.
    pub targets: Vec<u32>,
    /// `[K, B, J]`, with the heads' weights and the mean over B in them.
    pub weights: Vec<f32>,
    /// `[K, B]`: positions that have a token for the head.
    pub exists: Vec<bool>,
}

/// Where batches come from.
pub struct Source<'a> {
    pub options: &'a Options,
    pub features: &'a Features,
    pub vocab: &'a DraftVocab,
    pub soft: Option<&'a SoftTargets>,
}

impl Source<'_> {
    /// The batch of `rows`, at most B of them. `hard` overrides soft targets, for evaluation.
    pub fn batch(&self, rows: &[u32], hard: bool) -> Batch {
        let Options { batch, heads, targets, kind, .. } = *self.options;
        let (width, per_row) = (self.features.width(), targets.count());
        let soft = self.soft.filter(|_| !hard && targets != Targets::Hard);
        let mut out = Batch {
            states: vec![0.0; batch * width],
            ids: Vec::new(),
            targets: vec![u32::MAX; heads * batch * per_row],
            weights: vec![0.0; heads * batch * per_row],
            exists: vec![false; heads * batch],
        };
        if kind == HeadKind::Sequential {
            out.ids = vec![u32::MAX; heads * batch];
        }
        for (&row, state) in rows.iter().zip(out.states.chunks_exact_mut(width)) {
            self.features.state(row as usize, state);
        }
        let mut weight = 1.0 / batch as f32;
        for head in 0..heads {
            for (i, &row) in rows.iter().enumerate() {
                let (row, at) = (row as usize, head * batch + i);
                if let Some(id) = out.ids.get_mut(at) {
                    *id = self.features.token(row, head).unwrap_or(u32::MAX);
                }
                let Some(token) = self.features.token(row, head + 1) else { continue };
                out.exists[at] = true;
                match soft {
                    Some(soft) => {
                        let from = (row + head + 1) * soft.top;
                        let (places, weights) = (&soft.places[from..], &soft.weights[from..]);
                        for j in 0..soft.top {
                            out.targets[at * per_row + j] = places[j];
                            out.weights[at * per_row + j] = weight * weights[j];
                        }
                    }
                    None => {
                        out.targets[at * per_row] = self.vocab.place(token);
                        out.weights[at * per_row] = weight;
                    }
                }
            }
            weight *= self.options.head_weight;
        }
        out
    }
}

/// The order of an epoch: a permutation that belongs to seed and epoch alone.
pub fn order(positions: &[u32], seed: u64, epoch: u64) -> Vec<u32> {
    let mut order = positions.to_vec();
    let key = [seed as u32 ^ 0x6f72_6465, (seed >> 32) as u32];
    for i in (1..order.len()).rev() {
        let counter = [i as u32, (i as u64 >> 32) as u32, epoch as u32, (epoch >> 32) as u32];
        let words = philox4x32_10(counter, key);
        let word = u64::from(words[0]) | u64::from(words[1]) << 32;
        order.swap(i, (word % (i as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_have_orders_of_their_own() {
        let positions: Vec<u32> = (100..400).collect();
        let first = order(&positions, 1, 0);
        assert_eq!(first, order(&positions, 1, 0));
        for other in [order(&positions, 1, 1), order(&positions, 2, 0), positions.clone()] {
            assert_ne!(first, other);
        }
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, positions);
    }
}
