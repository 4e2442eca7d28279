//! Reductions over the vocabulary.

use super::{CheckResult, Operand, expect, ranked, read, write};
use crate::{backend::View, dtype::DType};

/// Words of one row of [`RowStats`]: max (f32 bits), argmax (u32), log-sum-exp (f32 bits), entropy
/// in nats (f32 bits).
pub const ROW_STATS_FIELDS: usize = 4;

/// For each row: the maximum, its id (lowest on ties), `logsumexp = ln sum exp(l)`, and the entropy
/// of `softmax(l)` in nats.
#[derive(Clone, Debug)]
pub struct RowStats {
    /// `[M, V]` f32.
    pub logits: View,
    /// `[M, 4]` u32; see [`ROW_STATS_FIELDS`].
    pub out: View,
}

impl RowStats {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("logits", &self.logits), write("out", &self.out)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("logits", &self.logits, DType::F32, 2)?;
        if dims[1] == 0 {
            return Err("rows of no logits".into());
        }
        expect("out", &self.out, DType::U32, &[dims[0], ROW_STATS_FIELDS])
    }

    pub(super) fn summary(&self) -> String {
        format!("m={}, v={}", self.logits.shape.dim(0), self.logits.shape.dim(1))
    }
}

/// For each row: the ids of the `k` largest logits, largest first, lowest id first on ties, and
/// their log-probabilities `l - logsumexp(l)`.
#[derive(Clone, Debug)]
pub struct TopK {
    /// `[M, V]` f32.
    pub logits: View,
    /// `[M, k]` u32, `1 <= k <= 64` and `k <= V`.
    pub ids: View,
    /// `[M, k]` f32.
    pub logprobs: View,
}

impl TopK {
    /// Largest k.
    pub const MAX_K: usize = 64;

    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![
            read("logits", &self.logits),
            write("ids", &self.ids),
            write("logprobs", &self.logprobs),
        ]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("logits", &self.logits, DType::F32, 2)?;
        let k = ranked("ids", &self.ids, DType::U32, 2)?[1];
        if k == 0 || k > Self::MAX_K || k > dims[1] {
            return Err(format!("k = {k}, wanted 1 to {}", Self::MAX_K.min(dims[1])));
        }
        expect("ids", &self.ids, DType::U32, &[dims[0], k])?;
        expect("logprobs", &self.logprobs, DType::F32, &[dims[0], k])
    }

    pub(super) fn summary(&self) -> String {
        let (l, k) = (self.logits.shape, self.ids.shape.dim(1));
        format!("m={}, v={}, k={k}", l.dim(0), l.dim(1))
    }
}
