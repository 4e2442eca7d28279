//! Pages of keys and values: reading heads as f32, writing rows, moving slots.

use bytemuck::Pod;
use half::f16;

use super::{
    Kernel, LANES, Simd, decode, math,
    stage::{Stage, Stages},
    tensor::Tensor,
};
use crate::{
    backend::{BackendResult, View},
    ops::{KvCommit, KvFormat, KvLayer, KvWrite},
    quant::BLOCK,
};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Keys or values of a layer; rows are slots.
#[derive(Clone, Copy, Debug)]
pub enum Pages {
    /// As computed.
    F32(Tensor<f32>),
    /// Bits of f16.
    F16(Tensor<u16>),
    /// Codes and one f16 scale per 32 of them.
    Q8 {
        /// `[S, G, d]`.
        codes: Tensor<i8>,
        /// `[S, G, d / 32]`.
        scales: Tensor<u16>,
    },
}

/// An element of pages that hold numbers.
pub trait Number: Pod {
    /// Sixteen of them.
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::F;
}

impl Number for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::F {
        s.load(x)
    }
}

/// Bits of f16.
impl Number for u16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::F {
        s.half(s.load_halves(x))
    }
}

impl Pages {
    /// Keys and values.
    pub fn both(cache: &KvLayer) -> BackendResult<[Self; 2]> {
        let new = |pages: &View, scales: Option<&View>| {
            Ok(match (cache.format, scales) {
                (KvFormat::F32, _) => Self::F32(Tensor::new(pages)?),
                (KvFormat::F16, _) => Self::F16(Tensor::new(pages)?),
                (KvFormat::Q8_0, scales) => Self::Q8 {
                    codes: Tensor::new(pages)?,
                    scales: Tensor::new(scales.expect("the op's check wants scales with q8_0"))?,
                },
            })
        };
        Ok([new(&cache.k, cache.k_scale.as_ref())?, new(&cache.v, cache.v_scale.as_ref())?])
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        match self {
            Self::F32(rows) => rows.rows(),
            Self::F16(rows) => rows.rows(),
            Self::Q8 { codes, .. } => codes.rows(),
        }
    }

    /// Elements `first ..` of a slot, at most sixteen and at most `count`, the rest zero.
    ///
    /// # Safety
    /// Nobody writes the slot meanwhile.
    #[inline(always)]
    pub unsafe fn load<S: Simd>(&self, s: S, slot: usize, first: usize, count: usize) -> S::F {
        let range = first..first + count.min(LANES);
        // SAFETY: the caller's.
        unsafe {
            match self {
                Self::F32(rows) => math::load(s, &rows.row(slot)[range]),
                Self::F16(rows) => {
                    let x = &rows.row(slot)[range];
                    s.half(match x.try_into() {
                        Ok(x) => s.load_halves(x),
                        Err(_) => s.load_halves(&padded(x)),
                    })
                }
                Self::Q8 { codes, scales } => {
                    // Blocks of 32 have no tails.
                    let codes = codes.row(slot)[range].first_chunk().expect("16 codes");
                    let scale = f16::from_bits(scales.row(slot)[first / BLOCK]).to_f32();
                    s.mul(s.float(s.load_bytes(codes)), s.splat(scale))
                }
            }
        }
    }

    /// Asks for elements `first .. first + count` of a slot to be brought to the first-level cache: the
    /// weights of a layer have pushed them out since the step before.
    ///
    /// # Safety
    /// Nobody writes the slot meanwhile.
    #[inline(always)]
    pub unsafe fn prefetch(&self, slot: usize, first: usize, count: usize) {
        let range = first..first + count;
        // SAFETY: the caller's.
        unsafe {
            match self {
                Self::F32(rows) => prefetch(&rows.row(slot)[range]),
                Self::F16(rows) => prefetch(&rows.row(slot)[range]),
                Self::Q8 { codes, .. } => prefetch(&codes.row(slot)[range]),
            }
        }
    }

    /// Moves a slot.
    ///
    /// # Safety
    /// Nobody else uses the pages meanwhile.
    unsafe fn copy_slot(&self, src: usize, dst: usize) {
        if src == dst {
            return;
        }
        // SAFETY: the caller's; the two rows differ.
        unsafe {
            match self {
                Self::F32(rows) => rows.row_mut(dst).copy_from_slice(rows.row(src)),
                Self::F16(rows) => rows.row_mut(dst).copy_from_slice(rows.row(src)),
                Self::Q8 { codes, scales } => {
                    codes.row_mut(dst).copy_from_slice(codes.row(src));
                    scales.row_mut(dst).copy_from_slice(scales.row(src));
                }
            }
        }
    }
}

/// Asks for each cache line of `x`.
#[inline(always)]
fn prefetch<T>(x: &[T]) {
    for line in x.chunks(LINE / size_of::<T>()) {
        decode::prefetch(line.as_ptr());
    }
}

fn padded(x: &[u16]) -> [u16; LANES] {
    let mut lanes = [0; LANES];
    lanes[..x.len()].copy_from_slice(x);
    lanes
}

/// Writes rows `[M, G * d]` into their slots.
struct WriteRows {
    x: Tensor<f32>,
    slots: Tensor<u32>,
    pages: Pages,
}

impl Kernel for WriteRows {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for m in 0..self.x.rows() {
            // SAFETY: the one unit that writes these pages; rows and slots are only read.
            unsafe {
                let slot = self.slots.row(m)[0] as usize;
                if slot >= self.pages.slots() {
                    continue;
                }
                let x = self.x.row(m);
                match self.pages {
                    Pages::F32(rows) => rows.row_mut(slot).copy_from_slice(x),
                    Pages::F16(rows) => {
                        for (to, x) in rows.row_mut(slot).chunks_mut(LANES).zip(x.chunks(LANES)) {
                            let mut lanes = [0; LANES];
                            s.store_half(math::load(s, x), &mut lanes);
                            to.copy_from_slice(&lanes[..to.len()]);
                        }
                    }
                    Pages::Q8 { codes, scales } => {
                        let codes = codes.row_mut(slot).as_chunks_mut::<BLOCK>().0;
                        let blocks = x.as_chunks::<BLOCK>().0.iter().zip(codes);
                        for (scale, (x, codes)) in scales.row_mut(slot).iter_mut().zip(blocks) {
                            *scale = quantize(s, x, codes).to_bits();
                        }
                    }
                }
            }
        }
    }
}

/// One block as [`KvFormat::Q8_0`] defines it; gives its scale.
#[inline(always)]
fn quantize<S: Simd>(s: S, x: &[f32; BLOCK], codes: &mut [i8; BLOCK]) -> f16 {
    let x = map!(2, h in [0, 1] => math::load(s, &x[h * LANES..][..LANES]));
    let abs = map!(2, x in x => s.from_bits(s.and(s.bits(x), s.splat_int(i32::MAX))));
    let max = s.largest(s.max(abs[1], s.max(abs[0], s.splat(0.0))));
    let scale = f16::from_f32(max / 127.0);
    if scale == f16::ZERO {
        codes.fill(0);
        return scale;
    }
    for (x, codes) in x.into_iter().zip(codes.as_chunks_mut::<LANES>().0) {
        let x = s.div(x, s.splat(scale.to_f32()));
        // NaN stays: the second operand is kept.
        let x = s.min(s.splat(127.0), s.max(s.splat(-127.0), x));
        s.store_bytes(s.round(x), codes);
    }
    scale
}

/// Stages of [`KvWrite`]: one unit for keys, one for values, so that slots given twice are wrong
/// and not a race.
pub fn kv_write(op: &KvWrite) -> BackendResult<Stages> {
    let x = [Tensor::<f32>::new(&op.k)?, Tensor::new(&op.v)?];
    let (pages, slots) = (Pages::both(&op.cache)?, Tensor::<u32>::new(&op.slots)?);
    let stage = Stage::new(2, x[0].rows() * x[0].width() / 4, move |context, i| {
        context.isa.run(WriteRows { x: x[i], slots, pages: pages[i] });
        Ok(())
    });
    Ok(stage.into())
}

/// Stages of [`KvCommit`]: one unit for keys, one for values.
pub fn kv_commit(op: &KvCommit) -> BackendResult<Stages> {
    let (src, dst) = (Tensor::<u32>::new(&op.src)?, Tensor::<u32>::new(&op.dst)?);
    let pages = Pages::both(&op.cache)?;
    let width = op.cache.k.shape.row_elements();
    let stage = Stage::new(2, src.rows() * width / 8, move |_, i| {
        for m in 0..src.rows() {
            // SAFETY: the one unit that writes these pages; the slots are only read.
            unsafe {
                let (src, dst) = (src.row(m)[0] as usize, dst.row(m)[0] as usize);
                if src < pages[i].slots() && dst < pages[i].slots() {
                    pages[i].copy_slot(src, dst);
                }
            }
        }
        Ok(())
    });
    Ok(stage.into())
}
