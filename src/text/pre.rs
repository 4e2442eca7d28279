//! Pre-tokenisers: how a byte-level vocabulary cuts text into words before merging.
//!
//! GGUF stores only a name. Each name stands for the patterns of the model's `tokenizer.json`,
//! applied one after the other: every pattern cuts the pieces that the one before left, and what
//! lies between two matches is a piece too. A wrong split gives wrong ids without any other sign,
//! so an unknown name is an error rather than a guess.

use fancy_regex::Regex;
use tokenizers::NormalizedString;

use super::TextError;

/// A family of models that split alike.
struct Rule {
    /// Values of `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    patterns: &'static [&'static str],
    /// A word that is a token stays whole, even where merges would not lead to it.
    whole_words_first: bool,
    /// Whether `add_bos` is on where the file does not say.
    add_bos: bool,
    /// Text is composed (Unicode NFC) first.
    nfc: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const DEEPSEEK_V3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const DIGIT: &str = r"\p{N}";
const CJK: &str = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";
const CJK_HANGUL: &str = r"[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+";

const PLAIN: Rule =
    Rule { names: &[], patterns: &[], whole_words_first: false, add_bos: false, nfc: false };

static RULES: &[Rule] = &[
    Rule {
        names: &[
            "gpt-2",
            "default",
            "phi-2",
            "mpt",
            "olmo",
            "exaone4",
            "trillion",
            "granite-docling",
        ],
        patterns: &[GPT2],
        ..PLAIN
    },
    Rule {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        patterns: &[DIGIT, GPT2],
        ..PLAIN
    },
    Rule {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral"],
        patterns: &[LLAMA3],
        whole_words_first: true,
        add_bos: true,
        ..PLAIN
    },
    Rule { names: &["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"], patterns: &[LLAMA3], ..PLAIN },
    Rule { names: &["qwen2"], patterns: &[QWEN2], nfc: true, ..PLAIN },
    Rule {
        names: &["stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan", "grok-2", "solar-open"],
        patterns: &[QWEN2],
        ..PLAIN
    },
    Rule { names: &["qwen35"], patterns: &[QWEN35], nfc: true, ..PLAIN },
    Rule {
        names: &["tekken"],
        patterns: &[TEKKEN],
        whole_words_first: true,
        add_bos: true,
        ..PLAIN
    },
    Rule { names: &["gpt-4o", "llama4"], patterns: &[GPT4O], ..PLAIN },
    Rule {
        names: &["falcon"],
        patterns: &[r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"],
        ..PLAIN
    },
    Rule {
        names: &["deepseek-coder"],
        patterns: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK_HANGUL, DIGIT],
        ..PLAIN
    },
    Rule {
        names: &["deepseek-v3", "hunyuan-dense"],
        patterns: &[r"\p{N}{1,3}", CJK, DEEPSEEK_V3],
        ..PLAIN
    },
    Rule { names: &["bloom", "poro-chat", "gpt3-finnish"], patterns: &[BLOOM], ..PLAIN },
    Rule { names: &["viking"], patterns: &[BLOOM, DIGIT], ..PLAIN },
    Rule { names: &["seed-coder"], patterns: &[SEED_CODER], ..PLAIN },
    Rule { names: &["bailingmoe", "bailingmoe2", "llada-moe"], patterns: &[BAILING], ..PLAIN },
];

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().flat_map(|rule| rule.names.iter().copied())
}

/// A compiled pre-tokeniser.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    patterns: Vec<Regex>,
    nfc: bool,
    pub(super) whole_words_first: bool,
    pub(super) add_bos: bool,
}

impl PreTokenizer {
    /// # Errors
    /// A name that [`names`] lacks.
    pub(super) fn named(name: &str) -> Result<Self, TextError> {
        let rule = RULES
            .iter()
            .find(|rule| rule.names.contains(&name))
            .ok_or_else(|| TextError::UnknownPreTokenizer { name: name.to_owned() })?;
        let compile =
            |pattern: &&str| Regex::new(pattern).expect("the patterns are ours and tested");
        Ok(Self {
            patterns: rule.patterns.iter().map(compile).collect(),
            nfc: rule.nfc,
            whole_words_first: rule.whole_words_first,
            add_bos: rule.add_bos,
        })
    }

    /// Calls `word` for each piece of `text`, in order.
    ///
    /// # Errors
    /// A pattern gave up (its backtracking limit).
    pub(super) fn split(&self, text: &str, mut word: impl FnMut(&str)) -> Result<(), TextError> {
        let fail = |e: fancy_regex::Error| TextError::Encode {
            len_bytes: text.len(),
            message: e.to_string(),
        };
        if self.nfc && !text.is_ascii() {
            let mut composed = NormalizedString::from(text);
            composed.nfc();
            return cut(&self.patterns, composed.get(), &mut word).map_err(fail);
        }
        cut(&self.patterns, text, &mut word).map_err(fail)
    }
}

fn cut(
    patterns: &[Regex],
    text: &str,
    word: &mut dyn FnMut(&str),
) -> Result<(), fancy_regex::Error> {
    let Some((pattern, rest)) = patterns.split_first() else {
        if !text.is_empty() {
            word(text);
        }
        return Ok(());
    };
    let mut start = 0;
    for found in pattern.find_iter(text) {
        let found = found?;
        cut(rest, &text[start..found.start()], word)?;
        cut(rest, found.as_str(), word)?;
        start = found.end();
    }
    cut(rest, &text[start..], word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let pre = PreTokenizer::named(name).expect("a known name");
        pre.split(text, |word| words.push(word.to_owned())).expect("short texts split");
        words
    }

    #[test]
    fn every_pattern_compiles_and_loses_nothing() {
        let text = "I'LL  pay 12345€ für\r\n\t 日本語テキスト، «q»  \n\n end's   ";
        for name in names() {
            assert_eq!(split(name, text).concat(), text, "{name}");
            assert!(split(name, text).len() > 3, "{name}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut all: Vec<_> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn smollm_takes_digits_singly_and_leaves_the_space_before_them() {
        assert_eq!(split("smollm", "a  42 b"), ["a", "  ", "4", "2", " b"]);
        assert_eq!(split("gpt-2", "a  42 b"), ["a", " ", " 42", " b"]);
        assert_eq!(split("smollm", "it's\n\n x"), ["it", "'s", "\n\n", " x"]);
    }

    #[test]
    fn families_differ_where_they_should() {
        assert_eq!(
            split("llama-bpe", "I'LL 12345\n\n x"),
            ["I", "'LL", " ", "123", "45", "\n\n", " x"]
        );
        assert_eq!(split("qwen2", "a1 23(x)"), ["a", "1", " ", "2", "3", "(x", ")"]);
        assert_eq!(split("tekken", "camelCase"), ["camel", "Case"]);
        assert_eq!(split("deepseek-v3", "日本 abc,def"), ["日本", " abc", ",def"]);
        assert_eq!(split("falcon", "x=12345"), ["x", "=", "123", "45"]);
    }

    #[test]
    fn qwen_composes_accents() {
        assert_eq!(split("qwen2", "e\u{301}t"), ["ét"]);
        assert_eq!(split("gpt-2", "e\u{301}t").concat(), "e\u{301}t");
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_known_ones() {
        let error = PreTokenizer::named("no-such").expect_err("unknown");
        assert!(error.to_string().contains("no-such"));
        assert!(error.hint().expect("a hint").contains("smollm"));
    }
}
