//! What a GGUF file says about text.

use super::{ChatTemplate, Tokenizer, VocabSource};
use crate::{Result, format::gguf::Gguf};

const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

impl<'a> VocabSource<'a> {
    /// The file's `tokenizer.ggml.*`; fields may be changed before the tokenizer is built, such as
    /// a pre-tokeniser of a name that is not known.
    ///
    /// # Errors
    /// A missing vocabulary, a key of the wrong type, an id that does not fit 32 bits.
    pub fn from_gguf(gguf: &'a Gguf) -> Result<Self> {
        let id = |key: &str| match gguf.unsigned(key)? {
            Some(id) => match u32::try_from(id) {
                Ok(id) => Ok(Some(id)),
                Err(_) => Err(gguf.key_error(key, format!("{id} is no token id"))),
            },
            None => Ok(None),
        };
        let missing = |key: &str| gguf.key_error(key, "is missing, so the file has no tokenizer");
        let (model, tokens) = ("tokenizer.ggml.model", "tokenizer.ggml.tokens");
        Ok(Self {
            model: gguf.string(model)?.ok_or_else(|| missing(model))?,
            pre: gguf.string("tokenizer.ggml.pre")?,
            tokens: gguf.strings(tokens)?.ok_or_else(|| missing(tokens))?,
            merges: gguf.strings("tokenizer.ggml.merges")?.unwrap_or_default(),
            scores: gguf.floats("tokenizer.ggml.scores")?.unwrap_or_default(),
            token_types: gguf.ints("tokenizer.ggml.token_type")?.unwrap_or_default(),
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            unk: id("tokenizer.ggml.unknown_token_id")?,
            pad: id("tokenizer.ggml.padding_token_id")?,
            eot: id("tokenizer.ggml.eot_token_id")?,
            eom: id("tokenizer.ggml.eom_token_id")?,
            add_bos: gguf.bool("tokenizer.ggml.add_bos_token")?,
            add_eos: gguf.bool("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: gguf.bool("tokenizer.ggml.add_space_prefix")?,
        })
    }
}

impl Tokenizer {
    /// The file's tokenizer.
    ///
    /// # Errors
    /// As [`VocabSource::from_gguf`] and [`Tokenizer::from_source`].
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        Ok(Self::from_source(&VocabSource::from_gguf(gguf)?)?)
    }
}

impl ChatTemplate {
    /// The file's chat template; `None` if it has none, as base models.
    ///
    /// # Errors
    /// A key of the wrong type; a template with a syntax error.
    pub fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let Some(source) = gguf.string(CHAT_TEMPLATE)? else {
            return Ok(None);
        };
        let origin = gguf.path().display().to_string();
        Ok(Some(Self::for_tokenizer(source, origin, tokenizer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::gguf::Writer,
        text::{AddSpecial, ChatInput, Message, ParseSpecial},
    };

    fn open(writer: &Writer) -> Gguf {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        writer.write(file.path()).expect("room for a small file");
        Gguf::open(file.path()).expect("the writer's files are whole")
    }

    fn writer() -> Writer {
        let mut writer = Writer::new("llama");
        writer
            .string("tokenizer.ggml.model", "llama")
            .strings("tokenizer.ggml.tokens", &["<unk>", "<s>", "▁", "a", "▁a"])
            .floats("tokenizer.ggml.scores", &[0.0, 0.0, -1.0, -2.0, -3.0])
            .ints("tokenizer.ggml.token_type", &[2, 3, 1, 1, 1])
            .u32("tokenizer.ggml.unknown_token_id", 0)
            .u32("tokenizer.ggml.bos_token_id", 1)
            .bool("tokenizer.ggml.add_space_prefix", false)
            .string(CHAT_TEMPLATE, "{{ bos_token }}{{ messages[0].content }}");
        writer
    }

    #[test]
    fn tokenizer_and_template_come_from_the_metadata() {
        let gguf = open(&writer());
        let tokenizer = Tokenizer::from_gguf(&gguf).expect("consistent");
        let template = ChatTemplate::from_gguf(&gguf, &tokenizer).expect("right").expect("there");
        let messages = [Message::new("user", "a a")];
        let text = template.render(&ChatInput::new(&messages)).expect("renders");
        assert_eq!(text, "<s>a a");
        let ids = tokenizer.encode(&text, AddSpecial::No, ParseSpecial::Yes).expect("short");
        assert_eq!(ids, [1, 3, 4]);
    }

    #[test]
    fn wrong_types_and_absent_keys_are_named() {
        let mut wrong = writer();
        wrong.string("tokenizer.ggml.eos_token_id", "2");
        let error = Tokenizer::from_gguf(&open(&wrong)).expect_err("a string").to_string();
        assert!(error.contains("tokenizer.ggml.eos_token_id"), "{error}");
        let error =
            Tokenizer::from_gguf(&open(&Writer::new("llama"))).expect_err("empty").to_string();
        assert!(error.contains("tokenizer.ggml.model"), "{error}");
        let mut out_of_range = writer();
        out_of_range.u32("tokenizer.ggml.eos_token_id", 5);
        let error =
            Tokenizer::from_gguf(&open(&out_of_range)).expect_err("five tokens").to_string();
        assert!(error.contains("tokenizer.ggml.eos_token_id"), "{error}");
    }
}
