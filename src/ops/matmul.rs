//! Ops on packed weights: embedding rows and matrix products.

use super::{CheckResult, Operand, dense, expect, ranked, read, update, write};
use crate::{
    backend::View,
    dtype::DType,
    quant::{Layout, QuantFormat},
};

/// A packed weight `[N, K]` on a device; see [`crate::quant`] for its planes.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Format, dimensions and planes.
    pub layout: Layout,
    /// `layout.bytes` bytes, dense, from an offset that is a multiple of 256.
    pub data: View,
}

impl Weight {
    fn check(&self, name: &str) -> CheckResult {
        expect(name, &self.data, DType::U8, &[self.layout.bytes])?;
        if !self.data.offset.is_multiple_of(256) {
            return Err(format!(
                "weight `{name}` starts at byte {}, no multiple of 256",
                self.data.offset
            ));
        }
        Ok(())
    }

    /// Format of the weight.
    pub fn format(&self) -> QuantFormat {
        self.layout.format
    }
}

/// Precision in which a matmul sees its input rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activations {
    /// As they are.
    F32,
    /// In blocks of 32 signed 12-bit codes with an f32 scale, as [`crate::quant::activations`]
    /// defines; sums of products are integers within a block, for every number of rows. Weights in
    /// F32, F16 and BF16 ignore this and see f32 rows.
    Q12,
    /// As [`Self::Q12`] with 8-bit codes: faster, 16 times as coarse.
    Q8,
}

impl Activations {
    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Q12 => "q12",
            Self::Q8 => "q8",
        }
    }
}

/// What a matmul does with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// `y = w x + bias`.
    Store,
    /// `y += w x + bias`: the residual add.
    Add,
}

/// `out[m] = scale * table[ids[m]]`. An id that is not below N gives a row of zeros.
#[derive(Clone, Debug)]
pub struct Embed {
    /// `[M]` u32.
    pub ids: View,
    /// `[V, D]`.
    pub table: Weight,
    /// `[M, D]` f32.
    pub out: View,
    /// Factor (Gemma: sqrt(D); else 1).
    pub scale: f32,
}

impl Embed {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("ids", &self.ids), read("table", &self.table.data), write("out", &self.out)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let m = ranked("ids", &self.ids, DType::U32, 1)?[0];
        self.table.check("table")?;
        expect("out", &self.out, DType::F32, &[m, self.table.layout.k])
    }

    pub(super) fn summary(&self) -> String {
        let l = &self.table.layout;
        format!("{}, m={}, v={}, d={}", l.format, self.ids.shape.dim(0), l.n, l.k)
    }
}

/// `y[m, n] = sum_k w[n, k] x[m, k] (+ bias[n])`, stored or added.
///
/// M is 1 to 64 for decoding and verification, up to 512 for prefill. The order of the sum depends
/// on format, K and device, never on M, so a row has the same bits alone and among others.
#[derive(Clone, Debug)]
pub struct QMatMul {
    /// `[N, K]`.
    pub w: Weight,
    /// `[M, K]` f32, rows may be strided.
    pub x: View,
    /// `[M, N]` f32, rows may be strided.
    pub y: View,
    /// `[N]` f32.
    pub bias: Option<View>,
    /// Store or add.
    pub then: Then,
    /// Precision of `x` within the product.
    pub activations: Activations,
}

impl QMatMul {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let y = match self.then {
            Then::Store => write("y", &self.y),
            Then::Add => update("y", &self.y),
        };
        let mut all = vec![read("w", &self.w.data), read("x", &self.x), y];
        if let Some(bias) = &self.bias {
            all.push(read("bias", bias));
        }
        all
    }

    pub(super) fn check(&self) -> CheckResult {
        self.w.check("w")?;
        let m = ranked("x", &self.x, DType::F32, 2)?[0];
        expect("x", &self.x, DType::F32, &[m, self.w.layout.k])?;
        expect("y", &self.y, DType::F32, &[m, self.w.layout.n])?;
        if let Some(bias) = &self.bias {
            expect("bias", bias, DType::F32, &[self.w.layout.n])?;
            dense("bias", bias)?;
        }
        Ok(())
    }

    /// Rows M.
    pub fn m(&self) -> usize {
        self.x.shape.dim(0)
    }

    pub(super) fn summary(&self) -> String {
        let l = &self.w.layout;
        let then = match self.then {
            Then::Store => "store",
            Then::Add => "add",
        };
        let acts = self.activations.name();
        let bias = if self.bias.is_some() { ", bias" } else { "" };
        format!("{}, m={}, n={}, k={}, then={then}, x={acts}{bias}", l.format, self.m(), l.n, l.k)
    }
}
