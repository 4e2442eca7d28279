//! Ops without a reduction.

use super::{CheckResult, Operand, dense, expect, ranked, read, update, write};
use crate::{backend::View, dtype::DType};

/// Which elements of a head form a rotated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RopeStyle {
    /// `(2i, 2i + 1)`: GGUF's Llama.
    Interleaved,
    /// `(i, i + rot / 2)`: Hugging Face, Qwen, Gemma.
    Halved,
}

/// Rotary position embedding (arXiv 2104.09864), in place: for pair `i < rot / 2` of each head with
/// `c = cos[positions[m], i]`, `s = sin[positions[m], i]`: `(a, b) = (a c - b s, a s + b c)`.
/// Elements from `rot` on stay. A position not below T leaves the row unchanged.
#[derive(Clone, Debug)]
pub struct Rope {
    /// `[M, H, d]` f32 in place, rows may be strided (queries and keys side by side).
    pub x: View,
    /// `[M]` u32: prefix + depth, never the index of a node.
    pub positions: View,
    /// `[T, rot / 2]` f32.
    pub cos: View,
    /// `[T, rot / 2]` f32.
    pub sin: View,
    /// Pairing.
    pub style: RopeStyle,
}

impl Rope {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![
            update("x", &self.x),
            read("positions", &self.positions),
            read("cos", &self.cos),
            read("sin", &self.sin),
        ]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 3)?;
        expect("positions", &self.positions, DType::U32, &dims[..1])?;
        let table = ranked("cos", &self.cos, DType::F32, 2)?;
        expect("sin", &self.sin, DType::F32, table)?;
        dense("cos", &self.cos)?;
        dense("sin", &self.sin)?;
        if table[1] == 0 || 2 * table[1] > dims[2] {
            return Err(format!(
                "the table rotates {} elements of a head of {}",
                2 * table[1],
                dims[2]
            ));
        }
        Ok(())
    }

    pub(super) fn summary(&self) -> String {
        let s = self.x.shape;
        let style = match self.style {
            RopeStyle::Interleaved => "interleaved",
            RopeStyle::Halved => "halved",
        };
        let rot = 2 * self.cos.shape.dim(1);
        format!("{style}, m={}, h={}, d={}, rot={rot}", s.dim(0), s.dim(1), s.dim(2))
    }
}

/// Activation of a gated feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// `g / (1 + exp(-g))`: Llama, Mistral, Qwen.
    Silu,
    /// `g/2 (1 + tanh(sqrt(2/pi) (g + 0.044715 g^3)))`: Gemma.
    GeluTanh,
}

/// `out[m, f] = gate(gate_up[m, f]) * gate_up[m, F + f]` (arXiv 2002.05202).
#[derive(Clone, Debug)]
pub struct GateMul {
    /// `[M, 2F]` f32: gate, then up.
    pub gate_up: View,
    /// `[M, F]` f32.
    pub out: View,
    /// Activation.
    pub gate: Gate,
}

impl GateMul {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("gate_up", &self.gate_up), write("out", &self.out)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("out", &self.out, DType::F32, 2)?;
        expect("gate_up", &self.gate_up, DType::F32, &[dims[0], 2 * dims[1]])
    }

    pub(super) fn summary(&self) -> String {
        let gate = match self.gate {
            Gate::Silu => "silu",
            Gate::GeluTanh => "gelu_tanh",
        };
        format!("{gate}, m={}, f={}", self.out.shape.dim(0), self.out.shape.dim(1))
    }
}

/// `dst = src`, element by element; any type of four bytes, equal shapes `[M, C]`.
#[derive(Clone, Debug)]
pub struct Copy {
    /// `[M, C]`.
    pub src: View,
    /// `[M, C]`.
    pub dst: View,
}

impl Copy {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("src", &self.src), write("dst", &self.dst)]
    }

    pub(super) fn check(&self) -> CheckResult {
        four_bytes("src", &self.src)?;
        let dims = ranked("src", &self.src, self.src.dtype, 2)?;
        expect("dst", &self.dst, self.src.dtype, dims)
    }

    pub(super) fn summary(&self) -> String {
        format!("{}, m={}, c={}", self.src.dtype, self.src.shape.dim(0), self.src.shape.dim(1))
    }
}

/// All elements of `dst` become the 32 bits of `bits`, or those with random ones beside them.
#[derive(Clone, Debug)]
pub struct Fill {
    /// `[M, C]` of a four-byte type.
    pub dst: View,
    /// Bit pattern, such as `1.5f32.to_bits()`.
    pub bits: u32,
    /// Bits that are drawn.
    pub random: Option<RandomBits>,
}

/// Element `i` of `dst`, counted along rows and without gaps, is `bits | (word & keep)`: word `i % 4` of
/// Philox4x32-10 for the key `seed` and the counter `(i / 4, 0, 0, `[`RandomBits::STREAM`]`)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomBits {
    /// Key.
    pub seed: u64,
    /// Bits that are drawn; the others are those of [`Fill::bits`].
    pub keep: u32,
}

impl RandomBits {
    /// The last counter word: no other noise of the program uses it.
    pub const STREAM: u32 = 0x6669_6c6c;
}

impl Fill {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![write("dst", &self.dst)]
    }

    pub(super) fn check(&self) -> CheckResult {
        four_bytes("dst", &self.dst)?;
        ranked("dst", &self.dst, self.dst.dtype, 2).map(|_| ())
    }

    pub(super) fn summary(&self) -> String {
        let random = if self.random.is_some() { "random, " } else { "" };
        let (m, c) = (self.dst.shape.dim(0), self.dst.shape.dim(1));
        format!("{random}{}, m={m}, c={c}", self.dst.dtype)
    }
}

/// `y += x`.
#[derive(Clone, Debug)]
pub struct Add {
    /// `[M, C]` f32.
    pub x: View,
    /// `[M, C]` f32 in place.
    pub y: View,
}

impl Add {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("x", &self.x), update("y", &self.y)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 2)?;
        expect("y", &self.y, DType::F32, dims)
    }

    pub(super) fn summary(&self) -> String {
        format!("m={}, c={}", self.x.shape.dim(0), self.x.shape.dim(1))
    }
}

/// `x += y / (1 + exp(-y))`: the residual block of Medusa's heads (arXiv 2401.10774).
#[derive(Clone, Debug)]
pub struct SiluAdd {
    /// `[M, D]` f32: the block's projection.
    pub y: View,
    /// `[M, D]` f32 in place.
    pub x: View,
}

impl SiluAdd {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        vec![read("y", &self.y), update("x", &self.x)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dims = ranked("x", &self.x, DType::F32, 2)?;
        expect("y", &self.y, DType::F32, dims)
    }

    pub(super) fn summary(&self) -> String {
        format!("m={}, d={}", self.x.shape.dim(0), self.x.shape.dim(1))
    }
}

fn four_bytes(name: &str, view: &View) -> CheckResult {
    if view.dtype.size() == 4 {
        Ok(())
    } else {
        Err(format!("operand `{name}` is {}, wanted a type of four bytes", view.dtype))
    }
}
