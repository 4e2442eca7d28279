//! The fixed part at the beginning of a datastore.

use super::{SORT_DEPTH, VocabularyId};

/// Bytes before the first token.
pub(super) const HEADER_BYTES: usize = 128;

const MAGIC: &[u8; 8] = b"COPPICED";
const VERSION: u32 = 1;
/// Header bytes in use; the rest is zero.
const USED_BYTES: usize = 76;

/// What a datastore says about itself, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) entry_bytes: u32,
    pub(super) vocabulary: VocabularyId,
    pub(super) tokens: u64,
    pub(super) documents: u64,
}

impl Header {
    /// For so many tokens; entries are as narrow as their positions allow.
    pub(super) fn new(vocabulary: VocabularyId, tokens: u64, documents: u64) -> Self {
        let entry_bytes = if tokens <= u64::from(u32::MAX) { 4 } else { 8 };
        Self { entry_bytes, vocabulary, tokens, documents }
    }

    /// Where the suffix array begins.
    pub(super) fn suffixes_start(&self) -> usize {
        HEADER_BYTES + 4 * self.tokens as usize
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(MAGIC);
        put(&VERSION.to_le_bytes());
        put(&self.entry_bytes.to_le_bytes());
        put(&u64::from(self.vocabulary.tokens).to_le_bytes());
        put(&self.vocabulary.hash);
        put(&self.tokens.to_le_bytes());
        put(&self.documents.to_le_bytes());
        put(&(SORT_DEPTH as u32).to_le_bytes());
        debug_assert_eq!(at, USED_BYTES);
        bytes
    }

    /// Reads and checks the header of a whole file. The error is the rest of a sentence about it.
    pub(super) fn read(file: &[u8]) -> Result<Self, String> {
        let Some(header) = file.get(..HEADER_BYTES) else {
            return Err(format!(
                "no datastore: {} bytes, its header alone has {HEADER_BYTES}",
                file.len()
            ));
        };
        let word = |at: usize| {
            u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes were sliced"))
        };
        let long = |at: usize| {
            u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes were sliced"))
        };
        if &header[..8] != MAGIC {
            return Err("no datastore: it does not begin with `COPPICED`".to_owned());
        }
        if word(8) != VERSION {
            return Err(format!("a datastore of version {}, wanted {VERSION}", word(8)));
        }
        let entry_bytes = word(12);
        if !matches!(entry_bytes, 4 | 8) {
            return Err(format!(
                "entries of {entry_bytes} bytes in the suffix array, wanted 4 or 8"
            ));
        }
        let vocabulary = long(16);
        // The separator is no token.
        if vocabulary == 0 || vocabulary > u64::from(u32::MAX) {
            return Err(format!("a vocabulary of {vocabulary} tokens"));
        }
        let (tokens, documents) = (long(56), long(64));
        if documents == 0 || documents > tokens {
            return Err(format!("{documents} documents in {tokens} tokens"));
        }
        if word(72) != SORT_DEPTH as u32 {
            return Err(format!("suffixes sorted to {} tokens, wanted {SORT_DEPTH}", word(72)));
        }
        if header[USED_BYTES..].iter().any(|&byte| byte != 0) {
            return Err(format!("bytes {USED_BYTES} to {HEADER_BYTES} are not zero"));
        }
        let wanted = tokens
            .checked_mul(4 + u64::from(entry_bytes))
            .and_then(|bytes| bytes.checked_add(HEADER_BYTES as u64));
        if wanted != Some(file.len() as u64) {
            return Err(format!(
                "{tokens} tokens with entries of {entry_bytes} bytes need {} bytes, the file has {}",
                wanted.map_or_else(|| "more than 2^64".to_owned(), |bytes| bytes.to_string()),
                file.len()
            ));
        }
        let hash = header[24..56].try_into().expect("32 bytes were sliced");
        let vocabulary = VocabularyId { tokens: vocabulary as u32, hash };
        Ok(Self { entry_bytes, vocabulary, tokens, documents })
    }
}
