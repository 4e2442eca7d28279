//! Draft heads on a device (Medusa, arXiv 2401.10774; Hydra, arXiv 2402.05109).
//!
//! Heads read the hidden state behind which the root was chosen, which the round before left on the
//! device, and fill a tree that the same submission verifies. They are never part of the text: a
//! guess that is wrong, or a head that is coarsely quantised, costs time only.

mod plan;
mod record;

pub(super) use plan::{DraftPlan, DraftShape};

use super::{
    config::ModelConfig,
    plan::{Plan, Planner},
    state::MAX_TREE_ROWS,
    weights::{self, Linear, Part},
};
use crate::{
    backend::{Backend, BufferDesc, Usage, View},
    dtype::DType,
    error::{Error, Result},
    format::heads::{Dense, HeadKind, Heads},
    ops::{TopK, Weight},
    quant::{Layout, QuantFormat, repack},
};

/// A residual block `y = r(x) + silu(w x + b)`.
#[derive(Debug)]
struct Block {
    w: Weight,
    bias: View,
    /// Identity if absent.
    residual: Option<Weight>,
}

/// One head.
#[derive(Debug)]
struct Head {
    blocks: Vec<Block>,
    /// The projection of all, if absent.
    projection: Option<Linear>,
}

/// A set of heads, and the activations they need.
#[derive(Debug)]
pub(super) struct DeviceHeads {
    kind: HeadKind,
    embed_scale: f32,
    heads: Vec<Head>,
    /// The target's output matrix, or its rows of the draft vocabulary.
    shared: Linear,
    /// `[V']` u32: the target's id of each id of the draft vocabulary.
    map: Option<View>,
    /// Guesses V' of a projection.
    vocab: usize,
    buffers: Buffers,
    /// Device bytes of the weights.
    pub bytes: u64,
}

/// Activations of up to 64 rows.
#[derive(Debug)]
struct Buffers {
    /// `[64, (K + 1) D]` f32: input of sequential heads.
    concat: View,
    /// `[64, D]` f32: embeddings of the tree's nodes.
    embedded: View,
    /// `[64, D]` f32 each: a block's input and output, in turn.
    x: View,
    u: View,
    /// `[64, D]` f32: a block's product.
    t: View,
    /// `[64 * 64]` u32.
    top_ids: View,
    /// `[64 * 64]` f32.
    top_logprobs: View,
    /// Index arrays of a plan.
    plan: View,
}

impl DeviceHeads {
    /// Puts heads on a device, their matrices in `format`. A matrix whose rows are no whole blocks
    /// of the format is held in f16.
    ///
    /// # Errors
    /// Heads of another width or vocabulary, or whose matrices do not fit each other
    /// ([`Error::Invalid`], naming the head), and a device without room.
    pub fn load(
        heads: &Heads,
        config: &ModelConfig,
        (planner, plan): (Planner<'_>, &Plan),
        (backend, target_head): (&dyn Backend, &Linear),
        format: QuantFormat,
    ) -> Result<Self> {
        check(heads, config)?;
        let mut loader = Loader { backend, format, bytes: 0 };
        let vocab = heads.draft_vocab.as_ref().map_or(config.vocab, Vec::len);
        let mut all = Vec::with_capacity(heads.heads.len());
        for (k, head) in heads.heads.iter().enumerate() {
            let mut blocks = Vec::with_capacity(head.blocks.len());
            for (i, block) in head.blocks.iter().enumerate() {
                let name = format!("head.{k}.block.{i}");
                blocks.push(Block {
                    w: loader.matrix(&name, &block.weight)?,
                    bias: loader.vector(&name, &block.bias)?,
                    residual: match &block.residual {
                        Some(matrix) => Some(loader.matrix(&format!("{name}.residual"), matrix)?),
                        None => None,
                    },
                });
            }
            let projection = match &head.projection {
                Some(matrix) => {
                    Some(whole(loader.matrix(&format!("head.{k}.projection"), matrix)?))
                }
                None => None,
            };
            all.push(Head { blocks, projection });
        }
        let shared = match &heads.draft_vocab {
            Some(ids) if heads.heads.iter().any(|head| head.projection.is_none()) => {
                let weight = weights::head_rows(planner, plan, ids, backend)?;
                loader.bytes += weight.layout.bytes as u64;
                whole(weight)
            }
            _ => target_head.clone(),
        };
        let map = match &heads.draft_vocab {
            Some(ids) => Some(loader.ids(ids)?),
            None => None,
        };
        let bytes = loader.bytes;
        let buffers = Buffers::alloc(backend, config.d_model, heads.heads.len())?;
        let (kind, embed_scale) = (heads.kind, heads.embed_scale);
        Ok(Self { kind, embed_scale, heads: all, shared, map, vocab, buffers, bytes })
    }

    /// Kind, number, guesses and bytes.
    pub fn describe(&self) -> String {
        let (kind, n) = (self.kind, self.heads.len());
        format!("{n} {kind:?} with {} guesses in {} bytes", self.vocab, self.bytes)
    }

    /// Number of heads: the deepest tree they fill.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Where the index arrays of a plan lie.
    pub fn plan_buffer(&self) -> &View {
        &self.buffers.plan
    }

    /// How heads depend on each other.
    pub fn kind(&self) -> HeadKind {
        self.kind
    }

    /// Most guesses of a row.
    pub fn most_guesses(&self) -> usize {
        self.vocab.min(TopK::MAX_K)
    }
}

impl Buffers {
    fn alloc(backend: &dyn Backend, width: usize, heads: usize) -> Result<Self> {
        let list = |label: &str, dtype: DType, len: usize| {
            let desc =
                BufferDesc { label: label.into(), bytes: 4 * len as u64, usage: Usage::Scratch };
            backend.alloc(&desc)?.view(0, dtype, [len])
        };
        let matrix = |label: &str, width: usize| {
            let all = list(label, DType::F32, MAX_TREE_ROWS * width)?;
            all.buffer.view(0, DType::F32, [MAX_TREE_ROWS, width])
        };
        let guesses = MAX_TREE_ROWS * TopK::MAX_K;
        Ok(Self {
            concat: matrix("heads.concat", (heads + 1) * width)?,
            embedded: matrix("heads.embedded", width)?,
            x: matrix("heads.x", width)?,
            u: matrix("heads.u", width)?,
            t: matrix("heads.t", width)?,
            top_ids: list("heads.ids", DType::U32, guesses)?,
            top_logprobs: list("heads.logprobs", DType::F32, guesses)?,
            plan: list("heads.plan", DType::U32, plan::most_words(heads))?,
        })
    }
}

/// Uploads matrices and vectors.
struct Loader<'a> {
    backend: &'a dyn Backend,
    format: QuantFormat,
    bytes: u64,
}

impl Loader<'_> {
    fn matrix(&mut self, name: &str, matrix: &Dense) -> Result<Weight> {
        let layout = Layout::new(self.format, matrix.rows, matrix.cols)
            .or_else(|| Layout::new(QuantFormat::F16, matrix.rows, matrix.cols))
            .ok_or_else(|| Error::invalid(format!("{name}: a matrix without elements")))?;
        let mut blocks = Vec::new();
        layout.format.quantize(&matrix.data, &mut blocks)?;
        self.bytes += layout.bytes as u64;
        weights::upload(self.backend, name, layout, &repack(&layout, &blocks)?)
    }

    fn vector(&mut self, name: &str, values: &[f32]) -> Result<View> {
        self.words(&format!("{name}.bias"), DType::F32, bytemuck::cast_slice(values))
    }

    fn ids(&mut self, ids: &[u32]) -> Result<View> {
        self.words("heads.vocab", DType::U32, bytemuck::cast_slice(ids))
    }

    fn words(&mut self, label: &str, dtype: DType, bytes: &[u8]) -> Result<View> {
        let size = bytes.len() as u64;
        let desc = BufferDesc { label: label.into(), bytes: size, usage: Usage::Weights };
        let view = self.backend.alloc(&desc)?.view(0, dtype, [bytes.len() / 4])?;
        self.backend.write(&view, bytes)?;
        self.bytes += size;
        Ok(view)
    }
}

fn whole(weight: Weight) -> Linear {
    let n = weight.layout.n;
    Linear { parts: vec![Part { weight, first: 0, bias: None }], n }
}

/// Heads fit the model and themselves.
fn check(heads: &Heads, config: &ModelConfig) -> Result<()> {
    let (d, v) = (config.d_model, config.vocab);
    let refuse = |message: String| {
        Err(Error::Invalid {
            message,
            hint: Some("heads work with the model that they were trained for only".into()),
        })
    };
    // Files whose projections are the target's do not say for which vocabulary they are.
    if heads.width != d || ![0, v].contains(&heads.vocab) {
        return refuse(format!(
            "the heads are for a width of {} and a vocabulary of {}, the model has {d} and {v}",
            heads.width, heads.vocab
        ));
    }
    if heads.heads.is_empty() {
        return refuse("a head file without heads".into());
    }
    if let Some(ids) = &heads.draft_vocab
        && (ids.is_empty() || ids.iter().any(|&id| id as usize >= v))
    {
        let most = ids.iter().max();
        return refuse(format!(
            "a draft vocabulary of {} ids up to {most:?}, wanted some below {v}",
            ids.len()
        ));
    }
    let guesses = heads.draft_vocab.as_ref().map_or(v, Vec::len);
    for (k, head) in heads.heads.iter().enumerate() {
        let fits = |what: &str, m: &Dense, rows: usize, cols: usize| match (m.rows, m.cols)
            == (rows, cols)
            && m.data.len() == rows * cols
        {
            true => Ok(()),
            false => refuse(format!(
                "head {k}: {what} is [{}, {}] of {} values, wanted [{rows}, {cols}]",
                m.rows,
                m.cols,
                m.data.len()
            )),
        };
        let first = match heads.kind {
            HeadKind::Independent => d,
            HeadKind::Sequential => (k + 2) * d,
        };
        if heads.kind == HeadKind::Sequential
            && head.blocks.first().is_none_or(|block| block.residual.is_none())
        {
            return refuse(format!("head {k} is sequential and nothing narrows its input to {d}"));
        }
        for (i, block) in head.blocks.iter().enumerate() {
            let cols = if i == 0 { first } else { d };
            fits("a block's weight", &block.weight, d, cols)?;
            if let Some(residual) = &block.residual {
                fits("a block's residual", residual, d, cols)?;
            }
            if block.bias.len() != d {
                return refuse(format!("head {k}: a bias of {}, wanted {d}", block.bias.len()));
            }
        }
        if let Some(projection) = &head.projection {
            fits("its projection", projection, guesses, d)?;
        }
    }
    Ok(())
}
