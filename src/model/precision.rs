//! Which precision each kind of matrix sees its input rows in.

use crate::ops::Activations;

/// Precision of the rows that matrices multiply, by the kind of matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// Queries, keys and values.
    pub qkv: Activations,
    /// Attention's output.
    pub attn_out: Activations,
    /// Gate and up.
    pub gate_up: Activations,
    /// Down.
    pub down: Activations,
    /// The output matrix.
    pub head: Activations,
}

impl Precision {
    /// 8-bit rows for gate and up, 12-bit rows elsewhere: most of the accuracy of f32 at little more
    /// than the price of 8 bits.
    ///
    /// By measurement: on SmolLM2-135M, 26 prompts, KL from f32 rows at the last position is 5.6e-3
    /// on average and 2.7e-2 at most with 8-bit rows everywhere, 8.9e-4 and 2.0e-3 with these. Gate
    /// and up, 40 % of all products, are the largest share that can stay in 8 bits.
    pub const MIXED: Self = Self { gate_up: Activations::Q8, ..Self::uniform(Activations::Q12) };

    /// What draft heads see: as coarse as the device has it, since a guess may be wrong.
    pub(super) fn draft(self) -> Activations {
        match self.head {
            Activations::F32 => Activations::F32,
            Activations::Q8 | Activations::Q12 => Activations::Q8,
        }
    }

    /// The same for all.
    pub const fn uniform(all: Activations) -> Self {
        Self { qkv: all, attn_out: all, gate_up: all, down: all, head: all }
    }
}

impl From<Activations> for Precision {
    fn from(all: Activations) -> Self {
        Self::uniform(all)
    }
}
