//! GGUF, llama.cpp's model container: typed metadata and named tensors in one file.
//!
//! ```text
//! "GGUF"  version u32  tensors u64  keys u64
//! keys    x { name string, type u32, value }          string = length u64, bytes
//! tensors x { name string, rank u32, dims u64 x rank (innermost first), type u32, offset u64 }
//! padding to `general.alignment`, then the tensors' data, each offset a multiple of it
//! ```
//!
//! Versions 2 and 3 share this layout, little-endian. Everything is checked once in
//! [`Gguf::open`]; large arrays (a vocabulary has up to 262,144 strings) are only measured there
//! and stay in the map until they are asked for.

mod read;
mod types;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use read::Gguf;
pub use value::{Array, Value, ValueType};
pub use write::{Body, Writer};

/// First bytes of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Alignment of tensor data where `general.alignment` does not say otherwise, in bytes.
pub const DEFAULT_ALIGNMENT: usize = 32;
/// Largest alignment accepted, in bytes.
pub const MAX_ALIGNMENT: usize = 1 << 20;
/// Most tensors in a file. The largest models have some ten thousand.
pub const MAX_TENSORS: u64 = 1 << 18;
/// Most metadata keys in a file. Usual are about fifty.
pub const MAX_KEYS: u64 = 1 << 16;
/// Longest key or tensor name in bytes. GGML itself stops at 64 for tensors.
pub const MAX_NAME_BYTES: u64 = 512;
/// Longest string value in bytes, outside arrays. Chat templates have some ten thousand.
pub const MAX_STRING_BYTES: u64 = 8 << 20;
/// Most dimensions of a tensor.
pub const MAX_RANK: u32 = 4;
/// Deepest nesting of arrays.
pub const MAX_NESTING: u32 = 4;
