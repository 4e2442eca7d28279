//! Datastores: any text as tokens, searchable for what followed a context (REST, arXiv 2311.08252).
//!
//! # File
//!
//! All numbers are little-endian. The file is exactly as long as its header says.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `COPPICED` |
//! | 8..12 | version, 1 |
//! | 12..16 | bytes of an entry of the suffix array, 4 or 8 |
//! | 16..24 | tokens of the vocabulary |
//! | 24..56 | SHA-256 of the vocabulary |
//! | 56..64 | number of tokens `n`, separators included |
//! | 64..72 | number of documents |
//! | 72..76 | depth to which the suffixes are sorted |
//! | 76..128 | zero |
//! | 128.. | `n` tokens of 4 bytes; `0xffff_ffff` ends each document |
//! | | the suffix array: `n` positions, sorted by what begins there |
//!
//! REST's own form keeps tokens in 16 bits and each chunk in memory; ours is mapped, so that only
//! pages that searches touch are read, and holds any vocabulary. Suffixes are sorted by their first
//! [`SORT_DEPTH`] tokens only: a search looks for 16, and comparing a bounded depth keeps building
//! at `n log n` for texts that repeat themselves, without SA-IS's several arrays beside the text.
//!
//! A file may be damaged or hostile. Opening checks the header against the length; what a search
//! reads is checked when it is read, since reading everything first would defeat the map.

mod build;
mod header;
mod search;
mod suffixes;

use std::path::{Path, PathBuf};

pub use build::{BuildStage, DatastoreBuilder};
pub use search::Matches;
pub use suffixes::SORT_DEPTH;

use self::header::{HEADER_BYTES, Header};
use crate::{
    error::{Error, Result},
    format::{FormatError, Map},
};

/// Ends a document; no vocabulary has this id.
const SEPARATOR: u32 = u32::MAX;

/// Which vocabulary tokens are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VocabularyId {
    /// Number of tokens; ids are below it.
    pub tokens: u32,
    /// SHA-256 as [`Tokenizer::vocab_hash`](crate::text::Tokenizer::vocab_hash) gives it.
    pub hash: [u8; 32],
}

/// Tokens with their suffix array, mapped from a file or in memory.
#[derive(Debug)]
pub struct Datastore {
    name: PathBuf,
    bytes: Bytes,
    header: Header,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Map),
    Owned(Vec<u8>),
}

impl Datastore {
    /// Opens a file.
    ///
    /// # Errors
    /// A file that cannot be mapped, is no datastore, has another version or another length than
    /// its header says ([`Error::Format`], naming it).
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let map = Map::open(path)?;
        Self::new(map.path().to_owned(), Bytes::Mapped(map))
    }

    /// Documents in memory, in the form of a file.
    ///
    /// # Errors
    /// As [`DatastoreBuilder::document`], and no documents at all ([`Error::Invalid`]).
    pub fn of_documents<'a>(
        vocabulary: VocabularyId,
        documents: impl IntoIterator<Item = &'a [u32]>,
    ) -> Result<Self> {
        let mut builder = DatastoreBuilder::new(vocabulary);
        for document in documents {
            builder.document(document)?;
        }
        let bytes = builder.to_bytes(&mut |_, _| true)?;
        Self::new(PathBuf::from("documents"), Bytes::Owned(bytes))
    }

    fn new(name: PathBuf, bytes: Bytes) -> Result<Self> {
        let header = Header::read(bytes.get()).map_err(|message| fault(&name, message))?;
        Ok(Self { name, bytes, header })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.name
    }

    /// Vocabulary of the tokens.
    pub fn vocabulary(&self) -> VocabularyId {
        self.header.vocabulary
    }

    /// Tokens, with one separator a document.
    pub fn tokens(&self) -> u64 {
        self.header.tokens
    }

    /// Documents.
    pub fn documents(&self) -> u64 {
        self.header.documents
    }

    /// Bytes of an entry of the suffix array: 4 or 8.
    pub fn entry_bytes(&self) -> u32 {
        self.header.entry_bytes
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes.get().len() as u64
    }

    /// Refuses a datastore whose tokens are not those of `wanted`.
    ///
    /// # Errors
    /// [`Error::Format`] with both vocabularies.
    pub fn check_vocabulary(&self, wanted: VocabularyId) -> Result<()> {
        let found = self.vocabulary();
        if found == wanted {
            return Ok(());
        }
        let short = |id: VocabularyId| {
            let hash: String = id.hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{} tokens, hash {hash}…", id.tokens)
        };
        Err(FormatError::File {
            file: self.name.clone(),
            message: format!(
                "built for another vocabulary ({}) than the model's ({})",
                short(found),
                short(wanted)
            ),
            hint: Some("build it again with `coppice datastore build --model MODEL`".to_owned()),
        }
        .into())
    }

    /// Token `at`, below the number of tokens; checked to be one of the vocabulary or a separator.
    fn token(&self, at: u64) -> Result<u32> {
        let token = self.raw_token(at);
        if token < self.header.vocabulary.tokens || token == SEPARATOR {
            return Ok(token);
        }
        Err(self.fault(format!(
            "token {at} is {token}, beyond the vocabulary of {}",
            self.header.vocabulary.tokens
        )))
    }

    fn raw_token(&self, at: u64) -> u32 {
        let start = HEADER_BYTES + 4 * at as usize;
        let bytes = &self.bytes.get()[start..start + 4];
        u32::from_le_bytes(bytes.try_into().expect("four bytes were sliced"))
    }

    /// Entry `rank` of the suffix array, below the number of tokens; checked to be a position.
    fn suffix(&self, rank: u64) -> Result<u64> {
        let width = self.header.entry_bytes as usize;
        let start = self.header.suffixes_start() + width * rank as usize;
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.bytes.get()[start..start + width]);
        let position = u64::from_le_bytes(bytes);
        if position < self.header.tokens {
            return Ok(position);
        }
        Err(self.fault(format!(
            "entry {rank} of the suffix array is {position}, but there are {} tokens",
            self.header.tokens
        )))
    }

    fn fault(&self, message: String) -> Error {
        fault(&self.name, message)
    }
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map.bytes(),
            Self::Owned(bytes) => bytes,
        }
    }
}

fn fault(name: &Path, message: String) -> Error {
    FormatError::File {
        file: name.to_owned(),
        message,
        hint: Some("build it again with `coppice datastore build`".to_owned()),
    }
    .into()
}

#[cfg(test)]
mod tests;
