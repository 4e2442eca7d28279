//! Rows of embedding and output matrix, read back from the device.

use super::{Model, weights::Linear};
use crate::{
    backend::{SharedBackend, Wait},
    error::{Error, Result},
    ops::Weight,
    quant::Packed,
    record::Recording,
};

impl Model {
    /// `[V, D]`: embeddings as they lie on the device.
    pub fn embedding(&self) -> &Weight {
        &self.weights().embed
    }

    /// Rows of the embedding, `[ids, D]`, as products see them.
    ///
    /// # Errors
    /// An id beyond the vocabulary ([`Error::Invalid`]).
    pub fn embedding_rows(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let weight = self.embedding();
        let mut out = vec![0.0; ids.len() * weight.layout.k];
        rows(self.backend(), &[(weight, 0)], ids, &mut out)?;
        Ok(out)
    }

    /// Rows of the output matrix, `[ids, D]`, as products see them.
    ///
    /// # Errors
    /// An id beyond the vocabulary ([`Error::Invalid`]).
    pub fn output_rows(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let Linear { parts, .. } = &self.weights().head;
        let parts: Vec<_> = parts.iter().map(|part| (&part.weight, part.first)).collect();
        let mut out = vec![0.0; ids.len() * self.config().d_model];
        rows(self.backend(), &parts, ids, &mut out)?;
        Ok(out)
    }
}

/// Rows `ids` of a matrix whose parts begin at the rows given.
fn rows(
    backend: &SharedBackend,
    parts: &[(&Weight, usize)],
    ids: &[u32],
    out: &mut [f32],
) -> Result<()> {
    let end = parts.last().map_or(0, |(weight, first)| first + weight.layout.n);
    if let Some(id) = ids.iter().find(|&&id| id as usize >= end) {
        return Err(Error::invalid(format!("there is no row {id} in a matrix of {end}")));
    }
    let nothing = backend.prepare(&Recording::default())?;
    for (weight, first) in parts {
        let ticket = backend.submit(&nothing, std::slice::from_ref(&weight.data))?;
        let download = backend.finish(ticket, Wait::Park)?;
        let (n, k) = (weight.layout.n, weight.layout.k);
        let packed = Packed::new(weight.layout, download.bytes(0))?;
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(k)) {
            if let Some(row) = (id as usize).checked_sub(*first).filter(|&row| row < n) {
                packed.row(row, out);
            }
        }
    }
    Ok(())
}
