//! Tensors by name, out of safetensors files or PyTorch archives: mapped, and read when asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Read as _},
    ops::Range,
    path::{Path, PathBuf},
};

use safetensors::Dtype;

use super::{
    Dense, is_native,
    pickle::{self, Element},
};
use crate::{
    format::{FormatError, Map, read_limited, safetensors as st},
    quant::QuantFormat,
};

/// Largest pickle read, in bytes; that of a model with a thousand tensors has 200 thousand.
const MAX_PICKLE_BYTES: u64 = 4 << 20;
/// Most dimensions of a tensor that heads have.
const MAX_RANK: usize = 2;

/// Element type of a stored tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Float(QuantFormat),
    U32,
    I32,
    I64,
    Other(String),
}

#[derive(Debug)]
struct Entry {
    map: usize,
    span: Range<usize>,
    kind: Kind,
    shape: Vec<usize>,
}

/// What a file or folder holds.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    maps: Vec<Map>,
    entries: BTreeMap<String, Entry>,
    native: bool,
}

/// Names that heads have in a folder, best first.
const IN_FOLDER: [&str; 6] = [
    "medusa_lm_head.safetensors",
    "medusa_lm_head.pt",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "model.safetensors",
    "pytorch_model.bin",
];

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// How a zip archive begins.
const ZIP: &[u8] = b"PK\x03\x04";

/// How PyTorch's files began before version 1.6.
const OLD: &[u8] = b"\x80\x02\x8a\x0al\xfc";

/// Whether PyTorch wrote a file, of any version.
pub(super) fn is_torch(path: &Path) -> bool {
    let begins = |map: Map| map.bytes().starts_with(ZIP) || map.bytes().starts_with(OLD);
    Map::open(path).is_ok_and(begins)
}

impl Store {
    /// Opens a file, the index of several, or a folder with one of [`IN_FOLDER`].
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let mut out = Self {
            path: path.to_owned(),
            maps: Vec::new(),
            entries: BTreeMap::new(),
            native: false,
        };
        if !path.is_dir() {
            out.add(path)?;
            return Ok(out);
        }
        let found = IN_FOLDER.into_iter().map(|name| path.join(name)).find(|p| p.is_file());
        let Some(file) = found else {
            return Err(out.error(
                "the folder has none of the files that heads come in".into(),
                Some(format!("these are {}", IN_FOLDER.join(", "))),
            ));
        };
        out.add(&file)?;
        Ok(out)
    }

    fn add(&mut self, path: &Path) -> Result<(), FormatError> {
        if path.to_string_lossy().ends_with(".index.json") {
            return self.add_index(path);
        }
        let map = Map::open(path)?;
        if map.bytes().starts_with(ZIP) {
            self.add_torch(map)
        } else if map.bytes().get(8) == Some(&b'{') {
            self.add_safetensors(map)
        } else {
            let old = map.bytes().starts_with(OLD);
            let (message, hint) = if old {
                ("a PyTorch file as versions before 1.6 wrote it", "load it and save it again")
            } else {
                (
                    "neither safetensors nor a PyTorch file",
                    "heads come as .safetensors, .pt or .bin",
                )
            };
            Err(FormatError::File {
                file: path.to_owned(),
                message: message.into(),
                hint: Some(hint.into()),
            })
        }
    }

    fn add_index(&mut self, path: &Path) -> Result<(), FormatError> {
        let error =
            |message: String| FormatError::File { file: path.to_owned(), message, hint: None };
        let bytes = read_limited(path, st::MAX_INDEX_BYTES)?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|e| error(format!("not an index of tensors: {e}")))?;
        let files: BTreeSet<&String> = index.weight_map.values().collect();
        let folder = path.parent().unwrap_or(Path::new("."));
        for file in files {
            if !st::is_plain_file_name(file) {
                return Err(error(format!("`{}` is not a plain file name", file.escape_debug())));
            }
            self.add(&folder.join(file))?;
        }
        Ok(())
    }

    fn add_safetensors(&mut self, map: Map) -> Result<(), FormatError> {
        let (header, metadata) = st::header(&map)?;
        let listed: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
        for (name, info) in listed {
            let kind = match info.dtype {
                Dtype::F32 => Kind::Float(QuantFormat::F32),
                Dtype::F16 => Kind::Float(QuantFormat::F16),
                Dtype::BF16 => Kind::Float(QuantFormat::BF16),
                Dtype::U32 => Kind::U32,
                Dtype::I32 => Kind::I32,
                Dtype::I64 => Kind::I64,
                other => Kind::Other(other.to_string().to_lowercase()),
            };
            let (start, end) = info.data_offsets;
            let (span, shape) = (header + start..header + end, info.shape.clone());
            self.insert(&map, name, Entry { map: self.maps.len(), span, kind, shape })?;
        }
        self.native |= is_native(metadata.metadata().as_ref());
        self.maps.push(map);
        Ok(())
    }

    fn add_torch(&mut self, map: Map) -> Result<(), FormatError> {
        let error = |message: String| FormatError::File {
            file: map.path().to_owned(),
            message,
            hint: Some("only a state dictionary of tensors, saved as such, can be read".into()),
        };
        let archive = Archive::open(map.bytes()).map_err(error)?;
        let tensors = pickle::state_dict(&archive.pickle).map_err(error)?;
        for (name, tensor) in tensors {
            let (span, shape) =
                archive.place(&tensor).map_err(|what| tensor_error(map.path(), &name, what))?;
            let kind = Kind::Float(match tensor.element {
                Element::F32 => QuantFormat::F32,
                Element::F16 => QuantFormat::F16,
                Element::BF16 => QuantFormat::BF16,
            });
            self.insert(&map, name, Entry { map: self.maps.len(), span, kind, shape })?;
        }
        self.maps.push(map);
        Ok(())
    }

    fn insert(&mut self, map: &Map, name: String, entry: Entry) -> Result<(), FormatError> {
        let fault = |what: &str| Err(tensor_error(map.path(), &name, what.into()));
        if map.bytes().get(entry.span.clone()).is_none() {
            return fault("lies outside the file");
        }
        if self.entries.contains_key(&name) {
            return fault("is given twice");
        }
        self.entries.insert(name, entry);
        Ok(())
    }

    /// The first file.
    pub fn file(&self) -> &Path {
        self.maps.first().map_or(&self.path, Map::path)
    }

    /// Whether the file is of our own layout.
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// A matrix of floats.
    pub fn matrix(&self, name: &str) -> Result<Dense, FormatError> {
        let (entry, bytes) = self.entry(name)?;
        let [rows, cols] = entry.shape[..] else {
            return Err(self.fault(name, format!("has shape {:?}, wanted a matrix", entry.shape)));
        };
        Ok(Dense { rows, cols, data: self.floats(name, entry, bytes)? })
    }

    /// A vector of floats.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>, FormatError> {
        let (entry, bytes) = self.entry(name)?;
        if entry.shape.len() != 1 {
            return Err(self.fault(name, format!("has shape {:?}, wanted a vector", entry.shape)));
        }
        self.floats(name, entry, bytes)
    }

    /// A vector of token ids, of any integer type.
    pub fn ids(&self, name: &str) -> Result<Vec<u32>, FormatError> {
        let (entry, bytes) = self.entry(name)?;
        if entry.shape.len() != 1 {
            return Err(self.fault(name, format!("has shape {:?}, wanted a vector", entry.shape)));
        }
        let wide: Vec<i64> = match entry.kind {
            Kind::U32 => {
                bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b).into()).collect()
            }
            Kind::I32 => {
                bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect()
            }
            Kind::I64 => bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            _ => return Err(self.type_error(name, entry)),
        };
        let id =
            |&id: &i64| u32::try_from(id).map_err(|_| self.fault(name, format!("has id {id}")));
        wide.iter().map(id).collect()
    }

    fn entry(&self, name: &str) -> Result<(&Entry, &[u8]), FormatError> {
        let Some(entry) = self.entries.get(name) else {
            return Err(FormatError::MissingTensor {
                file: self.path.clone(),
                tensor: name.to_owned(),
            });
        };
        let rank = entry.shape.len();
        if !(1..=MAX_RANK).contains(&rank) || entry.shape.contains(&0) {
            let what = format!("has shape {:?}, which no part of a head has", entry.shape);
            return Err(self.fault(name, what));
        }
        Ok((entry, &self.maps[entry.map].bytes()[entry.span.clone()]))
    }

    fn floats(&self, name: &str, entry: &Entry, bytes: &[u8]) -> Result<Vec<f32>, FormatError> {
        let Kind::Float(format) = entry.kind else { return Err(self.type_error(name, entry)) };
        let mut out = vec![0.0; bytes.len() / format.block_bytes()];
        format.dequantize(bytes, &mut out).map_err(|e| self.fault(name, e.to_string()))?;
        if let Some(at) = out.iter().position(|x| !x.is_finite()) {
            return Err(self.fault(name, format!("element {at} is {}", out[at])));
        }
        Ok(out)
    }

    /// An error about a tensor.
    pub fn fault(&self, name: &str, what: String) -> FormatError {
        let file = match self.entries.get(name) {
            Some(entry) => self.maps[entry.map].path(),
            None => &self.path,
        };
        tensor_error(file, name, what)
    }

    fn type_error(&self, name: &str, entry: &Entry) -> FormatError {
        let found = match &entry.kind {
            Kind::Float(format) => format.to_string(),
            Kind::Other(name) => name.clone(),
            kind => format!("{kind:?}").to_lowercase(),
        };
        let message =
            format!("has type {found} and shape {:?}, which is not expected", entry.shape);
        self.fault(name, message)
    }

    /// An error about the whole.
    pub fn error(&self, message: String, hint: Option<String>) -> FormatError {
        FormatError::File { file: self.path.clone(), message, hint }
    }
}

fn tensor_error(file: &Path, name: &str, message: String) -> FormatError {
    let tensor = name.escape_debug().to_string();
    FormatError::Tensor { file: file.to_owned(), tensor, message }
}

/// What `torch.save` writes: a zip archive with a pickle and a file for each storage.
struct Archive {
    pickle: Vec<u8>,
    /// Byte ranges of storages, by name.
    storages: BTreeMap<String, Range<usize>>,
}

impl Archive {
    fn open(bytes: &[u8]) -> Result<Self, String> {
        let sound = |e: zip::result::ZipError| format!("not a sound PyTorch archive: {e}");
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(sound)?;
        let (mut pickle, mut storages) = (None, BTreeMap::new());
        for index in 0..zip.len() {
            let mut file = zip.by_index(index).map_err(sound)?;
            let name = file.name().map_err(sound)?.into_owned();
            let inner = name.split_once('/').map_or(name.as_str(), |(_, inner)| inner);
            if inner == "data.pkl" {
                let mut text = Vec::new();
                let read = file.by_ref().take(MAX_PICKLE_BYTES + 1).read_to_end(&mut text);
                read.map_err(|e| format!("the pickle cannot be read: {e}"))?;
                if text.len() as u64 > MAX_PICKLE_BYTES {
                    return Err(format!("a pickle of more than {MAX_PICKLE_BYTES} bytes"));
                }
                if pickle.replace(text).is_some() {
                    return Err("the archive has two pickles".into());
                }
            } else if inner == "byteorder" {
                let mut order = String::new();
                let read = file.by_ref().take(16).read_to_string(&mut order);
                read.map_err(|e| format!("the byte order cannot be read: {e}"))?;
                if order.trim() != "little" {
                    return Err(format!("byte order `{}`, wanted `little`", order.escape_debug()));
                }
            } else if let Some(storage) = inner.strip_prefix("data/") {
                if file.compression() != zip::CompressionMethod::Stored || file.encrypted() {
                    return Err(format!(
                        "storage `{}` is compressed, which PyTorch never does",
                        storage.escape_debug()
                    ));
                }
                let start = file.data_start().and_then(|start| usize::try_from(start).ok());
                let len = usize::try_from(file.size()).ok();
                let span =
                    start.zip(len).and_then(|(start, len)| Some(start..start.checked_add(len)?));
                let span = span.filter(|span| bytes.get(span.clone()).is_some());
                let span = span.ok_or_else(|| {
                    format!("storage `{}` lies outside the file", storage.escape_debug())
                })?;
                storages.insert(storage.to_owned(), span);
            }
        }
        let pickle = pickle.ok_or("the archive has no data.pkl")?;
        Ok(Self { pickle, storages })
    }

    /// Bytes and shape of a tensor, which must be dense and within its storage.
    fn place(&self, tensor: &pickle::Tensor) -> Result<(Range<usize>, Vec<usize>), String> {
        let pickle::Tensor { element, storage, len, offset, shape, strides } = tensor;
        let span = self
            .storages
            .get(storage)
            .ok_or_else(|| format!("storage `{}` is not in the archive", storage.escape_debug()))?;
        let mut dense = 1u64;
        for (size, stride) in shape.iter().zip(strides).rev() {
            if *size > 1 && *stride != dense {
                return Err(format!("is not dense: strides {strides:?} of shape {shape:?}"));
            }
            dense = dense.checked_mul(*size).ok_or("has more elements than memory has bytes")?;
        }
        if shape.len() != strides.len() {
            return Err(format!("has strides {strides:?} for shape {shape:?}"));
        }
        let bytes = element.bytes() as u64;
        let end = offset.checked_add(dense).filter(|end| end <= len);
        let holds = (span.len() as u64).checked_div(bytes);
        let Some(end) = end.filter(|_| Some(*len) == holds) else {
            return Err(format!(
                "wants {dense} elements from {offset} of a storage of {len}, which has {} bytes",
                span.len()
            ));
        };
        // Both are within the file, so they fit.
        let at = |element: u64| span.start + (element * bytes) as usize;
        let shape = shape.iter().map(|&size| size as usize).collect();
        Ok((at(*offset)..at(end), shape))
    }
}
