//! Selection of rows.

use super::{CheckResult, Operand, expect, ranked, read, write};
use crate::{backend::View, dtype::DType};

/// `dst[m] = src[rows[m]]`. An index not below R gives a row of zeros.
#[derive(Clone, Debug)]
pub struct GatherRows {
    /// `[R, C]` f32.
    pub src: View,
    /// `[M]` u32.
    pub rows: View,
    /// `[M, C]` f32.
    pub dst: View,
}

impl GatherRows {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("src", &self.src), read("rows", &self.rows), write("dst", &self.dst)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let src = ranked("src", &self.src, DType::F32, 2)?;
        let m = ranked("rows", &self.rows, DType::U32, 1)?[0];
        expect("dst", &self.dst, DType::F32, &[m, src[1]])
    }

    pub(super) fn summary(&self) -> String {
        let (src, dst) = (self.src.shape, self.dst.shape);
        format!("r={}, m={}, c={}", src.dim(0), dst.dim(0), dst.dim(1))
    }
}
