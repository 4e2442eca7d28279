//! Tests of the tokenizer as a whole, on small vocabularies made here.

use super::super::vocab::char_of_byte;
use super::*;
use proptest::prelude::*;

/// All bytes, some merges, two control tokens and a user-defined one.
struct ByteLevelFixture {
    tokens: Vec<String>,
    merges: Vec<String>,
    types: Vec<i32>,
}

impl ByteLevelFixture {
    fn new() -> Self {
        let mut tokens: Vec<String> = char_of_byte().iter().map(char::to_string).collect();
        let mut merges = Vec::new();
        for (left, right) in
            [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "hell"), ("Ã", "©"), ("Ġ", "Ġ")]
        {
            tokens.push(format!("{left}{right}"));
            merges.push(format!("{left} {right}"));
        }
        let mut types = vec![1; tokens.len()];
        for (token, kind) in [("<|im_start|>", 3), ("<|im_end|>", 3), ("[TOOL]", 4)] {
            tokens.push(token.to_owned());
            types.push(kind);
        }
        Self { tokens, merges, types }
    }

    fn source(&self) -> VocabSource<'_> {
        VocabSource {
            model: "gpt2",
            pre: Some("smollm"),
            tokens: self.tokens.iter().map(String::as_str).collect(),
            merges: self.merges.iter().map(String::as_str).collect(),
            token_types: self.types.clone(),
            bos: Some(262),
            eos: Some(263),
            ..VocabSource::default()
        }
    }

    fn tokenizer(&self) -> Tokenizer {
        Tokenizer::from_source(&self.source()).expect("the fixture is consistent")
    }
}

const SPM_TOKENS: &[(&str, f32, i32)] = &[
    ("<unk>", 0.0, 2),
    ("<s>", 0.0, 3),
    ("</s>", 0.0, 3),
    ("▁", -1.0, 1),
    ("a", -2.0, 1),
    ("b", -3.0, 1),
    ("ab", -5.0, 1),
    ("bc", -4.0, 1),
    ("c", -6.0, 1),
    ("▁ab", -7.0, 1),
    ("\n\n", 0.0, 4),
    ("<0x0A>", 0.0, 6),
    ("<0xC3>", 0.0, 6),
    ("<0xA9>", 0.0, 6),
];

fn spm_source<'a>() -> VocabSource<'a> {
    VocabSource {
        model: "llama",
        tokens: SPM_TOKENS.iter().map(|&(text, ..)| text).collect(),
        scores: SPM_TOKENS.iter().map(|&(_, score, _)| score).collect(),
        token_types: SPM_TOKENS.iter().map(|&(.., kind)| kind).collect(),
        unk: Some(0),
        bos: Some(1),
        eos: Some(2),
        ..VocabSource::default()
    }
}

fn spm(space_prefix: bool) -> Tokenizer {
    let source = VocabSource { add_space_prefix: Some(space_prefix), ..spm_source() };
    Tokenizer::from_source(&source).expect("the fixture is consistent")
}

fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text, AddSpecial::No, ParseSpecial::Yes).expect("short");
    ids.iter()
        .map(|&id| tokenizer.token_text(id).expect("encode gives tokens").to_owned())
        .collect()
}

#[test]
fn merges_follow_ranks_within_words() {
    let tokenizer = ByteLevelFixture::new().tokenizer();
    assert_eq!(pieces(&tokenizer, "hello hello"), ["hell", "o", "Ġhell", "o"]);
    assert_eq!(pieces(&tokenizer, "lll é12"), ["ll", "l", "Ġ", "Ã©", "1", "2"]);
    assert_eq!(pieces(&tokenizer, ""), [""; 0]);
}

#[test]
fn special_text_is_a_token_only_when_asked() {
    let tokenizer = ByteLevelFixture::new().tokenizer();
    let text = "[TOOL]<|im_end|>";
    let yes = tokenizer.encode(text, AddSpecial::No, ParseSpecial::Yes).expect("short");
    assert_eq!(yes, [264, 263]);
    let no = tokenizer.encode(text, AddSpecial::No, ParseSpecial::No).expect("short");
    assert_eq!(no[0], 264, "user-defined tokens are text");
    assert!(!no.contains(&263));
    assert_eq!(tokenizer.decode(&no), text);
    assert_eq!(tokenizer.decode(&yes), "[TOOL]");
}

#[test]
fn end_of_generation_holds_eos_and_known_turn_ends() {
    let fixture = ByteLevelFixture::new();
    let source = VocabSource { eos: Some(0), eot: Some(5), ..fixture.source() };
    let tokenizer = Tokenizer::from_source(&source).expect("consistent");
    assert_eq!(tokenizer.end_of_generation(), [0, 5, 263]);
    assert!(tokenizer.is_end_of_generation(263) && !tokenizer.is_end_of_generation(262));
}

#[test]
fn beginning_is_added_as_the_model_wants() {
    let fixture = ByteLevelFixture::new();
    let encode = |source: &VocabSource, add| {
        let tokenizer = Tokenizer::from_source(source).expect("consistent");
        tokenizer.encode("1", add, ParseSpecial::No).expect("short")
    };
    assert_eq!(encode(&fixture.source(), AddSpecial::Yes), [u32::from(b'1')]);
    let both = VocabSource { add_bos: Some(true), add_eos: Some(true), ..fixture.source() };
    assert_eq!(encode(&both, AddSpecial::Yes), [262, u32::from(b'1'), 263]);
    assert_eq!(encode(&both, AddSpecial::No), [u32::from(b'1')]);
    let llama3 = VocabSource { pre: Some("llama-bpe"), ..fixture.source() };
    assert_eq!(encode(&llama3, AddSpecial::Yes), [262, u32::from(b'1')]);
    assert_eq!(encode(&spm_source(), AddSpecial::Yes)[0], 1);
}

#[test]
fn sentencepiece_merges_the_best_score_first() {
    // "bc" (-4) beats "ab" (-5), so "abc" is not "ab" + "c".
    assert_eq!(pieces(&spm(false), "abc"), ["a", "bc"]);
    assert_eq!(pieces(&spm(false), "ab ab"), ["ab", "▁ab"]);
    assert_eq!(pieces(&spm(true), "ab"), ["▁ab"]);
}

#[test]
fn sentencepiece_falls_back_to_bytes_then_to_unknown() {
    assert_eq!(pieces(&spm(false), "é\n"), ["<0xC3>", "<0xA9>", "<0x0A>"]);
    assert_eq!(pieces(&spm(false), "aö"), ["a", "<unk>"]);
    assert_eq!(pieces(&spm(false), "\n\n"), ["\n\n"]);
    assert_eq!(pieces(&spm(false), "<0x0A>").len(), 6, "a byte token cannot be typed");
}

#[test]
fn the_added_space_returns_to_nothing_but_stays_in_a_continuation() {
    let tokenizer = spm(true);
    let ids = tokenizer.encode("ab </s>ab", AddSpecial::Yes, ParseSpecial::Yes).expect("short");
    assert_eq!(pieces(&tokenizer, "ab </s>ab"), ["▁ab", "▁", "</s>", "▁ab"]);
    assert_eq!(tokenizer.decode(&ids), "ab  ab");
    let mut text = String::new();
    let mut stream = DecodeStream::new(&tokenizer, Begin::Continuation, Specials::Show);
    for id in ids {
        stream.push(&tokenizer, id, &mut text);
    }
    stream.finish(&mut text);
    assert_eq!(text, "<s> ab </s> ab");
}

#[test]
fn contradictions_name_the_key() {
    let fixture = ByteLevelFixture::new();
    let base = fixture.source();
    let mut short_scores = spm_source();
    short_scores.scores.pop();
    let mut odd_byte = spm_source();
    odd_byte.token_types[4] = 6;
    let cases: Vec<(VocabSource, &str)> = vec![
        (VocabSource { model: "t5", ..base.clone() }, "tokenizer.ggml.model"),
        (VocabSource { pre: Some("x"), ..base.clone() }, "tokenizer.ggml.pre"),
        (VocabSource { tokens: vec![], ..base.clone() }, "tokenizer.ggml.tokens"),
        (VocabSource { token_types: vec![1], ..base.clone() }, "tokenizer.ggml.token_type"),
        (
            VocabSource { token_types: vec![9; base.tokens.len()], ..base.clone() },
            "tokenizer.ggml.token_type",
        ),
        (
            VocabSource { merges: vec!["h e", "q_ zz"], ..base.clone() },
            "tokenizer.ggml.merges: entry 1",
        ),
        (VocabSource { merges: vec!["he"], ..base.clone() }, "tokenizer.ggml.merges: entry 0"),
        (VocabSource { merges: vec![""], ..base.clone() }, "tokenizer.ggml.merges: entry 0"),
        (VocabSource { bos: Some(265), ..base.clone() }, "tokenizer.ggml.bos_token_id"),
        (VocabSource { eom: Some(u32::MAX), ..base.clone() }, "tokenizer.ggml.eom_token_id"),
        (
            VocabSource { bos: None, add_bos: Some(true), ..base.clone() },
            "tokenizer.ggml.add_bos_token",
        ),
        (short_scores, "tokenizer.ggml.scores"),
        (odd_byte, "tokenizer.ggml.token_type"),
        (VocabSource { unk: None, ..spm_source() }, "tokenizer.ggml.unknown_token_id"),
    ];
    for (source, start) in cases {
        let error = Tokenizer::from_source(&source).expect_err(start);
        assert!(error.to_string().starts_with(start), "{error} should start with {start}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn hash_tells_vocabularies_apart() {
    let fixture = ByteLevelFixture::new();
    let mut other = fixture.source();
    assert_eq!(fixture.tokenizer().vocab_hash(), fixture.tokenizer().vocab_hash());
    other.token_types[3] = 5;
    let other = Tokenizer::from_source(&other).expect("consistent");
    assert_ne!(fixture.tokenizer().vocab_hash(), other.vocab_hash());
}

#[test]
fn a_megabyte_without_a_break_is_quick() {
    let long = "l".repeat(1 << 20);
    let tokenizer = ByteLevelFixture::new().tokenizer();
    let ids = tokenizer.encode(&long, AddSpecial::No, ParseSpecial::No).expect("one word");
    assert_eq!(ids.len(), 1 << 19);
    let ids = spm(false)
        .encode(&"ab".repeat(1 << 17), AddSpecial::No, ParseSpecial::No)
        .expect("no words");
    assert_eq!(ids.len(), 1 << 17);
}

/// Built once: compiling the patterns takes longer than a case.
fn every_pre_tokenizer() -> &'static [Tokenizer] {
    static ALL: std::sync::OnceLock<Vec<Tokenizer>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        let fixture = ByteLevelFixture::new();
        let build =
            |pre| Tokenizer::from_source(&VocabSource { pre: Some(pre), ..fixture.source() });
        crate::text::pre_tokenizer_names().map(|pre| build(pre).expect("consistent")).collect()
    })
}

proptest! {
    #[test]
    fn byte_level_text_survives_a_round_trip(text in any::<String>(), spaced in "[ \\nhel<|1é🙂\u{200d}]{0,40}") {
        let tokenizer = ByteLevelFixture::new().tokenizer();
        for text in [text, spaced] {
            let ids = tokenizer.encode(&text, AddSpecial::Yes, ParseSpecial::No).expect("splits");
            prop_assert_eq!(tokenizer.decode(&ids), text);
        }
    }

    #[test]
    fn any_text_encodes(text in any::<String>()) {
        for tokenizer in every_pre_tokenizer().iter().chain([&spm(true)]) {
            prop_assert!(tokenizer.encode(&text, AddSpecial::Yes, ParseSpecial::Yes).is_ok());
        }
    }

    /// Truth is the standard library's lossy conversion of all bytes together.
    #[test]
    fn stream_equals_the_whole(ids in prop::collection::vec(0..300_u32, 0..60)) {
        let tokenizer = ByteLevelFixture::new().tokenizer();
        let mut bytes = Vec::new();
        for &id in &ids {
            if tokenizer.token_kind(id) != Some(TokenKind::Control) {
                bytes.extend_from_slice(tokenizer.token_bytes(id).unwrap_or_default());
            }
        }
        prop_assert_eq!(tokenizer.decode(&ids), String::from_utf8_lossy(&bytes));
    }

    /// No character is split: each emitted piece only adds certain text.
    #[test]
    fn stream_emits_each_character_as_soon_as_it_is_whole(text in any::<String>()) {
        let tokenizer = ByteLevelFixture::new().tokenizer();
        let mut stream = DecodeStream::new(&tokenizer, Begin::Text, Specials::Hide);
        let (mut out, mut fed) = (String::new(), 0);
        for &byte in text.as_bytes() {
            stream.push(&tokenizer, u32::from(byte), &mut out);
            fed += 1;
            let whole = (0..=fed).rev().find(|&at| text.is_char_boundary(at)).expect("0 is a border");
            prop_assert_eq!(out.as_str(), &text[..whole]);
        }
    }

    #[test]
    fn hostile_metadata_is_an_error_or_works(
        tokens in prop::collection::vec("[ab▁Ġ<>0x ]{0,6}", 0..20),
        merges in prop::collection::vec("[ab▁Ġ ]{0,5}", 0..10),
        scores in prop::collection::vec(any::<f32>(), 0..20),
        token_types in prop::collection::vec(-1..8_i32, 0..20),
        model in prop::sample::select(vec!["gpt2", "llama"]),
        ids in prop::collection::vec(prop::option::of(0..25_u32), 4),
    ) {
        let source = VocabSource {
            model,
            pre: Some("smollm"),
            tokens: tokens.iter().map(String::as_str).collect(),
            merges: merges.iter().map(String::as_str).collect(),
            scores,
            token_types,
            bos: ids[0],
            eos: ids[1],
            unk: ids[2],
            pad: ids[3],
            ..VocabSource::default()
        };
        if let Ok(tokenizer) = Tokenizer::from_source(&source) {
            let ids = tokenizer.encode("ab a▁b <0x0A> Ġé", AddSpecial::Yes, ParseSpecial::Yes).expect("short");
            prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
            tokenizer.decode(&ids);
        }
    }
}
