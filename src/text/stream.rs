//! From ids to text, one id at a time.

use super::{Tokenizer, vocab::Spelling};

/// What comes before the first id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Nothing: the space that encoding puts in front is taken away again.
    Text,
    /// A prompt: the first id's space separates it from the prompt.
    Continuation,
}

/// What becomes of control tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// They are structure and not shown.
    Hide,
    /// They are shown as they are spelled.
    Show,
}

/// Streaming detokeniser: never emits a part of a UTF-8 character.
///
/// The pieces together are the same text as [`Tokenizer::decode`] of all ids. An invalid sequence
/// becomes U+FFFD as soon as it is certainly invalid, an unfinished one at the end.
#[derive(Clone, Debug)]
pub struct DecodeStream {
    specials: Specials,
    strip_space: bool,
    pending: Vec<u8>,
}

impl DecodeStream {
    /// Stream without ids so far.
    pub fn new(tokenizer: &Tokenizer, begin: Begin, specials: Specials) -> Self {
        let strip_space = begin == Begin::Text && tokenizer.has_space_prefix();
        Self { specials, strip_space, pending: Vec::new() }
    }

    /// Takes the next id and appends the text that is now certain to `out`. An id without a token
    /// (models pad their vocabulary) adds nothing.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32, out: &mut String) {
        let Some(kind) = tokenizer.token_kind(id) else {
            return;
        };
        if kind.is_special() && self.specials == Specials::Hide {
            return;
        }
        let mut bytes = tokenizer.token_bytes(id).unwrap_or_default();
        if std::mem::take(&mut self.strip_space) && tokenizer.spelling() == Spelling::SentencePiece
        {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.pending.extend_from_slice(bytes);
        self.emit(out);
    }

    /// Appends what is left: one U+FFFD if the last character is unfinished.
    pub fn finish(self, out: &mut String) {
        out.push_str(&String::from_utf8_lossy(&self.pending));
    }

    /// Moves everything but an unfinished last character to `out`.
    fn emit(&mut self, out: &mut String) {
        let mut done = 0;
        loop {
            let rest = &self.pending[done..];
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    self.pending.clear();
                    return;
                }
                Err(error) => {
                    let (valid, _) = rest.split_at(error.valid_up_to());
                    out.push_str(&String::from_utf8_lossy(valid));
                    done += valid.len();
                    let Some(invalid) = error.error_len() else {
                        break;
                    };
                    out.push(char::REPLACEMENT_CHARACTER);
                    done += invalid;
                }
            }
        }
        self.pending.drain(..done);
    }
}
