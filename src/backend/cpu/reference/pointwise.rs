//! Ops without a reduction.

use rayon::prelude::*;

use crate::{
    backend::cpu::Operands,
    ops::{Add, Copy, Fill, Gate, GateMul, RandomBits, Rope, RopeStyle, SiluAdd},
    sample::philox4x32_10,
};

pub(super) fn rope<'e>(op: &'e Rope, operands: &Operands<'e>) {
    let positions = operands.read::<u32>(&op.positions);
    let (cos, sin) = (operands.read::<f32>(&op.cos), operands.read::<f32>(&op.sin));
    let mut x = operands.write::<f32>(&op.x);
    let head_size = op.x.shape.dim(2);
    let half = cos.width();
    x.par_iter_mut().enumerate().for_each(|(m, row)| {
        let position = positions.at(m) as usize;
        if position >= cos.len() {
            return;
        }
        for head in row.chunks_exact_mut(head_size) {
            for i in 0..half {
                let (a, b) = match op.style {
                    RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                    RopeStyle::Halved => (i, i + half),
                };
                let (c, s) = (f64::from(cos.row(position)[i]), f64::from(sin.row(position)[i]));
                let (xa, xb) = (f64::from(head[a]), f64::from(head[b]));
                head[a] = (xa * c - xb * s) as f32;
                head[b] = (xa * s + xb * c) as f32;
            }
        }
    });
}

pub(super) fn gate_mul<'e>(op: &'e GateMul, operands: &Operands<'e>) {
    let gate_up = operands.read::<f32>(&op.gate_up);
    let mut out = operands.write::<f32>(&op.out);
    out.par_iter_mut().enumerate().for_each(|(m, out)| {
        let (gate, up) = gate_up.row(m).split_at(out.len());
        for f in 0..out.len() {
            out[f] = (activation(op.gate, f64::from(gate[f])) * f64::from(up[f])) as f32;
        }
    });
}

/// A gate's activation.
pub(super) fn activation(gate: Gate, g: f64) -> f64 {
    match gate {
        Gate::Silu => g / (1.0 + (-g).exp()),
        Gate::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (g + 0.044715 * g * g * g);
            g / 2.0 * (1.0 + inner.tanh())
        }
    }
}

pub(super) fn copy<'e>(op: &'e Copy, operands: &Operands<'e>) {
    let src = operands.read::<u32>(&op.src);
    let mut dst = operands.write::<u32>(&op.dst);
    for (dst, src) in dst.iter_mut().zip(src.iter()) {
        dst.copy_from_slice(src);
    }
}

pub(super) fn fill<'e>(op: &'e Fill, operands: &Operands<'e>) {
    let mut at = 0u32;
    for row in operands.write::<u32>(&op.dst).iter_mut() {
        for element in row {
            let drawn = op.random.map_or(0, |random| {
                let key = [random.seed as u32, (random.seed >> 32) as u32];
                let counter = [at / 4, 0, 0, RandomBits::STREAM];
                philox4x32_10(counter, key)[(at % 4) as usize] & random.keep
            });
            *element = op.bits | drawn;
            at = at.wrapping_add(1);
        }
    }
}

pub(super) fn add<'e>(op: &'e Add, operands: &Operands<'e>) {
    let x = operands.read::<f32>(&op.x);
    let mut y = operands.write::<f32>(&op.y);
    for (y, x) in y.iter_mut().zip(x.iter()) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

pub(super) fn silu_add<'e>(op: &'e SiluAdd, operands: &Operands<'e>) {
    let y = operands.read::<f32>(&op.y);
    let mut x = operands.write::<f32>(&op.x);
    for (x, y) in x.iter_mut().zip(y.iter()) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x = (f64::from(*x) + activation(Gate::Silu, f64::from(y))) as f32;
        }
    }
}
