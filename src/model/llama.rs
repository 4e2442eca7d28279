//! Records the forward pass: one decoder, of which every supported family is a configuration.

use super::{
    config::ModelConfig,
    precision::Precision,
    scratch::Scratch,
    state::{StepShape, StepViews},
    weights::{Layer, Linear, Rotation, Weights},
};
use crate::{
    backend::View,
    error::Result,
    kv::KvPages,
    ops::{
        Activations, Add, AddRmsNorm, Embed, GateMul, GatherRows, HeadRmsNorm, KvWrite, QMatMul,
        RmsNorm, Rope, RowStats, Then, TreeAttention,
    },
    record::Recorder,
};

/// Everything a forward pass is recorded from.
pub(super) struct Forward<'a> {
    pub config: &'a ModelConfig,
    pub weights: &'a Weights,
    pub kv: &'a KvPages,
    pub scratch: &'a Scratch,
    pub precision: Precision,
}

/// Where a recorded step leaves its results.
pub(super) struct Outputs {
    /// `[R, V]` f32.
    pub logits: View,
    /// `[R, 4]` u32, see [`RowStats`].
    pub stats: View,
}

impl Forward<'_> {
    /// The pass for a shape: embed, layers, and the head on the rows that want it.
    pub fn record(&self, rec: &mut Recorder, shape: StepShape, step: &StepViews) -> Result<()> {
        let buffers = self.scratch.rows(shape.rows)?;
        rec.label("embed");
        rec.push(Embed {
            ids: step.ids.clone(),
            table: self.weights.embed.clone(),
            out: buffers.x.clone(),
            scale: self.config.embed_scale,
        })?;
        for index in 0..self.weights.layers.len() {
            let mut pass = Pass { forward: self, rec: &mut *rec, b: &buffers, index };
            pass.attention(shape, step)?;
            pass.feed_forward()?;
        }
        if shape.logits > 0 {
            self.record_head(rec, shape, step)?;
        } else if shape.hidden {
            rec.label("hidden");
            rec.push(RmsNorm {
                x: buffers.x.clone(),
                weight: self.weights.output_norm.clone(),
                y: self.hidden(shape)?,
                eps: self.config.rms_eps,
            })?;
        }
        Ok(())
    }

    /// Views of the results of a shape.
    pub fn outputs(&self, shape: StepShape) -> Result<Outputs> {
        Ok(Outputs {
            logits: self.scratch.logits.rows(0, shape.logits)?,
            stats: self.scratch.stats.rows(0, shape.logits)?,
        })
    }

    /// View `[M, D]` f32 of the rows after the final norm, for a shape that wants them.
    pub fn hidden(&self, shape: StepShape) -> Result<View> {
        Ok(self.scratch.rows(shape.rows)?.y)
    }

    fn record_head(&self, rec: &mut Recorder, shape: StepShape, step: &StepViews) -> Result<()> {
        rec.label("head");
        let all = self.scratch.rows(shape.rows)?;
        let t = self.scratch.rows(shape.logits)?.t;
        let y = self.scratch.hidden.rows(0, shape.logits)?;
        let x = if shape.logits == shape.rows {
            all.x
        } else {
            rec.push(GatherRows { src: all.x, rows: step.logit_rows.clone(), dst: t.clone() })?;
            t
        };
        rec.push(RmsNorm {
            x,
            weight: self.weights.output_norm.clone(),
            y: y.clone(),
            eps: self.config.rms_eps,
        })?;
        let Outputs { logits, stats } = self.outputs(shape)?;
        let head = (&self.weights.head, self.precision.head);
        self.product(rec, head, (&y, &logits), Then::Store)?;
        rec.push(RowStats { logits, out: stats })?;
        Ok(())
    }

    /// `y = linear(x)`, or `y += linear(x)`.
    pub fn product(
        &self,
        rec: &mut Recorder,
        (linear, activations): (&Linear, Activations),
        (x, y): (&View, &View),
        then: Then,
    ) -> Result<()> {
        for part in &linear.parts {
            rec.push(QMatMul {
                w: part.weight.clone(),
                x: x.clone(),
                y: y.columns(part.first, &[part.weight.layout.n])?,
                bias: part.bias.clone(),
                then,
                activations,
            })?;
        }
        Ok(())
    }
}

/// Activations of M rows; see [`Scratch`].
pub(super) struct RowBuffers {
    /// `[M, D]`: the residual stream.
    pub x: View,
    /// `[M, D]`: normalised rows.
    pub y: View,
    /// `[M, D]`: an output before its norm, or gathered rows.
    pub t: View,
    /// `[M, D]`: an output after its norm.
    pub u: View,
    /// `[M, (H + 2G) d]`: queries, keys, values.
    pub qkv: View,
    /// `[M, H d]`: attention's result.
    pub o: View,
    /// `[M, 2F]`: gate, up.
    pub gate_up: View,
    /// `[M, F]`.
    pub h: View,
}

/// Recording of one layer.
struct Pass<'a, 'r> {
    forward: &'a Forward<'a>,
    rec: &'r mut Recorder,
    b: &'a RowBuffers,
    index: usize,
}

impl Pass<'_, '_> {
    fn layer(&self) -> &Layer {
        &self.forward.weights.layers[self.index]
    }

    /// `x += out(attention(norm(x)))`, the output normalised before the add for Gemma.
    fn attention(&mut self, shape: StepShape, step: &StepViews) -> Result<()> {
        let (forward, b) = (self.forward, self.b);
        let (c, layer) = (forward.config, self.layer().clone());
        let [h, g, d] = [c.n_heads, c.n_kv_heads, c.head_dim];
        self.rec.label(format!("blk.{}.attn", self.index));
        if self.index == 0 || layer.post_norms.is_none() {
            self.norm(&b.x, &layer.attn_norm, &b.y)?;
        }
        let qkv = (&layer.qkv, forward.precision.qkv);
        forward.product(self.rec, qkv, (&b.y, &b.qkv), Then::Store)?;
        let q = b.qkv.columns(0, &[h, d])?;
        let k = b.qkv.columns(h * d, &[g, d])?;
        let v = b.qkv.columns((h + g) * d, &[g, d])?;
        if let Some((q_norm, k_norm)) = &layer.qk_norm {
            for (x, weight) in [(&q, q_norm), (&k, k_norm)] {
                let weight = weight.clone();
                self.rec.push(HeadRmsNorm { x: x.clone(), weight, eps: c.rms_eps })?;
            }
        }
        let Rotation { cos, sin } = match c.windowed[self.index] {
            true => forward.weights.rope_local.clone(),
            false => forward.weights.rope.clone(),
        };
        self.rec.push(Rope {
            // Keys lie behind the queries, so one op turns both.
            x: b.qkv.columns(0, &[h + g, d])?,
            positions: step.positions.clone(),
            cos,
            sin,
            style: c.layer_rope(self.index).style,
        })?;
        let cache = forward.kv.layers[self.index].clone();
        self.rec.push(KvWrite { k, v, slots: step.slots.clone(), cache: cache.clone() })?;
        self.rec.push(TreeAttention {
            q,
            cache,
            table: step.table.clone(),
            rows: step.meta.clone(),
            out: b.o.columns(0, &[h, d])?,
            scale: c.attn_scale,
            page_slots: forward.kv.shape.page_slots,
            window: c.layer_window(self.index).unwrap_or(0),
            max_context: shape.context,
        })?;
        let post = layer.post_norms.as_ref().map(|(attn, _)| attn);
        let out = (&layer.attn_out, forward.precision.attn_out);
        self.residual(out, &b.o, (post, Some(&layer.ffn_norm)))
    }

    /// `x += down(gate(norm(x)) * up(norm(x)))`, likewise.
    fn feed_forward(&mut self) -> Result<()> {
        let (forward, b) = (self.forward, self.b);
        let layer = self.layer().clone();
        self.rec.label(format!("blk.{}.ffn", self.index));
        if layer.post_norms.is_none() {
            self.norm(&b.x, &layer.ffn_norm, &b.y)?;
        }
        let gate_up = (&layer.gate_up, forward.precision.gate_up);
        forward.product(self.rec, gate_up, (&b.y, &b.gate_up), Then::Store)?;
        self.rec.push(GateMul {
            gate_up: b.gate_up.clone(),
            out: b.h.clone(),
            gate: forward.config.gate,
        })?;
        let post = layer.post_norms.as_ref().map(|(_, ffn)| ffn);
        let next = forward.weights.layers.get(self.index + 1).map(|l| &l.attn_norm);
        let down = (&layer.down, forward.precision.down);
        self.residual(down, &b.h, (post, next))
    }

    /// Adds `linear(input)` to the stream. With a norm on the output, the add takes the norm of the
    /// block that follows along.
    fn residual(
        &mut self,
        linear: (&Linear, Activations),
        input: &View,
        (post, next): (Option<&View>, Option<&View>),
    ) -> Result<()> {
        let b = self.b;
        let Some(post) = post else {
            return self.forward.product(self.rec, linear, (input, &b.x), Then::Add);
        };
        self.forward.product(self.rec, linear, (input, &b.t), Then::Store)?;
        self.norm(&b.t, post, &b.u)?;
        match next {
            Some(weight) => self.rec.push(AddRmsNorm {
                r: b.u.clone(),
                x: b.x.clone(),
                weight: weight.clone(),
                y: b.y.clone(),
                eps: self.forward.config.rms_eps,
            }),
            None => self.rec.push(Add { x: b.u.clone(), y: b.x.clone() }),
        }
    }

    fn norm(&mut self, x: &View, weight: &View, y: &View) -> Result<()> {
        self.rec.push(RmsNorm {
            x: x.clone(),
            weight: weight.clone(),
            y: y.clone(),
            eps: self.forward.config.rms_eps,
        })
    }
}
