//! Gradients through a decoder, for training that changes the model itself.
//!
//! Products have gradients that are products ([`super::MatMul`]), and a rotation is undone by
//! [`super::Rope`] with its sines negated. What is left is attention's softmax, the norms, the gate
//! and the distance to another model's distribution.

use super::{CheckResult, Gate, Operand, Then, dense, expect, ranked, read, update, write};
use crate::{backend::View, dtype::DType};

/// In place, probabilities of attention: `x[m, n] = exp(scale x[m, n]) / sum` over the columns
/// `spans[m, 0] <= n < spans[m, 1]`, and 0 outside. An empty span gives a row of zeros; what of it
/// lies beyond N does not count.
#[derive(Clone, Debug)]
pub struct SpanSoftmax {
    /// `[M, N]` f32 in place: scores, then probabilities.
    pub x: View,
    /// `[M, 2]` u32: first column seen, and one past the last.
    pub spans: View,
    /// Factor on the scores.
    pub scale: f32,
}

impl SpanSoftmax {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![update("x", &self.x), read("spans", &self.spans)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 2)?;
        if dims[1] == 0 {
            return Err("no columns, wanted at least 1".into());
        }
        expect("spans", &self.spans, DType::U32, &[dims[0], 2])
    }

    pub(super) fn summary(&self) -> String {
        format!("m={}, n={}", self.x.shape.dim(0), self.x.shape.dim(1))
    }
}

/// Gradient of [`SpanSoftmax`] by the scores, in place of that by the probabilities:
/// `dp[m, n] = scale p[m, n] (dp[m, n] - sum_j p[m, j] dp[m, j])`.
#[derive(Clone, Debug)]
pub struct SoftmaxGrad {
    /// `[M, N]` f32: probabilities.
    pub p: View,
    /// `[M, N]` f32 in place.
    pub dp: View,
    /// Factor that the scores had.
    pub scale: f32,
}

impl SoftmaxGrad {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("p", &self.p), update("dp", &self.dp)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("p", &self.p, DType::F32, 2)?;
        expect("dp", &self.dp, DType::F32, dims)
    }

    pub(super) fn summary(&self) -> String {
        format!("m={}, n={}", self.p.shape.dim(0), self.p.shape.dim(1))
    }
}

/// Gradient of [`super::RmsNorm`] by its input, and of [`super::HeadRmsNorm`]: with
/// `r = 1 / sqrt(mean(x[m, h]^2) + eps)` and `g = weight dy[m, h]`,
/// `dx[m, h] (+)= r g - x[m, h] r^3 / d sum(x[m, h] g)`.
#[derive(Clone, Debug)]
pub struct RmsNormGrad {
    /// `[M, H, d]` f32: what was normed.
    pub x: View,
    /// `[d]` f32.
    pub weight: View,
    /// `[M, H, d]` f32.
    pub dy: View,
    /// `[M, H, d]` f32.
    pub dx: View,
    /// Added to the mean square.
    pub eps: f32,
    /// Store or add.
    pub then: Then,
}

impl RmsNormGrad {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let dx = match self.then {
            Then::Store => write("dx", &self.dx),
            Then::Add => update("dx", &self.dx),
        };
        vec![read("x", &self.x), read("weight", &self.weight), read("dy", &self.dy), dx]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 3)?;
        expect("weight", &self.weight, DType::F32, &dims[2..])?;
        dense("weight", &self.weight)?;
        expect("dy", &self.dy, DType::F32, dims)?;
        expect("dx", &self.dx, DType::F32, dims)
    }

    pub(super) fn summary(&self) -> String {
        let s = self.x.shape;
        let then = match self.then {
            Then::Store => "store",
            Then::Add => "add",
        };
        format!("m={}, h={}, d={}, then={then}", s.dim(0), s.dim(1), s.dim(2))
    }
}

/// Gradient of [`super::GateMul`]: with `a = gate_up[m, f]` and `u = gate_up[m, F + f]`,
/// `grad[m, f] = dout[m, f] u gate'(a)` and `grad[m, F + f] = dout[m, f] gate(a)`.
#[derive(Clone, Debug)]
pub struct GateGrad {
    /// `[M, 2F]` f32: gate, then up.
    pub gate_up: View,
    /// `[M, F]` f32.
    pub dout: View,
    /// `[M, 2F]` f32.
    pub grad: View,
    /// Activation.
    pub gate: Gate,
}

impl GateGrad {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("gate_up", &self.gate_up), read("dout", &self.dout), write("grad", &self.grad)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("dout", &self.dout, DType::F32, 2)?;
        expect("gate_up", &self.gate_up, DType::F32, &[dims[0], 2 * dims[1]])?;
        expect("grad", &self.grad, DType::F32, &[dims[0], 2 * dims[1]])
    }

    pub(super) fn summary(&self) -> String {
        let gate = match self.gate {
            Gate::Silu => "silu",
            Gate::GeluTanh => "gelu_tanh",
        };
        format!("{gate}, m={}, f={}", self.dout.shape.dim(0), self.dout.shape.dim(1))
    }
}

/// Distance of softmax to another one, and its gradient in place of the logits: with
/// `p = softmax(logits[m])` and `q = softmax(teacher[m])`,
/// `loss[m] = w[m] sum_v q[v] (ln q[v] - ln p[v])` and `logits[m, v] = w[m] (p[v] - q[v])`.
#[derive(Clone, Debug)]
pub struct SoftmaxKl {
    /// `[M, V]` f32; in place the gradient.
    pub logits: View,
    /// `[M, V]` f32: logits too.
    pub teacher: View,
    /// `[M, 1]` f32.
    pub weights: View,
    /// `[M, 1]` f32.
    pub loss: View,
}

impl SoftmaxKl {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![
            update("logits", &self.logits),
            read("teacher", &self.teacher),
            read("weights", &self.weights),
            write("loss", &self.loss),
        ]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("logits", &self.logits, DType::F32, 2)?;
        if dims[1] == 0 {
            return Err("no logits, wanted at least 1 a row".into());
        }
        expect("teacher", &self.teacher, DType::F32, dims)?;
        expect("weights", &self.weights, DType::F32, &[dims[0], 1])?;
        expect("loss", &self.loss, DType::F32, &[dims[0], 1])
    }

    pub(super) fn summary(&self) -> String {
        format!("m={}, v={}", self.logits.shape.dim(0), self.logits.shape.dim(1))
    }
}
