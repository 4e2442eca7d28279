//! Reading: one checked walk over the header, then look-ups.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, MAX_KEYS, MAX_NAME_BYTES, MAX_NESTING, MAX_RANK,
    MAX_STRING_BYTES, MAX_TENSORS,
    value::{Array, Value, ValueType},
};
use crate::{
    format::{FormatError, Map, StoredType, TensorInfo, TensorRef},
    shape::Shape,
};

/// A GGUF file: metadata in order, tensors by name, data in the map.
#[derive(Debug)]
pub struct Gguf {
    map: Arc<Map>,
    version: u32,
    metadata: Vec<(String, Value)>,
    keys: HashMap<String, usize>,
    tensors: Vec<Entry>,
    names: HashMap<String, usize>,
}

#[derive(Debug)]
struct Entry {
    info: TensorInfo,
    /// Bytes within the file; empty where the type's size is unknown.
    span: Range<usize>,
}

impl Gguf {
    /// Opens and checks a file: all of its header, and that every tensor lies within it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FormatError> {
        Self::from_map(Arc::new(Map::open(path)?))
    }

    /// Whether the file starts like GGUF.
    pub fn recognises(map: &Map) -> bool {
        map.bytes().starts_with(&MAGIC)
    }

    /// Checks a mapped file.
    pub fn from_map(map: Arc<Map>) -> Result<Self, FormatError> {
        let mut cursor = Cursor { bytes: map.bytes(), at: 0 };
        let file_error = |message: String| FormatError::File {
            file: map.path().to_owned(),
            message,
            hint: Some("the file may be damaged or cut off; fetch it again".to_owned()),
        };
        let (version, tensor_count, key_count) = read_prologue(&mut cursor).map_err(file_error)?;
        let (metadata, keys) = read_metadata(&mut cursor, key_count, map.path())?;
        let alignment = alignment(&metadata, &keys).map_err(|message| FormatError::Key {
            file: map.path().to_owned(),
            key: ALIGNMENT_KEY.to_owned(),
            message,
        })?;
        let headers = read_tensor_headers(&mut cursor, tensor_count, map.path())?;
        let (tensors, names) = place(headers, cursor.at, alignment, &map)?;
        Ok(Self { map, version, metadata, keys, tensors, names })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.map.path()
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    /// Version of the container: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All metadata, in the file's order.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).map(|&i| &self.metadata[i].1)
    }

    /// A string; an error if the key holds something else.
    pub fn string(&self, key: &str) -> Result<Option<&str>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(other) => Err(self.mistyped(key, "a string", other)),
        }
    }

    /// A non-negative integer of any width.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(&Value::Unsigned(_, x)) => Ok(Some(x)),
            Some(&Value::Signed(_, x)) if x >= 0 => Ok(Some(x as u64)),
            Some(Value::Signed(_, x)) => Err(self.key_error(key, format!("{x} is negative"))),
            Some(other) => Err(self.mistyped(key, "an integer", other)),
        }
    }

    /// A float of any width, as f32.
    pub fn float(&self, key: &str) -> Result<Option<f32>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(&Value::Float(_, x)) => Ok(Some(x as f32)),
            Some(other) => Err(self.mistyped(key, "a float", other)),
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(&Value::Bool(x)) => Ok(Some(x)),
            Some(other) => Err(self.mistyped(key, "a bool", other)),
        }
    }

    /// An array of strings, borrowed from the file.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>, FormatError> {
        let Some(array) = self.array(key, ValueType::String)? else {
            return Ok(None);
        };
        let mut cursor =
            Cursor { bytes: &self.map.bytes()[..array.span.end], at: array.span.start };
        let mut out = Vec::with_capacity(array.len);
        for i in 0..array.len {
            let text = cursor
                .string(u64::MAX)
                .map_err(|message| self.key_error(key, format!("element {i}: {message}")))?;
            out.push(text);
        }
        Ok(Some(out))
    }

    /// An array of f32.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, FormatError> {
        let Some(array) = self.array(key, ValueType::F32)? else {
            return Ok(None);
        };
        Ok(Some(self.words(array).map(f32::from_le_bytes).collect()))
    }

    /// An array of i32.
    pub fn ints(&self, key: &str) -> Result<Option<Vec<i32>>, FormatError> {
        let Some(array) = self.array(key, ValueType::I32)? else {
            return Ok(None);
        };
        Ok(Some(self.words(array).map(i32::from_le_bytes).collect()))
    }

    /// Length of an array of any type.
    pub fn array_len(&self, key: &str) -> Result<Option<usize>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array.len)),
            Some(other) => Err(self.mistyped(key, "an array", other)),
        }
    }

    /// All tensors, in the file's order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.tensors.iter().map(|t| &t.info)
    }

    /// A tensor's description.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.names.get(name).map(|&i| &self.tensors[i].info)
    }

    /// A tensor as a weight; `None` if there is none of that name, an error if its type is not one
    /// we can decode.
    pub fn tensor<'a>(&'a self, name: &'a str) -> Result<Option<TensorRef<'a>>, FormatError> {
        let Some(&i) = self.names.get(name) else {
            return Ok(None);
        };
        let Entry { info, span } = &self.tensors[i];
        match &info.dtype {
            StoredType::Weight(dtype) => Ok(Some(TensorRef {
                name,
                shape: Shape::new(&info.shape),
                dtype: *dtype,
                bytes: &self.map.bytes()[span.clone()],
            })),
            StoredType::Other(found) => Err(FormatError::TensorType {
                file: self.path().to_owned(),
                tensor: name.to_owned(),
                found: found.clone(),
            }),
        }
    }

    /// Gives the memory of a tensor's file pages back to the system; see [`Map::release`].
    pub fn release(&self, name: &str) {
        if let Some(&i) = self.names.get(name) {
            self.map.release(self.tensors[i].span.clone());
        }
    }

    /// An error about the value of a key.
    pub fn key_error(&self, key: &str, message: impl Into<String>) -> FormatError {
        FormatError::Key {
            file: self.path().to_owned(),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    fn mistyped(&self, key: &str, wanted: &str, found: &Value) -> FormatError {
        self.key_error(key, format!("expected {wanted}, found {}", found.type_name()))
    }

    fn array(&self, key: &str, element: ValueType) -> Result<Option<&Array>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) if array.element == element => Ok(Some(array)),
            Some(other) => Err(self.mistyped(key, &format!("array of {element}"), other)),
        }
    }

    /// The elements of an array of 4-byte values.
    fn words(&self, array: &Array) -> impl Iterator<Item = [u8; 4]> {
        let (words, _) = self.map.bytes()[array.span.clone()].as_chunks::<4>();
        words.iter().copied()
    }
}

const ALIGNMENT_KEY: &str = "general.alignment";

/// A position in the file. Faults are plain text; callers add which key or tensor it was.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        if bytes > self.left() {
            return Err(format!(
                "needs {bytes} bytes at offset {}, but only {} are left of the file",
                self.at,
                self.left()
            ));
        }
        let taken = &self.bytes[self.at..self.at + bytes];
        self.at += bytes;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("take returns exactly N bytes"))
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things that take at least `min_bytes` each in the rest of the file.
    fn count(&mut self, what: &str, limit: u64, min_bytes: usize) -> Result<usize, String> {
        let count = self.u64()?;
        let room = (self.left() / min_bytes) as u64;
        if count > limit.min(room) {
            let most = if limit < room { "the limit is" } else { "the file has room for" };
            return Err(format!("claims {count} {what}, {most} {}", limit.min(room)));
        }
        Ok(count as usize)
    }

    fn string(&mut self, limit: u64) -> Result<&'a str, String> {
        let len = self.count("bytes of text", limit, 1)?;
        let start = self.at;
        std::str::from_utf8(self.take(len)?)
            .map_err(|e| format!("text at offset {start} is not UTF-8: {e}"))
    }

    /// A key or tensor name: short, not empty, printable.
    fn name(&mut self) -> Result<&'a str, String> {
        let name = self.string(MAX_NAME_BYTES)?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(format!("`{}` is not a name", name.escape_debug()));
        }
        Ok(name)
    }

    fn value_type(&mut self) -> Result<ValueType, String> {
        let number = self.u32()?;
        ValueType::from_number(number)
            .ok_or_else(|| format!("value type {number} does not exist (known are 0 to 12)"))
    }

    fn value(&mut self) -> Result<Value, String> {
        use ValueType as T;
        let ty = self.value_type()?;
        Ok(match ty {
            T::U8 => Value::Unsigned(ty, self.array::<1>()?[0].into()),
            T::U16 => Value::Unsigned(ty, u16::from_le_bytes(self.array()?).into()),
            T::U32 => Value::Unsigned(ty, self.u32()?.into()),
            T::U64 => Value::Unsigned(ty, self.u64()?),
            T::I8 => Value::Signed(ty, i8::from_le_bytes(self.array()?).into()),
            T::I16 => Value::Signed(ty, i16::from_le_bytes(self.array()?).into()),
            T::I32 => Value::Signed(ty, i32::from_le_bytes(self.array()?).into()),
            T::I64 => Value::Signed(ty, i64::from_le_bytes(self.array()?)),
            T::F32 => Value::Float(ty, f32::from_le_bytes(self.array()?).into()),
            T::F64 => Value::Float(ty, f64::from_le_bytes(self.array()?)),
            T::Bool => match self.array::<1>()?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(format!("{other} is not a bool")),
            },
            T::String => Value::String(self.string(MAX_STRING_BYTES)?.to_owned()),
            T::Array => {
                let (element, len, start) = self.skip_array(1)?;
                Value::Array(Array { element, len, span: start..self.at })
            }
        })
    }

    /// Walks over an array; its element type, length and the offset of its first element.
    fn skip_array(&mut self, depth: u32) -> Result<(ValueType, usize, usize), String> {
        if depth > MAX_NESTING {
            return Err(format!("arrays are nested deeper than {MAX_NESTING}"));
        }
        let element = self.value_type()?;
        let len = self.count("array elements", u64::MAX, element.min_size())?;
        let start = self.at;
        match element.size() {
            Some(size) => {
                // no overflow: `count` has seen that the elements fit in the file
                self.take(len * size)?;
            }
            None if element == ValueType::String => {
                for i in 0..len {
                    let bytes = self
                        .count("bytes of text", u64::MAX, 1)
                        .map_err(|e| format!("element {i} of {len}: {e}"))?;
                    self.at += bytes;
                }
            }
            None => {
                for _ in 0..len {
                    self.skip_array(depth + 1)?;
                }
            }
        }
        Ok((element, len, start))
    }
}

/// Magic, version and the two counts: `(version, tensors, keys)`.
fn read_prologue(cursor: &mut Cursor<'_>) -> Result<(u32, usize, usize), String> {
    let magic: [u8; 4] = cursor.array()?;
    if magic != MAGIC {
        return Err(format!("not a GGUF file: it starts with `{}`", magic.escape_ascii()));
    }
    let version = cursor.u32()?;
    match version {
        2 | 3 => {}
        _ if matches!(version.swap_bytes(), 1..=3) => {
            return Err("big-endian GGUF is not supported; convert it to little-endian".to_owned());
        }
        _ => {
            return Err(format!("GGUF version {version} is not supported, only 2 and 3"));
        }
    }
    // smallest tensor: name length, one byte, rank, one dimension, type, offset
    let tensors = cursor.count("tensors", MAX_TENSORS, 8 + 1 + 4 + 8 + 4 + 8)?;
    // smallest key: name length, one byte, type, one byte
    let keys = cursor.count("metadata keys", MAX_KEYS, 8 + 1 + 4 + 1)?;
    Ok((version, tensors, keys))
}

type Metadata = (Vec<(String, Value)>, HashMap<String, usize>);

fn read_metadata(
    cursor: &mut Cursor<'_>,
    count: usize,
    file: &Path,
) -> Result<Metadata, FormatError> {
    let mut metadata = Vec::with_capacity(count);
    let mut keys = HashMap::with_capacity(count);
    for i in 0..count {
        let key = cursor.name().map_err(|message| FormatError::File {
            file: file.to_owned(),
            message: format!("name of metadata key {i} of {count}: {message}"),
            hint: None,
        })?;
        let error =
            |message| FormatError::Key { file: file.to_owned(), key: key.to_owned(), message };
        let value = cursor.value().map_err(error)?;
        if keys.insert(key.to_owned(), i).is_some() {
            return Err(error("is given twice".to_owned()));
        }
        metadata.push((key.to_owned(), value));
    }
    Ok((metadata, keys))
}

fn alignment(metadata: &[(String, Value)], keys: &HashMap<String, usize>) -> Result<usize, String> {
    match keys.get(ALIGNMENT_KEY).map(|&i| &metadata[i].1) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::Unsigned(_, x)) if x.is_power_of_two() && x <= MAX_ALIGNMENT as u64 => {
            Ok(x as usize)
        }
        Some(Value::Unsigned(_, x)) => {
            Err(format!("{x} is not a power of two up to {MAX_ALIGNMENT}"))
        }
        Some(other) => Err(format!("expected an unsigned integer, found {}", other.type_name())),
    }
}

/// What the header says of a tensor.
struct Header {
    info: TensorInfo,
    /// From the start of the data section.
    offset: u64,
}

fn read_tensor_headers(
    cursor: &mut Cursor<'_>,
    count: usize,
    file: &Path,
) -> Result<Vec<Header>, FormatError> {
    let mut headers = Vec::with_capacity(count);
    for i in 0..count {
        let name = cursor.name().map_err(|message| FormatError::File {
            file: file.to_owned(),
            message: format!("name of tensor {i} of {count}: {message}"),
            hint: None,
        })?;
        let header = read_tensor_header(cursor, name).map_err(|message| FormatError::Tensor {
            file: file.to_owned(),
            tensor: name.to_owned(),
            message,
        })?;
        headers.push(header);
    }
    Ok(headers)
}

fn read_tensor_header(cursor: &mut Cursor<'_>, name: &str) -> Result<Header, String> {
    let rank = cursor.u32()?;
    if !(1..=MAX_RANK).contains(&rank) {
        return Err(format!("has {rank} dimensions, supported are 1 to {MAX_RANK}"));
    }
    let mut shape = Vec::with_capacity(rank as usize);
    for _ in 0..rank {
        let dim = cursor.u64()?;
        match usize::try_from(dim) {
            Ok(dim) if dim > 0 => shape.push(dim),
            _ => return Err(format!("has a dimension of {dim}")),
        }
    }
    shape.reverse();
    let (dtype, block) = super::types::resolve(cursor.u32()?);
    let offset = cursor.u64()?;
    let bytes = match block {
        None => None,
        Some((elements, block_bytes)) => {
            let row = shape[shape.len() - 1];
            if !row.is_multiple_of(elements) {
                return Err(format!(
                    "rows of {row} elements are not whole blocks of {elements} ({dtype})"
                ));
            }
            let rows = shape[..shape.len() - 1].iter().try_fold(1usize, |a, &b| a.checked_mul(b));
            let bytes = rows
                .and_then(|rows| rows.checked_mul(row / elements))
                .and_then(|blocks| blocks.checked_mul(block_bytes))
                .ok_or_else(|| format!("a size of {shape:?} overflows"))?;
            Some(bytes)
        }
    };
    Ok(Header { info: TensorInfo { name: name.to_owned(), shape, dtype, bytes }, offset })
}

type Placed = (Vec<Entry>, HashMap<String, usize>);

/// Finds each tensor's bytes in the file and checks that they are there and its own.
fn place(
    headers: Vec<Header>,
    header_end: usize,
    alignment: usize,
    map: &Map,
) -> Result<Placed, FormatError> {
    let file_bytes = map.bytes().len();
    let error = |tensor: &str, message: String| FormatError::Tensor {
        file: map.path().to_owned(),
        tensor: tensor.to_owned(),
        message,
    };
    // no overflow: both are far below the address space
    let data = header_end.next_multiple_of(alignment);
    let mut tensors = Vec::with_capacity(headers.len());
    let mut names = HashMap::with_capacity(headers.len());
    for Header { info, offset } in headers {
        if !offset.is_multiple_of(alignment as u64) {
            let message = format!("offset {offset} is not a multiple of the alignment {alignment}");
            return Err(error(&info.name, message));
        }
        let bytes = info.bytes.unwrap_or(0);
        let span = usize::try_from(offset)
            .ok()
            .and_then(|offset| data.checked_add(offset))
            .and_then(|start| Some(start..start.checked_add(bytes)?))
            .filter(|span| span.end <= file_bytes)
            .ok_or_else(|| {
                let message = format!(
                    "its {bytes} bytes at offset {offset} of the data (which starts at {data}) end \
                     past the file of {file_bytes} bytes"
                );
                error(&info.name, message)
            })?;
        if names.insert(info.name.clone(), tensors.len()).is_some() {
            return Err(error(&info.name, "is given twice".to_owned()));
        }
        tensors.push(Entry { info, span });
    }
    let mut order: Vec<&Entry> = tensors.iter().collect();
    order.sort_by_key(|t| (t.span.start, t.span.end));
    for pair in order.windows(2) {
        if pair[1].span.start < pair[0].span.end {
            let message = format!("its data overlaps that of `{}`", pair[0].info.name);
            return Err(error(&pair[1].info.name, message));
        }
    }
    Ok((tensors, names))
}
