//! Making datastores.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{
    SEPARATOR, VocabularyId,
    header::Header,
    suffixes::{self, Position},
};
use crate::error::{Error, Result};

/// Bytes written between two calls of the progress function.
const WRITE_BYTES: usize = 8 << 20;

/// What building is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildStage {
    /// Sorting the suffixes.
    Sort,
    /// Writing the file.
    Write,
}

/// Collects documents. Memory: 4 bytes a token, and as much again (8 bytes from 2^32 tokens on)
/// while sorting.
#[derive(Debug)]
pub struct DatastoreBuilder {
    vocabulary: VocabularyId,
    tokens: Vec<u32>,
    documents: u64,
    /// Where the document begins that is being added to.
    open: usize,
}

impl DatastoreBuilder {
    /// No documents.
    pub fn new(vocabulary: VocabularyId) -> Self {
        Self { vocabulary, tokens: Vec::new(), documents: 0, open: 0 }
    }

    /// Tokens so far, with one separator a document.
    pub fn tokens(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// Documents so far.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Adds tokens to the document at the end.
    ///
    /// # Errors
    /// An id beyond the vocabulary ([`Error::Invalid`]); nothing is added.
    pub fn extend(&mut self, ids: &[u32]) -> Result<()> {
        if let Some(id) = ids.iter().find(|&&id| id >= self.vocabulary.tokens) {
            return Err(Error::invalid(format!(
                "token {id} is beyond the vocabulary of {}",
                self.vocabulary.tokens
            )));
        }
        self.tokens.extend_from_slice(ids);
        Ok(())
    }

    /// Ends the document, if it has tokens; what comes next is another.
    pub fn end_document(&mut self) {
        if self.tokens.len() > self.open {
            self.tokens.push(SEPARATOR);
            self.documents += 1;
            self.open = self.tokens.len();
        }
    }

    /// Adds a whole document.
    ///
    /// # Errors
    /// As [`Self::extend`].
    pub fn document(&mut self, ids: &[u32]) -> Result<()> {
        self.end_document();
        self.extend(ids)?;
        self.end_document();
        Ok(())
    }

    /// Sorts and writes to a file of that name, which appears only once it is complete.
    /// `progress` gets the share of a stage and gives whether to go on.
    ///
    /// # Errors
    /// No tokens ([`Error::Invalid`]), a file that cannot be written ([`Error::Io`]), and
    /// [`Error::Cancelled`] where `progress` said so.
    pub fn write(
        self,
        path: &Path,
        progress: &mut dyn FnMut(BuildStage, f32) -> bool,
    ) -> Result<()> {
        // Beside the target, so that renaming stays within one file system.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(name);
        let io_error = |source| Error::Io { action: "cannot write", path: path.to_owned(), source };
        let file = File::create_new(&part).map_err(io_error)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let written = self.write_to(&mut out, progress).map_err(|error| match error {
            Fault::Io(source) => io_error(source),
            Fault::Other(error) => error,
        });
        let renamed = written.and_then(|()| {
            let file = out.into_inner().map_err(|error| io_error(error.into_error()))?;
            file.sync_all().and_then(|()| std::fs::rename(&part, path)).map_err(io_error)
        });
        if renamed.is_err() {
            // What is left of it is of no use; the error that counts is the first.
            let _ = std::fs::remove_file(&part);
        }
        renamed
    }

    /// As [`Self::write`], to memory.
    ///
    /// # Errors
    /// As there.
    pub fn to_bytes(self, progress: &mut dyn FnMut(BuildStage, f32) -> bool) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.write_to(&mut bytes, progress) {
            Ok(()) => Ok(bytes),
            Err(Fault::Other(error)) => Err(error),
            Err(Fault::Io(source)) => {
                Err(Error::Io { action: "cannot write", path: "memory".into(), source })
            }
        }
    }

    fn write_to(
        mut self,
        out: &mut impl Write,
        progress: &mut dyn FnMut(BuildStage, f32) -> bool,
    ) -> Result<(), Fault> {
        self.end_document();
        if self.tokens.is_empty() {
            return Err(Fault::Other(Error::Invalid {
                message: "a datastore of no tokens".into(),
                hint: Some("name a text that is not empty".into()),
            }));
        }
        let header = Header::new(self.vocabulary, self.tokens(), self.documents);
        match header.entry_bytes {
            4 => self.write_as::<u32>(header, out, progress),
            _ => self.write_as::<u64>(header, out, progress),
        }
    }

    /// With entries of type `P`, which is wide enough for `header`'s tokens.
    pub(super) fn write_as<P: Position>(
        &self,
        header: Header,
        out: &mut impl Write,
        progress: &mut dyn FnMut(BuildStage, f32) -> bool,
    ) -> Result<(), Fault> {
        let vocabulary = self.vocabulary.tokens as usize;
        let mut sorting = |share: f32| progress(BuildStage::Sort, share);
        let suffixes: Vec<P> =
            suffixes::sort(&self.tokens, vocabulary, &mut sorting).ok_or(Error::Cancelled)?;
        out.write_all(&header.to_bytes())?;
        let (total, mut done) = (self.tokens.len() * (4 + P::BYTES), 0);
        for tokens in self.tokens.chunks(WRITE_BYTES / 4) {
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            put(out, &bytes, (&mut done, total), progress)?;
        }
        for suffixes in suffixes.chunks(WRITE_BYTES / P::BYTES) {
            let mut bytes = Vec::with_capacity(suffixes.len() * P::BYTES);
            for suffix in suffixes {
                bytes.extend_from_slice(&suffix.to_le()[..P::BYTES]);
            }
            put(out, &bytes, (&mut done, total), progress)?;
        }
        out.flush()?;
        Ok(())
    }
}

fn put(
    out: &mut impl Write,
    bytes: &[u8],
    (done, total): (&mut usize, usize),
    progress: &mut dyn FnMut(BuildStage, f32) -> bool,
) -> Result<(), Fault> {
    if !progress(BuildStage::Write, *done as f32 / total as f32) {
        return Err(Fault::Other(Error::Cancelled));
    }
    out.write_all(bytes)?;
    *done += bytes.len();
    Ok(())
}

/// An error of the output, whose name only the caller knows, or another.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
