//! The device memory of the cache.

use super::PagePool;
use crate::{
    backend::{Backend, BackendError, BackendResult, BufferDesc, Usage, View},
    dtype::DType,
    ops::{KvFormat, KvLayer},
    quant::BLOCK,
};

/// Size and element format of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Layers with keys and values of their own.
    pub layers: usize,
    /// Key/value heads, G.
    pub kv_heads: usize,
    /// Elements of a head, d.
    pub head_dim: usize,
    /// Element format.
    pub format: KvFormat,
    /// Slots of a page, P.
    pub page_slots: usize,
    /// Pages.
    pub pages: usize,
}

impl KvShape {
    /// Slots, S.
    pub fn slots(&self) -> usize {
        self.pages * self.page_slots
    }

    /// Bytes of device memory; `None` on overflow.
    pub fn bytes(&self) -> Option<u64> {
        let elements = self.slots().checked_mul(self.kv_heads)?.checked_mul(self.head_dim)? as u64;
        let plane = match self.format {
            KvFormat::F32 => elements.checked_mul(4)?,
            KvFormat::F16 => elements.checked_mul(2)?,
            KvFormat::Q8_0 => elements.checked_add(elements / BLOCK as u64 * 2)?,
        };
        plane.checked_mul(2 * self.layers as u64)
    }
}

/// Pages of all layers on a device, and the pool that hands them out.
#[derive(Debug)]
pub struct KvPages {
    /// Size and format.
    pub shape: KvShape,
    /// Pages of each layer.
    pub layers: Vec<KvLayer>,
    /// Accounting.
    pub pool: PagePool,
}

impl KvPages {
    /// Allocates the pages. Fails as [`Backend::alloc`] does, and if a format does not fit the head
    /// size.
    pub fn alloc(backend: &dyn Backend, shape: KvShape) -> BackendResult<Self> {
        if shape.format == KvFormat::Q8_0 && !shape.head_dim.is_multiple_of(BLOCK) {
            return Err(BackendError::Unsupported {
                op: "kv_write(q8_0)".into(),
                adapter: backend.adapter().name.clone(),
                reason: format!(
                    "q8_0 pages need heads in blocks of {BLOCK}, this model has {}",
                    shape.head_dim
                ),
            });
        }
        let layers =
            (0..shape.layers).map(|i| layer(backend, &shape, i)).collect::<Result<_, _>>()?;
        Ok(Self { shape, layers, pool: PagePool::new(shape.pages, shape.page_slots) })
    }
}

fn layer(backend: &dyn Backend, shape: &KvShape, index: usize) -> BackendResult<KvLayer> {
    let [s, g, d] = [shape.slots(), shape.kv_heads, shape.head_dim];
    let plane = |name: &str, dtype: DType, inner: usize| -> BackendResult<View> {
        let bytes = (s * g * inner * dtype.size()) as u64;
        let label = format!("kv.{index}.{name}");
        backend.alloc(&BufferDesc { label, bytes, usage: Usage::Cache })?.view(
            0,
            dtype,
            [s, g, inner],
        )
    };
    let dtype = match shape.format {
        KvFormat::F32 => DType::F32,
        KvFormat::F16 => DType::F16,
        KvFormat::Q8_0 => DType::I8,
    };
    let scale = |name| match shape.format {
        KvFormat::Q8_0 => plane(name, DType::F16, d / BLOCK).map(Some),
        KvFormat::F32 | KvFormat::F16 => Ok(None),
    };
    Ok(KvLayer {
        format: shape.format,
        k: plane("k", dtype, d)?,
        v: plane("v", dtype, d)?,
        k_scale: scale("k_scale")?,
        v_scale: scale("v_scale")?,
    })
}
