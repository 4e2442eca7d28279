//! Soft targets: what the target itself holds likely at each place, within the draft vocabulary.

use std::{path::Path, sync::atomic::AtomicBool};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use super::{checkpoint::write_whole, features::Features, graph::Teacher};
use crate::error::{Error, Result};

/// The best draft ids of each row, with probabilities that add up to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftTargets {
    /// Targets of a row.
    pub top: usize,
    /// `[rows, top]` places in the draft vocabulary.
    pub places: Vec<u32>,
    /// `[rows, top]`.
    pub weights: Vec<f32>,
}

impl SoftTargets {
    /// Reads the targets from `path`, or computes them with `teacher` and keeps them there.
    pub fn open(
        path: &Path,
        (features, draft_ids, top): (&Features, &[u32], usize),
        teacher: impl FnOnce() -> Result<Teacher>,
        cancel: &AtomicBool,
        on_progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let mut hash = Sha256::new();
        hash.update(features.digest());
        hash.update(bytemuck::cast_slice::<u32, u8>(draft_ids));
        hash.update((top as u64).to_le_bytes());
        let key: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some(found) = Self::read(path, &key, features.rows() * top) {
            let (places, weights) = found;
            return Ok(Self { top, places, weights });
        }
        let mut new = Self { top, places: Vec::new(), weights: Vec::new() };
        let mut teacher = teacher()?;
        let (batch, width) = (teacher.batch(), features.width());
        let mut states = vec![0.0; batch * width];
        for first in (0..features.rows()).step_by(batch) {
            if cancel.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let count = batch.min(features.rows() - first);
            for (i, state) in states.chunks_exact_mut(width).take(count).enumerate() {
                features.state(first + i, state);
            }
            let (places, logprobs) = teacher.best(&states)?;
            new.places.extend(&places[..count * top]);
            for row in logprobs[..count * top].chunks_exact(top) {
                let total: f32 = row.iter().map(|l| l.exp()).sum();
                new.weights.extend(row.iter().map(|l| l.exp() / total));
            }
            on_progress(first + count, features.rows());
        }
        new.save(path, key)?;
        Ok(new)
    }

    /// What a file holds, if it is of this key; anything else is computed again.
    fn read(path: &Path, key: &str, count: usize) -> Option<(Vec<u32>, Vec<f32>)> {
        let bytes = std::fs::read(path).ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        if header.metadata().as_ref()?.get("key")? != key {
            return None;
        }
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let words = |name: &str| {
            let data = tensors.tensor(name).ok()?.data();
            (data.len() == 4 * count).then(|| data.chunks_exact(4))
        };
        let places = words("places")?.map(bytemuck::pod_read_unaligned).collect();
        let weights = words("weights")?.map(bytemuck::pod_read_unaligned).collect();
        Some((places, weights))
    }

    fn save(&self, path: &Path, key: String) -> Result<()> {
        let shape = vec![self.places.len() / self.top, self.top];
        let view = |dtype, bytes| {
            TensorView::new(dtype, shape.clone(), bytes).expect("as many bytes as elements")
        };
        let views = [
            ("places", view(Dtype::U32, bytemuck::cast_slice(&self.places))),
            ("weights", view(Dtype::F32, bytemuck::cast_slice(&self.weights))),
        ];
        let metadata = [("key".to_owned(), key)].into_iter().collect();
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|e| Error::invalid(format!("soft targets cannot be written: {e}")))?;
        write_whole(path, &bytes)
    }
}
