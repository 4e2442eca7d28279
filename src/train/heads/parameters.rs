//! Where the weights of all heads lie: one buffer for parameters, one for gradients and two for
//! moments, cut alike, so that the optimiser takes a single pass.

use super::Options;
use crate::{
    backend::{Backend, BackendResult, Buffer, BufferDesc, Usage, View},
    dtype::DType,
    error::{Error, Result},
    format::heads::{Dense, Head, HeadKind, HeadRecord, Heads, ResBlock},
    sample::philox4x32_10,
};

/// Columns in which the optimiser sees a buffer.
pub const COLUMNS: usize = 1024;
/// Tensors begin at multiples of this many f32: 256 bytes, the strictest binding offset.
pub const ALIGN: usize = 64;

/// Place of a tensor, in f32 from the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub offset: usize,
    pub rows: usize,
    pub cols: usize,
}

/// Places of one residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlaces {
    /// `[D, in]`.
    pub weight: Place,
    /// `[1, D]`.
    pub bias: Place,
    /// `[D, in]`, where the block's input is wider than its output.
    pub residual: Option<Place>,
}

/// Shapes and places of all parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub kind: HeadKind,
    /// Width D of the hidden state.
    pub width: usize,
    /// By head, by block.
    pub heads: Vec<Vec<BlockPlaces>>,
    /// Rows of [`COLUMNS`] with matrices; biases follow.
    pub matrix_rows: usize,
    /// All rows.
    pub rows: usize,
}

impl Layout {
    /// The layout of heads for a hidden state of `width`.
    pub fn new(options: &Options, width: usize) -> Self {
        let mut end = 0;
        let mut place = |rows: usize, cols: usize| {
            let offset = end;
            end = (end + rows * cols).next_multiple_of(ALIGN);
            Place { offset, rows, cols }
        };
        let mut shapes = Vec::new();
        for head in 0..options.heads {
            let mut blocks = Vec::new();
            for block in 0..options.blocks {
                let input = match (options.kind, block) {
                    (HeadKind::Sequential, 0) => (head + 2) * width,
                    _ => width,
                };
                let weight = place(width, input);
                let residual = (input != width).then(|| place(width, input));
                blocks.push((weight, residual));
            }
            shapes.push(blocks);
        }
        end = end.next_multiple_of(COLUMNS);
        let matrix_rows = end / COLUMNS;
        let mut place = |cols: usize| {
            let offset = end;
            end = (end + cols).next_multiple_of(ALIGN);
            Place { offset, rows: 1, cols }
        };
        let heads = shapes
            .into_iter()
            .map(|blocks: Vec<_>| {
                let full = blocks.into_iter().map(|(weight, residual)| BlockPlaces {
                    weight,
                    bias: place(width),
                    residual,
                });
                full.collect()
            })
            .collect();
        Self { kind: options.kind, width, heads, matrix_rows, rows: end.div_ceil(COLUMNS) }
    }

    /// Elements of a buffer.
    pub fn elements(&self) -> usize {
        self.rows * COLUMNS
    }

    /// Initial values: residuals take over the hidden state, weights are zero, so a head begins as
    /// the target's own output plus a constant (arXiv 2401.10774, section 2.1.1).
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; self.elements()];
        let bound = 1.0 / (self.width as f32).sqrt();
        for (h, blocks) in self.heads.iter().enumerate() {
            for (b, block) in blocks.iter().enumerate() {
                for i in 0..self.width {
                    let counter = [i as u32, b as u32, h as u32, 0];
                    let word = philox4x32_10(counter, [seed as u32, (seed >> 32) as u32])[0];
                    let unit = (word >> 8) as f32 / (1 << 23) as f32 - 1.0;
                    values[block.bias.offset + i] = bound * unit;
                    if let Some(residual) = &block.residual {
                        values[residual.offset + i * residual.cols + i] = 1.0;
                    }
                }
            }
        }
        values
    }

    /// Heads with these values.
    pub fn to_heads(
        &self,
        values: &[f32],
        (vocab, draft_vocab): (usize, &[u32]),
        embed_scale: f32,
        record: HeadRecord,
    ) -> Heads {
        let matrix = |place: &Place| {
            let data = values[place.offset..][..place.rows * place.cols].to_vec();
            Dense { rows: place.rows, cols: place.cols, data }
        };
        let heads = self.heads.iter().map(|blocks| {
            let blocks = blocks.iter().map(|block| ResBlock {
                weight: matrix(&block.weight),
                bias: matrix(&block.bias).data,
                residual: block.residual.as_ref().map(matrix),
            });
            Head { blocks: blocks.collect(), projection: None }
        });
        Heads {
            kind: self.kind,
            width: self.width,
            vocab,
            draft_vocab: (draft_vocab.len() != vocab).then(|| draft_vocab.to_vec()),
            embed_scale,
            heads: heads.collect(),
            record,
        }
    }

    /// Values of heads that have this layout: the way back.
    ///
    /// # Errors
    /// Heads of other shapes, saying which.
    pub fn values_of(&self, heads: &Heads) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.elements()];
        let other = |what: String| Error::Invalid {
            message: format!("the heads to start from differ: {what}"),
            hint: Some("start from heads of the same kind, number and blocks".into()),
        };
        if heads.kind != self.kind || heads.heads.len() != self.heads.len() {
            let (kind, count) = (heads.kind, heads.heads.len());
            return Err(other(format!(
                "{count} heads, {kind:?}, wanted {}, {:?}",
                self.heads.len(),
                self.kind
            )));
        }
        for (k, (head, blocks)) in heads.heads.iter().zip(&self.heads).enumerate() {
            if head.blocks.len() != blocks.len() || head.projection.is_some() {
                let count = head.blocks.len();
                return Err(other(format!("head {k} has {count} blocks or its own projection")));
            }
            for (block, places) in head.blocks.iter().zip(blocks) {
                let residual = block.residual.as_ref().zip(places.residual.as_ref());
                if block.residual.is_some() != places.residual.is_some() {
                    return Err(other(format!("head {k} has another residual")));
                }
                let matrices = std::iter::once((&block.weight, &places.weight)).chain(residual);
                for (dense, place) in matrices {
                    if (dense.rows, dense.cols) != (place.rows, place.cols) {
                        return Err(other(format!(
                            "head {k} has a matrix [{}, {}], wanted [{}, {}]",
                            dense.rows, dense.cols, place.rows, place.cols
                        )));
                    }
                    values[place.offset..][..dense.data.len()].copy_from_slice(&dense.data);
                }
                if block.bias.len() != places.bias.cols {
                    return Err(other(format!("head {k} has {} biases", block.bias.len())));
                }
                values[places.bias.offset..][..block.bias.len()].copy_from_slice(&block.bias);
            }
        }
        Ok(values)
    }
}

/// One buffer cut by a layout.
#[derive(Clone, Debug)]
pub struct Tensors {
    buffer: Buffer,
    rows: usize,
}

impl Tensors {
    /// Allocates `rows` rows of [`COLUMNS`].
    pub fn alloc(backend: &dyn Backend, label: &str, rows: usize) -> BackendResult<Self> {
        let bytes = (4 * rows * COLUMNS) as u64;
        let desc = BufferDesc { label: label.into(), bytes, usage: Usage::Scratch };
        Ok(Self { buffer: backend.alloc(&desc)?, rows })
    }

    /// View of a matrix.
    pub fn matrix(&self, place: &Place) -> BackendResult<View> {
        self.buffer.view(4 * place.offset as u64, DType::F32, [place.rows, place.cols])
    }

    /// View of a vector.
    pub fn vector(&self, place: &Place) -> BackendResult<View> {
        self.buffer.view(4 * place.offset as u64, DType::F32, [place.cols])
    }

    /// Rows of [`COLUMNS`].
    pub fn part(&self, first: usize, count: usize) -> BackendResult<View> {
        self.buffer.view((4 * first * COLUMNS) as u64, DType::F32, [count, COLUMNS])
    }

    /// Everything.
    pub fn all(&self) -> BackendResult<View> {
        self.part(0, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kind: HeadKind) -> Options {
        Options { kind, heads: 3, blocks: 2, ..Options::default() }
    }

    #[test]
    fn tensors_do_not_overlap_and_come_back() {
        for kind in [HeadKind::Independent, HeadKind::Sequential] {
            let layout = Layout::new(&options(kind), 40);
            let mut owner = vec![0u32; layout.elements()];
            let blocks = layout.heads.iter().flatten();
            for place in blocks.flat_map(|b| [Some(b.weight), Some(b.bias), b.residual]).flatten() {
                assert!(place.offset.is_multiple_of(ALIGN));
                for owner in &mut owner[place.offset..][..place.rows * place.cols] {
                    *owner += 1;
                }
            }
            assert!(owner.iter().all(|&count| count <= 1));
            let values: Vec<f32> =
                owner.iter().enumerate().map(|(i, &n)| (n as usize * i) as f32).collect();
            let heads = layout.to_heads(&values, (99, &[1, 2]), 1.0, HeadRecord::default());
            assert_eq!(layout.values_of(&heads).expect("the same layout"), values);
            let fewer = Layout::new(&Options { heads: 2, ..options(kind) }, 40);
            assert!(fewer.values_of(&heads).is_err());
        }
    }

    #[test]
    fn a_fresh_head_hands_the_hidden_state_on() {
        let layout = Layout::new(&options(HeadKind::Sequential), 8);
        let values = layout.initial(1);
        let heads = layout.to_heads(&values, (9, &[1]), 1.0, HeadRecord::default());
        let block = &heads.heads[1].blocks[0];
        let residual = block.residual.as_ref().expect("wider input");
        assert_eq!((residual.rows, residual.cols), (8, 24));
        for (i, value) in residual.data.iter().enumerate() {
            assert_eq!(*value, f32::from(u8::from(i % 24 == i / 24)));
        }
        assert!(block.bias.iter().all(|b| b.abs() <= 1.0 / 8f32.sqrt()));
        assert!(block.weight.data.iter().all(|w| *w == 0.0));
        assert_ne!(layout.initial(2), values);
    }
}
