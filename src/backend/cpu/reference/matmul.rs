//! Ops on packed weights.

use rayon::prelude::*;

use crate::{
    backend::cpu::Operands,
    ops::{Activations, Embed, QMatMul, Then, Weight},
    quant::{Packed, QuantFormat, ROW_GROUP, coded_values},
};

fn packed<'e>(weight: &'e Weight, operands: &Operands<'e>) -> Packed<'e> {
    let bytes = operands.read::<u8>(&weight.data).dense();
    Packed::new(weight.layout, bytes).expect("the op's check compared the sizes")
}

pub(super) fn embed<'e>(op: &'e Embed, operands: &Operands<'e>) {
    let ids = operands.read::<u32>(&op.ids);
    let table = packed(&op.table, operands);
    let mut out = operands.write::<f32>(&op.out);
    out.par_iter_mut().enumerate().for_each(|(m, out)| {
        let id = ids.at(m) as usize;
        if id >= op.table.layout.n {
            out.fill(0.0);
            return;
        }
        table.row(id, out);
        for out in out {
            *out *= op.scale;
        }
    });
}

pub(super) fn qmatmul<'e>(op: &'e QMatMul, operands: &Operands<'e>) {
    let w = packed(&op.w, operands);
    let x = operands.read::<f32>(&op.x);
    let bias = op.bias.as_ref().map(|bias| operands.read::<f32>(bias));
    let mut y = operands.write::<f32>(&op.y);
    let (n, k) = (op.w.layout.n, op.w.layout.k);
    let seen: Vec<Vec<f64>> = (0..x.len()).into_par_iter().map(|m| as_seen(op, x.row(m))).collect();

    // Sixteen rows of the weight at a time: decoded once, they stay in cache for all rows of x.
    let groups: Vec<Vec<f64>> = (0..op.w.layout.groups())
        .into_par_iter()
        .map(|group| {
            let rows = group * ROW_GROUP..n.min((group + 1) * ROW_GROUP);
            let decoded: Vec<Vec<f64>> = rows.map(|n| decode(&w, n, k)).collect();
            seen.iter().flat_map(|x| decoded.iter().map(|w| dot(w, x))).collect()
        })
        .collect();

    for (group, products) in groups.iter().enumerate() {
        let first = group * ROW_GROUP;
        let width = ROW_GROUP.min(n - first);
        for (m, products) in products.chunks_exact(width).enumerate() {
            let y = &mut y.row_mut(m)[first..first + width];
            for (i, (y, product)) in y.iter_mut().zip(products).enumerate() {
                let bias = bias.map_or(0.0, |bias| f64::from(bias.at(first + i)));
                let sum = product + bias;
                *y = match op.then {
                    Then::Store => sum as f32,
                    Then::Add => (f64::from(*y) + sum) as f32,
                };
            }
        }
    }
}

/// The row `x` as the product sees it: itself, or what its codes stand for.
fn as_seen(op: &QMatMul, x: &[f32]) -> Vec<f64> {
    let plain = matches!(op.w.format(), QuantFormat::F32 | QuantFormat::F16 | QuantFormat::BF16);
    match op.activations {
        Activations::Q8 if !plain => coded_values::<i8>(x),
        Activations::Q12 if !plain => coded_values::<i16>(x),
        _ => x.iter().copied().map(f64::from).collect(),
    }
}

fn decode(w: &Packed<'_>, n: usize, k: usize) -> Vec<f64> {
    let mut row = vec![0f32; k];
    w.row(n, &mut row);
    row.into_iter().map(f64::from).collect()
}

/// Sum of products by eight running sums, added up in order; K is a multiple of 32.
fn dot(w: &[f64], x: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    for (w, x) in w.chunks_exact(8).zip(x.chunks_exact(8)) {
        for i in 0..8 {
            sums[i] += w[i] * x[i];
        }
    }
    sums.iter().sum()
}
