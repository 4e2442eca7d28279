//! Checkpoints: parameters and moments with the step they belong to, replaced as a whole.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter},
    path::Path,
};

use safetensors::{SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{Options, joint::JointOptions};
use crate::error::{Error, Result};

/// What a checkpoint belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Options of the run.
    pub options: Options,
    /// SHA-256 over the conversations.
    pub data: String,
    /// What made the hidden states.
    pub made_by: String,
    /// SHA-256 over the initial weights.
    pub initial: String,
    /// What joint training adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joint: Option<JointOptions>,
}

/// State of a run after a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps done.
    pub step: u64,
    /// Parameters, first and second moments.
    pub values: [Vec<f32>; 3],
}

const NAMES: [&str; 3] = ["params", "mean", "square"];

impl Checkpoint {
    /// Writes the file; one that is there stays until the new one is complete.
    pub fn save(&self, path: &Path, identity: &Identity) -> Result<()> {
        let views = NAMES.iter().zip(&self.values).map(|(name, values)| {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(safetensors::Dtype::F32, vec![values.len()], bytes);
            (*name, view.expect("as many bytes as values"))
        });
        let text = serde_json::to_string(identity).expect("options are plain data");
        let metadata = [("step".to_owned(), self.step.to_string()), ("run".to_owned(), text)];
        let bytes = safetensors::serialize(views, Some(metadata.into_iter().collect()))
            .map_err(|e| Error::invalid(format!("a checkpoint cannot be written: {e}")))?;
        write_whole(path, &bytes)
    }

    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// A file that is no checkpoint, or one of another run: what differs is named.
    pub fn open(path: &Path, identity: &Identity) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(Error::Io { action: "cannot read", path: path.to_owned(), source });
            }
        };
        let fault =
            |what: String| Error::invalid(format!("{} is no checkpoint: {what}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| fault(e.to_string()))?;
        let metadata = header.metadata().as_ref();
        let field = |name: &str| {
            let text = metadata.and_then(|all| all.get(name));
            text.ok_or_else(|| fault(format!("there is no `{name}`")))
        };
        let step = field("step")?.parse().map_err(|_| fault("`step` is no number".into()))?;
        let found: Identity =
            serde_json::from_str(field("run")?).map_err(|e| fault(e.to_string()))?;
        same(path, &found, identity)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| fault(e.to_string()))?;
        let mut values: [Vec<f32>; 3] = Default::default();
        for (name, values) in NAMES.iter().zip(&mut values) {
            let tensor = tensors.tensor(name).map_err(|e| fault(e.to_string()))?;
            if tensor.dtype() != safetensors::Dtype::F32 {
                return Err(fault(format!("`{name}` is {:?}", tensor.dtype())));
            }
            *values = tensor.data().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        }
        Ok(Some(Self { step, values }))
    }
}

/// Names and values.
type Fields = BTreeMap<String, String>;

/// Fails naming the first thing in which two runs differ.
fn same(path: &Path, found: &Identity, wanted: &Identity) -> Result<()> {
    let flat = |identity: &Identity| {
        let value = serde_json::to_value(identity).expect("options are plain data");
        let serde_json::Value::Object(mut all) = value else { return Fields::new() };
        for name in ["options", "joint"] {
            if let Some(serde_json::Value::Object(options)) = all.remove(name) {
                all.extend(options);
            }
        }
        all.into_iter().map(|(name, value)| (name, value.to_string())).collect()
    };
    // A name that one of them lacks stands for training alone against joint training.
    let (found, wanted): (Fields, Fields) = (flat(found), flat(wanted));
    let none = || "nothing".to_owned();
    // Initial weights follow from options, so those are named first.
    let names = || found.keys().chain(wanted.keys());
    let ordered = names().filter(|name| *name != "initial").chain(names());
    let mut both = ordered.map(|name| {
        let value = |fields: &Fields| fields.get(name).cloned().unwrap_or_else(none);
        (name, value(&found), value(&wanted))
    });
    match both.find(|(_, found, wanted)| found != wanted) {
        None => Ok(()),
        Some((name, found, wanted)) => Err(Error::Invalid {
            message: format!(
                "{} is of another run: `{name}` was {found}, now it is {wanted}",
                path.display()
            ),
            hint: Some("--restart begins anew and replaces it".into()),
        }),
    }
}

/// Writes a file so that it is there as a whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, &mut |file| {
        let written = file.write_all(bytes);
        written.map_err(|source| unwritten(path, source))
    })
}

/// The error of a file that cannot be written.
pub fn unwritten(path: &Path, source: io::Error) -> Error {
    Error::Io { action: "cannot write", path: path.to_owned(), source }
}

/// Writes a file piece by piece so that it is there as a whole or not at all.
pub fn write_with(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn io::Write) -> Result<()>,
) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let failed = |source| unwritten(path, source);
    let mut file = BufWriter::new(File::create(&new).map_err(failed)?);
    write(&mut file)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let text = |text: &str| text.to_owned();
        let options = Options::default();
        Identity { options, data: text("d"), made_by: text("m"), initial: text("i"), joint: None }
    }

    #[test]
    fn checkpoints_come_back_and_belong_to_their_run() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("checkpoint.safetensors");
        assert_eq!(Checkpoint::open(&path, &identity()).expect("none yet"), None);
        let values = [vec![1.0, f32::MIN_POSITIVE], vec![-0.5, 3.0], vec![0.0, 9.0]];
        let checkpoint = Checkpoint { step: 7, values };
        checkpoint.save(&path, &identity()).expect("written");
        let back = Checkpoint::open(&path, &identity()).expect("readable");
        assert_eq!(back, Some(checkpoint));
        let mut other = identity();
        other.options.lr = 0.5;
        let error = Checkpoint::open(&path, &other).expect_err("another rate");
        assert!(error.to_string().contains("`lr` was 0.001"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--restart")));
        std::fs::write(&path, b"not this").expect("writable");
        assert!(Checkpoint::open(&path, &identity()).is_err());
    }
}
