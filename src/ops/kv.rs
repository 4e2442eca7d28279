//! Ops that write the paged key/value cache.

use super::{CheckResult, Operand, dense, expect, ranked, read, update};
use crate::{backend::View, dtype::DType, quant::BLOCK};

/// Element format of key/value pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// As computed.
    F32,
    /// Rounded to nearest even.
    F16,
    /// Blocks of 32 along the head: i8 codes and an f16 scale; quantised along d only, so that a
    /// token's bytes never depend on its neighbours. `scale = f16(max|x| / 127)`,
    /// `code = round_half_even(x / scale)` clamped to -127..=127, with the division in f32 by the
    /// rounded scale; a scale of zero gives codes of zero.
    Q8_0,
}

impl KvFormat {
    /// Lower-case name, as in `--kv f16`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }
}

/// Pages of one layer. Slot `s` belongs to page `s / P`; all pages of a layer are one view.
#[derive(Clone, Debug)]
pub struct KvLayer {
    /// Element format.
    pub format: KvFormat,
    /// `[S, G, d]` f32, f16 or i8.
    pub k: View,
    /// `[S, G, d]` f32, f16 or i8.
    pub v: View,
    /// `[S, G, d / 32]` f16, with [`KvFormat::Q8_0`] only.
    pub k_scale: Option<View>,
    /// `[S, G, d / 32]` f16, with [`KvFormat::Q8_0`] only.
    pub v_scale: Option<View>,
}

impl KvLayer {
    /// Dimensions `[S, G, d]`.
    pub fn dims(&self) -> [usize; 3] {
        [self.k.shape.dim(0), self.k.shape.dim(1), self.k.shape.dim(2)]
    }

    pub(super) fn check(&self) -> CheckResult {
        let dtype = match self.format {
            KvFormat::F32 => DType::F32,
            KvFormat::F16 => DType::F16,
            KvFormat::Q8_0 => DType::I8,
        };
        let dims = ranked("k_pages", &self.k, dtype, 3)?;
        expect("v_pages", &self.v, dtype, dims)?;
        dense("k_pages", &self.k)?;
        dense("v_pages", &self.v)?;
        if !dims[2].is_multiple_of(2) {
            return Err(format!("a head of {} elements is not a multiple of 2", dims[2]));
        }
        match (self.format, &self.k_scale, &self.v_scale) {
            (KvFormat::Q8_0, Some(k), Some(v)) => {
                if !dims[2].is_multiple_of(BLOCK) {
                    return Err(format!("q8_0 pages need heads in blocks of 32, got {}", dims[2]));
                }
                let scales = [dims[0], dims[1], dims[2] / BLOCK];
                expect("k_scale", k, DType::F16, &scales)?;
                expect("v_scale", v, DType::F16, &scales)
            }
            (KvFormat::Q8_0, _, _) => Err("q8_0 pages need scales".into()),
            (_, None, None) => Ok(()),
            _ => Err(format!("{} pages have no scales", self.format.name())),
        }
    }

    fn views<'a>(&'a self, operand: fn(&'static str, &'a View) -> Operand<'a>) -> Vec<Operand<'a>> {
        let mut all = vec![operand("k_pages", &self.k), operand("v_pages", &self.v)];
        all.extend(self.k_scale.iter().map(|v| operand("k_scale", v)));
        all.extend(self.v_scale.iter().map(|v| operand("v_scale", v)));
        all
    }

    pub(super) fn reads(&self) -> Vec<Operand<'_>> {
        self.views(read)
    }

    pub(super) fn updates(&self) -> Vec<Operand<'_>> {
        self.views(update)
    }
}

/// Keys and values of new rows into slots: `pages[slots[m]] = (k[m], v[m])`. A slot not below S
/// (use `u32::MAX`) skips the row. Slots of one call differ.
#[derive(Clone, Debug)]
pub struct KvWrite {
    /// `[M, G, d]` f32, rows may be strided.
    pub k: View,
    /// `[M, G, d]` f32, rows may be strided.
    pub v: View,
    /// `[M]` u32.
    pub slots: View,
    /// Pages.
    pub cache: KvLayer,
}

impl KvWrite {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let mut all = vec![read("k", &self.k), read("v", &self.v), read("slots", &self.slots)];
        all.extend(self.cache.updates());
        all
    }

    pub(super) fn check(&self) -> CheckResult {
        self.cache.check()?;
        let [_, g, d] = self.cache.dims();
        let m = ranked("slots", &self.slots, DType::U32, 1)?[0];
        expect("k", &self.k, DType::F32, &[m, g, d])?;
        expect("v", &self.v, DType::F32, &[m, g, d])
    }

    pub(super) fn summary(&self) -> String {
        let [s, g, d] = self.cache.dims();
        let m = self.slots.shape.dim(0);
        format!("{}, m={m}, g={g}, d={d}, s={s}", self.cache.format.name())
    }
}

/// Moves rows within the pages: for `i` ascending, slot `dst[i]` becomes slot `src[i]`. The order
/// matters: a later source is never an earlier destination of the accepted path unless it was
/// already moved. A slot not below S skips the move.
#[derive(Clone, Debug)]
pub struct KvCommit {
    /// `[M]` u32.
    pub src: View,
    /// `[M]` u32.
    pub dst: View,
    /// Pages.
    pub cache: KvLayer,
}

impl KvCommit {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let mut all = vec![read("src", &self.src), read("dst", &self.dst)];
        all.extend(self.cache.updates());
        all
    }

    pub(super) fn check(&self) -> CheckResult {
        self.cache.check()?;
        let m = ranked("src", &self.src, DType::U32, 1)?;
        expect("dst", &self.dst, DType::U32, m)
    }

    pub(super) fn summary(&self) -> String {
        let [s, g, d] = self.cache.dims();
        let m = self.src.shape.dim(0);
        format!("{}, m={m}, g={g}, d={d}, s={s}", self.cache.format.name())
    }
}
