//! The model with its adapters in it, as a file of its own.

use std::path::Path;

use super::{Adapters, Matrix, backbone::dense};
use crate::{
    error::{Error, Result},
    format::{ModelSource, gguf::Writer},
    quant::QuantFormat,
    train::heads::checkpoint::{unwritten, write_with},
};

/// Writes `source`, a GGUF file, with adapters added to its matrices: those are stored as `format`,
/// every other tensor and all metadata as they are. The file is there as a whole or not at all, and
/// one matrix at a time is in memory.
///
/// # Errors
/// A source that is no GGUF file, has tensors that cannot be copied, or matrices whose rows are no
/// whole blocks of `format`; a full disk.
pub fn merge(
    source: &ModelSource,
    adapters: &Adapters,
    format: QuantFormat,
    path: &Path,
    on_progress: &mut dyn FnMut(f64),
) -> Result<()> {
    let gguf = source.gguf().ok_or_else(|| Error::Invalid {
        message: format!(
            "{} is no GGUF file, and only those can be merged",
            source.path().display()
        ),
        hint: Some("convert the model to GGUF first".into()),
    })?;
    let config = source.config()?;
    let mut writer = Writer::copy_of(gguf);
    let mut merged = Vec::new();
    for info in source.tensors() {
        let own = (0..config.n_layers)
            .flat_map(|layer| Matrix::ALL.map(|matrix| (layer, matrix)))
            .find(|(layer, matrix)| {
                adapters.has(*layer, *matrix) && matrix.tensor(*layer) == info.name
            });
        let tensor = source.tensor(&info.name)?;
        let format = if own.is_some() { format } else { tensor.dtype };
        writer.announce(&info.name, tensor.shape, format).map_err(|message| Error::Model {
            model: source.path().display().to_string(),
            message,
            hint: Some("choose another --merged-format, such as f16".into()),
        })?;
        merged.push((info, own));
    }
    let count = merged.len().max(1) as f64;
    write_with(path, &mut |file| {
        let failed = |source| unwritten(path, source);
        let mut body = writer.begin(file).map_err(failed)?;
        for (i, (info, own)) in merged.iter().enumerate() {
            match own {
                Some((layer, matrix)) => {
                    let mut values = dense(source, &info.name, matrix.dims(&config))?;
                    adapters.add_to(*layer, *matrix, &mut values);
                    let mut bytes = Vec::new();
                    format.quantize(&values, &mut bytes)?;
                    body.add(&bytes).map_err(failed)?;
                }
                None => body.add(source.tensor(&info.name)?.bytes).map_err(failed)?,
            }
            source.release(&info.name);
            on_progress((i + 1) as f64 / count);
        }
        Ok(())
    })
}
