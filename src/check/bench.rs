//! A case's tensors on a backend, with guard zones around each.

use super::case::{Tensor, Views};
use crate::{
    backend::{Backend, BackendResult, Buffer, BufferDesc, Prepared, Usage, View, Wait},
    dtype::DType,
    ops::Op,
    record::Recorder,
};

/// Guard zones and gaps hold this: a NaN as f32 and as two f16, and no valid index.
const GUARD: u32 = 0x7fff_7fff;
/// Bytes of each guard zone; a packed weight must start at a multiple of it.
const ZONE: usize = 256;

/// Where the tensors are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Each in a buffer of its own.
    Separate,
    /// All but packed weights in one buffer: a model's arena.
    Shared,
}

/// Contents of all buffers of a case.
pub(super) type Images = Vec<Vec<u8>>;

pub(super) struct Bench<'b> {
    backend: &'b dyn Backend,
    buffers: Vec<Buffer>,
    /// For each tensor the buffer and the offset of its first byte.
    places: Vec<(usize, usize)>,
    pub(super) views: Views,
}

impl<'b> Bench<'b> {
    pub(super) fn new(
        backend: &'b dyn Backend,
        tensors: &[Tensor],
        placement: Placement,
    ) -> BackendResult<Self> {
        let mut sizes: Vec<usize> = Vec::new();
        let mut shared = None;
        let places: Vec<(usize, usize)> = tensors
            .iter()
            .map(|tensor| {
                let own = placement == Placement::Separate || tensor.dtype == DType::U8;
                let buffer = match shared {
                    Some(buffer) if !own => buffer,
                    _ => {
                        sizes.push(0);
                        if !own {
                            shared = Some(sizes.len() - 1);
                        }
                        sizes.len() - 1
                    }
                };
                let offset = sizes[buffer] + ZONE;
                sizes[buffer] = (offset + span(tensor)).next_multiple_of(ZONE) + ZONE;
                (buffer, offset)
            })
            .collect();
        let buffers = sizes
            .iter()
            .enumerate()
            .map(|(i, &bytes)| {
                let label = format!("check.{i}");
                backend.alloc(&BufferDesc { label, bytes: bytes as u64, usage: Usage::Scratch })
            })
            .collect::<BackendResult<Vec<_>>>()?;
        let views = tensors
            .iter()
            .zip(&places)
            .map(|(t, &(buffer, offset))| {
                let buffer = buffers[buffer].clone();
                View::new(buffer, offset as u64, t.dtype, t.shape, t.row_stride())
            })
            .collect::<BackendResult<Vec<_>>>()?;
        Ok(Self { backend, buffers, places, views: Views(views) })
    }

    /// Contents of the buffers before a run: guards, data, and `pattern` in outputs.
    pub(super) fn images(&self, tensors: &[Tensor], pattern: u32) -> Images {
        let words = |buffer: &Buffer| buffer.bytes() as usize / 4;
        let mut images: Images =
            self.buffers.iter().map(|b| GUARD.to_le_bytes().repeat(words(b))).collect();
        for (i, tensor) in tensors.iter().enumerate() {
            let filled = pattern.to_le_bytes().repeat(tensor.shape.elements());
            let data = tensor.data.as_ref().unwrap_or(&filled);
            self.put(&mut images, i, tensor, data);
        }
        images
    }

    /// Elements of tensor `i`, gaps left out.
    pub(super) fn get(&self, images: &Images, i: usize, tensor: &Tensor) -> Vec<u8> {
        let (buffer, _) = self.places[i];
        self.rows(i, tensor).flat_map(|row| images[buffer][row].iter().copied()).collect()
    }

    /// Sets the elements of tensor `i`, gaps left out.
    pub(super) fn put(&self, images: &mut Images, i: usize, tensor: &Tensor, data: &[u8]) {
        let (buffer, _) = self.places[i];
        let mut left = data;
        for row in self.rows(i, tensor) {
            let (now, rest) = left.split_at(row.len());
            images[buffer][row].copy_from_slice(now);
            left = rest;
        }
    }

    /// Bytes of each row of tensor `i` in its buffer.
    fn rows(&self, i: usize, tensor: &Tensor) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (_, offset) = self.places[i];
        let size = tensor.dtype.size();
        let (width, stride) = (tensor.shape.row_elements() * size, tensor.row_stride() * size);
        (0..tensor.shape.dim(0)).map(move |row| {
            let start = offset + row * stride;
            start..start + width
        })
    }

    /// The tensor that lies nearest before a byte of a buffer, for reports.
    pub(super) fn nearest(&self, buffer: usize, byte: usize) -> usize {
        let here = |&(i, place): &(usize, &(usize, usize))| {
            (place.0 == buffer && place.1 <= byte + ZONE).then_some((place.1, i))
        };
        self.places.iter().enumerate().filter_map(|p| here(&p)).max().map_or(0, |(_, i)| i)
    }

    pub(super) fn prepare(&self, ops: impl IntoIterator<Item = Op>) -> crate::Result<Prepared> {
        let mut recorder = Recorder::new();
        recorder.label("check");
        for op in ops {
            recorder.push(op)?;
        }
        Ok(self.backend.prepare(&recorder.finish())?)
    }

    /// All buffers as bytes.
    fn whole(&self) -> BackendResult<Vec<View>> {
        self.buffers.iter().map(|b| b.view(0, DType::U8, [b.bytes() as usize])).collect()
    }

    /// Loads `images`.
    pub(super) fn load(&self, images: &Images) -> BackendResult<()> {
        for (view, image) in self.whole()?.iter().zip(images) {
            self.backend.write(view, image)?;
        }
        Ok(())
    }

    /// Loads `images`, runs, and reads everything back.
    pub(super) fn run(&self, work: &Prepared, images: &Images) -> BackendResult<Images> {
        self.load(images)?;
        let whole = self.whole()?;
        let ticket = self.backend.submit(work, &whole)?;
        let download = self.backend.finish(ticket, Wait::Park)?;
        Ok((0..whole.len()).map(|i| download.bytes(i).to_vec()).collect())
    }
}

fn span(tensor: &Tensor) -> usize {
    tensor.shape.dim(0) * tensor.row_stride() * tensor.dtype.size()
}
