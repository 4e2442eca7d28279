//! Records drafting: from the hidden state of the round before to the nodes of a tree.

use super::{
    DeviceHeads, DraftShape, Head,
    plan::{ancestors_at, template_at},
};
use crate::{
    backend::View,
    dtype::DType,
    error::Result,
    model::{llama::Forward, state::StepViews},
    ops::{BuildTree, Embed, GatherRows, GrowTree, QMatMul, SiluAdd, Then, TopK},
    record::Recorder,
};

impl DeviceHeads {
    /// Fills the tokens of `step`, and for a grown tree all that says how its nodes hang together.
    pub fn record(
        &self,
        rec: &mut Recorder,
        forward: &Forward<'_>,
        step: &StepViews,
        shape: &DraftShape,
    ) -> Result<()> {
        let pass = Pass { heads: self, forward, step };
        match shape {
            DraftShape::Independent { heads, k } => {
                rec.label("draft");
                let (ids, logprobs) = pass.guesses(rec, *heads, *k)?;
                pass.build(rec, (&ids, &logprobs), 0)
            }
            DraftShape::Grown { heads, k } => {
                rec.label("draft");
                let (ids, logprobs) = pass.guesses(rec, *heads, *k)?;
                pass.grow(rec, ids, logprobs)
            }
            DraftShape::Sequential(levels) => {
                for (level, of) in levels.iter().enumerate() {
                    rec.label(format!("draft.{level}"));
                    let x = pass.level_input(rec, level, of.rows)?;
                    let y = pass.blocks(rec, &self.heads[level], x, 0)?;
                    let (ids, logprobs) = pass.project(rec, &[(level, y)], of.k)?;
                    pass.build(rec, (&ids, &logprobs), template_at(level))?;
                }
                Ok(())
            }
        }
    }
}

struct Pass<'a> {
    heads: &'a DeviceHeads,
    forward: &'a Forward<'a>,
    step: &'a StepViews,
}

impl Pass<'_> {
    /// Guesses of independent heads, a row each.
    fn guesses(&self, rec: &mut Recorder, heads: usize, k: usize) -> Result<(View, View)> {
        let b = &self.heads.buffers;
        let x = b.x.rows(0, heads)?;
        self.hidden(rec, &x)?;
        let mut outputs = Vec::with_capacity(heads);
        for (i, head) in self.heads.heads[..heads].iter().enumerate() {
            outputs.push((i, self.blocks(rec, head, x.rows(i, 1)?, i)?));
        }
        self.project(rec, &outputs, k)
    }

    /// The hidden state in every row of `out`.
    fn hidden(&self, rec: &mut Recorder, out: &View) -> Result<()> {
        rec.push(GatherRows {
            src: self.forward.scratch.hidden.clone(),
            rows: self.step.hidden_rows.rows(0, out.shape.dim(0))?,
            dst: out.clone(),
        })
    }

    /// `[rows, (level + 2) D]`: the hidden state, then the embeddings of the root and of what was
    /// drafted on the way to each row's node.
    fn level_input(&self, rec: &mut Recorder, level: usize, rows: usize) -> Result<View> {
        let b = &self.heads.buffers;
        let d = b.x.shape.dim(1);
        let m = self.step.ids.shape.dim(0);
        let embedded = b.embedded.rows(0, m)?;
        rec.push(Embed {
            ids: self.step.ids.clone(),
            table: self.forward.weights.embed.clone(),
            out: embedded.clone(),
            scale: self.heads.embed_scale,
        })?;
        let input = b.concat.rows(0, rows)?;
        self.hidden(rec, &input.columns(0, &[d])?)?;
        for depth in 0..=level {
            let at = ancestors_at(level, depth);
            rec.push(GatherRows {
                src: embedded.clone(),
                rows: b.plan.buffer.view(4 * at as u64, DType::U32, [rows])?,
                dst: input.columns((depth + 1) * d, &[d])?,
            })?;
        }
        Ok(input.columns(0, &[(level + 2) * d])?)
    }

    /// Runs the blocks of a head on `x`; the result lies in rows from `first` on of one of the
    /// buffers.
    fn blocks(&self, rec: &mut Recorder, head: &Head, x: View, first: usize) -> Result<View> {
        let b = &self.heads.buffers;
        let rows = x.shape.dim(0);
        let t = b.t.rows(first, rows)?;
        let mut x = x;
        for block in &head.blocks {
            let mut product = |w: &crate::ops::Weight, bias: Option<&View>, y: &View| {
                rec.push(QMatMul {
                    w: w.clone(),
                    x: x.clone(),
                    y: y.clone(),
                    bias: bias.cloned(),
                    then: Then::Store,
                    activations: self.forward.precision.draft(),
                })
            };
            product(&block.w, Some(&block.bias), &t)?;
            let out = match &block.residual {
                Some(residual) => {
                    // Not where the input is.
                    let out = if x.buffer.id() == b.u.buffer.id() { &b.x } else { &b.u };
                    let out = out.rows(first, rows)?;
                    product(residual, None, &out)?;
                    out
                }
                None => x.clone(),
            };
            rec.push(SiluAdd { y: t.clone(), x: out.clone() })?;
            x = out;
        }
        Ok(x)
    }

    /// Best guesses of rows, each with the head it is of: `[R, k]` ids and log-probabilities.
    fn project(
        &self,
        rec: &mut Recorder,
        outputs: &[(usize, View)],
        k: usize,
    ) -> Result<(View, View)> {
        let b = &self.heads.buffers;
        let vocab = self.heads.vocab;
        let total: usize = outputs.iter().map(|(_, y)| y.shape.dim(0)).sum();
        let logits = &self.forward.scratch.logits.buffer;
        let logits = logits.view(0, DType::F32, [total, vocab])?;
        let mut row = 0;
        let mut rest = outputs;
        while let Some((head, y)) = rest.first() {
            let own = self.heads.heads[*head].projection.as_ref();
            // Heads with one projection whose rows follow each other are one product.
            let same = |(next, other): &&(usize, View)| {
                own.is_none()
                    && self.heads.heads[*next].projection.is_none()
                    && other.buffer.id() == y.buffer.id()
            };
            let count = 1 + rest[1..].iter().take_while(same).count();
            let rows: usize = rest[..count].iter().map(|(_, y)| y.shape.dim(0)).sum();
            let x = match count {
                1 => y.clone(),
                _ => y.buffer.view(y.offset, DType::F32, [rows, y.shape.dim(1)])?,
            };
            let linear = own.unwrap_or(&self.heads.shared);
            let linear = (linear, self.forward.precision.draft());
            self.forward.product(rec, linear, (&x, &logits.rows(row, rows)?), Then::Store)?;
            row += rows;
            rest = &rest[count..];
        }
        let ids = b.top_ids.buffer.view(0, DType::U32, [total, k])?;
        let logprobs = b.top_logprobs.buffer.view(0, DType::F32, [total, k])?;
        rec.push(TopK { logits, ids: ids.clone(), logprobs: logprobs.clone() })?;
        Ok((ids, logprobs))
    }

    fn build(
        &self,
        rec: &mut Recorder,
        (ids, logprobs): (&View, &View),
        template: usize,
    ) -> Result<()> {
        let m = self.step.ids.shape.dim(0);
        let plan = &self.heads.buffers.plan.buffer;
        rec.push(BuildTree {
            ids: ids.clone(),
            logprobs: logprobs.clone(),
            map: self.heads.map.clone(),
            template: plan.view(4 * template as u64, DType::U32, [m, 2])?,
            tokens: self.step.ids.clone(),
            draft_logprobs: self.forward.scratch.round.draft_logprobs.rows(0, m)?,
        })
    }

    fn grow(&self, rec: &mut Recorder, ids: View, logprobs: View) -> Result<()> {
        let (step, m) = (self.step, self.step.ids.shape.dim(0));
        rec.push(GrowTree {
            ids,
            logprobs,
            map: self.heads.map.clone(),
            root: step.root.clone(),
            prefix: step.prefix.clone(),
            slots: step.slots.clone(),
            nodes: step.nodes.clone(),
            tokens: step.ids.clone(),
            draft_logprobs: self.forward.scratch.round.draft_logprobs.rows(0, m)?,
            parents: step.parents.clone(),
            positions: step.positions.clone(),
            path: step.meta.path.clone(),
            path_slots: step.meta.path_slots.clone(),
        })
    }
}
