//! One view over the kinds of model files.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{
    FormatError, Gguf, Map, TensorInfo, TensorRef, gguf_config, hf_config, safetensors::Checkpoint,
};
use crate::model::config::ModelConfig;

/// An opened model: a `.gguf` file, a `.safetensors` file beside its `config.json`, or a folder
/// with either kind.
#[derive(Debug)]
pub struct ModelSource {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Gguf(Gguf),
    Safetensors { checkpoint: Checkpoint, config: Box<ModelConfig>, folder: PathBuf },
}

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

impl ModelSource {
    /// Opens a model and checks its headers. A safetensors model's configuration is read here, a
    /// GGUF's on [`Self::config`], so that any GGUF can be listed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FormatError> {
        let path = path.into();
        let kind = if path.is_dir() {
            let index = path.join(INDEX);
            let (file, sharded) =
                if index.is_file() { (index, true) } else { (path.join(SINGLE), false) };
            if !file.is_file() {
                return Err(FormatError::File {
                    file: path,
                    message: format!("the folder has neither {SINGLE} nor {INDEX}"),
                    hint: Some("for GGUF, name the file itself".to_owned()),
                });
            }
            open_safetensors(&file, sharded)?
        } else if path.file_name().is_some_and(|n| n == INDEX) {
            open_safetensors(&path, true)?
        } else if path.extension().is_some_and(|e| e == "safetensors") {
            open_safetensors(&path, false)?
        } else {
            let map = Map::open(&path)?;
            if !Gguf::recognises(&map) {
                return Err(FormatError::File {
                    file: path,
                    message: "neither GGUF nor safetensors".to_owned(),
                    hint: Some(
                        "a model is a .gguf file, a .safetensors file or a folder".to_owned(),
                    ),
                });
            }
            Kind::Gguf(Gguf::from_map(map.into())?)
        };
        Ok(Self { path, kind })
    }

    /// SHA-256 of the weights' file in lower-case hexadecimal; of several files, that of their
    /// hashes in order.
    pub fn sha256(&self) -> String {
        match &self.kind {
            Kind::Gguf(gguf) => hex(&Sha256::digest(gguf.bytes())),
            Kind::Safetensors { checkpoint, .. } => {
                let all: Vec<String> =
                    checkpoint.files().map(|map| hex(&Sha256::digest(map.bytes()))).collect();
                match &all[..] {
                    [one] => one.clone(),
                    all => hex(&Sha256::digest(all.concat())),
                }
            }
        }
    }

    /// SHA-256 over the names and f32 values of all norms, in lower-case hexadecimal. Norms are never
    /// quantised, so this is the same for every quantisation of a model; it reads some hundred
    /// kilobytes where [`Self::sha256`] reads the file.
    ///
    /// # Errors
    /// A norm of a type that cannot be a weight.
    pub fn norms_sha256(&self) -> Result<String, FormatError> {
        let tensors = self.tensors();
        let norms =
            tensors.iter().filter(|t| t.shape.len() == 1 && t.name.ends_with("norm.weight"));
        let mut names: Vec<&str> = norms.map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        let mut hash = Sha256::new();
        for name in names {
            let tensor = self.tensor(name)?;
            let mut values = vec![0f32; tensor.shape.dims().iter().product()];
            let fault = |message: String| FormatError::File {
                file: self.path.clone(),
                message,
                hint: None,
            };
            let decoded = tensor.dtype.dequantize(tensor.bytes, &mut values);
            decoded.map_err(|e| fault(format!("tensor `{name}`: {e}")))?;
            hash.update(name);
            values.iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
        Ok(hex(&hash.finalize()))
    }

    /// Folder of a safetensors model, where its tokenizer lies; `None` for a GGUF file, which
    /// carries its own.
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Gguf(_) => None,
            Kind::Safetensors { folder, .. } => Some(folder),
        }
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The GGUF file with its metadata, if it is one.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.kind {
            Kind::Gguf(gguf) => Some(gguf),
            Kind::Safetensors { .. } => None,
        }
    }

    /// The hyper-parameters, checked.
    pub fn config(&self) -> Result<ModelConfig, FormatError> {
        match &self.kind {
            Kind::Gguf(gguf) => gguf_config::read(gguf),
            Kind::Safetensors { config, .. } => Ok((**config).clone()),
        }
    }

    /// All tensors.
    pub fn tensors(&self) -> Vec<&TensorInfo> {
        match &self.kind {
            Kind::Gguf(gguf) => gguf.tensors().collect(),
            Kind::Safetensors { checkpoint, .. } => checkpoint.tensors().collect(),
        }
    }

    /// A tensor as a weight, by GGUF's name; `None` if there is none, an error if it is of a type
    /// that cannot be a weight.
    pub fn find<'a>(&'a self, name: &'a str) -> Result<Option<TensorRef<'a>>, FormatError> {
        match &self.kind {
            Kind::Gguf(gguf) => gguf.tensor(name),
            Kind::Safetensors { checkpoint, .. } => checkpoint.tensor(name),
        }
    }

    /// A tensor as a weight, by GGUF's name; its absence is an error too.
    pub fn tensor<'a>(&'a self, name: &'a str) -> Result<TensorRef<'a>, FormatError> {
        self.find(name)?.ok_or_else(|| FormatError::MissingTensor {
            file: match &self.kind {
                Kind::Gguf(gguf) => gguf.path().to_owned(),
                Kind::Safetensors { checkpoint, .. } => checkpoint.file_of(name).to_owned(),
            },
            tensor: name.to_owned(),
        })
    }

    /// Gives the memory of a tensor's file pages back to the system once it has been repacked.
    pub fn release(&self, name: &str) {
        match &self.kind {
            Kind::Gguf(gguf) => gguf.release(name),
            Kind::Safetensors { checkpoint, .. } => checkpoint.release(name),
        }
    }

    /// A file beside a safetensors model, if it exists: `tokenizer.json`, `tokenizer_config.json`,
    /// `chat_template.jinja`, `generation_config.json`. GGUF carries such things inside.
    pub fn companion(&self, name: &str) -> Option<PathBuf> {
        match &self.kind {
            Kind::Gguf(_) => None,
            Kind::Safetensors { folder, .. } => Some(folder.join(name)).filter(|p| p.is_file()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn open_safetensors(file: &Path, sharded: bool) -> Result<Kind, FormatError> {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut config = hf_config::read(&folder.join(CONFIG))?;
    let generation = folder.join("generation_config.json");
    if generation.is_file()
        && let Some(eos) = hf_config::generation_eos(&generation)?
    {
        config.eos = eos;
    }
    let open = if sharded { Checkpoint::open_index } else { Checkpoint::open };
    let checkpoint = open(file, config.arch)?;
    Ok(Kind::Safetensors { checkpoint, config: Box::new(config), folder })
}
