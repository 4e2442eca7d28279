//! Tokenizer, chat templates, streaming detokeniser.
//!
//! Only `from_gguf` and `hf` know files: [`VocabSource`] is what a GGUF file or anything else has
//! to say about a vocabulary, and [`Tokenizer`] is built from it.
//!
//! | file | what it does |
//! |---|---|
//! | `tokenizer` | the public [`Tokenizer`] |
//! | `vocab` | tokens: text, bytes, kind, lookup |
//! | `special` | splits a text at special tokens |
//! | `pre` | pre-tokeniser names and their patterns |
//! | `bpe` | byte-level BPE |
//! | `spm` | SentencePiece BPE with scores and byte fallback |
//! | `stream` | [`DecodeStream`], which never splits a UTF-8 character |
//! | `stop` | [`StopMatcher`], stop strings across token borders |
//! | `chat` | [`ChatTemplate`], conversations to text |
//! | `from_gguf`, `hf` | the two from a GGUF file or a folder of `transformers` |
//! | `json` | `tokenizer.json` through the `tokenizers` crate |
//! | `strftime` | the date that templates may ask for |

mod bpe;
mod chat;
mod from_gguf;
mod hf;
mod json;
mod pre;
mod special;
mod spm;
mod stop;
mod stream;
mod strftime;
mod tokenizer;
mod vocab;

pub use chat::{ChatInput, ChatTemplate, GenerationPrompt, Message};
pub use stop::{StopMatcher, StopStep};
pub use stream::{Begin, DecodeStream, Specials};
pub use tokenizer::{AddSpecial, ParseSpecial, Tokenizer, VocabSource};
pub use vocab::TokenKind;

/// Names of the pre-tokenisers that [`Tokenizer::from_source`] knows.
pub fn pre_tokenizer_names() -> impl Iterator<Item = &'static str> {
    pre::names()
}

/// Tokenizer or chat template.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A vocabulary's metadata contradicts itself or lacks something.
    #[error("{key}: {message}")]
    Vocabulary {
        /// The metadata key, such as `tokenizer.ggml.merges`.
        key: &'static str,
        /// What is wrong, with values.
        message: String,
    },
    /// A tokenizer file that is not what it should be.
    #[error("{origin}: {message}")]
    File {
        /// The file.
        origin: String,
        /// What is wrong, with values.
        message: String,
    },
    /// A tokenizer algorithm that is not implemented.
    #[error("tokenizer.ggml.model: tokenizer model {name:?} is not supported")]
    UnknownModel {
        /// What the file says.
        name: String,
    },
    /// A byte-level BPE vocabulary whose way of splitting text is not known.
    #[error("tokenizer.ggml.pre: pre-tokeniser {name:?} is not supported")]
    UnknownPreTokenizer {
        /// What the file says.
        name: String,
    },
    /// A text that could not be split into words.
    #[error("cannot tokenize a text of {len_bytes} bytes: {message}")]
    Encode {
        /// Length of the text.
        len_bytes: usize,
        /// Cause.
        message: String,
    },
    /// A chat template that is wrong or refuses a conversation.
    #[error("chat template of {origin}{line}: {message}", line = line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Template {
        /// The file it came from.
        origin: String,
        /// Line in the template.
        line: Option<usize>,
        /// Cause.
        message: String,
    },
}

impl TextError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownModel { .. } => Some(
                "supported are gpt2 (byte-level BPE) and llama (SentencePiece with scores); \
                 a tokenizer.json beside the weights works too"
                    .to_owned(),
            ),
            Self::UnknownPreTokenizer { .. } => Some(format!(
                "name the split it uses; supported are {}",
                pre::names().collect::<Vec<_>>().join(", ")
            )),
            Self::Vocabulary { .. } | Self::File { .. } => {
                Some("the file is damaged or was converted wrongly: download or convert it again".to_owned())
            }
            Self::Template { .. } => Some(
                "use a conversation that the template accepts, or write the prompt yourself with --raw".to_owned(),
            ),
            Self::Encode { .. } => None,
        }
    }

    pub(crate) fn vocabulary(key: &'static str, message: impl Into<String>) -> Self {
        Self::Vocabulary { key, message: message.into() }
    }
}
