//! Errors of devices and kernels.

use std::path::PathBuf;

use crate::error::Site;

/// What can go wrong on a device.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The adapter has no way to run the op.
    #[error("{op} cannot run on {adapter}: {reason}")]
    Unsupported {
        /// The op with its shapes.
        op: String,
        /// The device.
        adapter: String,
        /// Why.
        reason: String,
    },
    /// An op was recorded with operands that do not fit.
    #[error("{op}, recorded at {site}: {message}")]
    Operand {
        /// The op.
        op: String,
        /// Where it was recorded.
        site: Site,
        /// Which operand or dimension, with the values got and wanted.
        message: String,
    },
    /// The device failed while running an op.
    #[error("{op} failed on {adapter}, recorded at {site}: {message}")]
    Device {
        /// The op.
        op: String,
        /// The device.
        adapter: String,
        /// Where it was recorded.
        site: Site,
        /// What the driver said.
        message: String,
    },
    /// A kernel text does not compile.
    #[error("shader {file}:{line}: {message}")]
    Shader {
        /// Source file under `shaders/` or `cuda/`.
        file: String,
        /// Line in it.
        line: u32,
        /// What the compiler said.
        message: String,
        /// Where the final text was written, if it was.
        dump: Option<PathBuf>,
    },
    /// The device was lost.
    #[error("{adapter} was lost: {reason}")]
    Lost {
        /// The device.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// A buffer exceeds a limit of the device.
    #[error("buffer `{label}` needs {need_bytes} bytes but {adapter} allows {limit_bytes}")]
    TooLarge {
        /// The buffer.
        label: String,
        /// Size asked for.
        need_bytes: u64,
        /// Most the device allows.
        limit_bytes: u64,
        /// The device.
        adapter: String,
    },
    /// Memory ran out.
    #[error(
        "{adapter} has no memory for buffer `{label}` of {need_bytes} bytes \
         ({used_bytes} in use)"
    )]
    OutOfMemory {
        /// The buffer.
        label: String,
        /// Size asked for.
        need_bytes: u64,
        /// Bytes that live buffers hold.
        used_bytes: u64,
        /// The device.
        adapter: String,
    },
    /// A host access beyond a buffer or of the wrong size.
    #[error("access to buffer `{label}`: {message}")]
    Range {
        /// The buffer.
        label: String,
        /// Offsets and sizes got and wanted.
        message: String,
    },
    /// A buffer or recording of another device.
    #[error("{what} belongs to another device than {adapter}")]
    ForeignDevice {
        /// What was passed.
        what: String,
        /// The device it was passed to.
        adapter: String,
    },
    /// No adapter answers to a name.
    #[error("no adapter for `{wanted}`: {reason}")]
    NoAdapter {
        /// As the user named it.
        wanted: String,
        /// What was found instead.
        reason: String,
    },
}

impl BackendError {
    /// What to do about it, where known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OutOfMemory { .. } | Self::TooLarge { .. } => Some(
                "use a smaller --ctx, a smaller quantisation of the model, or --device cpu".into(),
            ),
            Self::NoAdapter { .. } => Some("`coppice devices` lists what this machine has".into()),
            Self::Lost { .. } => Some(
                "the driver reset the device; try again, update the driver, or use --device cpu"
                    .into(),
            ),
            Self::Unsupported { .. } => Some("try another --device".into()),
            _ => None,
        }
    }
}
