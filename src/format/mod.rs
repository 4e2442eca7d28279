//! Bytes on disk: GGUF and safetensors, and one view over both.
//!
//! A file is data somebody else made. Every count, length and offset is therefore checked against
//! what is left of the file *before* anything is allocated or sliced, and a fault is an error that
//! names the file and the key or tensor. Files are memory-mapped; a tensor is a borrowed byte range.
//!
//! [`ModelSource`] is what the rest of the crate uses. It gives tensors under GGUF's names and one
//! [`crate::model::config::ModelConfig`], wherever they come from.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

pub mod gguf;
mod gguf_config;
pub mod heads;
mod hf_config;
pub mod map;
mod names;
pub mod safetensors;
mod source;
mod tensor;

pub use gguf::Gguf;
pub use map::Map;
pub use source::ModelSource;
pub use tensor::{StoredType, TensorInfo, TensorRef};

/// A file that cannot be read as what it claims to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// Verb, such as `open`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file as a whole is not what it should be.
    #[error("{file}: {message}", file = file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, with values.
        message: String,
        /// What to do about it, if known.
        hint: Option<String>,
    },
    /// A metadata key whose value cannot be used.
    #[error("{file}: key `{key}`: {message}", file = file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// What is wrong, with values.
        message: String,
    },
    /// A metadata key that is needed and absent.
    #[error("{file}: key `{key}` is missing", file = file.display())]
    MissingKey {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
    },
    /// A tensor whose description cannot be right.
    #[error("{file}: tensor `{tensor}`: {message}", file = file.display())]
    Tensor {
        /// The file.
        file: PathBuf,
        /// Name of the tensor in the file.
        tensor: String,
        /// What is wrong, with values.
        message: String,
    },
    /// A tensor that is needed and absent.
    #[error("{file}: tensor `{tensor}` is missing", file = file.display())]
    MissingTensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor in a format that has no decoder here.
    #[error("{file}: tensor `{tensor}` has type {found}, which is not supported", file = file.display())]
    TensorType {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Name of the type.
        found: String,
    },
    /// A model family that is not implemented.
    #[error("{file}: architecture `{found}` is not supported", file = file.display())]
    Architecture {
        /// The file.
        file: PathBuf,
        /// What the file says.
        found: String,
    },
}

impl FormatError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { hint, .. } => hint.clone(),
            Self::MissingTensor { .. } => {
                Some("`coppice inspect` lists the tensors of a file".to_owned())
            }
            Self::TensorType { .. } => {
                let names: Vec<_> =
                    crate::quant::QuantFormat::ALL.iter().map(|f| f.name()).collect();
                Some(format!("supported types are {}", names.join(", ")))
            }
            Self::Architecture { .. } => {
                Some(format!("supported are {}", crate::model::config::Arch::NAMES))
            }
            Self::Io { .. } | Self::Key { .. } | Self::MissingKey { .. } | Self::Tensor { .. } => {
                None
            }
        }
    }
}

/// Reads a whole file of at most `limit` bytes.
fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, FormatError> {
    let io_error = |source| FormatError::Io { action: "read", path: path.to_owned(), source };
    // Looked at before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(io_error)?.is_file() {
        return Err(io_error(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > limit {
        return Err(FormatError::File {
            file: path.to_owned(),
            message: format!("larger than {limit} bytes, the limit for a file of this kind"),
            hint: None,
        });
    }
    Ok(bytes)
}

/// For each layer whether it is windowed. An absurd number of layers, refused a moment later, is not
/// worth an allocation.
fn windowed(n_layers: usize, is_windowed: impl FnMut(usize) -> bool) -> Vec<bool> {
    (0..n_layers.min(crate::model::config::limits::LAYERS)).map(is_windowed).collect()
}

/// YaRN's factor on cos and sin where a file does not state one (arXiv 2309.00071, section 3.4).
fn yarn_attention_factor(factor: f32) -> f32 {
    if factor > 1.0 { 1.0 + 0.1 * factor.ln() } else { 1.0 }
}

/// Head size where a file does not state it.
fn split_width(d_model: usize, n_heads: usize) -> Result<usize, String> {
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        return Err(format!("a width of {d_model} does not split into {n_heads} heads"));
    }
    Ok(d_model / n_heads)
}

#[cfg(test)]
mod tests;
