//! `tokenizer.json`, Hugging Face's description of a whole tokenizer.
//!
//! Encoding runs through the `tokenizers` crate, which is what such files are written for.
//! Decoding does not: tokens are turned into bytes once, as for the other sources, so that
//! streaming is the same everywhere. The file's decoder only says how bytes are spelled.

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

use tokenizers::{AddedToken, DecoderWrapper, Tokenizer as Pipeline};

use super::{
    AddSpecial, ParseSpecial, TextError, TokenKind,
    vocab::{Spelling, Vocab, byte_token_value},
};

/// Ids without a token. Models leave some places free; a hostile file could claim four billion.
const MAX_HOLES: usize = 1 << 16;

/// The pipeline of a `tokenizer.json`.
pub(super) struct JsonPipeline {
    parsing: Pipeline,
    /// The same, with control tokens taken as text; made when first needed.
    literal: OnceLock<Pipeline>,
    /// Whether decoded text begins with a space that encoding added.
    pub(super) space_prefix: bool,
}

impl fmt::Debug for JsonPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonPipeline")
            .field("space_prefix", &self.space_prefix)
            .finish_non_exhaustive()
    }
}

impl JsonPipeline {
    /// Reads the file's contents; `origin` names it in errors.
    ///
    /// # Errors
    /// JSON that is no tokenizer; a decoder that is neither byte-level nor SentencePiece; ids with
    /// too many holes.
    pub(super) fn parse(json: &[u8], origin: &str) -> Result<(Self, Vocab), TextError> {
        let fail = |message: String| TextError::File { origin: origin.to_owned(), message };
        // Plain syntax first, for errors with a line, and because the crate panics on some.
        let value: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| fail(error.to_string()))?;
        let added = added_tokens(&value);
        let mut parsing = contained(|| serde_json::from_value::<Pipeline>(value)).map_err(fail)?;
        // The crate numbers added tokens itself where the vocabulary has gaps before them.
        for (text, id) in added {
            if parsing.token_to_id(&text).map(u64::from) != Some(id) {
                return Err(fail(format!(
                    "the added token {text:?} has id {id}, which leaves gaps before it"
                )));
            }
        }
        // Files may ask for cut or padded encodings, which suits training only.
        parsing.with_truncation(None).map_err(|error| fail(error.to_string()))?;
        parsing.with_padding(None);
        let decoder = parsing.get_decoder().map(parts).unwrap_or_default();
        let spelling = spelling(&decoder).ok_or_else(|| {
            fail(
                "its decoder is neither byte-level nor SentencePiece's, so tokens have no bytes"
                    .to_owned(),
            )
        })?;
        let space_prefix = decoder.iter().any(|part| match part {
            DecoderWrapper::Strip(strip) => strip.content == ' ' && strip.start > 0,
            DecoderWrapper::Metaspace(space) => !matches!(
                space.get_prepend_scheme(),
                tokenizers::pre_tokenizers::metaspace::PrependScheme::Never
            ),
            _ => false,
        });
        let vocab = vocab(&parsing, spelling).map_err(fail)?;
        Ok((Self { parsing, literal: OnceLock::new(), space_prefix }, vocab))
    }

    pub(super) fn encode(
        &self,
        text: &str,
        add: AddSpecial,
        parse: ParseSpecial,
    ) -> Result<Vec<u32>, TextError> {
        let pipeline = match parse {
            ParseSpecial::Yes => &self.parsing,
            ParseSpecial::No => self.literal.get_or_init(|| {
                let mut literal = self.parsing.clone();
                literal.set_encode_special_tokens(true);
                literal
            }),
        };
        let encoding = contained(|| pipeline.encode_fast(text, add == AddSpecial::Yes))
            .map_err(|message| TextError::Encode { len_bytes: text.len(), message })?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.parsing.token_to_id(token)
    }
}

/// Text and id of each added token.
fn added_tokens(file: &serde_json::Value) -> Vec<(String, u64)> {
    let tokens = file["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pair = |token: &serde_json::Value| {
        Some((token["content"].as_str()?.to_owned(), token["id"].as_u64()?))
    };
    tokens.iter().filter_map(pair).collect()
}

/// Runs code of the `tokenizers` crate, which panics on some files that no tool writes.
fn contained<T, E: fmt::Display>(run: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizers library cannot handle it".to_owned()),
    }
}

/// The parts of a decoder, sequences taken apart.
fn parts(decoder: &DecoderWrapper) -> Vec<&DecoderWrapper> {
    match decoder {
        DecoderWrapper::Sequence(sequence) => {
            sequence.get_decoders().iter().flat_map(parts).collect()
        }
        other => vec![other],
    }
}

fn spelling(decoder: &[&DecoderWrapper]) -> Option<Spelling> {
    decoder.iter().find_map(|part| match part {
        DecoderWrapper::ByteLevel(_) => Some(Spelling::ByteLevel),
        DecoderWrapper::ByteFallback(_) | DecoderWrapper::Metaspace(_) => {
            Some(Spelling::SentencePiece)
        }
        _ => None,
    })
}

fn vocab(pipeline: &Pipeline, spelling: Spelling) -> Result<Vocab, String> {
    let ids = pipeline.get_vocab(true);
    let added: HashMap<u32, AddedToken> = pipeline.get_added_tokens_decoder().into_iter().collect();
    let Some(last) = ids.values().copied().max() else {
        return Err("there are no tokens".to_owned());
    };
    let count = last as usize + 1;
    if count.saturating_sub(ids.len()) > MAX_HOLES {
        return Err(format!("{} tokens have ids up to {last}", ids.len()));
    }
    let mut tokens = vec![(String::new(), TokenKind::Unused); count];
    let mut sorted: Vec<(String, u32)> = ids.into_iter().collect();
    // Two texts may share an id in a damaged file; which one stays must not depend on a hash.
    sorted.sort_unstable();
    for (text, id) in sorted {
        let kind = match added.get(&id) {
            Some(token) if token.special => TokenKind::Control,
            Some(_) => TokenKind::UserDefined,
            None if spelling == Spelling::SentencePiece && byte_token_value(&text).is_some() => {
                TokenKind::Byte
            }
            None => TokenKind::Normal,
        };
        tokens[id as usize] = (text, kind);
    }
    let tokens: Vec<(&str, TokenKind)> =
        tokens.iter().map(|(text, kind)| (text.as_str(), *kind)).collect();
    Ok(Vocab::new(tokens.iter().copied(), spelling))
}
