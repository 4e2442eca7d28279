//! The tokenizer: text to ids and back.

use sha2::{Digest, Sha256};

use super::{
    Begin, DecodeStream, Specials, TextError, TokenKind,
    bpe::Bpe,
    json::JsonPipeline,
    pre::PreTokenizer,
    special::{Segment, SpecialIndex, Which},
    spm::Spm,
    vocab::{Spelling, Vocab},
};

/// Whether the model's own first and last tokens are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddSpecial {
    /// As the model wants it: usually a beginning-of-text token.
    Yes,
    /// Not: the text comes from a chat template, which writes them itself, or continues another.
    No,
}

/// Whether text such as `<|im_end|>` becomes the control token it spells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseSpecial {
    /// Yes: the output of a chat template.
    Yes,
    /// No: text from elsewhere, which must not be able to end its turn.
    No,
}

/// What a file says about its vocabulary; the fields are GGUF's `tokenizer.ggml.*`.
///
/// ```
/// use coppice::text::{AddSpecial, ParseSpecial, Tokenizer, VocabSource};
///
/// let source = VocabSource {
///     model: "gpt2",
///     pre: Some("gpt-2"),
///     tokens: vec!["a", "b", "ab", "Ġ", "<end>"],
///     merges: vec!["a b"],
///     token_types: vec![1, 1, 1, 1, 3],
///     eos: Some(4),
///     ..VocabSource::default()
/// };
/// let tokenizer = Tokenizer::from_source(&source)?;
/// let ids = tokenizer.encode("ab a<end>", AddSpecial::Yes, ParseSpecial::Yes)?;
/// assert_eq!(ids, [2, 3, 0, 4]);
/// assert_eq!(tokenizer.decode(&ids), "ab a");
/// # Ok::<(), coppice::text::TextError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct VocabSource<'a> {
    /// `gpt2` or `llama`.
    pub model: &'a str,
    /// Name of the pre-tokeniser; `gpt-2` if absent. Byte-level BPE only.
    pub pre: Option<&'a str>,
    /// The tokens, in order of their ids.
    pub tokens: Vec<&'a str>,
    /// `left right`, best first. Byte-level BPE only.
    pub merges: Vec<&'a str>,
    /// One score a token. SentencePiece only.
    pub scores: Vec<f32>,
    /// One number a token (see [`TokenKind`]), or empty: all are ordinary.
    pub token_types: Vec<i32>,
    /// Beginning of text.
    pub bos: Option<u32>,
    /// End of text.
    pub eos: Option<u32>,
    /// Stands for what the vocabulary cannot express.
    pub unk: Option<u32>,
    /// Padding.
    pub pad: Option<u32>,
    /// End of a turn.
    pub eot: Option<u32>,
    /// End of a message, before a tool answers.
    pub eom: Option<u32>,
    /// Whether to begin with `bos`; by default SentencePiece models do.
    pub add_bos: Option<bool>,
    /// Whether to end with `eos`; by default not.
    pub add_eos: Option<bool>,
    /// Whether a space goes before text; by default SentencePiece models have it.
    pub add_space_prefix: Option<bool>,
}

/// Control tokens that end an answer, whatever the metadata says: files name only one of them,
/// and chat models end turns with another than they end documents with.
const END_OF_GENERATION: &[&str] = &[
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|end_of_turn|>",
    "<end_of_utterance>",
    "<EOT>",
    "<｜end▁of▁sentence｜>",
];

#[derive(Debug)]
enum Codec {
    Bpe(Box<Bpe>),
    Spm(Box<Spm>),
    Json(Box<JsonPipeline>),
}

/// Appends the ids of text without special tokens; the flag says that it begins the input or
/// follows a special token.
type EncodeText<'a> = dyn Fn(&str, bool, &mut Vec<u32>) -> Result<(), TextError> + 'a;

/// The tokens that files name, by id.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) unk: Option<u32>,
    pub(super) pad: Option<u32>,
    /// Ends of generation besides `eos`.
    pub(super) ends: Vec<u32>,
}

/// Text to ids and back. Immutable, so it can be shared between threads.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    codec: Codec,
    specials: SpecialIndex,
    bos: Option<u32>,
    eos: Option<u32>,
    unk: Option<u32>,
    pad: Option<u32>,
    /// Sorted.
    end_of_generation: Vec<u32>,
    add_bos: bool,
    add_eos: bool,
}

impl Tokenizer {
    /// Tokenizer from GGUF-style metadata.
    ///
    /// # Errors
    /// A model or pre-tokeniser that is not implemented; lists of unequal length; ids, merges or
    /// types that name nothing.
    pub fn from_source(source: &VocabSource) -> Result<Self, TextError> {
        let vocab = source.vocab()?;
        source.check_ids(vocab.len())?;
        let (codec, default_bos) = match vocab.spelling {
            Spelling::ByteLevel => {
                let pre = PreTokenizer::named(source.pre.unwrap_or("gpt-2"))?;
                if source.pre.is_none() {
                    tracing::warn!("the file names no pre-tokeniser: splitting text as GPT-2 does");
                }
                let default_bos = pre.add_bos;
                (Codec::Bpe(Box::new(Bpe::new(&vocab, &source.merges, pre)?)), default_bos)
            }
            Spelling::SentencePiece => {
                let space_prefix = source.add_space_prefix.unwrap_or(true);
                let spm = Spm::new(&vocab, source.scores.clone(), source.unk, space_prefix)?;
                (Codec::Spm(Box::new(spm)), true)
            }
        };
        let add_bos =
            adds(source.add_bos, default_bos, source.bos, "tokenizer.ggml.add_bos_token")?;
        let add_eos = adds(source.add_eos, false, source.eos, "tokenizer.ggml.add_eos_token")?;
        let named = Named {
            bos: source.bos,
            eos: source.eos,
            unk: source.unk,
            pad: source.pad,
            ends: [source.eot, source.eom].into_iter().flatten().collect(),
        };
        Ok(Self { add_bos, add_eos, ..Self::assemble(codec, vocab, named) })
    }

    /// Tokenizer around the pipeline of a `tokenizer.json`.
    pub(super) fn from_json(
        pipeline: JsonPipeline,
        vocab: Vocab,
        named: Named,
    ) -> Result<Self, TextError> {
        // Only the pipeline knows what it adds.
        let added = pipeline.encode("", AddSpecial::Yes, ParseSpecial::No)?;
        let add_bos = named.bos.is_some() && added.first().copied() == named.bos;
        let add_eos = named.eos.is_some() && added.last().copied() == named.eos;
        Ok(Self {
            add_bos,
            add_eos,
            ..Self::assemble(Codec::Json(Box::new(pipeline)), vocab, named)
        })
    }

    fn assemble(codec: Codec, vocab: Vocab, named: Named) -> Self {
        let Named { bos, eos, unk, pad, ends: mut end_of_generation } = named;
        end_of_generation.extend(eos);
        end_of_generation.extend((0..vocab.len() as u32).filter(|&id| {
            matches!(vocab.kinds[id as usize], TokenKind::Control | TokenKind::UserDefined)
                && vocab.text(id).is_some_and(|text| END_OF_GENERATION.contains(&text))
        }));
        end_of_generation.sort_unstable();
        end_of_generation.dedup();
        let specials = SpecialIndex::raw(&vocab);
        Self {
            vocab,
            codec,
            specials,
            bos,
            eos,
            unk,
            pad,
            end_of_generation,
            add_bos: false,
            add_eos: false,
        }
    }

    /// Ids of `text`. Bytes for which a byte-level vocabulary has no token are left out.
    ///
    /// # Errors
    /// Text on which the pre-tokeniser's pattern gives up.
    pub fn encode(
        &self,
        text: &str,
        add: AddSpecial,
        parse: ParseSpecial,
    ) -> Result<Vec<u32>, TextError> {
        let encode: &EncodeText = match &self.codec {
            Codec::Json(pipeline) => return pipeline.encode(text, add, parse),
            Codec::Bpe(bpe) => &|text, _, ids| bpe.encode(&self.vocab, text, ids),
            Codec::Spm(spm) => &|text, fresh, ids| {
                spm.encode(&self.vocab, text, fresh, ids);
                Ok(())
            },
        };
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        if add == AddSpecial::Yes && self.add_bos {
            ids.extend(self.bos);
        }
        let which = match parse {
            ParseSpecial::Yes => Which::All,
            ParseSpecial::No => Which::UserDefined,
        };
        let mut fresh = true;
        for segment in self.specials.split(text, which) {
            match segment {
                Segment::Token(id) => ids.push(id),
                Segment::Text(text) => encode(text, fresh, &mut ids)?,
            }
            fresh = matches!(segment, Segment::Token(_));
        }
        if add == AddSpecial::Yes && self.add_eos {
            ids.extend(self.eos);
        }
        Ok(ids)
    }

    /// Text of `ids`, without control tokens; what is no UTF-8 becomes U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut text = String::new();
        let mut stream = DecodeStream::new(self, Begin::Text, Specials::Hide);
        for &id in ids {
            stream.push(self, id, &mut text);
        }
        stream.finish(&mut text);
        text
    }

    /// What a token adds to the text; not always whole characters. `None` for an id without token.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocab.bytes.get(id as usize)
    }

    /// The token as the file spells it, such as `Ġthe` or `▁the`.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocab.text(id)
    }

    /// What the token is for.
    pub fn token_kind(&self, id: u32) -> Option<TokenKind> {
        self.vocab.kinds.get(id as usize).copied()
    }

    /// Number of tokens. The model's logits may be longer, padded.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// Beginning-of-text token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// End-of-text token.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Unknown token.
    pub fn unk(&self) -> Option<u32> {
        self.unk
    }

    /// Padding token.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// Whether [`AddSpecial::Yes`] puts `bos` in front.
    pub fn adds_bos(&self) -> bool {
        self.add_bos
    }

    /// All tokens that end an answer, sorted: end of text, of turn, of message.
    pub fn end_of_generation(&self) -> &[u32] {
        &self.end_of_generation
    }

    /// Whether generation ends with this token.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.end_of_generation.binary_search(&id).is_ok()
    }

    /// SHA-256 over all tokens' texts and kinds: equal for models that can draft for each other.
    pub fn vocab_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (id, &kind) in self.vocab.kinds.iter().enumerate() {
            let text = self.vocab.text.get(id).unwrap_or_default();
            hash.update([kind as u8]);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }

    pub(super) fn spelling(&self) -> Spelling {
        self.vocab.spelling
    }

    pub(super) fn has_space_prefix(&self) -> bool {
        match &self.codec {
            Codec::Bpe(_) => false,
            Codec::Spm(spm) => spm.space_prefix,
            Codec::Json(pipeline) => pipeline.space_prefix,
        }
    }
}

/// Whether to add a token: as the file says, else by default if there is one.
fn adds(
    said: Option<bool>,
    default: bool,
    id: Option<u32>,
    key: &'static str,
) -> Result<bool, TextError> {
    match (said, id) {
        (Some(true), None) => {
            Err(TextError::vocabulary(key, "is true, but the file names no such token"))
        }
        (said, id) => Ok(said.unwrap_or(default) && id.is_some()),
    }
}

impl VocabSource<'_> {
    fn vocab(&self) -> Result<Vocab, TextError> {
        let spelling = match self.model {
            "gpt2" => Spelling::ByteLevel,
            "llama" => Spelling::SentencePiece,
            name => {
                return Err(TextError::UnknownModel { name: name.to_owned() });
            }
        };
        let count = self.tokens.len();
        // Two ids are needed as marks, and no model comes near.
        if count == 0 || count >= (u32::MAX / 2) as usize {
            return Err(TextError::vocabulary("tokenizer.ggml.tokens", format!("{count} tokens")));
        }
        if !self.token_types.is_empty() && self.token_types.len() != count {
            let message = format!("{} types for {count} tokens", self.token_types.len());
            return Err(TextError::vocabulary("tokenizer.ggml.token_type", message));
        }
        let wrong =
            self.token_types.iter().position(|&value| TokenKind::from_gguf(value).is_none());
        if let Some(id) = wrong {
            let message = format!("token {id} has type {}, not 0 to 6", self.token_types[id]);
            return Err(TextError::vocabulary("tokenizer.ggml.token_type", message));
        }
        let kind = |id| {
            let value = self.token_types.get(id).copied();
            value.and_then(TokenKind::from_gguf).unwrap_or(TokenKind::Normal)
        };
        let tokens = self.tokens.iter().enumerate().map(|(id, &text)| (text, kind(id)));
        Ok(Vocab::new(tokens, spelling))
    }

    fn check_ids(&self, count: usize) -> Result<(), TextError> {
        for (key, id) in [
            ("tokenizer.ggml.bos_token_id", self.bos),
            ("tokenizer.ggml.eos_token_id", self.eos),
            ("tokenizer.ggml.unknown_token_id", self.unk),
            ("tokenizer.ggml.padding_token_id", self.pad),
            ("tokenizer.ggml.eot_token_id", self.eot),
            ("tokenizer.ggml.eom_token_id", self.eom),
        ] {
            if let Some(id) = id.filter(|&id| id as usize >= count) {
                return Err(TextError::vocabulary(
                    key,
                    format!("{id}, but there are {count} tokens"),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
