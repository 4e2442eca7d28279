//! Tokens: what they look like in the file, which bytes they stand for, and how to find them.
//!
//! A vocabulary has up to a few hundred thousand short strings and is built before every first
//! token, so all strings lie in one buffer and the lookup is one table of ids over it; a
//! `HashMap<String, u32>` would allocate each string once more. The hash is SipHash with a random
//! key because vocabularies come from strangers.

use std::hash::{BuildHasher, RandomState};

/// What a token is for; the numbers are those of GGUF's `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TokenKind {
    /// Ordinary text.
    Normal = 1,
    /// The token for what the vocabulary cannot express.
    Unknown = 2,
    /// Structure that text cannot contain, such as the end of a turn.
    Control = 3,
    /// Text that is always one token, wherever it occurs.
    UserDefined = 4,
    /// A reserved place.
    Unused = 5,
    /// One byte, for text without tokens of its own.
    Byte = 6,
}

impl TokenKind {
    /// The kind of a GGUF `token_type`; `None` for numbers that mean nothing.
    pub fn from_gguf(value: i32) -> Option<Self> {
        Some(match value {
            // 0 is "undefined", written by early converters for ordinary tokens.
            0 | 1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }

    /// Whether the token is structure rather than text: hidden by default when decoding.
    pub fn is_special(self) -> bool {
        matches!(self, Self::Control | Self::Unknown)
    }
}

/// Many short byte strings in one buffer.
#[derive(Debug, Default)]
pub(super) struct Strings {
    data: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    pub(super) fn with_capacity(strings: usize, bytes: usize) -> Self {
        Self { data: Vec::with_capacity(bytes), ends: Vec::with_capacity(strings) }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.data[start..end])
    }

    pub(super) fn push(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.data.extend(bytes);
        self.ends.push(self.data.len());
    }
}

/// Finds a string's index in [`Strings`]; of equal strings the first is found.
#[derive(Debug)]
pub(super) struct Index {
    /// Open addressing, linear probing; `EMPTY` or an index. A power of two, at most half full.
    slots: Vec<u32>,
    hasher: RandomState,
}

const EMPTY: u32 = u32::MAX;

impl Index {
    /// Index over all strings for which `wanted` holds. At most `u32::MAX - 1` strings.
    pub(super) fn new(strings: &Strings, wanted: impl Fn(usize) -> bool) -> Self {
        let hasher = RandomState::new();
        let mut slots = vec![EMPTY; (strings.len() * 2).next_power_of_two().max(2)];
        let mask = slots.len() - 1;
        for id in (0..strings.len()).filter(|&id| wanted(id)) {
            let text =
                &strings.data[if id == 0 { 0 } else { strings.ends[id - 1] }..strings.ends[id]];
            let mut at = hasher.hash_one(text) as usize & mask;
            loop {
                if slots[at] == EMPTY {
                    slots[at] = id as u32;
                    break;
                }
                if strings.get(slots[at] as usize) == Some(text) {
                    break;
                }
                at = (at + 1) & mask;
            }
        }
        Self { slots, hasher }
    }

    pub(super) fn find(&self, strings: &Strings, text: &[u8]) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.hasher.hash_one(text) as usize & mask;
        while self.slots[at] != EMPTY {
            if strings.get(self.slots[at] as usize) == Some(text) {
                return Some(self.slots[at]);
            }
            at = (at + 1) & mask;
        }
        None
    }
}

/// How a vocabulary writes bytes as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's table: each byte is one printable character, a space is `Ġ`.
    ByteLevel,
    /// SentencePiece: a space is `▁` (U+2581), a byte token is `<0xNN>`.
    SentencePiece,
}

/// All tokens of a model.
#[derive(Debug)]
pub(super) struct Vocab {
    /// As spelled in the file.
    pub(super) text: Strings,
    /// What a token adds to the decoded text.
    pub(super) bytes: Strings,
    pub(super) kinds: Vec<TokenKind>,
    pub(super) spelling: Spelling,
}

impl Vocab {
    /// Tokens and kinds, in order of their ids.
    pub(super) fn new<'a>(
        tokens: impl ExactSizeIterator<Item = (&'a str, TokenKind)> + Clone,
        spelling: Spelling,
    ) -> Self {
        let total_bytes = tokens.clone().map(|(text, _)| text.len()).sum();
        let mut text = Strings::with_capacity(tokens.len(), total_bytes);
        let mut bytes = Strings::with_capacity(tokens.len(), total_bytes);
        let mut kinds = Vec::with_capacity(tokens.len());
        let from_char = byte_of_char();
        let mut scratch = Vec::new();
        for (token, kind) in tokens {
            text.push(token.bytes());
            kinds.push(kind);
            scratch.clear();
            spelled_bytes(token, kind, spelling, &from_char, &mut scratch);
            bytes.push(scratch.iter().copied());
        }
        Self { text, bytes, kinds, spelling }
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The token as spelled in the file.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        let bytes = self.text.get(id as usize)?;
        Some(std::str::from_utf8(bytes).expect("token texts are pushed from &str"))
    }
}

/// Appends the bytes that `token` stands for.
fn spelled_bytes(
    token: &str,
    kind: TokenKind,
    spelling: Spelling,
    from_char: &[Option<u8>; BYTE_CHARS],
    out: &mut Vec<u8>,
) {
    match (spelling, kind) {
        (Spelling::ByteLevel, TokenKind::Normal | TokenKind::Unused | TokenKind::Byte) => {
            for c in token.chars() {
                match from_char.get(c as usize).copied().flatten() {
                    Some(byte) => out.push(byte),
                    None => {
                        // A token that is not spelled in GPT-2's alphabet stands for itself.
                        out.clear();
                        out.extend_from_slice(token.as_bytes());
                        return;
                    }
                }
            }
        }
        (Spelling::SentencePiece, TokenKind::Byte) => match byte_token_value(token) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(token.as_bytes()),
        },
        (
            Spelling::SentencePiece,
            TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused,
        ) => {
            let mut rest = token;
            while let Some(at) = rest.find(SPACE_MARK) {
                out.extend_from_slice(&rest.as_bytes()[..at]);
                out.push(b' ');
                rest = &rest[at + SPACE_MARK.len_utf8()..];
            }
            out.extend_from_slice(rest.as_bytes());
        }
        _ => out.extend_from_slice(token.as_bytes()),
    }
}

/// SentencePiece's stand-in for a space.
pub(super) const SPACE_MARK: char = '\u{2581}';

/// A character as SentencePiece compares it.
pub(super) fn mark_space(c: char) -> char {
    if c == ' ' { SPACE_MARK } else { c }
}

/// The byte of a `<0xNN>` token.
pub(super) fn byte_token_value(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() != 2 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(hex, 16).ok()
}

/// GPT-2's characters are below this code point: 256 + 68 remapped bytes.
const BYTE_CHARS: usize = 324;

/// GPT-2's table: printable Latin-1 stands for itself, the other 68 bytes for U+0100 onwards.
pub(super) fn char_of_byte() -> [char; 256] {
    let mut next = 256_u32;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) {
            char::from(byte)
        } else {
            let c = char::from_u32(next).expect("below 324, so no surrogate");
            next += 1;
            c
        }
    })
}

fn byte_of_char() -> [Option<u8>; BYTE_CHARS] {
    let mut table = [None; BYTE_CHARS];
    for (byte, c) in char_of_byte().into_iter().enumerate() {
        table[c as usize] = Some(byte as u8);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_table_is_gpt2s() {
        let table = char_of_byte();
        assert_eq!(table[usize::from(b' ')], 'Ġ');
        assert_eq!(table[usize::from(b'\n')], 'Ċ');
        assert_eq!(table[usize::from(b'\t')], 'ĉ');
        assert_eq!(table[0xAD], 'Ń');
        assert_eq!(table[0xA0], 'ł');
        let back = byte_of_char();
        for (byte, c) in table.into_iter().enumerate() {
            assert_eq!(back[c as usize], Some(byte as u8));
        }
    }

    #[test]
    fn index_finds_every_string_and_the_first_of_equals() {
        let mut strings = Strings::default();
        for i in 0..1000_u32 {
            strings.push(format!("t{}", i % 900).into_bytes());
        }
        let index = Index::new(&strings, |_| true);
        for i in 0..900_u32 {
            assert_eq!(index.find(&strings, format!("t{i}").as_bytes()), Some(i));
        }
        assert_eq!(index.find(&strings, b"t900"), None);
        assert_eq!(index.find(&strings, b""), None);
        let odd = Index::new(&strings, |id| id % 2 == 1);
        assert_eq!(odd.find(&strings, b"t2"), None);
        assert_eq!(odd.find(&strings, b"t3"), Some(3));
    }

    #[test]
    fn tokens_stand_for_the_right_bytes() {
        let spelled = |token: &str, kind, spelling| {
            Vocab::new([(token, kind)].into_iter(), spelling)
                .bytes
                .get(0)
                .expect("one token")
                .to_vec()
        };
        assert_eq!(spelled("Ġthe", TokenKind::Normal, Spelling::ByteLevel), b" the");
        assert_eq!(spelled("Ġ", TokenKind::UserDefined, Spelling::ByteLevel), "Ġ".as_bytes());
        assert_eq!(spelled("日", TokenKind::Normal, Spelling::ByteLevel), "日".as_bytes());
        assert_eq!(spelled("▁a▁", TokenKind::Normal, Spelling::SentencePiece), b" a ");
        assert_eq!(spelled("<0xE2>", TokenKind::Byte, Spelling::SentencePiece), [0xE2]);
        assert_eq!(spelled("<0xE2>", TokenKind::Normal, Spelling::SentencePiece), b"<0xE2>");
        assert_eq!(spelled("<0x+1>", TokenKind::Byte, Spelling::SentencePiece), b"<0x+1>");
    }
}
