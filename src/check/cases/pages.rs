//! Random key/value pages with their exact values: what the cases of the cache share.

use half::f16;

use crate::{
    check::{
        Draw, Random,
        case::{Build, Expect, Handle, Tensor, Views},
    },
    ops::{KvFormat, KvLayer},
    quant::BLOCK,
};

/// All formats of pages.
pub(super) const FORMATS: [KvFormat; 3] = [KvFormat::F32, KvFormat::F16, KvFormat::Q8_0];

/// A format and a size of heads that it can hold.
pub(super) fn draw_format(d: &mut Draw) -> (KvFormat, usize) {
    let format = d.pick(&FORMATS);
    let head = match format {
        KvFormat::Q8_0 => BLOCK * d.size(8),
        KvFormat::F32 | KvFormat::F16 => 2 * d.size(128),
    };
    (format, head)
}

/// Keys or values `[S, G, d]`.
#[derive(Clone)]
pub(super) enum Pages {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Q8 { codes: Vec<i8>, scales: Vec<f16> },
}

impl Pages {
    /// Random pages of `elements`.
    pub(super) fn random(random: &mut Random, format: KvFormat, elements: usize) -> Self {
        Self::encode(format, &random.codable::<i8>(elements))
    }

    /// `x` as its format stores it.
    pub(super) fn encode(format: KvFormat, x: &[f32]) -> Self {
        match format {
            KvFormat::F32 => Self::F32(x.to_vec()),
            KvFormat::F16 => Self::F16(x.iter().map(|&x| f16::from_f32(x)).collect()),
            KvFormat::Q8_0 => {
                let (mut codes, mut scales) = (Vec::new(), Vec::new());
                for block in x.chunks_exact(BLOCK) {
                    let max = block.iter().map(|x| x.abs()).fold(0.0, f32::max);
                    let scale = f16::from_f32(max / 127.0);
                    // inputs are chosen so that no scale is zero and no quotient near a half
                    codes.extend(block.iter().map(|x| (x / scale.to_f32()).round() as i8));
                    scales.push(scale);
                }
                Self::Q8 { codes, scales }
            }
        }
    }

    /// Element `i`.
    pub(super) fn value(&self, i: usize) -> f64 {
        match self {
            Self::F32(x) => x[i].into(),
            Self::F16(x) => x[i].into(),
            Self::Q8 { codes, scales } => f64::from(codes[i]) * f64::from(scales[i / BLOCK]),
        }
    }

    /// Copies row `src` of `other` to row `dst`; rows have `width` elements.
    pub(super) fn copy_row(&mut self, dst: usize, other: &Self, src: usize, width: usize) {
        fn copy<T: Copy>(to: &mut [T], dst: usize, from: &[T], src: usize, width: usize) {
            to[dst * width..][..width].copy_from_slice(&from[src * width..][..width]);
        }
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => copy(a, dst, b, src, width),
            (Self::F16(a), Self::F16(b)) => copy(a, dst, b, src, width),
            (Self::Q8 { codes: a, scales: c }, Self::Q8 { codes: b, scales: d }) => {
                copy(a, dst, b, src, width);
                copy(c, dst, d, src, width / BLOCK);
            }
            _ => unreachable!("pages of one case have one format"),
        }
    }

    /// Adds the pages as inputs, or as updates that become `wanted`.
    fn push(
        &self,
        b: &mut Build,
        names: [&'static str; 2],
        [s, g, d]: [usize; 3],
        wanted: Option<&Self>,
    ) -> (Handle, Option<Handle>) {
        let (dims, scale_dims) = ([s, g, d], [s, g, d / BLOCK]);
        match (self, wanted) {
            (Self::F32(x), Some(Self::F32(y))) => {
                (b.push(Tensor::update(names[0], &dims, x, Expect::bits(y))), None)
            }
            (Self::F16(x), Some(Self::F16(y))) => {
                (b.push(Tensor::update(names[0], &dims, x, Expect::bits(y))), None)
            }
            (Self::Q8 { codes, scales }, Some(Self::Q8 { codes: c, scales: s })) => (
                b.push(Tensor::update(names[0], &dims, codes, Expect::bits(c))),
                Some(b.push(Tensor::update(names[1], &scale_dims, scales, Expect::bits(s)))),
            ),
            (Self::F32(x), _) => (b.push(Tensor::input(names[0], &dims, x)), None),
            (Self::F16(x), _) => (b.push(Tensor::input(names[0], &dims, x)), None),
            (Self::Q8 { codes, scales }, _) => (
                b.push(Tensor::input(names[0], &dims, codes)),
                Some(b.push(Tensor::input(names[1], &scale_dims, scales))),
            ),
        }
    }
}

/// Keys and values of a layer.
#[derive(Clone)]
pub(super) struct Cache {
    pub format: KvFormat,
    pub dims: [usize; 3],
    pub k: Pages,
    pub v: Pages,
}

impl Cache {
    pub(super) fn random(random: &mut Random, format: KvFormat, dims: [usize; 3]) -> Self {
        let elements = dims.iter().product();
        let [k, v] = [(); 2].map(|()| Pages::random(random, format, elements));
        Self { format, dims, k, v }
    }

    /// Slot `dst` becomes slot `src` of `other`.
    pub(super) fn copy_slot(&mut self, dst: usize, other: &Self, src: usize) {
        let width = self.dims[1] * self.dims[2];
        self.k.copy_row(dst, &other.k, src, width);
        self.v.copy_row(dst, &other.v, src, width);
    }

    /// Adds the pages to a case: as inputs, or as updates that become `wanted`.
    pub(super) fn push(
        &self,
        b: &mut Build,
        wanted: Option<&Self>,
    ) -> impl Fn(&Views) -> KvLayer + Clone + use<> {
        let k = self.k.push(b, ["k_pages", "k_scale"], self.dims, wanted.map(|w| &w.k));
        let v = self.v.push(b, ["v_pages", "v_scale"], self.dims, wanted.map(|w| &w.v));
        let format = self.format;
        move |views| KvLayer {
            format,
            k: views.at(k.0),
            v: views.at(v.0),
            k_scale: k.1.map(|scale| views.at(scale)),
            v_scale: v.1.map(|scale| views.at(scale)),
        }
    }
}
