//! The model that is trained: its matrices as f32, and what else of it products need.

use super::adapters::Product;
use crate::{
    backend::{Backend, BufferDesc, SharedBackend, Usage, View, Wait},
    dtype::DType,
    error::{Error, Result},
    format::ModelSource,
    model::{Model, Rotation, Weights, config::ModelConfig},
    record::Recording,
};

/// Matrices of a model on its device, in f32.
pub struct Backbone {
    pub(super) backend: SharedBackend,
    pub(super) config: ModelConfig,
    /// Norms, biases, rotations and the embedding of the model that runs.
    pub(super) weights: Weights,
    /// By layer and [`Product`], `[N, K]`.
    layers: Vec<[View; 4]>,
    /// First token and rows `[n, D]` of the output matrix, in parts that a binding can hold.
    pub(super) output: Vec<(usize, View)>,
    /// Rotations that undo those of [`Weights`]: of all layers, and of windowed ones.
    pub(super) back: [Rotation; 2],
}

impl Backbone {
    /// Reads every matrix of `source`, the file of `model`.
    ///
    /// # Errors
    /// A file that cannot be read, and a device without room.
    pub fn load(model: &Model, source: &ModelSource) -> Result<Self> {
        let backend = model.backend().clone();
        let (config, weights) = (model.config().clone(), model.weights().clone());
        let device = &*backend;
        let layers = (0..config.n_layers).map(|layer| {
            let load = |product: Product| {
                let mut values = Vec::new();
                for &matrix in product.matrices() {
                    values.extend(dense(source, &matrix.tensor(layer), matrix.dims(&config))?);
                }
                upload(device, "f32", &values, product.dims(&config))
            };
            let [qkv, out, gate_up, down] = Product::ALL.map(load);
            Ok([qkv?, out?, gate_up?, down?])
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let name = if config.tie_embeddings { "token_embd.weight" } else { "output.weight" };
        let values = dense(source, name, [config.vocab, config.d_model])?;
        let most = (device.adapter().max_binding_bytes / (4 * config.d_model as u64)) as usize;
        let output =
            values.chunks(most.clamp(1, config.vocab) * config.d_model).scan(0, |first, part| {
                let rows = part.len() / config.d_model;
                let at = *first;
                *first += rows;
                Some(upload(device, "output", part, [rows, config.d_model]).map(|view| (at, view)))
            });
        let output = output.collect::<Result<Vec<_>>>()?;
        let back = [undone(device, &weights.rope)?, undone(device, &weights.rope_local)?];
        Ok(Self { config, weights, layers, output, back, backend })
    }

    /// `[N, K]` of a product.
    pub(super) fn matrix(&self, layer: usize, product: Product) -> &View {
        &self.layers[layer][product as usize]
    }

    /// Most positions of a window: those that the model has rotations for.
    pub fn positions(&self) -> usize {
        self.weights.rope.cos.shape.dim(0)
    }
}

/// A matrix of a file in f32.
pub(super) fn dense(source: &ModelSource, name: &str, dims: [usize; 2]) -> Result<Vec<f32>> {
    let tensor = source.tensor(name)?;
    if tensor.shape.dims() != dims {
        return Err(Error::Model {
            model: source.path().display().to_string(),
            message: format!("tensor `{name}` is {}, wanted {dims:?}", tensor.shape),
            hint: None,
        });
    }
    let mut values = vec![0.0; dims[0] * dims[1]];
    tensor.dtype.dequantize(tensor.bytes, &mut values)?;
    source.release(name);
    Ok(values)
}

fn upload(device: &dyn Backend, label: &str, values: &[f32], dims: [usize; 2]) -> Result<View> {
    let bytes = size_of_val(values) as u64;
    let desc = BufferDesc { label: label.into(), bytes, usage: Usage::Weights };
    let view = device.alloc(&desc)?.view(0, DType::F32, dims)?;
    device.write(&view, bytemuck::cast_slice(values))?;
    Ok(view)
}

/// The rotation by the opposite angles. A factor on both tables stays, as its gradient has it too.
fn undone(device: &dyn Backend, rotation: &Rotation) -> Result<Rotation> {
    let nothing = device.prepare(&Recording::default())?;
    let ticket = device.submit(&nothing, std::slice::from_ref(&rotation.sin))?;
    let sines: Vec<f32> = device.finish(ticket, Wait::Park)?.to_vec(0);
    let sines: Vec<f32> = sines.iter().map(|sine| -sine).collect();
    let dims = [rotation.sin.shape.dim(0), rotation.sin.shape.dim(1)];
    Ok(Rotation { cos: rotation.cos.clone(), sin: upload(device, "-sin", &sines, dims)? })
}
