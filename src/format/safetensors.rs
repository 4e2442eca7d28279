//! Safetensors: one file, or the shards that an index lists.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Component, Path},
};

use safetensors::{Dtype, SafeTensors, tensor::Metadata};

use super::{FormatError, Map, StoredType, TensorInfo, TensorRef, names, read_limited};
use crate::{
    model::config::Arch,
    quant::QuantFormat,
    shape::{MAX_RANK, Shape},
};

/// Largest index read, in bytes. Those of the largest models have a few million.
pub(super) const MAX_INDEX_BYTES: u64 = 16 << 20;
/// Longest header of a file read, in bytes. Real ones have up to a million.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Start of the data of a mapped file, and what its header lists; sizes are checked against the file.
pub(super) fn header(map: &Map) -> Result<(usize, Metadata), FormatError> {
    let error = |message: String| FormatError::File {
        file: map.path().to_owned(),
        message,
        hint: Some("the file may be damaged or cut off; fetch it again".to_owned()),
    };
    let header_bytes = map.bytes().first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    if header_bytes > MAX_HEADER_BYTES {
        return Err(error(format!(
            "claims a header of {header_bytes} bytes, the limit is {MAX_HEADER_BYTES}"
        )));
    }
    let (header, metadata) = SafeTensors::read_metadata(map.bytes())
        .map_err(|e| error(format!("not a sound safetensors file: {e}")))?;
    Ok((8 + header, metadata))
}

/// Whether a name stays within its folder.
pub(super) fn is_plain_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let plain = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
    plain && !name.contains(|c: char| matches!(c, '/' | '\\') || c.is_control())
}

/// Tensors of a safetensors checkpoint under GGUF's names.
#[derive(Debug)]
pub struct Checkpoint {
    shards: Vec<Map>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    info: TensorInfo,
    shard: usize,
    span: Range<usize>,
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens one file.
    pub fn open(path: &Path, arch: Arch) -> Result<Self, FormatError> {
        let mut out = Self { shards: Vec::new(), tensors: BTreeMap::new() };
        out.add(path, arch)?;
        Ok(out)
    }

    /// Opens all files of a `model.safetensors.index.json`. A listed tensor must be in its shard.
    pub fn open_index(path: &Path, arch: Arch) -> Result<Self, FormatError> {
        let error =
            |message: String| FormatError::File { file: path.to_owned(), message, hint: None };
        let bytes = read_limited(path, MAX_INDEX_BYTES)?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|e| error(format!("not an index of tensors: {e}")))?;
        let mut files: Vec<&str> = index.weight_map.values().map(String::as_str).collect();
        files.sort_unstable();
        files.dedup();
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut out = Self { shards: Vec::new(), tensors: BTreeMap::new() };
        for file in &files {
            // a shard lies beside its index; anything else could reach any file of this machine
            if !is_plain_file_name(file) {
                return Err(error(format!("`{}` is not a plain file name", file.escape_debug())));
            }
            out.add(&folder.join(file), arch)?;
        }
        for (name, file) in &index.weight_map {
            let key = names::canonical(name, arch).unwrap_or_else(|| name.clone());
            let found = out.tensors.get(&key).map(|e| out.shards[e.shard].path());
            if found != Some(folder.join(file).as_path()) {
                return Err(FormatError::MissingTensor {
                    file: folder.join(file),
                    tensor: name.clone(),
                });
            }
        }
        Ok(out)
    }

    fn add(&mut self, path: &Path, arch: Arch) -> Result<(), FormatError> {
        let map = Map::open(path)?;
        let (data, metadata) = header(&map)?;
        let shard = self.shards.len();
        let listed: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
        for (name, info) in listed {
            let dtype = match info.dtype {
                Dtype::F32 => StoredType::Weight(QuantFormat::F32),
                Dtype::F16 => StoredType::Weight(QuantFormat::F16),
                Dtype::BF16 => StoredType::Weight(QuantFormat::BF16),
                other => StoredType::Other(other.to_string().to_lowercase()),
            };
            let tensor_error = |message: &str| FormatError::Tensor {
                file: path.to_owned(),
                tensor: name.escape_debug().to_string(),
                message: message.to_owned(),
            };
            let (start, end) = info.data_offsets;
            // the safetensors crate has checked sizes and that the data fills the file exactly
            let span = data + start..data + end;
            if map.bytes().get(span.clone()).is_none() {
                return Err(tensor_error("lies outside the file"));
            }
            let canonical = names::canonical(&name, arch).unwrap_or_else(|| name.clone());
            let info = TensorInfo {
                name: canonical.clone(),
                shape: info.shape.clone(),
                dtype,
                bytes: Some(end - start),
            };
            if self.tensors.insert(canonical, Entry { info, shard, span }).is_some() {
                return Err(tensor_error("is given twice"));
            }
        }
        self.shards.push(map);
        Ok(())
    }

    /// The files.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Map> {
        self.shards.iter()
    }

    /// The file that holds a tensor, else the first one.
    pub fn file_of(&self, name: &str) -> &Path {
        let shard = self.tensors.get(name).map_or(0, |e| e.shard);
        self.shards.get(shard).map_or(Path::new(""), Map::path)
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.tensors.values().map(|e| &e.info)
    }

    /// A tensor as a weight; `None` if there is none of that name.
    pub fn tensor<'a>(&'a self, name: &'a str) -> Result<Option<TensorRef<'a>>, FormatError> {
        let Some(Entry { info, shard, span }) = self.tensors.get(name) else {
            return Ok(None);
        };
        let file = || self.shards[*shard].path().to_owned();
        let StoredType::Weight(dtype) = info.dtype else {
            return Err(FormatError::TensorType {
                file: file(),
                tensor: name.to_owned(),
                found: info.dtype.to_string(),
            });
        };
        let rank = info.shape.len();
        if !(1..=MAX_RANK).contains(&rank) || info.shape.contains(&0) {
            return Err(FormatError::Tensor {
                file: file(),
                tensor: name.to_owned(),
                message: format!("has shape {:?}, which no weight has", info.shape),
            });
        }
        let bytes = &self.shards[*shard].bytes()[span.clone()];
        Ok(Some(TensorRef { name, shape: Shape::new(&info.shape), dtype, bytes }))
    }

    /// Gives the memory of a tensor's file pages back to the system; see [`Map::release`].
    pub fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name) {
            self.shards[entry.shard].release(entry.span.clone());
        }
    }
}
