//! Writing: small files are built in memory, large ones announce their tensors first.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use super::{DEFAULT_ALIGNMENT, Gguf, MAGIC, Value, value::ValueType};
use crate::{quant::QuantFormat, shape::Shape};

/// A GGUF file under construction. Keys and tensors keep the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    keys: Vec<u8>,
    key_count: u64,
    headers: Vec<u8>,
    tensor_count: u64,
    /// Where the next tensor's data begins.
    end: u64,
    /// Data of tensors that were added, not announced.
    data: Vec<u8>,
}

/// Tensors' data on their way into a file, in the order in which they were announced.
pub struct Body<'a> {
    out: &'a mut dyn Write,
}

impl Body<'_> {
    /// Writes the data of the next tensor.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(DEFAULT_ALIGNMENT) - bytes.len();
        self.out.write_all(&[0; DEFAULT_ALIGNMENT][..padding])
    }
}

impl Writer {
    /// An empty file of `general.architecture` `arch`.
    pub fn new(arch: &str) -> Self {
        let mut writer = Self::default();
        writer.string("general.architecture", arch);
        writer
    }

    /// A file with the metadata of another; its alignment is the default here.
    pub fn copy_of(gguf: &Gguf) -> Self {
        let mut writer = Self::default();
        for (key, value) in gguf.metadata().filter(|(key, _)| *key != "general.alignment") {
            writer.value(key, value, gguf.bytes());
        }
        writer
    }

    /// Adds a value of a file with these bytes.
    fn value(&mut self, key: &str, value: &Value, file: &[u8]) {
        match value {
            Value::Unsigned(ty, value) => self.number(key, *ty, &value.to_le_bytes()),
            Value::Signed(ty, value) => self.number(key, *ty, &value.to_le_bytes()),
            Value::Float(ValueType::F32, value) => {
                self.number(key, ValueType::F32, &(*value as f32).to_le_bytes());
            }
            Value::Float(ty, value) => self.number(key, *ty, &value.to_le_bytes()),
            Value::Bool(value) => {
                self.bool(key, *value);
            }
            Value::String(value) => {
                self.string(key, value);
            }
            Value::Array(array) => {
                self.array(key, array.element, array.len);
                self.keys.extend(&file[array.span.clone()]);
            }
        }
    }

    /// Adds a number of a type that takes the first of these bytes.
    fn number(&mut self, key: &str, ty: ValueType, bytes: &[u8]) {
        let size = ty.size().expect("numbers have a fixed size");
        self.key(key, ty);
        self.keys.extend(&bytes[..size]);
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
        let need = self.announce(name, shape, format);
        assert_eq!(need, Ok(bytes.len() as u64), "bytes of {format} tensor `{name}`");
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
        self
    }

    /// Adds the description of a tensor whose data follows by [`Self::begin`]; gives its bytes. A
    /// file's tensors are either all added or all announced.
    ///
    /// # Errors
    /// A message, if rows of this shape are no whole blocks of `format`.
    pub fn announce(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        format: QuantFormat,
    ) -> Result<u64, String> {
        let shape = shape.into();
        let row = shape.dim(shape.rank() - 1);
        let Some(row_bytes) = format.row_bytes(row) else {
            return Err(format!(
                "rows of `{name}`, {row} elements, are no whole blocks of {format}, which have {}",
                format.block_elements()
            ));
        };
        let bytes = (row_bytes * (shape.elements() / row)) as u64;
        put_string(&mut self.headers, name);
        self.headers.extend((shape.rank() as u32).to_le_bytes());
        for &dim in shape.dims().iter().rev() {
            self.headers.extend((dim as u64).to_le_bytes());
        }
        self.headers.extend(super::types::number(format).to_le_bytes());
        self.headers.extend(self.end.to_le_bytes());
        self.end = (self.end + bytes).next_multiple_of(DEFAULT_ALIGNMENT as u64);
        self.tensor_count += 1;
        Ok(bytes)
    }

    /// Writes everything but the tensors' data, which the caller then adds in order.
    pub fn begin<'a>(&self, out: &'a mut dyn Write) -> io::Result<Body<'a>> {
        out.write_all(&self.head())?;
        Ok(Body { out })
    }

    /// Adds an F32 tensor.
    pub fn tensor_f32(&mut self, name: &str, shape: impl Into<Shape>, values: &[f32]) -> &mut Self {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, shape, QuantFormat::F32, &bytes)
    }

    /// The file, version 3.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.head();
        out.extend(&self.data);
        out
    }

    /// Everything before the tensors' data.
    fn head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.keys.len() + self.headers.len() + 64);
        out.extend(MAGIC);
        out.extend(3u32.to_le_bytes());
        out.extend(self.tensor_count.to_le_bytes());
        out.extend(self.key_count.to_le_bytes());
        out.extend(&self.keys);
        out.extend(&self.headers);
        out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
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
