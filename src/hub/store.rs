//! Our folder of unpacked models, and checks of files in it.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{HubError, Pin};

/// Folder of models unpacked from packages: `COPPICE_HOME/models`, else the platform's data folder.
pub fn models_dir() -> Result<PathBuf, HubError> {
    if let Some(home) = std::env::var_os("COPPICE_HOME").filter(|home| !home.is_empty()) {
        return Ok(PathBuf::from(home).join("models"));
    }
    directories::ProjectDirs::from("", "", "coppice")
        .map(|dirs| dirs.data_dir().join("models"))
        .ok_or_else(|| HubError::Io {
            action: "cannot find",
            path: "the home folder".into(),
            source: io::Error::new(io::ErrorKind::NotFound, "set COPPICE_HOME"),
        })
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HubError {
    move |source| HubError::Io { action, path: path.into(), source }
}

/// SHA-256 of a file in lower-case hexadecimal, read in pieces.
pub fn sha256_of(path: &Path) -> Result<String, HubError> {
    let mut file = File::open(path).map_err(io_error("cannot open", path))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut piece).map_err(io_error("cannot read", path))?;
        if n == 0 {
            break;
        }
        hasher.update(&piece[..n]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn check_size(path: &Path, pin: &Pin) -> Result<(), HubError> {
    let bytes = std::fs::metadata(path).map_err(io_error("cannot read", path))?.len();
    if bytes == pin.bytes {
        return Ok(());
    }
    Err(HubError::Corrupt {
        path: path.into(),
        what: "size",
        got: bytes.to_string(),
        wanted: pin.bytes.to_string(),
    })
}

/// Size and SHA-256 of a freshly fetched file.
pub(super) fn check_pin(path: &Path, pin: &Pin) -> Result<(), HubError> {
    check_size(path, pin)?;
    let got = sha256_of(path)?;
    if got == pin.sha256 {
        return Ok(());
    }
    Err(HubError::Corrupt { path: path.into(), what: "SHA-256", got, wanted: pin.sha256.into() })
}

/// Fails if the disk of `dir` lacks room for `need_bytes`.
pub(super) fn check_room(dir: &Path, need_bytes: u64) -> Result<(), HubError> {
    let free_bytes = fs4::available_space(dir).map_err(io_error("cannot read", dir))?;
    if free_bytes >= need_bytes {
        return Ok(());
    }
    Err(HubError::DiskFull { path: dir.into(), free_bytes, need_bytes })
}
