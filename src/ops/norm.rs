//! Root-mean-square norms (arXiv 1910.07467).

use super::{CheckResult, Operand, dense, expect, ranked, read, update, write};
use crate::{backend::View, dtype::DType};

/// `y[m] = x[m] / sqrt(mean(x[m]^2) + eps) * weight`.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// `[M, D]` f32.
    pub x: View,
    /// `[D]` f32.
    pub weight: View,
    /// `[M, D]` f32.
    pub y: View,
    /// Added to the mean square.
    pub eps: f32,
}

impl RmsNorm {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("x", &self.x), read("weight", &self.weight), write("y", &self.y)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 2)?;
        expect("weight", &self.weight, DType::F32, &dims[1..])?;
        expect("y", &self.y, DType::F32, dims)
    }

    pub(super) fn summary(&self) -> String {
        format!("m={}, d={}", self.x.shape.dim(0), self.x.shape.dim(1))
    }
}

/// `x[m] += r[m]`, then `y[m] = x[m] / sqrt(mean(x[m]^2) + eps) * weight`.
#[derive(Clone, Debug)]
pub struct AddRmsNorm {
    /// `[M, D]` f32.
    pub r: View,
    /// `[M, D]` f32, in place: the residual stream.
    pub x: View,
    /// `[D]` f32.
    pub weight: View,
    /// `[M, D]` f32.
    pub y: View,
    /// Added to the mean square.
    pub eps: f32,
}

impl AddRmsNorm {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![
            read("r", &self.r),
            update("x", &self.x),
            read("weight", &self.weight),
            write("y", &self.y),
        ]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 2)?;
        expect("r", &self.r, DType::F32, dims)?;
        expect("weight", &self.weight, DType::F32, &dims[1..])?;
        expect("y", &self.y, DType::F32, dims)
    }

    pub(super) fn summary(&self) -> String {
        format!("m={}, d={}", self.x.shape.dim(0), self.x.shape.dim(1))
    }
}

/// In place on each head: `x[m, h] = x[m, h] / sqrt(mean(x[m, h]^2) + eps) * weight` (the query and
/// key norm of Qwen3 and Gemma 3).
#[derive(Clone, Debug)]
pub struct HeadRmsNorm {
    /// `[M, H, d]` f32 in place, rows may be strided.
    pub x: View,
    /// `[d]` f32.
    pub weight: View,
    /// Added to the mean square.
    pub eps: f32,
}

impl HeadRmsNorm {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![update("x", &self.x), read("weight", &self.weight)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 3)?;
        expect("weight", &self.weight, DType::F32, &dims[2..])?;
        dense("weight", &self.weight)
    }

    pub(super) fn summary(&self) -> String {
        let s = self.x.shape;
        format!("m={}, h={}, d={}", s.dim(0), s.dim(1), s.dim(2))
    }
}
