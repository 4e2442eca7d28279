//! Weights on a device.
//!
//! Each weight is repacked in one host buffer that is reused, copied to the device, and its file
//! pages are given back, so that loading never holds the model twice.

use std::collections::BTreeMap;

use super::{
    config::ModelConfig,
    plan::{LayerPlan, LinearPlan, PartPlan, Plan, Planner, layer_norms},
    rope::RopeTable,
};
use crate::{
    backend::{Backend, BufferDesc, Usage, View},
    dtype::DType,
    error::{Error, Result},
    format::{ModelSource, TensorRef},
    ops::Weight,
    quant::{Layout, QuantFormat, ROW_GROUP, repack_rows},
    shape::Shape,
};

/// Elements quantised at a time.
const QUANT_ELEMENTS: usize = 1 << 20;
/// Vectors start at multiples of this many f32: 256 bytes, the strictest binding offset.
const VECTOR_ALIGN: usize = 64;

/// Part of a linear map: one packed weight.
#[derive(Clone, Debug)]
pub struct Part {
    /// `[n, K]`.
    pub weight: Weight,
    /// First output column.
    pub first: usize,
    /// `[n]` f32.
    pub bias: Option<View>,
}

/// A linear map `[N, K]` whose parts write neighbouring columns.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Parts in order of their columns.
    pub parts: Vec<Part>,
    /// Outputs N.
    pub n: usize,
}

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `[D]`, before attention.
    pub attn_norm: View,
    /// `[(H + 2G) d, D]`: queries, keys, values.
    pub qkv: Linear,
    /// `[d]` of queries and of keys.
    pub qk_norm: Option<(View, View)>,
    /// `[D, H d]`.
    pub attn_out: Linear,
    /// `[D]` of the attention's output and of the feed-forward's.
    pub post_norms: Option<(View, View)>,
    /// `[D]`, before the feed-forward.
    pub ffn_norm: View,
    /// `[2F, D]`: gate, up.
    pub gate_up: Linear,
    /// `[D, F]`.
    pub down: Linear,
}

/// Cosines and sines on a device, each `[T, rot / 2]`.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Cosines.
    pub cos: View,
    /// Sines.
    pub sin: View,
}

/// All weights of a model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `[V, D]`.
    pub embed: Weight,
    /// Layers.
    pub layers: Vec<Layer>,
    /// `[D]`.
    pub output_norm: View,
    /// `[V, D]`; the embedding itself if the model ties them.
    pub head: Linear,
    /// Rotation of layers that attend to everything.
    pub rope: Rotation,
    /// Rotation of windowed layers.
    pub rope_local: Rotation,
    /// Device bytes.
    pub bytes: u64,
}

/// Puts a model's weights on a device. `progress` gets the share of bytes done, 0 to 1.
pub(super) fn load(
    source: &ModelSource,
    config: &ModelConfig,
    plan: &Plan,
    (backend, positions): (&dyn Backend, usize),
    progress: &mut dyn FnMut(f32),
) -> Result<Weights> {
    let planner = Planner { source, quant: None };
    let vectors = Vectors::load(&planner, config, plan, backend)?;
    let total = plan.bytes().max(1) as f32;
    let mut loader = Loader { planner, backend, vectors: &vectors, scratch: Vec::new(), done: 0 };
    let mut linear = |plan: &LinearPlan| {
        let linear = loader.linear(plan)?;
        progress(loader.done as f32 / total);
        Ok::<_, Error>(linear)
    };
    assemble((config, plan), (backend, positions), &vectors, &mut linear)
}

/// Puts together what `linear` makes of each linear map of the plan, in its order.
pub(super) fn assemble(
    (config, plan): (&ModelConfig, &Plan),
    (backend, positions): (&dyn Backend, usize),
    vectors: &Vectors,
    linear: &mut dyn FnMut(&LinearPlan) -> Result<Linear>,
) -> Result<Weights> {
    let embed = linear(&plan.embed)?;
    let layers = plan.layers.iter().enumerate().map(|(i, plan)| {
        let LayerPlan { qkv, attn_out, gate_up, down } = plan;
        let norm = |stem: &str| vectors.view(&format!("blk.{i}.{stem}.weight"));
        let pair = |a: &str, b: &str| Some((norm(a)?, norm(b)?));
        let needed = "every norm of the configuration was loaded";
        Ok(Layer {
            attn_norm: norm("attn_norm").expect(needed),
            qkv: linear(qkv)?,
            qk_norm: pair("attn_q_norm", "attn_k_norm"),
            attn_out: linear(attn_out)?,
            post_norms: pair("post_attention_norm", "post_ffw_norm"),
            ffn_norm: norm("ffn_norm").expect(needed),
            gate_up: linear(gate_up)?,
            down: linear(down)?,
        })
    });
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let head = match &plan.head {
        Some(head) => linear(head)?,
        None => embed.clone(),
    };
    let rope = rotation(backend, "rope", &RopeTable::new(&config.rope, positions))?;
    let rope_local = match &config.rope_local {
        Some(local) => rotation(backend, "rope_local", &RopeTable::new(local, positions))?,
        None => rope.clone(),
    };
    Ok(Weights {
        embed: embed.parts[0].weight.clone(),
        layers,
        output_norm: vectors.view("output_norm.weight").expect("the output norm was loaded"),
        head,
        rope,
        rope_local,
        bytes: plan.bytes(),
    })
}

/// Repacks and uploads matrices one after the other.
struct Loader<'a> {
    planner: Planner<'a>,
    backend: &'a dyn Backend,
    vectors: &'a Vectors,
    scratch: Vec<u8>,
    done: u64,
}

impl Loader<'_> {
    fn linear(&mut self, plan: &LinearPlan) -> Result<Linear> {
        let parts = plan.parts.iter().map(|part| {
            let bias = self.vectors.view(&bias_key(part));
            Ok(Part { weight: self.weight(part)?, first: part.first, bias })
        });
        Ok(Linear { parts: parts.collect::<Result<_>>()?, n: plan.n })
    }

    fn weight(&mut self, plan: &PartPlan) -> Result<Weight> {
        let layout = plan.layout;
        self.scratch.clear();
        self.scratch.resize(layout.bytes, 0);
        let mut row = 0;
        for name in &plan.tensors {
            let tensor = self.planner.source.tensor(name)?;
            pack(&self.planner, &plan.layout, (row, &tensor), &mut self.scratch)?;
            row += tensor.shape.dim(0);
            self.planner.source.release(name);
        }
        self.done += layout.bytes as u64;
        upload(self.backend, &plan.tensors[0], layout, &self.scratch)
    }
}

/// Puts a packed weight on a device.
pub(super) fn upload(
    backend: &dyn Backend,
    label: &str,
    layout: Layout,
    packed: &[u8],
) -> Result<Weight> {
    let desc =
        BufferDesc { label: label.into(), bytes: layout.bytes as u64, usage: Usage::Weights };
    let data = backend.alloc(&desc)?.view(0, DType::U8, [layout.bytes])?;
    backend.write(&data, packed)?;
    Ok(Weight { layout, data })
}

/// Rows `ids` of the output matrix as one weight, in the format that the whole has on the device.
pub(super) fn head_rows(
    planner: Planner<'_>,
    plan: &Plan,
    ids: &[u32],
    backend: &dyn Backend,
) -> Result<Weight> {
    let whole = &plan.head.as_ref().unwrap_or(&plan.embed).parts[0];
    let name = &whole.tensors[0];
    let layout = Layout::new(whole.layout.format, ids.len(), whole.layout.k)
        .ok_or_else(|| Error::invalid("a draft vocabulary without tokens"))?;
    let tensor = planner.source.tensor(name)?;
    let row_bytes = tensor.bytes.len() / tensor.shape.dim(0);
    let mut rows = Vec::with_capacity(ids.len() * row_bytes);
    for &id in ids {
        rows.extend_from_slice(&tensor.bytes[id as usize * row_bytes..][..row_bytes]);
    }
    let shape = Shape::new(&[ids.len(), layout.k]);
    let some = TensorRef { name, shape, dtype: tensor.dtype, bytes: &rows };
    let mut packed = vec![0; layout.bytes];
    pack(&planner, &layout, (0, &some), &mut packed)?;
    planner.source.release(name);
    upload(backend, &format!("{name}[draft]"), layout, &packed)
}

/// Packs a tensor's rows at `row` of a weight, quantising them if the file has another format.
fn pack(
    planner: &Planner<'_>,
    layout: &Layout,
    (row, tensor): (usize, &TensorRef<'_>),
    packed: &mut [u8],
) -> Result<()> {
    let named = |e: Error| planner.error(format!("tensor `{}`: {e}", tensor.name), e.hint());
    if tensor.dtype == layout.format {
        return repack_rows(layout, row, tensor.bytes, packed).map_err(named);
    }
    let rows = (QUANT_ELEMENTS / layout.k).next_multiple_of(ROW_GROUP).max(ROW_GROUP);
    let row_bytes = tensor.bytes.len() / tensor.shape.dim(0);
    let (mut floats, mut blocks) = (Vec::new(), Vec::new());
    for (i, chunk) in tensor.bytes.chunks(rows * row_bytes).enumerate() {
        floats.resize(chunk.len() / row_bytes * layout.k, 0.0);
        blocks.clear();
        tensor.dtype.dequantize(chunk, &mut floats).map_err(named)?;
        layout.format.quantize(&floats, &mut blocks).map_err(named)?;
        repack_rows(layout, row + i * rows, &blocks, packed).map_err(named)?;
    }
    Ok(())
}

fn bias_key(part: &PartPlan) -> String {
    format!("{}+bias", part.tensors[0])
}

fn rotation(backend: &dyn Backend, label: &str, table: &RopeTable) -> Result<Rotation> {
    let upload = |name: &str, values: &[f32], positions: usize| -> Result<View> {
        let bytes = size_of_val(values) as u64;
        let desc = BufferDesc { label: format!("{label}.{name}"), bytes, usage: Usage::Weights };
        let view =
            backend.alloc(&desc)?.view(0, DType::F32, [positions, values.len() / positions])?;
        backend.write(&view, bytemuck::cast_slice(values))?;
        Ok(view)
    };
    let positions = table.positions;
    Ok(Rotation {
        cos: upload("cos", &table.cos, positions)?,
        sin: upload("sin", &table.sin, positions)?,
    })
}

/// Norm weights and biases: small f32 vectors that share one buffer.
pub(super) struct Vectors {
    buffer: View,
    ranges: BTreeMap<String, (usize, usize)>,
}

impl Vectors {
    fn load(
        planner: &Planner<'_>,
        config: &ModelConfig,
        plan: &Plan,
        backend: &dyn Backend,
    ) -> Result<Self> {
        let mut vectors = VectorValues::default();
        let plus = if config.norm_plus_one { 1.0 } else { 0.0 };
        for (name, len) in norms(config) {
            let mut norm = vector(planner, &name, len)?;
            norm.iter_mut().for_each(|w| *w += plus);
            vectors.add(name, &norm);
        }
        for linear in plan.linears().filter(|l| l.biased) {
            for part in &linear.parts {
                let mut bias = Vec::new();
                for name in &part.tensors {
                    let rows = planner.source.tensor(name)?.shape.dim(0);
                    let name = format!("{}.bias", name.trim_end_matches(".weight"));
                    bias.extend(vector(planner, &name, rows)?);
                }
                vectors.add(bias_key(part), &bias);
            }
        }
        vectors.upload(backend)
    }

    /// Norms that change nothing, and no biases.
    pub fn ones(config: &ModelConfig, backend: &dyn Backend) -> Result<Self> {
        let mut vectors = VectorValues::default();
        for (name, len) in norms(config) {
            vectors.add(name, &vec![1.0; len]);
        }
        vectors.upload(backend)
    }

    fn view(&self, name: &str) -> Option<View> {
        let &(start, len) = self.ranges.get(name)?;
        let view = self.buffer.buffer.view((start * 4) as u64, DType::F32, [len]);
        Some(view.expect("ranges lie within the buffer"))
    }
}

/// Names and lengths of all norms.
fn norms(config: &ModelConfig) -> impl Iterator<Item = (String, usize)> {
    let layers = (0..config.n_layers).flat_map(|i| {
        layer_norms(config).into_iter().map(move |(n, len)| (format!("blk.{i}.{n}.weight"), len))
    });
    layers.chain([("output_norm.weight".to_owned(), config.d_model)])
}

/// The contents of [`Vectors`] before they are on a device.
#[derive(Default)]
struct VectorValues {
    values: Vec<f32>,
    ranges: BTreeMap<String, (usize, usize)>,
}

impl VectorValues {
    fn add(&mut self, key: String, vector: &[f32]) {
        let start = self.values.len();
        self.values.extend_from_slice(vector);
        self.values.resize(self.values.len().next_multiple_of(VECTOR_ALIGN), 0.0);
        self.ranges.insert(key, (start, vector.len()));
    }

    fn upload(self, backend: &dyn Backend) -> Result<Vectors> {
        let bytes = size_of_val(&self.values[..]) as u64;
        let desc = BufferDesc { label: "vectors".into(), bytes, usage: Usage::Weights };
        let buffer = backend.alloc(&desc)?.view(0, DType::F32, [self.values.len()])?;
        backend.write(&buffer, bytemuck::cast_slice(&self.values))?;
        Ok(Vectors { buffer, ranges: self.ranges })
    }
}

/// A tensor of `len` elements as f32.
fn vector(planner: &Planner<'_>, name: &str, len: usize) -> Result<Vec<f32>> {
    let tensor = planner.source.tensor(name)?;
    planner.expect_shape(&tensor, &[len])?;
    if !matches!(tensor.dtype, QuantFormat::F32 | QuantFormat::F16 | QuantFormat::BF16) {
        let message = format!("tensor `{name}` is {}, wanted f32, f16 or bf16", tensor.dtype);
        return Err(planner.error(message, None));
    }
    let mut values = vec![0.0; len];
    tensor.dtype.dequantize(tensor.bytes, &mut values)?;
    planner.source.release(name);
    Ok(values)
}
