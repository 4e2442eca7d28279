//! Attention of tree nodes over paged keys and values.

use rayon::prelude::*;

use super::kv::Pages;
use crate::{
    backend::cpu::{Operands, Rows},
    ops::TreeAttention,
};

/// State of all rows, and the table.
struct Sight<'e> {
    op: &'e TreeAttention,
    table: &'e [u32],
    seq: Rows<'e, u32>,
    prefix: Rows<'e, u32>,
    path: Rows<'e, u32>,
    path_slots: Rows<'e, u32>,
}

impl Sight<'_> {
    /// Slots that head `g` of row `m` sees, in order of position.
    fn slots(&self, m: usize, g: usize) -> Result<Vec<usize>, String> {
        let [slots, _, _] = self.op.cache.dims();
        let [tables, table_heads, pages] = [0, 1, 2].map(|i| self.op.table.shape.dim(i));
        let prefix = self.prefix.row(m)[g.min(self.prefix.width() - 1)] as usize;
        let (seq, path) = (self.seq.at(m) as usize, self.path.at(m) as usize);
        let seen = prefix + path;
        if seen > self.op.max_context || path > self.path_slots.width() {
            return Err(format!(
                "row {m} sees {prefix} + {path} positions of a context of {} and paths of {}",
                self.op.max_context,
                self.path_slots.width()
            ));
        }
        let first = if self.op.window > 0 { seen.saturating_sub(self.op.window) } else { 0 };
        let slot = |p: usize| {
            if p >= prefix {
                return Ok(self.path_slots.row(m)[p - prefix] as usize);
            }
            let page = p / self.op.page_slots;
            if seq >= tables || page >= pages {
                return Err(format!("row {m} wants page {page} of sequence {seq}"));
            }
            let entry = (seq * table_heads + g.min(table_heads - 1)) * pages + page;
            Ok(self.table[entry] as usize * self.op.page_slots + p % self.op.page_slots)
        };
        (first..seen)
            .map(|p| match slot(p)? {
                s if s < slots => Ok(s),
                s => Err(format!("position {p} of row {m} is in slot {s} of {slots}")),
            })
            .collect()
    }
}

pub(super) fn tree_attention<'e>(
    op: &'e TreeAttention,
    operands: &Operands<'e>,
) -> Result<(), String> {
    let q = operands.read::<f32>(&op.q);
    let keys = Pages::keys(&op.cache, operands);
    let values = Pages::values(&op.cache, operands);
    let sight = Sight {
        op,
        table: operands.read::<u32>(&op.table).dense(),
        seq: operands.read(&op.rows.seq),
        prefix: operands.read(&op.rows.prefix),
        path: operands.read(&op.rows.path),
        path_slots: operands.read(&op.rows.path_slots),
    };
    let mut out = operands.write::<f32>(&op.out);
    let [_, groups, d] = op.cache.dims();
    let heads_per_group = op.q.shape.dim(1) / groups;
    out.par_iter_mut().enumerate().try_for_each(|(m, out)| {
        for (g, out) in out.chunks_exact_mut(heads_per_group * d).enumerate() {
            let slots = sight.slots(m, g)?;
            let (keys, values) = (keys.gather(&slots, g, d), values.gather(&slots, g, d));
            for (i, out) in out.chunks_exact_mut(d).enumerate() {
                let h = g * heads_per_group + i;
                let q: Vec<f64> = q.row(m)[h * d..][..d].iter().map(|&q| q.into()).collect();
                attend(&q, &keys, &values, f64::from(op.scale), out);
            }
        }
        Ok(())
    })
}

/// One head: `out = sum_p softmax_p(scale q . keys[p]) values[p]`; zeros without keys.
fn attend(q: &[f64], keys: &[f64], values: &[f64], scale: f64, out: &mut [f32]) {
    let d = q.len();
    let score = |key: &[f64]| scale * q.iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
    let scores: Vec<f64> = keys.chunks_exact(d).map(score).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sums = vec![0f64; d];
    let mut total = 0f64;
    for (score, value) in scores.iter().zip(values.chunks_exact(d)) {
        let weight = (score - max).exp();
        total += weight;
        for (sum, v) in sums.iter_mut().zip(value) {
            *sum += weight * v;
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = if scores.is_empty() { 0.0 } else { (sum / total) as f32 };
    }
}
