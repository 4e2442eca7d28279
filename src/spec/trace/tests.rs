//! Round trips, files that were cut off, and files that are wrong.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{error::Error, spec::sample_rounds::*};

fn header() -> Header {
    Header {
        schema: SCHEMA,
        coppice: "0.1.0".into(),
        model: "tiny".into(),
        device: "cpu".into(),
        method: Method::Medusa,
        acceptance: "greedy".into(),
        sampler: SamplerParams::default(),
        tree: None,
    }
}

/// Token 10 is "t10"; 13 is half a character.
fn bytes_of(token: u32) -> Option<&'static [u8]> {
    const TEXTS: [&[u8]; 16] = [
        b"t10",
        b" a",
        b" b",
        b"\xE2\x82",
        b"\n",
        b"<&>",
        b"\"",
        b"t17",
        b"t18",
        b"t19",
        b"t20",
        b"t21",
        b"t22",
        b"t23",
        b"t24",
        b"t25",
    ];
    TEXTS.get(token.checked_sub(10)? as usize).copied()
}

/// A trace of two answers in a folder that lasts as long as the first value.
fn written() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("t.jsonl");
    let mut writer = TraceWriter::create(&path, &header()).expect("a new file");
    writer.begin(&[1, 2, 3]).expect("writable");
    for round in [branching(0), plain(1), chain(2)] {
        writer.round(&round, bytes_of).expect("writable");
    }
    writer.end(8);
    writer.begin(&[4]).expect("writable");
    writer.round(&typical(0), bytes_of).expect("writable");
    writer.end(2);
    writer.finish().expect("writable");
    (dir, path)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("it was written")
}

#[test]
fn what_was_written_is_read_back() {
    let (_dir, path) = written();
    let trace = Trace::open(&path).expect("a whole trace");
    assert_eq!(trace.header, header());
    assert_eq!(trace.notes, Vec::<String>::new());
    let outcomes: Vec<_> = trace.rounds.iter().map(|round| round.outcome.clone()).collect();
    assert_eq!(outcomes, [branching(0), plain(1), chain(2), typical(0)]);
    assert_eq!(trace.rounds.iter().map(|r| r.answer).collect::<Vec<_>>(), [0, 0, 0, 1]);
    assert_eq!(trace.prompts[0].ids.as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(trace.rounds[0].texts[3], "\\xE2\\x82");
    assert_eq!(trace.rounds[0].added_text(), " a\n\"");
    assert_eq!(trace.rounds[0].text_of(16), Some("\""));
    let summary = trace.summary.as_ref().expect("a summary");
    assert_eq!((summary.answers, summary.generated), (2, 10));
    assert_eq!(summary.stats.rounds, 4);
    assert_eq!(trace.mismatches(), Vec::<String>::new());
}

#[test]
fn every_line_is_an_object_with_its_kind_first() {
    let (_dir, path) = written();
    let kinds: Vec<String> = text(&path)
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let (key, kind) = value.as_object().and_then(|o| o.iter().next()).expect("not empty");
            assert_eq!(key, "kind");
            kind.as_str().expect("a word").to_owned()
        })
        .collect();
    let wanted = ["header", "prompt", "round", "round", "round", "prompt", "round", "summary"];
    assert_eq!(kinds, wanted);
}

#[test]
fn a_trace_is_whole_after_every_call() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("t.jsonl");
    let mut writer = TraceWriter::create(&path, &header()).expect("a new file");
    writer.begin(&[1]).expect("writable");
    for n in 0..3 {
        writer.round(&branching(n), bytes_of).expect("writable");
        let trace = Trace::open(&path).expect("readable while it is written");
        assert_eq!(trace.rounds.len() as u64, n + 1);
        assert!(trace.notes.iter().any(|note| note.contains("no summary")), "{:?}", trace.notes);
        assert_eq!(&trace.stats(), writer.stats());
    }
}

#[test]
fn cut_off_anywhere_behind_the_header_it_still_opens() {
    let (_dir, path) = written();
    let bytes = text(&path).into_bytes();
    let first = bytes.iter().position(|&b| b == b'\n').expect("lines") + 1;
    let whole_lines = |n: usize| bytes[..n].iter().filter(|&&b| b == b'\n').count();
    for n in first..bytes.len() {
        let trace = Trace::parse(&path, &bytes[..n]).expect("cut off, but readable");
        let kept =
            1 + trace.prompts.len() + trace.rounds.len() + usize::from(trace.summary.is_some());
        let cut = trace.notes.iter().any(|note| note.contains("cut off"));
        if cut {
            assert_eq!(kept, whole_lines(n), "cut at byte {n}");
            let note = format!("line {} is cut off", whole_lines(n) + 1);
            assert!(trace.notes[0].contains(&note), "{:?}", trace.notes);
        } else {
            // Cut at a line's end, before or behind the line end itself.
            assert_eq!(kept, whole_lines(n + 1), "cut at byte {n}");
        }
    }
    for n in 0..first - 1 {
        let error = Trace::parse(&path, &bytes[..n]).expect_err("no header");
        assert!(error.to_string().contains("t.jsonl:1: no header"), "{error}");
    }
}

/// The error of a trace whose line `line`, from 1, was changed.
fn error_of(line: usize, change: impl Fn(&str) -> String) -> String {
    let (_dir, path) = written();
    let lines: Vec<String> = text(&path)
        .lines()
        .enumerate()
        .map(|(i, l)| if i + 1 == line { change(l) } else { l.into() })
        .collect();
    let broken = lines.join("\n") + "\n";
    let error = Trace::parse(&path, broken.as_bytes()).expect_err("it is broken").to_string();
    assert!(error.contains(&format!("t.jsonl:{line}: ")), "{error}");
    error
}

#[test]
fn lines_that_are_wrong_are_named() {
    let replace = |from: &'static str, to: &'static str| {
        move |line: &str| {
            assert!(line.contains(from), "{from} is not in {line}");
            line.replacen(from, to, 1)
        }
    };
    for (line, change, wanted) in [
        (3, replace("\"kind\":\"round\"", "\"kind\":\"walk\""), "unknown variant `walk`"),
        (3, replace("{", "["), "column"),
        (3, replace("\"parent\":0", "\"parent\":9"), "parent Some(9)"),
        (3, replace("\"parent\":0", "\"parent\":1"), "parent Some(1)"),
        (3, replace("\"parent\":null", "\"parent\":0"), "node 0 is no root"),
        (3, replace("\"depth\":1", "\"depth\":4000000000"), "depth 4000000000"),
        (3, replace("\"path\":[0,1,4]", "\"path\":[]"), "does not start at the root"),
        (3, replace("\"path\":[0,1,4]", "\"path\":[0,4]"), "4 is no child of 0"),
        (3, replace("\"path\":[0,1,4]", "\"path\":[0,1,99]"), "beyond the round's 7"),
        (3, replace("\"path\":[0,1,4]", "\"path\":[0,1]"), "node 4 is not on the kept path"),
        (3, replace("\"texts\":[\"t10\",", "\"texts\":["), "6 texts for 7 nodes"),
        (3, replace("\"draft_p\":0.625", "\"draft_p\":1e38"), "draft_p 1"),
        (3, replace("\"bonus\":16", "\"bonus\":-1"), "invalid value"),
        (1, replace("\"schema\":1", "\"schema\":2"), "schema 2"),
        (1, replace("\"kind\":\"header\"", "\"kind\":\"summary\""), "missing field"),
    ] {
        let error = error_of(line, change);
        assert!(error.contains(wanted), "{error}");
    }
    assert!(error_of(4, |_| String::new()).contains("an empty line"));
    let no_nodes = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        value["outcome"]["nodes"] = serde_json::json!([]);
        value["texts"] = serde_json::json!([]);
        value.to_string()
    };
    assert!(error_of(3, no_nodes).contains("a round of 0 nodes"));
    let header = |_: &str| {
        let (_dir, path) = written();
        text(&path).lines().next().expect("lines").to_owned()
    };
    assert!(error_of(4, header).contains("a second header"));
}

#[test]
fn a_summary_that_does_not_add_up_is_told() {
    let (_dir, path) = written();
    let broken = text(&path).replace("\"accepted\":6,\"bonus\"", "\"accepted\":7,\"bonus\"");
    assert_ne!(broken, text(&path));
    let trace = Trace::parse(&path, broken.as_bytes()).expect("well-formed");
    assert_eq!(trace.mismatches(), ["accepted: 6 in the rounds, 7 in the summary"]);
}

#[test]
fn a_file_with_content_is_never_written_over() {
    let (_dir, path) = written();
    let before = text(&path);
    let error = TraceWriter::create(&path, &header()).expect_err("it is there");
    assert!(matches!(error, Error::Invalid { .. }) && error.hint().is_some(), "{error}");
    assert_eq!(text(&path), before);
}

#[test]
fn unknown_fields_are_accepted() {
    let (_dir, path) = written();
    let newer = text(&path).replacen("\"answer\":", "\"mood\":\"good\",\"answer\":", 2);
    assert_ne!(newer, text(&path));
    assert_eq!(Trace::parse(&path, newer.as_bytes()).expect("a newer writer").rounds.len(), 4);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in any::<u16>()) {
        let (_dir, path) = written();
        let mut text = text(&path).into_bytes();
        let at = usize::from(at) % text.len();
        text.splice(at..(at + bytes.len()).min(text.len()), bytes);
        if let Ok(trace) = Trace::parse(&path, &text) {
            trace.rounds.iter().for_each(|round| {
                round.added_text();
            });
            trace.mismatches();
        }
    }
}
