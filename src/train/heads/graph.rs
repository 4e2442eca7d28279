//! The recordings of training: a step of all heads, an evaluation, and the teacher's pass.

use super::{
    Options,
    accuracy::RANKS,
    batch::Batch,
    parameters::{Layout, Tensors},
    tape::{Buffers, Tape, matrix, product, vector},
};
use crate::{
    backend::{Prepared, SharedBackend, View, Wait},
    dtype::DType,
    error::Result,
    format::heads::HeadKind,
    ops::{ADAMW_FIELDS, AdamW, ColumnSums, RowSquares, Side, SoftmaxXent, Then, TopK, Weight},
    record::{Recorder, Recording},
};

/// What of the model heads are trained against.
pub struct Frozen {
    /// The device.
    pub backend: SharedBackend,
    /// `[V, D]`: embeddings, for sequential heads.
    pub embed: Weight,
    /// Factor on them.
    pub embed_scale: f32,
    /// `[V', D]`: rows of the output matrix.
    pub projection: Vec<f32>,
    /// Width D.
    pub width: usize,
}

/// What a step gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepResult {
    /// `[K, B]`: weighted losses.
    pub losses: Vec<f32>,
    /// Squared norm of the gradient.
    pub norm2: f32,
}

/// Buffers and prepared recordings.
pub struct Graph {
    backend: SharedBackend,
    layout: Layout,
    params: Tensors,
    #[cfg(test)]
    grads: Tensors,
    moments: [Tensors; 2],
    inputs: Inputs,
    loss: View,
    norm2: View,
    top: View,
    step: Prepared,
    evaluation: Prepared,
    nothing: Prepared,
}

/// What the host writes.
struct Inputs {
    states: View,
    ids: Option<View>,
    targets: View,
    weights: View,
    hyper: [View; 2],
}

impl Graph {
    /// Allocates and prepares.
    pub fn new(options: &Options, layout: Layout, frozen: &Frozen) -> Result<Self> {
        let backend = frozen.backend.clone();
        let device = &*backend;
        let tensors = |label: &str| Tensors::alloc(device, label, layout.rows);
        let (params, grads) = (tensors("params")?, tensors("grads")?);
        let moments = [tensors("mean")?, tensors("square")?];
        let Options { batch, heads, .. } = *options;
        let per_row = options.targets.count();
        let floats = |label: &str, dims| matrix(device, label, DType::F32, dims);
        let words = |label: &str, dims| matrix(device, label, DType::U32, dims);
        let sequential = options.kind == HeadKind::Sequential;
        let hyper = || Ok::<_, crate::Error>(vector(&floats("hyper", [1, ADAMW_FIELDS])?)?);
        let inputs = Inputs {
            states: floats("states", [batch, frozen.width])?,
            ids: sequential.then(|| words("ids", [heads, batch])).transpose()?,
            targets: words("targets", [heads * batch, per_row])?,
            weights: floats("weights", [heads * batch, per_row])?,
            hyper: [hyper()?, hyper()?],
        };
        let loss = floats("loss", [heads * batch, 1])?;
        let norm2 = vector(&floats("norm2", [1, 1])?)?;
        let top = words("top", [heads * batch, RANKS])?;
        let logprobs = floats("logprobs", [heads * batch, RANKS])?;
        let buffers = Buffers::alloc(device, options, frozen)?;
        let tape = Tape {
            layout: &layout,
            params: &params,
            grads: &grads,
            buffers: &buffers,
            then: Then::Store,
        };
        let given = (&inputs.states, inputs.ids.as_ref());

        let mut rec = Recorder::new();
        tape.inputs(&mut rec, given, frozen)?;
        for head in 0..heads {
            rec.label(format!("head.{head}"));
            tape.forward(&mut rec, head)?;
            let rows = |view: &View| view.rows(head * batch, batch);
            rec.push(SoftmaxXent {
                logits: buffers.logits.clone(),
                targets: rows(&inputs.targets)?,
                weights: rows(&inputs.weights)?,
                loss: rows(&loss)?,
            })?;
            tape.backward(&mut rec, head, None)?;
        }
        rec.label("optimiser");
        let squares = floats("squares", [layout.rows, 1])?;
        rec.push(RowSquares { x: grads.all()?, out: squares.clone() })?;
        rec.push(ColumnSums { x: squares, out: norm2.clone(), then: Then::Store })?;
        let bias_rows = layout.rows - layout.matrix_rows;
        let parts = [(0, layout.matrix_rows), (layout.matrix_rows, bias_rows)];
        for ((first, count), hyper) in parts.into_iter().zip(&inputs.hyper) {
            rec.push(AdamW {
                params: params.part(first, count)?,
                grads: grads.part(first, count)?,
                mean: moments[0].part(first, count)?,
                square: moments[1].part(first, count)?,
                norm2: norm2.clone(),
                hyper: hyper.clone(),
            })?;
        }
        let step = device.prepare(&rec.finish())?;

        let mut rec = Recorder::new();
        tape.inputs(&mut rec, given, frozen)?;
        for head in 0..heads {
            rec.label(format!("head.{head}"));
            tape.forward(&mut rec, head)?;
            rec.push(TopK {
                logits: buffers.logits.clone(),
                ids: top.rows(head * batch, batch)?,
                logprobs: logprobs.rows(head * batch, batch)?,
            })?;
        }
        let evaluation = device.prepare(&rec.finish())?;
        let nothing = device.prepare(&Recording::default())?;
        Ok(Self {
            layout,
            params,
            #[cfg(test)]
            grads,
            moments,
            inputs,
            loss,
            norm2,
            top,
            step,
            evaluation,
            nothing,
            backend,
        })
    }

    /// One step of all heads; the optimiser's settings are those of matrices and of biases.
    pub fn step(&self, batch: &Batch, hyper: [[f32; ADAMW_FIELDS]; 2]) -> Result<StepResult> {
        self.write(batch)?;
        for (view, hyper) in self.inputs.hyper.iter().zip(&hyper) {
            self.backend.write(view, bytemuck::cast_slice(hyper))?;
        }
        let reads = [self.loss.clone(), self.norm2.clone()];
        let ticket = self.backend.submit(&self.step, &reads)?;
        let download = self.backend.finish(ticket, Wait::Park)?;
        Ok(StepResult { losses: download.to_vec(0), norm2: download.to_vec(1)[0] })
    }

    /// `[K, B, RANKS]`: the best places of every head.
    pub fn evaluate(&self, batch: &Batch) -> Result<Vec<u32>> {
        self.write(batch)?;
        let ticket = self.backend.submit(&self.evaluation, std::slice::from_ref(&self.top))?;
        Ok(self.backend.finish(ticket, Wait::Park)?.to_vec(0))
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        let Inputs { states, ids, targets, weights, .. } = &self.inputs;
        self.backend.write(states, bytemuck::cast_slice(&batch.states))?;
        if let Some(ids) = ids {
            self.backend.write(ids, bytemuck::cast_slice(&batch.ids))?;
        }
        self.backend.write(targets, bytemuck::cast_slice(&batch.targets))?;
        self.backend.write(weights, bytemuck::cast_slice(&batch.weights))?;
        Ok(())
    }

    /// Shapes and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Parameters and moments.
    pub fn values(&self) -> Result<[Vec<f32>; 3]> {
        let [mean, square] = &self.moments;
        let reads = [self.params.all()?, mean.all()?, square.all()?];
        let ticket = self.backend.submit(&self.nothing, &reads)?;
        let download = self.backend.finish(ticket, Wait::Park)?;
        Ok([0, 1, 2].map(|i| download.to_vec(i)))
    }

    /// Sets parameters and moments.
    pub fn set_values(&self, values: &[Vec<f32>; 3]) -> Result<()> {
        let [mean, square] = &self.moments;
        for (tensors, values) in [&self.params, mean, square].into_iter().zip(values) {
            self.backend.write(&tensors.all()?, bytemuck::cast_slice(values))?;
        }
        Ok(())
    }

    /// Gradients of the last step.
    #[cfg(test)]
    pub fn gradients(&self) -> Vec<f32> {
        let reads = [self.grads.all().expect("cut by the layout")];
        let ticket = self.backend.submit(&self.nothing, &reads).expect("own work");
        self.backend.finish(ticket, Wait::Park).expect("runs").to_vec(0)
    }
}

/// The target's own output over the draft vocabulary.
pub struct Teacher {
    backend: SharedBackend,
    states: View,
    ids: View,
    logprobs: View,
    work: Prepared,
}

impl Teacher {
    /// Prepares the pass of `batch` rows that gives the `top` best places of each.
    pub fn new(frozen: &Frozen, batch: usize, top: usize) -> Result<Self> {
        let backend = frozen.backend.clone();
        let device = &*backend;
        let width = frozen.width;
        let draft_vocab = frozen.projection.len() / width;
        let states = matrix(device, "states", DType::F32, [batch, width])?;
        let projection = matrix(device, "projection", DType::F32, [draft_vocab, width])?;
        let logits = matrix(device, "logits", DType::F32, [batch, draft_vocab])?;
        let ids = matrix(device, "ids", DType::U32, [batch, top])?;
        let logprobs = matrix(device, "logprobs", DType::F32, [batch, top])?;
        let mut rec = Recorder::new();
        let sides = ((&states, Side::Plain), (&projection, Side::Transposed));
        rec.push(product(sides.0, sides.1, &logits, Then::Store))?;
        rec.push(TopK { logits, ids: ids.clone(), logprobs: logprobs.clone() })?;
        let work = device.prepare(&rec.finish())?;
        device.write(&projection, bytemuck::cast_slice(&frozen.projection))?;
        Ok(Self { states, ids, logprobs, work, backend })
    }

    /// Rows of a pass.
    pub fn batch(&self) -> usize {
        self.states.shape.dim(0)
    }

    /// Best places and their log-probabilities, each `[batch, top]`.
    pub fn best(&mut self, states: &[f32]) -> Result<(Vec<u32>, Vec<f32>)> {
        self.backend.write(&self.states, bytemuck::cast_slice(states))?;
        let reads = [self.ids.clone(), self.logprobs.clone()];
        let ticket = self.backend.submit(&self.work, &reads)?;
        let download = self.backend.finish(ticket, Wait::Park)?;
        Ok((download.to_vec(0), download.to_vec(1)))
    }
}
