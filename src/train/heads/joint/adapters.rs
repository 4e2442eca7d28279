//! Low-rank adapters: which matrices have them, and where their numbers lie.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::JointOptions;
use crate::{
    error::Error,
    model::config::ModelConfig,
    sample::philox4x32_10,
    train::heads::parameters::{ALIGN, COLUMNS, Place},
};

/// A matrix of every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrix {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Output of the attention.
    O,
    /// Gate of the feed-forward block.
    Gate,
    /// Its other input.
    Up,
    /// Its output.
    Down,
}

/// A product of the forward pass, which may be of several matrices that read the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Qkv,
    Out,
    GateUp,
    Down,
}

impl Product {
    /// In the order of a layer.
    pub const ALL: [Self; 4] = [Self::Qkv, Self::Out, Self::GateUp, Self::Down];

    /// Matrices, top to bottom.
    pub fn matrices(self) -> &'static [Matrix] {
        match self {
            Self::Qkv => &[Matrix::Q, Matrix::K, Matrix::V],
            Self::Out => &[Matrix::O],
            Self::GateUp => &[Matrix::Gate, Matrix::Up],
            Self::Down => &[Matrix::Down],
        }
    }

    /// `[N, K]` of all matrices together.
    pub fn dims(self, config: &ModelConfig) -> [usize; 2] {
        let dims = self.matrices().iter().map(|matrix| matrix.dims(config));
        dims.fold([0, 0], |[n, _], [rows, k]| [n + rows, k])
    }
}

impl Matrix {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Name, as in `--adapt q,v`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// `[N, K]` of it.
    pub fn dims(self, config: &ModelConfig) -> [usize; 2] {
        let [h, g, d] = [config.n_heads, config.n_kv_heads, config.head_dim];
        match self {
            Self::Q => [h * d, config.d_model],
            Self::K | Self::V => [g * d, config.d_model],
            Self::O => [config.d_model, h * d],
            Self::Gate | Self::Up => [config.d_ff, config.d_model],
            Self::Down => [config.d_model, config.d_ff],
        }
    }

    /// Name of its tensor in a layer, as GGUF has it.
    pub fn tensor(self, layer: usize) -> String {
        let stem = match self {
            Self::Q => "attn_q",
            Self::K => "attn_k",
            Self::V => "attn_v",
            Self::O => "attn_output",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        };
        format!("blk.{layer}.{stem}.weight")
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Matrix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|matrix| matrix.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("`{text}` is no matrix of a layer: wanted some of {names}"))
        })
    }
}

/// Places of one adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub matrix: Matrix,
    /// `[r, K]`.
    pub a: Place,
    /// `[N, r]`, with `alpha / rank` in it: the optimiser's step does not depend on the size of a
    /// gradient, so it comes to the same as a rate that is `alpha / rank` times as high.
    pub b: Place,
}

/// Places of all adapters in one buffer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AdapterLayout {
    /// By layer.
    pub layers: Vec<Vec<Pair>>,
    /// Rows of [`COLUMNS`] with the matrices A; those of B follow.
    pub a_rows: usize,
    /// All rows.
    pub rows: usize,
}

impl AdapterLayout {
    pub fn new(config: &ModelConfig, options: &JointOptions) -> Self {
        let mut end = 0;
        let mut place = |rows: usize, cols: usize| {
            let offset = end;
            end = (end + rows * cols).next_multiple_of(ALIGN);
            Place { offset, rows, cols }
        };
        let matrices = Matrix::ALL.into_iter().filter(|matrix| options.matrices.contains(matrix));
        let each: Vec<Matrix> = matrices.collect();
        let all = || (0..config.n_layers).flat_map(|_| each.iter().copied());
        let a: Vec<Place> =
            all().map(|matrix| place(options.rank, matrix.dims(config)[1])).collect();
        let a_rows = a.last().map_or(0, |last| last.offset + last.rows * last.cols);
        let a_rows = a_rows.div_ceil(COLUMNS);
        let shift = a_rows * COLUMNS;
        let mut end = shift;
        let mut pairs = a.into_iter().zip(all()).map(|(a, matrix)| {
            let rows = matrix.dims(config)[0];
            let b = Place { offset: end, rows, cols: options.rank };
            end = (end + rows * options.rank).next_multiple_of(ALIGN);
            Pair { matrix, a, b }
        });
        let layers =
            (0..config.n_layers).map(|_| pairs.by_ref().take(each.len()).collect()).collect();
        drop(pairs);
        Self { layers, a_rows, rows: end.div_ceil(COLUMNS) }
    }

    /// Elements of a buffer.
    pub fn elements(&self) -> usize {
        self.rows * COLUMNS
    }

    /// Initial values: A is noise of the size that a fresh linear layer has, B zero, so that an
    /// adapter changes nothing yet (arXiv 2106.09685, section 4.1).
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; self.elements()];
        let key = [seed as u32 ^ 0x6c6f_7261, (seed >> 32) as u32];
        for (number, pair) in self.layers.iter().flatten().enumerate() {
            let bound = 1.0 / (pair.a.cols as f32).sqrt();
            let to = &mut values[pair.a.offset..][..pair.a.rows * pair.a.cols];
            for (i, value) in to.iter_mut().enumerate() {
                let word = philox4x32_10([i as u32, number as u32, 0, 0], key)[0];
                *value = bound * ((word >> 8) as f32 / (1 << 23) as f32 - 1.0);
            }
        }
        values
    }
}

/// Trained adapters.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapters {
    layout: AdapterLayout,
    values: Vec<f32>,
}

impl Adapters {
    pub(super) fn new(layout: AdapterLayout, values: Vec<f32>) -> Self {
        Self { layout, values }
    }

    fn pair(&self, layer: usize, matrix: Matrix) -> Option<&Pair> {
        self.layout.layers.get(layer)?.iter().find(|pair| pair.matrix == matrix)
    }

    /// Whether a matrix has an adapter.
    pub fn has(&self, layer: usize, matrix: Matrix) -> bool {
        self.pair(layer, matrix).is_some()
    }

    /// Adds `alpha / rank B A` to a matrix `[N, K]`, if it has an adapter.
    pub fn add_to(&self, layer: usize, matrix: Matrix, weight: &mut [f32]) {
        let Some(pair) = self.pair(layer, matrix) else { return };
        let (rank, k) = (pair.b.cols, pair.a.cols);
        let a = &self.values[pair.a.offset..][..rank * k];
        let b = &self.values[pair.b.offset..][..pair.b.rows * rank];
        for (row, b) in weight.chunks_exact_mut(k).zip(b.chunks_exact(rank)) {
            let mut sums: Vec<f64> = row.iter().copied().map(f64::from).collect();
            for (b, a) in b.iter().zip(a.chunks_exact(k)) {
                for (sum, a) in sums.iter_mut().zip(a) {
                    *sum += f64::from(*b) * f64::from(*a);
                }
            }
            for (weight, sum) in row.iter_mut().zip(sums) {
                *weight = sum as f32;
            }
        }
    }
}
