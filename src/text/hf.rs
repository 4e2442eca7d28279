//! Tokenizer and chat template from a model folder as `transformers` writes it.

use std::{fs, io, path::Path};

use serde_json::Value;

use super::{ChatTemplate, TextError, Tokenizer, json::JsonPipeline, tokenizer::Named};
use crate::{Error, Result};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const GENERATION: &str = "generation_config.json";
const TEMPLATE: &str = "chat_template.jinja";

impl Tokenizer {
    /// Tokenizer from `dir/tokenizer.json`; what begins and ends a text from
    /// `tokenizer_config.json` and `generation_config.json`, where there are such.
    ///
    /// # Errors
    /// A missing `tokenizer.json`; a file that is not what it should be, or names a token that the
    /// vocabulary lacks.
    pub fn from_hf_dir(dir: &Path) -> Result<Self> {
        let path = dir.join(TOKENIZER);
        let json = fs::read(&path).map_err(|source| io_error(&path, source))?;
        let (pipeline, vocab) = JsonPipeline::parse(&json, &path.display().to_string())?;
        let config = read_json(dir, CONFIG)?;
        let generation = read_json(dir, GENERATION)?;
        let id = |key: &str| -> Result<Option<u32>> {
            let Some(text) = config.as_ref().and_then(|config| token_text(&config[key])) else {
                return Ok(None);
            };
            let missing =
                || file_error(dir, CONFIG, format!("{key} is {text:?}, which is no token"));
            Ok(Some(pipeline.id(text).ok_or_else(missing)?))
        };
        let mut named = Named {
            bos: id("bos_token")?,
            eos: id("eos_token")?,
            unk: id("unk_token")?,
            pad: id("pad_token")?,
            ends: Vec::new(),
        };
        if let Some(ends) = generation.as_ref().map(|generation| &generation["eos_token_id"]) {
            let list = ends.as_array().map_or(std::slice::from_ref(ends), Vec::as_slice);
            for end in list.iter().filter(|end| !end.is_null()) {
                let id = end
                    .as_u64()
                    .and_then(|id| u32::try_from(id).ok())
                    .filter(|&id| (id as usize) < vocab.len());
                let wrong =
                    || file_error(dir, GENERATION, format!("eos_token_id {end} is no token's id"));
                named.ends.push(id.ok_or_else(wrong)?);
            }
        }
        Ok(Self::from_json(pipeline, vocab, named)?)
    }
}

impl ChatTemplate {
    /// The template of `dir/chat_template.jinja` or of `tokenizer_config.json`; of several the one
    /// named `default`. `None` if there is none, as for base models.
    ///
    /// # Errors
    /// A file that cannot be read; a template with a syntax error.
    pub fn from_hf_dir(dir: &Path, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let path = dir.join(TEMPLATE);
        match fs::read_to_string(&path) {
            Ok(source) => {
                return Ok(Some(Self::for_tokenizer(
                    &source,
                    path.display().to_string(),
                    tokenizer,
                )?));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&path, error)),
        }
        let Some(config) = read_json(dir, CONFIG)? else {
            return Ok(None);
        };
        let source = match &config["chat_template"] {
            Value::String(source) => source.as_str(),
            Value::Array(named) => {
                let default = named.iter().find(|entry| entry["name"] == "default");
                match default.and_then(|entry| entry["template"].as_str()) {
                    Some(source) => source,
                    None => {
                        return Err(
                            file_error(dir, CONFIG, "no chat_template is named default").into()
                        );
                    }
                }
            }
            _ => return Ok(None),
        };
        let origin = dir.join(CONFIG).display().to_string();
        Ok(Some(Self::for_tokenizer(source, origin, tokenizer)?))
    }
}

/// A special token is a string, or an object with its `content`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// The file as JSON; `None` if there is no such file.
fn read_json(dir: &Path, name: &str) -> Result<Option<Value>> {
    let path = dir.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(&path, error)),
    };
    let parsed =
        serde_json::from_slice(&bytes).map_err(|error| file_error(dir, name, error.to_string()))?;
    Ok(Some(parsed))
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { action: "cannot read", path: path.to_owned(), source }
}

fn file_error(dir: &Path, name: &str, message: impl Into<String>) -> TextError {
    TextError::File { origin: dir.join(name).display().to_string(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{AddSpecial, Begin, DecodeStream, ParseSpecial, Specials, TokenKind};
    use proptest::prelude::*;

    const BYTE_LEVEL: &str = r#"{"version": "1.0", "truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0},
        "padding": null, "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [8], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "added_tokens": [{"id": 8, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 9, "content": "<|im_end|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "merges": [["a", "b"], ["Ġ", "ab"]],
            "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4, "<": 5, "s": 6, ">": 7}}}"#;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("room for small files");
        }
        dir
    }

    #[test]
    fn a_folder_gives_ids_text_ends_and_template() {
        let config = r#"{"bos_token": {"content": "<s>"}, "eos_token": "b", "chat_template": [{"name": "default", "template": "{{ bos_token }}"}]}"#;
        let dir = dir(&[
            (TOKENIZER, BYTE_LEVEL),
            (CONFIG, config),
            (GENERATION, r#"{"eos_token_id": [0, 9]}"#),
        ]);
        let tokenizer = Tokenizer::from_hf_dir(dir.path()).expect("a right folder");
        let ids = tokenizer.encode("ab ab<s>", AddSpecial::Yes, ParseSpecial::Yes).expect("short");
        assert_eq!(ids, [8, 2, 4, 8]);
        assert_eq!(tokenizer.decode(&ids), "ab ab");
        let literal = tokenizer.encode("<s>", AddSpecial::No, ParseSpecial::No).expect("short");
        assert_eq!(literal, [5, 6, 7]);
        assert_eq!(tokenizer.end_of_generation(), [0, 1, 9]);
        assert!(tokenizer.adds_bos());
        assert_eq!(
            (tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()),
            (Some(8), Some(1), 10)
        );
        assert_eq!(tokenizer.token_kind(8), Some(TokenKind::Control));
        let template =
            ChatTemplate::from_hf_dir(dir.path(), &tokenizer).expect("right").expect("there");
        assert_eq!(template.render(&crate::text::ChatInput::new(&[])).expect("renders"), "<s>");
    }

    #[test]
    fn streams_work_as_for_other_sources() {
        let dir = dir(&[(TOKENIZER, BYTE_LEVEL)]);
        let tokenizer = Tokenizer::from_hf_dir(dir.path()).expect("a right folder");
        let mut text = String::new();
        let mut stream = DecodeStream::new(&tokenizer, Begin::Continuation, Specials::Show);
        for id in [8, 4, 99] {
            stream.push(&tokenizer, id, &mut text);
        }
        stream.finish(&mut text);
        assert_eq!(text, "<s> ab");
        assert!(
            ChatTemplate::from_hf_dir(dir.path(), &tokenizer).expect("nothing wrong").is_none()
        );
    }

    #[test]
    fn damage_names_the_file() {
        let far = BYTE_LEVEL.replace("\">\": 7", "\">\": 4000000000");
        let decoder = BYTE_LEVEL.replace(r#""decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}"#, r#""decoder": null"#);
        let gap = BYTE_LEVEL.replace(r#"{"id": 9,"#, r#"{"id": 90,"#);
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[], TOKENIZER),
            (&[(TOKENIZER, "{}")], TOKENIZER),
            (&[(TOKENIZER, &far)], TOKENIZER),
            (&[(TOKENIZER, &decoder)], TOKENIZER),
            (&[(TOKENIZER, &gap)], TOKENIZER),
            (&[(TOKENIZER, BYTE_LEVEL), (CONFIG, "{")], CONFIG),
            (&[(TOKENIZER, BYTE_LEVEL), (CONFIG, r#"{"eos_token": "x"}"#)], CONFIG),
            (&[(TOKENIZER, BYTE_LEVEL), (GENERATION, r#"{"eos_token_id": 10}"#)], GENERATION),
        ];
        for (files, name) in cases {
            let dir = dir(files);
            let error = Tokenizer::from_hf_dir(dir.path()).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    proptest! {
        #[test]
        fn mutated_files_never_panic(at in 0..BYTE_LEVEL.len(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut json = BYTE_LEVEL.as_bytes().to_vec();
            json[at] = byte;
            if cut {
                json.truncate(at);
            }
            if let Ok((pipeline, vocab)) = JsonPipeline::parse(&json, "x") {
                prop_assert!(vocab.len() < 1 << 17);
                // Errors are fine.
                let _ = pipeline.encode("ab <s>é", AddSpecial::Yes, ParseSpecial::Yes);
            }
        }
    }
}
