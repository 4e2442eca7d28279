//! Prepared recordings of joint training: a window, the optimiser's step, an evaluation.

use super::{
    Backbone, JointOptions,
    adapters::AdapterLayout,
    buffers::{Given, Rows},
    decoder::Decoder,
    memory::piece_rows,
    windows::Window,
};
use crate::{
    backend::{Prepared, SharedBackend, View, Wait},
    dtype::DType,
    error::Result,
    format::heads::HeadKind,
    ops::{
        ADAMW_FIELDS, AdamW, ColumnSums, Fill, RowSquares,
        Side::{Plain, Transposed},
        SoftmaxKl, SoftmaxXent, Then, TopK,
    },
    record::{Recorder, Recording},
    train::heads::{
        Options,
        accuracy::RANKS,
        graph::Frozen,
        parameters::{Layout, Tensors},
        tape::{Buffers, Tape, matrix, product, vector},
    },
};

/// What the optimiser is told about a group of parameters; see [`AdamW::hyper`].
pub type Hyper = [f32; ADAMW_FIELDS];

/// Parameters of one kind, with what the optimiser keeps.
struct Trained {
    params: Tensors,
    grads: Tensors,
    moments: [Tensors; 2],
    /// Rows of each group that has its own settings: `(first, count)`.
    groups: [(usize, usize); 2],
    hyper: [View; 2],
}

/// Buffers and prepared recordings.
pub struct JointGraph {
    backend: SharedBackend,
    heads: Trained,
    adapters: Trained,
    given: Given,
    head_ids: Option<View>,
    targets: View,
    weights: View,
    kl_weights: View,
    loss: View,
    kl: View,
    norm2: View,
    top: View,
    begin: Prepared,
    window: Prepared,
    update: Prepared,
    evaluation: Prepared,
    nothing: Prepared,
    #[cfg(test)]
    hidden: View,
}

/// Everything that the recordings of a window are made from.
struct Parts<'a> {
    decoder: Decoder<'a>,
    tape: Tape<'a>,
    /// `[T, D]`: final-normed rows, of the original model, and the gradient of the first.
    hidden: View,
    original: View,
    dhidden: View,
    /// `[piece, V]`: logits of both.
    logits: [View; 2],
}

impl JointGraph {
    /// Allocates and prepares. `options.batch` is the window here.
    pub fn new(
        (options, joint): (&Options, &JointOptions),
        (layout, adapter_layout): (&Layout, &AdapterLayout),
        (backbone, frozen): (&Backbone, &Frozen),
    ) -> Result<Self> {
        let backend = backbone.backend.clone();
        let device = &*backend;
        let (t, heads) = (joint.window, options.heads);
        let floats = |label: &str, dims| matrix(device, label, DType::F32, dims);
        let words = |label: &str, dims| matrix(device, label, DType::U32, dims);
        let trained = |rows: usize, split: usize| {
            let tensors = |label: &str| Tensors::alloc(device, label, rows);
            let hyper = || Ok::<_, crate::Error>(vector(&floats("hyper", [1, ADAMW_FIELDS])?)?);
            Ok::<_, crate::Error>(Trained {
                params: tensors("params")?,
                grads: tensors("grads")?,
                moments: [tensors("mean")?, tensors("square")?],
                groups: [(0, split), (split, rows - split)],
                hyper: [hyper()?, hyper()?],
            })
        };
        let of_heads = trained(layout.rows, layout.matrix_rows)?;
        let of_adapters = trained(adapter_layout.rows, adapter_layout.a_rows)?;
        let given = Given::alloc(backbone, t)?;
        let sequential = options.kind == HeadKind::Sequential;
        let head_ids = sequential.then(|| words("ids", [heads, t])).transpose()?;
        let (targets, weights) =
            (words("targets", [heads * t, 1])?, floats("weights", [heads * t, 1])?);
        let kl_weights = floats("kl_weights", [t, 1])?;
        let (loss, kl) = (floats("loss", [heads * t, 1])?, floats("kl", [t, 1])?);
        let norm2 = vector(&floats("norm2", [1, 1])?)?;
        let top = words("top", [heads * t, RANKS])?;
        let logprobs = floats("logprobs", [heads * t, RANKS])?;
        let buffers = Buffers::alloc(device, options, frozen)?;
        let rows = Rows::alloc(backbone, joint)?;
        let (d, vocab) = (backbone.config.d_model, backbone.config.vocab);
        let piece = piece_rows(&backbone.config, t);
        let parts = Parts {
            decoder: Decoder {
                backbone,
                layout: adapter_layout,
                params: &of_adapters.params,
                grads: &of_adapters.grads,
                rows: &rows,
                given: &given,
            },
            tape: Tape {
                layout,
                params: &of_heads.params,
                grads: &of_heads.grads,
                buffers: &buffers,
                then: Then::Add,
            },
            hidden: floats("hidden", [t, d])?,
            original: floats("original", [t, d])?,
            dhidden: floats("dhidden", [t, d])?,
            logits: [floats("logits", [piece, vocab])?, floats("teacher", [piece, vocab])?],
        };

        let mut rec = Recorder::new();
        parts.divergence(&mut rec, (&kl_weights, &kl))?;
        parts.tape.inputs(&mut rec, (&parts.hidden, head_ids.as_ref()), frozen)?;
        for head in 0..heads {
            rec.label(format!("head.{head}"));
            parts.tape.forward(&mut rec, head)?;
            let cut = |view: &View| view.rows(head * t, t);
            rec.push(SoftmaxXent {
                logits: buffers.logits.clone(),
                targets: cut(&targets)?,
                weights: cut(&weights)?,
                loss: cut(&loss)?,
            })?;
            parts.tape.backward(&mut rec, head, Some(&parts.dhidden))?;
        }
        parts.decoder.backward(&mut rec, &parts.dhidden)?;
        let window = device.prepare(&rec.finish())?;

        let mut rec = Recorder::new();
        parts.divergence(&mut rec, (&kl_weights, &kl))?;
        parts.tape.inputs(&mut rec, (&parts.hidden, head_ids.as_ref()), frozen)?;
        for head in 0..heads {
            rec.label(format!("head.{head}"));
            parts.tape.forward(&mut rec, head)?;
            rec.push(TopK {
                logits: buffers.logits.clone(),
                ids: top.rows(head * t, t)?,
                logprobs: logprobs.rows(head * t, t)?,
            })?;
        }
        let evaluation = device.prepare(&rec.finish())?;

        let mut rec = Recorder::new();
        for of in [&of_heads, &of_adapters] {
            rec.push(Fill { dst: of.grads.all()?, bits: 0, random: None })?;
        }
        let begin = device.prepare(&rec.finish())?;
        let mut rec = Recorder::new();
        for (of, then) in [(&of_heads, Then::Store), (&of_adapters, Then::Add)] {
            let grads = of.grads.all()?;
            let squares = floats("squares", [grads.shape.dim(0), 1])?;
            rec.push(RowSquares { x: grads, out: squares.clone() })?;
            rec.push(ColumnSums { x: squares, out: norm2.clone(), then })?;
        }
        for of in [&of_heads, &of_adapters] {
            of.record(&mut rec, &norm2)?;
        }
        let update = device.prepare(&rec.finish())?;
        let nothing = device.prepare(&Recording::default())?;
        #[cfg(test)]
        let hidden = parts.hidden.clone();
        Ok(Self {
            heads: of_heads,
            adapters: of_adapters,
            given,
            head_ids,
            targets,
            weights,
            kl_weights,
            loss,
            kl,
            norm2,
            top,
            begin,
            window,
            update,
            evaluation,
            nothing,
            #[cfg(test)]
            hidden,
            backend,
        })
    }

    /// Gradients to zero.
    pub fn begin(&self) -> Result<()> {
        self.run(&self.begin, &[]).map(|_| ())
    }

    /// Adds the gradients of a window; gives the heads' weighted losses `[K, T]` and the weighted
    /// divergences `[T]`.
    pub fn add(&self, window: &Window) -> Result<(Vec<f32>, Vec<f32>)> {
        self.write(window)?;
        let download = self.run(&self.window, &[self.loss.clone(), self.kl.clone()])?;
        Ok((download.to_vec(0), download.to_vec(1)))
    }

    /// One step of the optimiser; gives the squared norm of the gradient. If that is not finite,
    /// nothing has changed.
    pub fn update(&self, heads: [Hyper; 2], adapters: [Hyper; 2]) -> Result<f32> {
        for (of, values) in [(&self.heads, heads), (&self.adapters, adapters)] {
            for (view, values) in of.hyper.iter().zip(values) {
                self.backend.write(view, bytemuck::cast_slice(&values))?;
            }
        }
        Ok(self.run(&self.update, std::slice::from_ref(&self.norm2))?.to_vec(0)[0])
    }

    /// `[K, T, RANKS]`: the best places of every head; and the divergences `[T]`.
    pub fn evaluate(&self, window: &Window) -> Result<(Vec<u32>, Vec<f32>)> {
        self.write(window)?;
        let download = self.run(&self.evaluation, &[self.top.clone(), self.kl.clone()])?;
        Ok((download.to_vec(0), download.to_vec(1)))
    }

    fn write(&self, window: &Window) -> Result<()> {
        let words = [
            (&self.given.ids, &window.ids),
            (&self.given.positions, &window.positions),
            (&self.given.spans[0], &window.spans[0]),
            (&self.given.spans[1], &window.spans[1]),
            (&self.targets, &window.targets),
        ];
        let ids = self.head_ids.as_ref().map(|view| (view, &window.head_ids));
        for (view, values) in words.into_iter().chain(ids) {
            self.backend.write(view, bytemuck::cast_slice(values))?;
        }
        for (view, values) in [(&self.weights, &window.weights), (&self.kl_weights, &window.kl)] {
            self.backend.write(view, bytemuck::cast_slice(values))?;
        }
        Ok(())
    }

    fn run(&self, work: &Prepared, reads: &[View]) -> Result<crate::backend::Download> {
        let ticket = self.backend.submit(work, reads)?;
        Ok(self.backend.finish(ticket, Wait::Park)?)
    }

    /// Parameters and moments: those of heads, then those of adapters.
    pub fn values(&self) -> Result<[Vec<f32>; 3]> {
        let mut reads = Vec::new();
        for of in [&self.heads, &self.adapters] {
            for tensors in of.all() {
                reads.push(tensors.all()?);
            }
        }
        let download = self.run(&self.nothing, &reads)?;
        Ok([0, 1, 2].map(|i| {
            let mut values: Vec<f32> = download.to_vec(i);
            values.extend(download.to_vec::<f32>(i + 3));
            values
        }))
    }

    /// Sets parameters and moments, in the order of [`Self::values`].
    pub fn set_values(&self, values: &[Vec<f32>; 3]) -> Result<()> {
        for (i, values) in values.iter().enumerate() {
            let (heads, adapters) = (self.heads.all()[i].all()?, self.adapters.all()[i].all()?);
            let (first, second) = values.split_at(heads.shape.elements());
            self.backend.write(&heads, bytemuck::cast_slice(first))?;
            self.backend.write(&adapters, bytemuck::cast_slice(second))?;
        }
        Ok(())
    }

    /// `[T, D]`: final-normed rows of the last window, adapters included.
    #[cfg(test)]
    pub fn hidden(&self) -> Vec<f32> {
        let download = self.run(&self.nothing, std::slice::from_ref(&self.hidden));
        download.expect("runs").to_vec(0)
    }

    /// Gradients since [`Self::begin`], of heads and of adapters.
    #[cfg(test)]
    pub fn gradients(&self) -> [Vec<f32>; 2] {
        let reads = [&self.heads, &self.adapters].map(|of| of.grads.all().expect("as allocated"));
        let download = self.run(&self.nothing, &reads).expect("runs");
        [0, 1].map(|i| download.to_vec(i))
    }
}

impl Trained {
    fn all(&self) -> [&Tensors; 3] {
        [&self.params, &self.moments[0], &self.moments[1]]
    }

    fn record(&self, rec: &mut Recorder, norm2: &View) -> Result<()> {
        let groups = self.groups.iter().zip(&self.hyper).filter(|((_, count), _)| *count > 0);
        for (&(first, count), hyper) in groups {
            rec.push(AdamW {
                params: self.params.part(first, count)?,
                grads: self.grads.part(first, count)?,
                mean: self.moments[0].part(first, count)?,
                square: self.moments[1].part(first, count)?,
                norm2: norm2.clone(),
                hyper: hyper.clone(),
            })?;
        }
        Ok(())
    }
}

impl Parts<'_> {
    /// Both models' rows, and piece by piece the divergence of their outputs, whose gradient begins
    /// that of the rows.
    fn divergence(&self, rec: &mut Recorder, (weights, loss): (&View, &View)) -> Result<()> {
        self.decoder.forward(rec, false, &self.original)?;
        self.decoder.forward(rec, true, &self.hidden)?;
        let (t, piece) = (self.hidden.shape.dim(0), self.logits[0].shape.dim(0));
        for first in (0..t).step_by(piece) {
            rec.label(format!("divergence.{first}"));
            let count = piece.min(t - first);
            let [logits, teacher] = [0, 1].map(|i| self.logits[i].rows(0, count));
            let (logits, teacher) = (logits?, teacher?);
            for (rows, logits) in [(&self.hidden, &logits), (&self.original, &teacher)] {
                let rows = rows.rows(first, count)?;
                for (column, part) in &self.decoder.backbone.output {
                    let y = logits.columns(*column, &[part.shape.dim(0)])?;
                    rec.push(product((&rows, Plain), (part, Transposed), &y, Then::Store))?;
                }
            }
            rec.push(SoftmaxKl {
                logits: logits.clone(),
                teacher,
                weights: weights.rows(first, count)?,
                loss: loss.rows(first, count)?,
            })?;
            let to = self.dhidden.rows(first, count)?;
            for (column, part) in &self.decoder.backbone.output {
                let dy = logits.columns(*column, &[part.shape.dim(0)])?;
                let then = if *column == 0 { Then::Store } else { Then::Add };
                rec.push(product((&dy, Plain), (part, Plain), &to, then))?;
            }
        }
        Ok(())
    }
}
