//! The recording of heads: forward, and backward from the gradient of their logits.

use super::{
    Options,
    graph::Frozen,
    parameters::{BlockPlaces, Layout, Tensors},
};
use crate::{
    backend::{Backend, BackendResult, BufferDesc, Usage, View},
    dtype::DType,
    error::Result,
    format::heads::HeadKind,
    ops::{Add, ColumnSums, Copy, Embed, MatMul, Side, SiluAdd, SiluGrad, Then},
    record::Recorder,
};

/// A buffer of a matrix.
pub fn matrix(
    backend: &dyn Backend,
    label: &str,
    dtype: DType,
    [rows, cols]: [usize; 2],
) -> BackendResult<View> {
    let bytes = (dtype.size() * rows * cols) as u64;
    let desc = BufferDesc { label: label.into(), bytes, usage: Usage::Scratch };
    backend.alloc(&desc)?.view(0, dtype, [rows, cols])
}

/// A product without bias.
pub fn product(a: (&View, Side), b: (&View, Side), y: &View, then: Then) -> MatMul {
    let (a, a_side) = (a.0.clone(), a.1);
    let (b, b_side) = (b.0.clone(), b.1);
    MatMul { a, b, y: y.clone(), bias: None, a_side, b_side, then }
}

/// The single row of a matrix as a vector.
pub fn vector(matrix: &View) -> BackendResult<View> {
    matrix.buffer.view(matrix.offset, matrix.dtype, [matrix.shape.elements()])
}

/// Scratch of a step, shared by all heads, one after the other.
pub struct Buffers {
    /// `[B, (K + 1) D]`: state, then embeddings; `[B, D]` for independent heads.
    x: View,
    /// `[B, D]` by block: projections, outputs, gradients of outputs.
    z: Vec<View>,
    y: Vec<View>,
    dy: Vec<View>,
    /// `[B, D]`.
    dz: View,
    /// `[B, V']`.
    pub logits: View,
    /// `[V', D]`.
    projection: View,
}

impl Buffers {
    /// Allocates them, for batches of `options`, and writes the projection.
    pub fn alloc(device: &dyn Backend, options: &Options, frozen: &Frozen) -> Result<Self> {
        let (batch, width) = (options.batch, frozen.width);
        let draft_vocab = frozen.projection.len() / width;
        let floats = |label: &str, dims| matrix(device, label, DType::F32, dims);
        let by_block = |label: &str| {
            let all = (0..options.blocks).map(|_| floats(label, [batch, width]));
            all.collect::<BackendResult<Vec<_>>>()
        };
        let slots = match options.kind {
            HeadKind::Sequential => options.heads + 1,
            HeadKind::Independent => 1,
        };
        let projection = floats("projection", [draft_vocab, width])?;
        device.write(&projection, bytemuck::cast_slice(&frozen.projection))?;
        Ok(Self {
            x: floats("x", [batch, slots * width])?,
            z: by_block("z")?,
            y: by_block("y")?,
            dy: by_block("dy")?,
            dz: floats("dz", [batch, width])?,
            logits: floats("logits", [batch, draft_vocab])?,
            projection,
        })
    }
}

/// Records heads.
pub struct Tape<'a> {
    /// Shapes.
    pub layout: &'a Layout,
    /// Values.
    pub params: &'a Tensors,
    /// Where gradients go.
    pub grads: &'a Tensors,
    /// Scratch.
    pub buffers: &'a Buffers,
    /// Whether gradients are stored or added.
    pub then: Then,
}

impl Tape<'_> {
    /// State and embeddings side by side.
    pub fn inputs(
        &self,
        rec: &mut Recorder,
        (states, ids): (&View, Option<&View>),
        frozen: &Frozen,
    ) -> Result<()> {
        let (x, width) = (&self.buffers.x, self.layout.width);
        rec.label("inputs");
        rec.push(Copy { src: states.clone(), dst: x.columns(0, &[width])? })?;
        let Some(ids) = ids else { return Ok(()) };
        let batch = ids.shape.dim(1);
        for slot in 0..ids.shape.dim(0) {
            let offset = ids.offset + (4 * slot * batch) as u64;
            rec.push(Embed {
                ids: ids.buffer.view(offset, DType::U32, [batch])?,
                table: frozen.embed.clone(),
                out: x.columns((slot + 1) * width, &[width])?,
                scale: frozen.embed_scale,
            })?;
        }
        Ok(())
    }

    /// Input of a block.
    fn input(&self, blocks: &[BlockPlaces], block: usize) -> Result<View> {
        Ok(match block {
            0 => self.buffers.x.columns(0, &[blocks[0].weight.cols])?,
            _ => self.buffers.y[block - 1].clone(),
        })
    }

    /// Logits of a head.
    pub fn forward(&self, rec: &mut Recorder, head: usize) -> Result<()> {
        use Side::{Plain, Transposed};
        let (b, blocks) = (self.buffers, &self.layout.heads[head]);
        for (i, block) in blocks.iter().enumerate() {
            let x = self.input(blocks, i)?;
            let weight = self.params.matrix(&block.weight)?;
            rec.push(MatMul {
                bias: Some(self.params.vector(&block.bias)?),
                ..product((&x, Plain), (&weight, Transposed), &b.z[i], Then::Store)
            })?;
            match &block.residual {
                Some(residual) => {
                    let residual = self.params.matrix(residual)?;
                    let product =
                        product((&x, Plain), (&residual, Transposed), &b.y[i], Then::Store);
                    rec.push(product)?;
                }
                None => rec.push(Copy { src: x, dst: b.y[i].clone() })?,
            }
            rec.push(SiluAdd { y: b.z[i].clone(), x: b.y[i].clone() })?;
        }
        let last = b.y.last().expect("options ask for at least one block");
        rec.push(product((last, Plain), (&b.projection, Transposed), &b.logits, Then::Store))
    }

    /// Gradients of a head's parameters, from the loss's gradient in place of the logits; that of the
    /// hidden state is added to `states`, unless the state is frozen. Embeddings always are.
    pub fn backward(&self, rec: &mut Recorder, head: usize, states: Option<&View>) -> Result<()> {
        use Side::{Plain, Transposed};
        let (b, blocks) = (self.buffers, &self.layout.heads[head]);
        let last = b.dy.last().expect("options ask for at least one block");
        rec.push(product((&b.logits, Plain), (&b.projection, Plain), last, Then::Store))?;
        for (i, block) in blocks.iter().enumerate().rev() {
            let (x, dy) = (self.input(blocks, i)?, &b.dy[i]);
            rec.push(SiluGrad { z: b.z[i].clone(), dy: dy.clone(), dz: b.dz.clone() })?;
            let to = self.grads.matrix(&block.weight)?;
            rec.push(product((&b.dz, Transposed), (&x, Plain), &to, self.then))?;
            let out = self.grads.vector(&block.bias)?;
            rec.push(ColumnSums { x: b.dz.clone(), out, then: self.then })?;
            if let Some(residual) = &block.residual {
                let to = self.grads.matrix(residual)?;
                rec.push(product((dy, Transposed), (&x, Plain), &to, self.then))?;
            }
            let (to, then) = match (i, states) {
                (0, None) => continue,
                (0, Some(states)) => (states, Then::Add),
                _ => (&b.dy[i - 1], Then::Store),
            };
            // Of the input only the first D columns: the rest are embeddings.
            let own = [self.layout.width];
            let weight = self.params.matrix(&block.weight)?.columns(0, &own)?;
            rec.push(product((&b.dz, Plain), (&weight, Plain), to, then))?;
            match &block.residual {
                Some(residual) => {
                    let residual = self.params.matrix(residual)?.columns(0, &own)?;
                    rec.push(product((dy, Plain), (&residual, Plain), to, Then::Add))?;
                }
                None => rec.push(Add { x: dy.clone(), y: to.clone() })?,
            }
        }
        Ok(())
    }
}
