//! Typed metadata values.

use std::{fmt, ops::Range};

/// Type of a metadata value or of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "the field's own names")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// The type with this number in a file.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u32 == number)
    }

    /// Bytes of one value; `None` for strings and arrays.
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array => None,
        }
    }

    /// Fewest bytes a value of this type takes in a file.
    pub(super) const fn min_size(self) -> usize {
        match self {
            Self::String => 8, // its length
            Self::Array => 12, // its element type and length
            _ => self.size().expect("the other types have a fixed size"),
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        })
    }
}

/// A metadata value. Arrays stay in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(ValueType, u64),
    /// Any signed integer.
    Signed(ValueType, i64),
    /// Any float.
    Float(ValueType, f64),
    /// A truth value.
    Bool(bool),
    /// Text.
    String(String),
    /// Elements in the file.
    Array(Array),
}

impl Value {
    /// Type, such as `u32` or `array of string`.
    pub fn type_name(&self) -> String {
        match self {
            Self::Unsigned(ty, _) | Self::Signed(ty, _) | Self::Float(ty, _) => ty.to_string(),
            Self::Bool(_) => ValueType::Bool.to_string(),
            Self::String(_) => ValueType::String.to_string(),
            Self::Array(array) => format!("array of {}", array.element),
        }
    }
}

/// Where an array's elements lie. Their extent was checked when the file was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Type of the elements.
    pub element: ValueType,
    /// Number of elements.
    pub len: usize,
    /// Bytes of the elements within the file.
    pub span: Range<usize>,
}
