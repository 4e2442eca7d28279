//! Bytes on disk: GGUF and safetensors, and one view over both.
//!
//! A file is data somebody else made. Every count, length and offset is therefore checked against
//! what is left of the file *before* anything is allocated or sliced, and a fault is an error that
//! names the file and the key or tensor. Files are memory-mapped; a tensor is a borrowed byte range.
//!
//! [`ModelSource`] is what the rest of the crate uses. It gives tensors under GGUF's names and one
//! [`crate::model::config::ModelConfig`], wherever they come from.

use std::{io, path::PathBuf};

pub mod gguf;
pub mod map;
mod tensor;

pub use gguf::Gguf;
pub use map::Map;
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
                let names: Vec<_> = crate::quant::QuantFormat::ALL
                    .iter()
                    .map(|f| f.name())
                    .collect();
                Some(format!("supported types are {}", names.join(", ")))
            }
            Self::Io { .. }
            | Self::Key { .. }
            | Self::MissingKey { .. }
            | Self::Tensor { .. }
            | Self::Architecture { .. } => None,
        }
    }
}
