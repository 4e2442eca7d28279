//! The recording of a decoder over a window: forward, and backward to its adapters.

use super::{
    Backbone,
    adapters::{AdapterLayout, Pair, Product},
    buffers::{Given, Kept, Rows},
};
use crate::{
    backend::View,
    error::Result,
    model::{Layer, Linear, Rotation},
    ops::{
        Add, Copy, Embed, GateGrad, GateMul, HeadRmsNorm, MatMul, RmsNorm, RmsNormGrad, Rope,
        Side::{self, Plain, Transposed},
        SoftmaxGrad, SpanSoftmax, Then,
    },
    record::Recorder,
    train::heads::{parameters::Tensors, tape::product},
};

/// Records passes over a window.
pub struct Decoder<'a> {
    pub backbone: &'a Backbone,
    pub layout: &'a AdapterLayout,
    /// Adapters.
    pub params: &'a Tensors,
    /// Their gradients, which are added to.
    pub grads: &'a Tensors,
    pub rows: &'a Rows,
    pub given: &'a Given,
}

/// One layer of a pass.
struct Step<'a> {
    all: &'a Decoder<'a>,
    index: usize,
    layer: &'a Layer,
    kept: &'a Kept,
    /// Adapters; none in a pass of the original model.
    pairs: &'a [Pair],
}

impl Decoder<'_> {
    /// Final-normed rows into `to`, `[T, D]`. Without adapters it is the original model that runs,
    /// and the first layer's rows serve all layers.
    pub fn forward(&self, rec: &mut Recorder, adapted: bool, to: &View) -> Result<()> {
        let (rows, weights) = (self.rows, &self.backbone.weights);
        let kept = |i: usize| if adapted { &rows.layers[i] } else { &rows.layers[0] };
        let name = if adapted { "own" } else { "original" };
        rec.label(format!("{name}.embed"));
        rec.push(Embed {
            ids: self.given.ids.clone(),
            table: weights.embed.clone(),
            out: rows.layers[0].x.clone(),
            scale: self.backbone.config.embed_scale,
        })?;
        let count = weights.layers.len();
        for index in 0..count {
            rec.label(format!("{name}.{index}"));
            let next = if index + 1 < count { &kept(index + 1).x } else { &rows.last };
            let step = self.step(index, kept(index), adapted);
            step.attention(rec)?;
            step.feed_forward(rec, next)?;
        }
        rec.label(format!("{name}.norm"));
        self.norm(rec, &rows.last, &weights.output_norm, to)
    }

    /// Gradients of all adapters, from that of the final-normed rows.
    pub fn backward(&self, rec: &mut Recorder, hidden: &View) -> Result<()> {
        let (rows, weights) = (self.rows, &self.backbone.weights);
        rec.label("back.norm");
        self.norm_grad(rec, (&rows.last, &weights.output_norm), (hidden, &rows.dx), Then::Store)?;
        for index in (0..weights.layers.len()).rev() {
            rec.label(format!("back.{index}"));
            let step = self.step(index, &rows.layers[index], true);
            step.feed_forward_grad(rec)?;
            step.attention_grad(rec)?;
        }
        Ok(())
    }

    fn step<'a>(&'a self, index: usize, kept: &'a Kept, adapted: bool) -> Step<'a> {
        let pairs: &[Pair] = if adapted { &self.layout.layers[index] } else { &[] };
        Step { all: self, index, layer: &self.backbone.weights.layers[index], kept, pairs }
    }

    fn norm(&self, rec: &mut Recorder, x: &View, weight: &View, y: &View) -> Result<()> {
        let eps = self.backbone.config.rms_eps;
        rec.push(RmsNorm { x: x.clone(), weight: weight.clone(), y: y.clone(), eps })
    }

    /// `dx (+)=` the gradient of a norm of whole rows.
    fn norm_grad(
        &self,
        rec: &mut Recorder,
        (x, weight): (&View, &View),
        (dy, dx): (&View, &View),
        then: Then,
    ) -> Result<()> {
        let whole = |view: &View| view.columns(0, &[1, view.shape.dim(1)]);
        rec.push(RmsNormGrad {
            x: whole(x)?,
            weight: weight.clone(),
            dy: whole(dy)?,
            dx: whole(dx)?,
            eps: self.backbone.config.rms_eps,
            then,
        })
    }
}

impl Step<'_> {
    fn linear(&self, which: Product) -> &Linear {
        match which {
            Product::Qkv => &self.layer.qkv,
            Product::Out => &self.layer.attn_out,
            Product::GateUp => &self.layer.gate_up,
            Product::Down => &self.layer.down,
        }
    }

    /// Adapters of a product, with the first of the columns that they add to.
    fn adapters(&self, which: Product) -> impl Iterator<Item = (&Pair, usize)> {
        let config = &self.all.backbone.config;
        let firsts = which.matrices().iter().scan(0, |end, matrix| {
            let first = *end;
            *end += matrix.dims(config)[0];
            Some((*matrix, first))
        });
        firsts.filter_map(|(matrix, first)| {
            let pair = self.pairs.iter().find(|pair| pair.matrix == matrix)?;
            Some((pair, first))
        })
    }

    /// `y (+)= x W^T + bias + (x A^T) B^T`.
    fn product(
        &self,
        rec: &mut Recorder,
        which: Product,
        (x, y): (&View, &View),
        then: Then,
    ) -> Result<()> {
        let matrix = self.all.backbone.matrix(self.index, which);
        for part in &self.linear(which).parts {
            let n = part.weight.layout.n;
            let (w, y) = (matrix.rows(part.first, n)?, y.columns(part.first, &[n])?);
            let of = product((x, Plain), (&w, Transposed), &y, then);
            rec.push(MatMul { bias: part.bias.clone(), ..of })?;
        }
        for (pair, first) in self.adapters(which) {
            let (a, b) = (self.all.params.matrix(&pair.a)?, self.all.params.matrix(&pair.b)?);
            let u = &self.all.rows.u;
            rec.push(product((x, Plain), (&a, Transposed), u, Then::Store))?;
            let y = y.columns(first, &[pair.b.rows])?;
            rec.push(product((u, Plain), (&b, Transposed), &y, Then::Add))?;
        }
        Ok(())
    }

    /// `dx = dy W + (dy B) A`, and gradients of the adapters.
    fn product_grad(
        &self,
        rec: &mut Recorder,
        which: Product,
        (x, dy, dx): (&View, &View, &View),
    ) -> Result<()> {
        let (params, grads, rows) = (self.all.params, self.all.grads, self.all.rows);
        let matrix = self.all.backbone.matrix(self.index, which);
        rec.push(product((dy, Plain), (matrix, Plain), dx, Then::Store))?;
        for (pair, first) in self.adapters(which) {
            let (a, b) = (params.matrix(&pair.a)?, params.matrix(&pair.b)?);
            let dy = dy.columns(first, &[pair.b.rows])?;
            rec.push(product((x, Plain), (&a, Transposed), &rows.u, Then::Store))?;
            let mut of = |a: (&View, Side), b: &View, y: &View, then| {
                rec.push(product(a, (b, Plain), y, then))
            };
            of((&dy, Transposed), &rows.u, &grads.matrix(&pair.b)?, Then::Add)?;
            of((&dy, Plain), &b, &rows.du, Then::Store)?;
            of((&rows.du, Transposed), x, &grads.matrix(&pair.a)?, Then::Add)?;
            of((&rows.du, Plain), &a, dx, Then::Add)?;
        }
        Ok(())
    }

    fn attention(&self, rec: &mut Recorder) -> Result<()> {
        let (all, kept) = (self.all, self.kept);
        let c = &all.backbone.config;
        let [h, g, d] = [c.n_heads, c.n_kv_heads, c.head_dim];
        all.norm(rec, &kept.x, &self.layer.attn_norm, &all.rows.y)?;
        self.product(rec, Product::Qkv, (&all.rows.y, &kept.qkv), Then::Store)?;
        if let (Some(raw), Some((q_norm, k_norm))) = (&kept.raw, &self.layer.qk_norm) {
            rec.push(Copy { src: kept.qkv.columns(0, &[(h + g) * d])?, dst: raw.clone() })?;
            for (first, heads, weight) in [(0, h, q_norm), (h * d, g, k_norm)] {
                let x = kept.qkv.columns(first, &[heads, d])?;
                rec.push(HeadRmsNorm { x, weight: weight.clone(), eps: c.rms_eps })?;
            }
        }
        let weights = &all.backbone.weights;
        let turn = if c.windowed[self.index] { &weights.rope_local } else { &weights.rope };
        self.rotate(rec, &kept.qkv, turn)?;
        for head in 0..h {
            let v = kept.qkv.columns((h + g + head / (h / g)) * d, &[d])?;
            self.probabilities(rec, head)?;
            let o = kept.o.columns(head * d, &[d])?;
            rec.push(product((&all.rows.p, Plain), (&v, Plain), &o, Then::Store))?;
        }
        let norm = self.layer.post_norms.as_ref().map(|(attention, _)| attention);
        self.residual(rec, (Product::Out, &kept.o), (0, norm), (&kept.x, &kept.mid))
    }

    fn feed_forward(&self, rec: &mut Recorder, next: &View) -> Result<()> {
        let (rows, kept) = (self.all.rows, self.kept);
        self.all.norm(rec, &kept.mid, &self.layer.ffn_norm, &rows.y)?;
        self.product(rec, Product::GateUp, (&rows.y, &kept.gate_up), Then::Store)?;
        self.gate(rec)?;
        let norm = self.layer.post_norms.as_ref().map(|(_, feed_forward)| feed_forward);
        self.residual(rec, (Product::Down, &rows.h), (1, norm), (&kept.mid, next))
    }

    /// `to = from + product(x)`, the product normed where the model wants that.
    fn residual(
        &self,
        rec: &mut Recorder,
        (which, x): (Product, &View),
        (place, norm): (usize, Option<&View>),
        (from, to): (&View, &View),
    ) -> Result<()> {
        rec.push(Copy { src: from.clone(), dst: to.clone() })?;
        let (Some(outputs), Some(norm)) = (&self.kept.outputs, norm) else {
            return self.product(rec, which, (x, to), Then::Add);
        };
        self.product(rec, which, (x, &outputs[place]), Then::Store)?;
        self.all.norm(rec, &outputs[place], norm, &self.all.rows.t)?;
        rec.push(Add { x: self.all.rows.t.clone(), y: to.clone() })
    }

    /// The gradient of a product's output, from that of the stream it was added to.
    fn output_grad(&self, rec: &mut Recorder, place: usize, norm: Option<&View>) -> Result<&View> {
        let rows = self.all.rows;
        let (Some(outputs), Some(norm)) = (&self.kept.outputs, norm) else { return Ok(&rows.dx) };
        self.all.norm_grad(rec, (&outputs[place], norm), (&rows.dx, &rows.t), Then::Store)?;
        Ok(&rows.t)
    }

    fn feed_forward_grad(&self, rec: &mut Recorder) -> Result<()> {
        let (all, rows, kept) = (self.all, self.all.rows, self.kept);
        let norm = self.layer.post_norms.as_ref().map(|(_, feed_forward)| feed_forward);
        let dt = self.output_grad(rec, 1, norm)?;
        self.gate(rec)?;
        self.product_grad(rec, Product::Down, (&rows.h, dt, &rows.dh))?;
        rec.push(GateGrad {
            gate_up: kept.gate_up.clone(),
            dout: rows.dh.clone(),
            grad: rows.dgate_up.clone(),
            gate: all.backbone.config.gate,
        })?;
        all.norm(rec, &kept.mid, &self.layer.ffn_norm, &rows.y)?;
        self.product_grad(rec, Product::GateUp, (&rows.y, &rows.dgate_up, &rows.dy))?;
        let of = (&kept.mid, &self.layer.ffn_norm);
        all.norm_grad(rec, of, (&rows.dy, &rows.dx), Then::Add)
    }

    fn attention_grad(&self, rec: &mut Recorder) -> Result<()> {
        let (all, rows, kept) = (self.all, self.all.rows, self.kept);
        let c = &all.backbone.config;
        let [h, g, d] = [c.n_heads, c.n_kv_heads, c.head_dim];
        let norm = self.layer.post_norms.as_ref().map(|(attention, _)| attention);
        let dt = self.output_grad(rec, 0, norm)?;
        self.product_grad(rec, Product::Out, (&kept.o, dt, &rows.do_))?;
        for head in 0..h {
            let group = head / (h / g);
            // The first head of a group begins the sums of its key and value.
            let then = if head % (h / g) == 0 { Then::Store } else { Then::Add };
            let places = [head * d, (h + group) * d, (h + g + group) * d];
            let [q, k, v] = places.map(|first| kept.qkv.columns(first, &[d]));
            let [dq, dk, dv] = places.map(|first| rows.dqkv.columns(first, &[d]));
            let do_ = rows.do_.columns(head * d, &[d])?;
            self.probabilities(rec, head)?;
            let mut of = |a: (&View, Side), b: (&View, Side), y: &View, then| {
                rec.push(product(a, b, y, then))
            };
            of((&rows.p, Transposed), (&do_, Plain), &dv?, then)?;
            of((&do_, Plain), (&v?, Transposed), &rows.dp, Then::Store)?;
            let (p, dp) = (rows.p.clone(), rows.dp.clone());
            rec.push(SoftmaxGrad { p, dp, scale: c.attn_scale })?;
            rec.push(product((&rows.dp, Plain), (&k?, Plain), &dq?, Then::Store))?;
            rec.push(product((&rows.dp, Transposed), (&q?, Plain), &dk?, then))?;
        }
        self.rotate(rec, &rows.dqkv, &all.backbone.back[usize::from(c.windowed[self.index])])?;
        let dqkv = match (&kept.raw, &rows.draw, &self.layer.qk_norm) {
            (Some(raw), Some(draw), Some((q_norm, k_norm))) => {
                for (first, heads, weight) in [(0, h, q_norm), (h * d, g, k_norm)] {
                    let cut = |view: &View| view.columns(first, &[heads, d]);
                    rec.push(RmsNormGrad {
                        x: cut(raw)?,
                        weight: weight.clone(),
                        dy: cut(&rows.dqkv)?,
                        dx: cut(draw)?,
                        eps: c.rms_eps,
                        then: Then::Store,
                    })?;
                }
                let values = |view: &View| view.columns((h + g) * d, &[g * d]);
                rec.push(Copy { src: values(&rows.dqkv)?, dst: values(draw)? })?;
                draw
            }
            _ => &rows.dqkv,
        };
        all.norm(rec, &kept.x, &self.layer.attn_norm, &rows.y)?;
        self.product_grad(rec, Product::Qkv, (&rows.y, dqkv, &rows.dy))?;
        let of = (&kept.x, &self.layer.attn_norm);
        all.norm_grad(rec, of, (&rows.dy, &rows.dx), Then::Add)
    }

    /// `p = softmax(scale q k^T)` of a head, over what each row sees.
    fn probabilities(&self, rec: &mut Recorder, head: usize) -> Result<()> {
        let (all, c) = (self.all, &self.all.backbone.config);
        let [h, g, d] = [c.n_heads, c.n_kv_heads, c.head_dim];
        let q = self.kept.qkv.columns(head * d, &[d])?;
        let k = self.kept.qkv.columns((h + head / (h / g)) * d, &[d])?;
        rec.push(product((&q, Plain), (&k, Transposed), &all.rows.p, Then::Store))?;
        let near = usize::from(c.layer_window(self.index).is_some());
        rec.push(SpanSoftmax {
            x: all.rows.p.clone(),
            spans: all.given.spans[near].clone(),
            scale: c.attn_scale,
        })
    }

    fn rotate(&self, rec: &mut Recorder, qkv: &View, by: &Rotation) -> Result<()> {
        let c = &self.all.backbone.config;
        rec.push(Rope {
            // Keys lie behind the queries, so one op turns both.
            x: qkv.columns(0, &[c.n_heads + c.n_kv_heads, c.head_dim])?,
            positions: self.all.given.positions.clone(),
            cos: by.cos.clone(),
            sin: by.sin.clone(),
            style: c.layer_rope(self.index).style,
        })
    }

    fn gate(&self, rec: &mut Recorder) -> Result<()> {
        rec.push(GateMul {
            gate_up: self.kept.gate_up.clone(),
            out: self.all.rows.h.clone(),
            gate: self.all.backbone.config.gate,
        })
    }
}
