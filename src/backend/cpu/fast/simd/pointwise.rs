//! Ops without a reduction.

use super::{
    Kernel, LANES, Simd, math,
    stage::{
        Stage, Stages,
        Touch::{ReadAny, ReadRow, WriteRow},
    },
    tensor::Tensor,
};
use crate::{
    backend::BackendResult,
    ops::{Add, Copy, Fill, Gate, GateMul, GatherRows, RandomBits, Rope, RopeStyle, SiluAdd},
    sample::philox4x32_10,
};

/// A row of [`GateMul`].
struct GateRow<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
    kind: Gate,
}

impl Kernel for GateRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.gate.chunks(LANES).zip(self.up.chunks(LANES));
        for (out, (gate, up)) in self.out.chunks_mut(LANES).zip(rows) {
            let (g, up) = (math::load(s, gate), math::load(s, up));
            let y = match self.kind {
                Gate::Silu => g,
                // g/2 (1 + tanh(u)) = g sigmoid(2u)
                Gate::GeluTanh => {
                    let cube = s.mul(s.mul(g, g), g);
                    s.mul(s.splat(2.0 * SQRT_2_OVER_PI), s.fma(s.splat(0.044_715), cube, g))
                }
            };
            math::store(s, s.mul(math::times_sigmoid(s, g, y), up), out);
        }
    }
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;

/// Stages of [`GateMul`]: a unit is a row.
pub fn gate_mul(op: &GateMul) -> BackendResult<Stages> {
    let (gate_up, out) = (Tensor::<f32>::new(&op.gate_up)?, Tensor::<f32>::new(&op.out)?);
    let kind = op.gate;
    let stage = Stage::new(out.rows(), out.rows() * out.width() / 2, move |context, m| {
        // SAFETY: a unit owns its row of `out`; `gate_up` is only read.
        let (gate_up, out) = unsafe { (gate_up.row(m), out.row_mut(m)) };
        let (gate, up) = gate_up.split_at(out.len());
        context.isa.run(GateRow { gate, up, out, kind });
        Ok(())
    });
    Ok(stage.by_rows([gate_up.area(ReadRow), out.area(WriteRow)]).into())
}

/// A row of [`Rope`]: all heads.
struct RopeRow<'a> {
    x: &'a mut [f32],
    d: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    style: RopeStyle,
}

impl Kernel for RopeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let half = self.cos.len();
        for head in self.x.chunks_exact_mut(self.d) {
            match self.style {
                RopeStyle::Halved => {
                    let (a, rest) = head.split_at_mut(half);
                    let ab = a.chunks_mut(LANES).zip(rest[..half].chunks_mut(LANES));
                    let cs = self.cos.chunks(LANES).zip(self.sin.chunks(LANES));
                    for ((a, b), (c, sn)) in ab.zip(cs) {
                        let (x, y) = (math::load(s, a), math::load(s, b));
                        let (c, sn) = (math::load(s, c), math::load(s, sn));
                        math::store(s, s.sub(s.mul(x, c), s.mul(y, sn)), a);
                        math::store(s, s.add(s.mul(x, sn), s.mul(y, c)), b);
                    }
                }
                RopeStyle::Interleaved => {
                    let pairs = &mut head.as_chunks_mut::<2>().0[..half];
                    let (full, tail) = pairs.as_chunks_mut::<LANES>();
                    let split = full.len() * LANES;
                    let (cos, cos_tail) = self.cos.split_at(split);
                    let (sin, sin_tail) = self.sin.split_at(split);
                    let cs = cos.chunks_exact(LANES).zip(sin.chunks_exact(LANES));
                    for (pairs, (c, sn)) in full.iter_mut().zip(cs) {
                        rotate(s, pairs, math::load(s, c), math::load(s, sn));
                    }
                    let mut pairs = [[0.0; 2]; LANES];
                    pairs[..tail.len()].copy_from_slice(tail);
                    rotate(s, &mut pairs, math::load(s, cos_tail), math::load(s, sin_tail));
                    tail.copy_from_slice(&pairs[..tail.len()]);
                }
            }
        }
    }
}

/// Rotates sixteen neighbouring pairs.
#[inline(always)]
fn rotate<S: Simd>(s: S, pairs: &mut [[f32; 2]; LANES], cos: S::F, sin: S::F) {
    let (mut a, mut b) = ([0.0; LANES], [0.0; LANES]);
    for i in 0..LANES {
        (a[i], b[i]) = (pairs[i][0], pairs[i][1]);
    }
    let (x, y) = (s.load(&a), s.load(&b));
    s.store(s.sub(s.mul(x, cos), s.mul(y, sin)), &mut a);
    s.store(s.add(s.mul(x, sin), s.mul(y, cos)), &mut b);
    for i in 0..LANES {
        pairs[i] = [a[i], b[i]];
    }
}

/// Stages of [`Rope`]: a unit is a row.
pub fn rope(op: &Rope) -> BackendResult<Stages> {
    let (x, positions) = (Tensor::<f32>::new(&op.x)?, Tensor::<u32>::new(&op.positions)?);
    let (cos, sin) = (Tensor::<f32>::new(&op.cos)?, Tensor::<f32>::new(&op.sin)?);
    let (d, style) = (op.x.shape.dim(2), op.style);
    let stage = Stage::new(x.rows(), x.rows() * x.width() / 2, move |context, m| {
        // SAFETY: a unit owns its row; positions and tables are only read.
        unsafe {
            let position = positions.row(m)[0] as usize;
            if position < cos.rows() {
                let (cos, sin) = (cos.row(position), sin.row(position));
                context.isa.run(RopeRow { x: x.row_mut(m), d, cos, sin, style });
            }
        }
        Ok(())
    });
    Ok(stage
        .by_rows([x.area(WriteRow), positions.area(ReadRow), cos.area(ReadAny), sin.area(ReadAny)])
        .into())
}

/// Stages of [`GatherRows`]: a unit is a row.
pub fn gather_rows(op: &GatherRows) -> BackendResult<Stages> {
    let (src, dst) = (Tensor::<f32>::new(&op.src)?, Tensor::<f32>::new(&op.dst)?);
    let rows = Tensor::<u32>::new(&op.rows)?;
    let stage = Stage::new(dst.rows(), dst.rows() * dst.width() / 8, move |_, m| {
        // SAFETY: a unit owns its row of `dst`; the rest is only read.
        unsafe {
            let row = rows.row(m)[0] as usize;
            if row < src.rows() {
                dst.row_mut(m).copy_from_slice(src.row(row));
            } else {
                dst.row_mut(m).fill(0.0);
            }
        }
        Ok(())
    });
    Ok(stage.by_rows([src.area(ReadAny), rows.area(ReadRow), dst.area(WriteRow)]).into())
}

/// Stages of `Copy`: a unit is a row.
pub fn copy(op: &Copy) -> BackendResult<Stages> {
    let (src, dst) = (Tensor::<u32>::new(&op.src)?, Tensor::<u32>::new(&op.dst)?);
    let stage = Stage::new(dst.rows(), dst.rows() * dst.width() / 8, move |_, m| {
        // SAFETY: a unit owns its row of `dst`; `src` is only read.
        unsafe { dst.row_mut(m).copy_from_slice(src.row(m)) };
        Ok(())
    });
    Ok(stage.into())
}

/// Stages of [`Fill`]: a unit is a row.
pub fn fill(op: &Fill) -> BackendResult<Stages> {
    let (dst, bits, random) = (Tensor::<u32>::new(&op.dst)?, op.bits, op.random);
    let width = dst.width();
    // A random word costs about as much as filling sixteen.
    let cost = dst.rows() * width / if random.is_some() { 1 } else { 16 };
    let stage = Stage::new(dst.rows(), cost, move |_, m| {
        // SAFETY: a unit owns its row.
        let row = unsafe { dst.row_mut(m) };
        match random {
            None => row.fill(bits),
            Some(random) => {
                let key = [random.seed as u32, (random.seed >> 32) as u32];
                let first = m * width;
                // Up to the first whole block of four words, then a block at a time.
                let (head, blocks) = row.split_at_mut(width.min(first.wrapping_neg() % 4));
                let head_at = (first / 4, first % 4);
                let starts = (first + head.len()) / 4;
                let blocks = blocks.chunks_mut(4).enumerate().map(|(i, b)| ((starts + i, 0), b));
                for ((block, skip), elements) in std::iter::once((head_at, head)).chain(blocks) {
                    let words = philox4x32_10([block as u32, 0, 0, RandomBits::STREAM], key);
                    for (element, word) in elements.iter_mut().zip(&words[skip..]) {
                        *element = bits | (word & random.keep);
                    }
                }
            }
        }
        Ok(())
    });
    Ok(stage.into())
}

/// Stages of [`Add`]: a unit is a row.
pub fn add(op: &Add) -> BackendResult<Stages> {
    let (x, y) = (Tensor::<f32>::new(&op.x)?, Tensor::<f32>::new(&op.y)?);
    let stage = Stage::new(y.rows(), y.rows() * y.width() / 8, move |_, m| {
        // SAFETY: a unit owns its row of `y`; `x` is only read.
        unsafe {
            for (y, x) in y.row_mut(m).iter_mut().zip(x.row(m)) {
                *y += x;
            }
        }
        Ok(())
    });
    Ok(stage.by_rows([x.area(ReadRow), y.area(WriteRow)]).into())
}

/// A row of [`SiluAdd`].
struct SiluRow<'a> {
    y: &'a [f32],
    x: &'a mut [f32],
}

impl Kernel for SiluRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, y) in self.x.chunks_mut(LANES).zip(self.y.chunks(LANES)) {
            let y = math::load(s, y);
            math::store(s, s.add(math::load(s, x), math::times_sigmoid(s, y, y)), x);
        }
    }
}

/// Stages of [`SiluAdd`]: a unit is a row.
pub fn silu_add(op: &SiluAdd) -> BackendResult<Stages> {
    let (y, x) = (Tensor::<f32>::new(&op.y)?, Tensor::<f32>::new(&op.x)?);
    let stage = Stage::new(x.rows(), x.rows() * x.width() / 2, move |context, m| {
        // SAFETY: a unit owns its row of `x`; `y` is only read.
        let (y, x) = unsafe { (y.row(m), x.row_mut(m)) };
        context.isa.run(SiluRow { y, x });
        Ok(())
    });
    Ok(stage.by_rows([y.area(ReadRow), x.area(WriteRow)]).into())
}
