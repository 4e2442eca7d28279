//! Tensors as they lie in a file.

use std::fmt;

use crate::{quant::QuantFormat, shape::Shape};

/// Element type of a stored tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredType {
    /// One that can be used as a weight.
    Weight(QuantFormat),
    /// Any other, by its name.
    Other(String),
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(format) => format.fmt(f),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// What is known about a stored tensor without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name: GGUF's, where the tensor is known under one.
    pub name: String,
    /// Dimensions, outermost first: `[N, K]` for a matrix of `N` outputs.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: StoredType,
    /// Size in the file; `None` for a type of unknown size.
    pub bytes: Option<usize>,
}

/// A tensor usable as a weight, borrowed from a mapped file.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    /// Name, as it was asked for.
    pub name: &'a str,
    /// Dimensions, outermost first: `[N, K]` for a matrix of `N` outputs. None of them is zero.
    pub shape: Shape,
    /// Format of the blocks.
    pub dtype: QuantFormat,
    /// Rows of blocks in GGML's layout, exactly as many as the shape needs.
    pub bytes: &'a [u8],
}
