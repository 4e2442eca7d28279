//! Products of dense matrices.

use rayon::prelude::*;

use crate::{
    backend::cpu::{Operands, Rows},
    ops::{MatMul, Side, Then},
};

/// A matrix as the product sees it, row by row, in f64.
fn seen(matrix: Rows<'_, f32>, side: Side) -> Vec<Vec<f64>> {
    let rows: Vec<Vec<f64>> =
        matrix.iter().map(|row| row.iter().copied().map(f64::from).collect()).collect();
    match side {
        Side::Plain => rows,
        Side::Transposed => {
            let columns = rows.first().map_or(0, Vec::len);
            (0..columns).map(|c| rows.iter().map(|row| row[c]).collect()).collect()
        }
    }
}

fn flipped(side: Side) -> Side {
    match side {
        Side::Plain => Side::Transposed,
        Side::Transposed => Side::Plain,
    }
}

pub(super) fn mat_mul<'e>(op: &'e MatMul, operands: &Operands<'e>) {
    let a = seen(operands.read::<f32>(&op.a), op.a_side);
    let columns = seen(operands.read::<f32>(&op.b), flipped(op.b_side));
    let bias = op.bias.as_ref().map(|bias| operands.read::<f32>(bias).to_vec());
    let mut y = operands.write::<f32>(&op.y);
    y.par_iter_mut().zip(&a).for_each(|(y, a)| {
        for (n, (y, b)) in y.iter_mut().zip(&columns).enumerate() {
            let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[n]));
            let sum = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() + bias;
            *y = match op.then {
                Then::Store => sum as f32,
                Then::Add => (f64::from(*y) + sum) as f32,
            };
        }
    });
}
