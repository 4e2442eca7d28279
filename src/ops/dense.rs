//! Products of dense f32 matrices, for training.

use super::{CheckResult, Operand, Then, dense, expect, ranked, read, update, write};
use crate::{backend::View, dtype::DType};

/// Whether a product sees a matrix as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// As stored.
    Plain,
    /// Rows as columns.
    Transposed,
}

impl Side {
    /// Dimensions as the product sees them.
    fn seen(self, stored: &[usize]) -> [usize; 2] {
        match self {
            Self::Plain => [stored[0], stored[1]],
            Self::Transposed => [stored[1], stored[0]],
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Plain => 'n',
            Self::Transposed => 't',
        }
    }
}

/// `y[m, n] (+)= sum_k a[m, k] b[k, n] (+ bias[n])`, where `a` and `b` may be stored transposed.
///
/// The order of the sum depends on K and the device, never on M or N. Linear layers `y = x W^T` take
/// `b` transposed; their gradients are `dx = dy W` (both plain) and `dW = dy^T x` (`a` transposed).
#[derive(Clone, Debug)]
pub struct MatMul {
    /// `[M, K]`, or `[K, M]` transposed; f32, rows may be strided.
    pub a: View,
    /// `[K, N]`, or `[N, K]` transposed; f32, rows may be strided.
    pub b: View,
    /// `[M, N]` f32, rows may be strided.
    pub y: View,
    /// `[N]` f32.
    pub bias: Option<View>,
    /// How `a` is stored.
    pub a_side: Side,
    /// How `b` is stored.
    pub b_side: Side,
    /// Store or add.
    pub then: Then,
}

impl MatMul {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let y = match self.then {
            Then::Store => write("y", &self.y),
            Then::Add => update("y", &self.y),
        };
        let mut all = vec![read("a", &self.a), read("b", &self.b), y];
        if let Some(bias) = &self.bias {
            all.push(read("bias", bias));
        }
        all
    }

    pub(super) fn check(&self) -> CheckResult {
        let [m, k] = self.a_side.seen(ranked("a", &self.a, DType::F32, 2)?);
        let [inner, n] = self.b_side.seen(ranked("b", &self.b, DType::F32, 2)?);
        let y = ranked("y", &self.y, DType::F32, 2)?;
        if inner != k || y != [m, n] || k == 0 {
            return Err(format!("[{m}, {k}] times [{inner}, {n}] does not give {y:?}"));
        }
        if let Some(bias) = &self.bias {
            expect("bias", bias, DType::F32, &[n])?;
            dense("bias", bias)?;
        }
        Ok(())
    }

    /// M, N and K.
    pub fn dims(&self) -> [usize; 3] {
        let y = self.y.shape;
        let k = self.a_side.seen(self.a.shape.dims())[1];
        [y.dim(0), y.dim(1), k]
    }

    pub(super) fn summary(&self) -> String {
        let ([m, n, k], a, b) = (self.dims(), self.a_side.letter(), self.b_side.letter());
        let then = match self.then {
            Then::Store => "store",
            Then::Add => "add",
        };
        let bias = if self.bias.is_some() { ", bias" } else { "" };
        format!("{a}{b}, m={m}, n={n}, k={k}, then={then}{bias}")
    }
}
