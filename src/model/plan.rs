//! Which tensors become which device weights: everything about loading that needs no device.
//!
//! Matrices that read the same rows (q, k, v; gate, up) are stacked into one weight where their
//! formats agree, because one product over more outputs is faster than several; where they do not,
//! each writes its own columns of the common result.

use super::config::ModelConfig;
use crate::{
    error::{Error, Result},
    format::{ModelSource, TensorRef},
    quant::{Layout, QuantFormat, ROW_GROUP},
};

/// One packed weight: tensors stacked along their rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PartPlan {
    /// Tensors, top to bottom.
    pub tensors: Vec<String>,
    /// Format and planes of the stack.
    pub layout: Layout,
    /// First output column.
    pub first: usize,
}

/// A linear map `[N, K]` in one or several parts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LinearPlan {
    /// Parts in order of their columns.
    pub parts: Vec<PartPlan>,
    /// Outputs N of all parts.
    pub n: usize,
    /// Whether each tensor `name.weight` has a `name.bias`.
    pub biased: bool,
}

impl LinearPlan {
    /// Device bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|p| p.layout.bytes as u64).sum()
    }
}

/// Loads matrices of a source as weights of a format.
pub(super) struct Planner<'a> {
    pub source: &'a ModelSource,
    pub quant: Option<QuantFormat>,
}

impl Planner<'_> {
    /// The linear map of matrices `[rows[i], k]` side by side, with biases of the same names.
    pub fn linear(&self, names: &[(String, usize)], k: usize, biased: bool) -> Result<LinearPlan> {
        let mut parts: Vec<PartPlan> = Vec::new();
        let mut n = 0;
        for (stem, rows) in names {
            let name = format!("{stem}.weight");
            let tensor = self.source.tensor(&name)?;
            self.expect_shape(&tensor, &[*rows, k])?;
            let format = self.format_of(&tensor);
            let open = parts
                .last_mut()
                .filter(|p| p.layout.format == format && p.layout.n.is_multiple_of(ROW_GROUP));
            match open {
                Some(part) => {
                    part.layout = self.layout(&name, format, part.layout.n + rows, k)?;
                    part.tensors.push(name);
                }
                None => {
                    let layout = self.layout(&name, format, *rows, k)?;
                    parts.push(PartPlan { tensors: vec![name], layout, first: n });
                }
            }
            n += rows;
        }
        Ok(LinearPlan { parts, n, biased })
    }

    /// Format a tensor has on the device.
    fn format_of(&self, tensor: &TensorRef<'_>) -> QuantFormat {
        use QuantFormat as F;
        match (tensor.dtype, self.quant) {
            (F::F32 | F::F16 | F::BF16, Some(wanted)) => {
                // Embedding and head are a small share of the work and a large one of the error.
                let table = matches!(tensor.name, "token_embd.weight" | "output.weight");
                let finer = matches!(wanted, F::F32 | F::F16 | F::BF16 | F::Q8_0);
                if table && !finer { F::Q8_0 } else { wanted }
            }
            (own, _) => own,
        }
    }

    fn layout(&self, name: &str, format: QuantFormat, n: usize, k: usize) -> Result<Layout> {
        Layout::new(format, n, k).ok_or_else(|| {
            let hint = match self.quant {
                Some(_) => "choose a --quant format in blocks of 32, such as q8_0 or q4_1".into(),
                None => {
                    format!("rows of a weight are multiples of {} elements", format.k_multiple())
                }
            };
            self.error(
                format!(
                    "tensor `{name}`: rows of {k} elements cannot be packed as {format}, which \
                     needs multiples of {}",
                    format.k_multiple()
                ),
                Some(hint),
            )
        })
    }

    pub fn expect_shape(&self, tensor: &TensorRef<'_>, wanted: &[usize]) -> Result<()> {
        if tensor.shape.dims() == wanted {
            return Ok(());
        }
        let message = format!(
            "tensor `{}` is {}, but the configuration wants {wanted:?}",
            tensor.name, tensor.shape
        );
        Err(self.error(message, Some("the file may be damaged or of an unusual variant".into())))
    }

    pub fn error(&self, message: String, hint: Option<String>) -> Error {
        Error::Model { model: self.source.path().display().to_string(), message, hint }
    }
}

/// Matrices of one layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LayerPlan {
    pub qkv: LinearPlan,
    pub attn_out: LinearPlan,
    pub gate_up: LinearPlan,
    pub down: LinearPlan,
}

/// All matrices of a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub embed: LinearPlan,
    pub layers: Vec<LayerPlan>,
    /// `None` if tied to the embedding.
    pub head: Option<LinearPlan>,
}

impl Plan {
    /// Looks at every matrix without reading it.
    pub fn new(
        source: &ModelSource,
        config: &ModelConfig,
        quant: Option<QuantFormat>,
    ) -> Result<Self> {
        let planner = Planner { source, quant };
        let c = config;
        let [h, g, d] = [c.n_heads, c.n_kv_heads, c.head_dim];
        let layers = (0..c.n_layers).map(|i| {
            let name = |stem: &str, rows: usize| (format!("blk.{i}.{stem}"), rows);
            let qkv = [name("attn_q", h * d), name("attn_k", g * d), name("attn_v", g * d)];
            let gate_up = [name("ffn_gate", c.d_ff), name("ffn_up", c.d_ff)];
            Ok(LayerPlan {
                qkv: planner.linear(&qkv, c.d_model, c.qkv_bias)?,
                attn_out: planner.linear(&[name("attn_output", c.d_model)], h * d, false)?,
                gate_up: planner.linear(&gate_up, c.d_model, false)?,
                down: planner.linear(&[name("ffn_down", c.d_model)], c.d_ff, false)?,
            })
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let table = |stem: &str| planner.linear(&[(stem.to_owned(), c.vocab)], c.d_model, false);
        let head = if c.tie_embeddings { None } else { Some(table("output")?) };
        let plan = Self { embed: table("token_embd")?, layers, head };
        if let Some(quant) = quant
            && !plan.quantises(source)
        {
            return Err(planner.error(
                format!("no tensor is in f32, f16 or bf16, so none can be quantised to {quant}"),
                Some("--quant is for unquantised models; leave it out".into()),
            ));
        }
        Ok(plan)
    }

    /// A model without biases whose matrices are all in `format`; nobody reads the tensors that it names.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the format cannot hold rows of the model's widths.
    pub fn uniform(config: &ModelConfig, format: QuantFormat) -> Result<Self> {
        let c = config;
        let [h, g, d] = [c.n_heads, c.n_kv_heads, c.head_dim];
        let linear = |name: String, n: usize, k: usize| {
            let layout = Layout::new(format, n, k).ok_or_else(|| Error::Invalid {
                message: format!(
                    "rows of {k} elements cannot be packed as {format}, which needs multiples of {}",
                    format.k_multiple()
                ),
                hint: Some("choose a --quant format in blocks of 32, such as q8_0 or q4_1".into()),
            })?;
            let parts = vec![PartPlan { tensors: vec![name], layout, first: 0 }];
            Ok::<_, Error>(LinearPlan { parts, n, biased: false })
        };
        let layers = (0..c.n_layers).map(|i| {
            let name = |stem: &str| format!("blk.{i}.{stem}");
            Ok(LayerPlan {
                qkv: linear(name("qkv"), (h + 2 * g) * d, c.d_model)?,
                attn_out: linear(name("attn_output"), c.d_model, h * d)?,
                gate_up: linear(name("gate_up"), 2 * c.d_ff, c.d_model)?,
                down: linear(name("ffn_down"), c.d_model, c.d_ff)?,
            })
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let table = |name: &str| linear(name.to_owned(), c.vocab, c.d_model);
        let head = if c.tie_embeddings { None } else { Some(table("output")?) };
        Ok(Self { embed: table("token_embd")?, layers, head })
    }

    fn quantises(&self, source: &ModelSource) -> bool {
        use QuantFormat as F;
        self.linears().flat_map(|l| &l.parts).flat_map(|p| &p.tensors).any(|name| {
            source
                .find(name)
                .ok()
                .flatten()
                .is_some_and(|t| matches!(t.dtype, F::F32 | F::F16 | F::BF16))
        })
    }

    /// All linear maps, in the order they are loaded.
    pub fn linears(&self) -> impl Iterator<Item = &LinearPlan> {
        let layers = self.layers.iter().flat_map(|l| [&l.qkv, &l.attn_out, &l.gate_up, &l.down]);
        std::iter::once(&self.embed).chain(layers).chain(&self.head)
    }

    /// Device bytes of all matrices.
    pub fn bytes(&self) -> u64 {
        self.linears().map(LinearPlan::bytes).sum()
    }
}

/// Names of the norms of a layer and of the model that a configuration has.
pub(super) fn layer_norms(config: &ModelConfig) -> Vec<(&'static str, usize)> {
    let (d_model, d) = (config.d_model, config.head_dim);
    let mut all = vec![("attn_norm", d_model), ("ffn_norm", d_model)];
    if config.qk_norm {
        all.extend([("attn_q_norm", d), ("attn_k_norm", d)]);
    }
    if config.post_norms {
        all.extend([("post_attention_norm", d_model), ("post_ffw_norm", d_model)]);
    }
    all
}
