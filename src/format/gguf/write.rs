//! Writing: builds a file in memory. Meant for small models such as those of the tests.

use std::{fs, io, path::Path};

use super::{DEFAULT_ALIGNMENT, MAGIC, value::ValueType};
use crate::{quant::QuantFormat, shape::Shape};

/// A GGUF file under construction. Keys and tensors keep the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    keys: Vec<u8>,
    key_count: u64,
    headers: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Writer {
    /// An empty file of `general.architecture` `arch`.
    pub fn new(arch: &str) -> Self {
        let mut writer = Self::default();
        writer.string("general.architecture", arch);
        writer
    }

    fn key(&mut self, key: &str, ty: ValueType) {
        put_string(&mut self.keys, key);
        self.keys.extend((ty as u32).to_le_bytes());
        self.key_count += 1;
    }

    /// Adds a string.
    pub fn string(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key, ValueType::String);
        put_string(&mut self.keys, value);
        self
    }

    /// Adds a u32.
    pub fn u32(&mut self, key: &str, value: u32) -> &mut Self {
        self.key(key, ValueType::U32);
        self.keys.extend(value.to_le_bytes());
        self
    }

    /// Adds an f32.
    pub fn f32(&mut self, key: &str, value: f32) -> &mut Self {
        self.key(key, ValueType::F32);
        self.keys.extend(value.to_le_bytes());
        self
    }

    /// Adds a bool.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key, ValueType::Bool);
        self.keys.push(value.into());
        self
    }

    /// Adds an array of strings.
    pub fn strings<S: AsRef<str>>(&mut self, key: &str, values: &[S]) -> &mut Self {
        self.array(key, ValueType::String, values.len());
        for value in values {
            put_string(&mut self.keys, value.as_ref());
        }
        self
    }

    /// Adds an array of f32.
    pub fn floats(&mut self, key: &str, values: &[f32]) -> &mut Self {
        self.array(key, ValueType::F32, values.len());
        self.keys.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        self
    }

    /// Adds an array of i32.
    pub fn ints(&mut self, key: &str, values: &[i32]) -> &mut Self {
        self.array(key, ValueType::I32, values.len());
        self.keys.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        self
    }

    fn array(&mut self, key: &str, element: ValueType, len: usize) {
        self.key(key, ValueType::Array);
        self.keys.extend((element as u32).to_le_bytes());
        self.keys.extend((len as u64).to_le_bytes());
    }

    /// Adds a tensor whose blocks are already in `format`'s file layout. `shape` is outermost
    /// first; that `bytes` is as long as the shape needs is the caller's promise, and a wrong
    /// length is a programming error.
    pub fn tensor(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        format: QuantFormat,
        bytes: &[u8],
    ) -> &mut Self {
        let shape = shape.into();
        let row = format.row_bytes(shape.dim(shape.rank() - 1));
        let need = row.map(|row| row * (shape.elements() / shape.dim(shape.rank() - 1)));
        assert_eq!(need, Some(bytes.len()), "bytes of {format} tensor `{name}` {shape}");
        put_string(&mut self.headers, name);
        self.headers.extend((shape.rank() as u32).to_le_bytes());
        for &dim in shape.dims().iter().rev() {
            self.headers.extend((dim as u64).to_le_bytes());
        }
        self.headers.extend(super::types::number(format).to_le_bytes());
        self.headers.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
        self.tensor_count += 1;
        self
    }

    /// Adds an F32 tensor.
    pub fn tensor_f32(&mut self, name: &str, shape: impl Into<Shape>, values: &[f32]) -> &mut Self {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, shape, QuantFormat::F32, &bytes)
    }

    /// The file, version 3.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(self.keys.len() + self.headers.len() + self.data.len() + 64);
        out.extend(MAGIC);
        out.extend(3u32.to_le_bytes());
        out.extend(self.tensor_count.to_le_bytes());
        out.extend(self.key_count.to_le_bytes());
        out.extend(&self.keys);
        out.extend(&self.headers);
        out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
        out.extend(&self.data);
        out
    }

    /// Writes the file.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        fs::write(path, self.to_bytes())
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
