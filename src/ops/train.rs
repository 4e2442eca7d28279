//! What training adds to a forward pass: a gradient, the loss and the optimiser.

use super::{CheckResult, Operand, Then, dense, expect, ranked, read, update, write};
use crate::{backend::View, dtype::DType};

/// Gradient of [`super::SiluAdd`] by the block's projection: `dz = dy s (1 + z (1 - s))` with
/// `s = 1 / (1 + exp(-z))`. By the residual it is `dy` itself.
#[derive(Clone, Debug)]
pub struct SiluGrad {
    /// `[M, D]` f32: the projection.
    pub z: View,
    /// `[M, D]` f32.
    pub dy: View,
    /// `[M, D]` f32.
    pub dz: View,
}

impl SiluGrad {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("z", &self.z), read("dy", &self.dy), write("dz", &self.dz)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("z", &self.z, DType::F32, 2)?;
        expect("dy", &self.dy, DType::F32, dims)?;
        expect("dz", &self.dz, DType::F32, dims)
    }

    pub(super) fn summary(&self) -> String {
        rows_by_columns(&self.z)
    }
}

/// `out[c] (+)= sum_m x[m, c]`, in the order of the rows.
#[derive(Clone, Debug)]
pub struct ColumnSums {
    /// `[M, C]` f32.
    pub x: View,
    /// `[C]` f32.
    pub out: View,
    /// Store or add.
    pub then: Then,
}

impl ColumnSums {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let out = match self.then {
            Then::Store => write("out", &self.out),
            Then::Add => update("out", &self.out),
        };
        vec![read("x", &self.x), out]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 2)?;
        expect("out", &self.out, DType::F32, &dims[1..])?;
        dense("out", &self.out)
    }

    pub(super) fn summary(&self) -> String {
        let then = match self.then {
            Then::Store => "store",
            Then::Add => "add",
        };
        format!("{}, then={then}", rows_by_columns(&self.x))
    }
}

/// `out[m] = sum_c x[m, c]^2`: with [`ColumnSums`] the squared norm of a gradient.
#[derive(Clone, Debug)]
pub struct RowSquares {
    /// `[M, C]` f32.
    pub x: View,
    /// `[M, 1]` f32.
    pub out: View,
}

impl RowSquares {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("x", &self.x), write("out", &self.out)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 2)?;
        expect("out", &self.out, DType::F32, &[dims[0], 1])
    }

    pub(super) fn summary(&self) -> String {
        rows_by_columns(&self.x)
    }
}

/// Cross-entropy of softmax against weighted targets, and its gradient in place of the logits:
/// `loss[m] = sum_j w[m, j] (logsumexp(l[m]) - l[m, t[m, j]])` and
/// `l[m, v] = (sum_j w[m, j]) softmax(l[m])[v] - sum_{j: t[m, j] = v} w[m, j]`.
///
/// One target of weight 1 is a hard label, a teacher's best ids with their probabilities a soft one.
/// A target that is not below V (`u32::MAX`, say) counts as weight 0: a row without targets has
/// loss 0 and gradient 0.
#[derive(Clone, Debug)]
pub struct SoftmaxXent {
    /// `[M, V]` f32; in place the gradient.
    pub logits: View,
    /// `[M, J]` u32, different from each other within a row where below V, `1 <= J <= 64`.
    pub targets: View,
    /// `[M, J]` f32.
    pub weights: View,
    /// `[M, 1]` f32.
    pub loss: View,
}

impl SoftmaxXent {
    /// Most targets of a row.
    pub const MAX_TARGETS: usize = 64;

    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![
            update("logits", &self.logits),
            read("targets", &self.targets),
            read("weights", &self.weights),
            write("loss", &self.loss),
        ]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("logits", &self.logits, DType::F32, 2)?;
        let j = ranked("targets", &self.targets, DType::U32, 2)?[1];
        if dims[1] == 0 || j == 0 || j > Self::MAX_TARGETS {
            return Err(format!(
                "{j} targets among {} logits, wanted 1 to {} among at least 1",
                dims[1],
                Self::MAX_TARGETS
            ));
        }
        expect("targets", &self.targets, DType::U32, &[dims[0], j])?;
        expect("weights", &self.weights, DType::F32, &[dims[0], j])?;
        expect("loss", &self.loss, DType::F32, &[dims[0], 1])
    }

    pub(super) fn summary(&self) -> String {
        let (l, j) = (self.logits.shape, self.targets.shape.dim(1));
        format!("m={}, v={}, j={j}", l.dim(0), l.dim(1))
    }
}

/// Words of [`AdamW::hyper`].
pub const ADAMW_FIELDS: usize = 8;

/// One step of AdamW with decoupled decay (arXiv 1711.05101), clipped by the global norm:
///
/// `g = grad min(1, max_norm / sqrt(norm2))`, `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
/// `w -= lr (c1 m / (sqrt(c2 v) + eps) + decay w)`.
///
/// If `norm2` is not finite nothing changes: a step that went wrong leaves what was good.
#[derive(Clone, Debug)]
pub struct AdamW {
    /// `[M, C]` f32 in place: parameters `w`.
    pub params: View,
    /// `[M, C]` f32.
    pub grads: View,
    /// `[M, C]` f32 in place: first moments `m`.
    pub mean: View,
    /// `[M, C]` f32 in place: second moments `v`.
    pub square: View,
    /// `[1]` f32: squared norm of all gradients.
    pub norm2: View,
    /// `[8]` f32: `lr`, `b1`, `b2`, `eps`, `decay`, `c1 = 1 / (1 - b1^t)`, `c2 = 1 / (1 - b2^t)`,
    /// `max_norm` (infinity: no clipping).
    pub hyper: View,
}

impl AdamW {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![
            update("params", &self.params),
            read("grads", &self.grads),
            update("mean", &self.mean),
            update("square", &self.square),
            read("norm2", &self.norm2),
            read("hyper", &self.hyper),
        ]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("params", &self.params, DType::F32, 2)?;
        expect("grads", &self.grads, DType::F32, dims)?;
        expect("mean", &self.mean, DType::F32, dims)?;
        expect("square", &self.square, DType::F32, dims)?;
        expect("norm2", &self.norm2, DType::F32, &[1])?;
        expect("hyper", &self.hyper, DType::F32, &[ADAMW_FIELDS])?;
        dense("hyper", &self.hyper)
    }

    pub(super) fn summary(&self) -> String {
        rows_by_columns(&self.params)
    }
}

fn rows_by_columns(view: &View) -> String {
    format!("m={}, c={}", view.shape.dim(0), view.shape.dim(1))
}
