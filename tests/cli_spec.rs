//! The built binary on a tiny model: traces, marked answers, Spec-Bench.

#[path = "support/command.rs"]
mod command;
#[path = "support/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};

use command::{Outcome, Sandbox, outcome};
use coppice::spec::trace::Trace;
use serde_json::Value;
use tiny::tiny_model;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// Runs with the tiny model on the CPU.
fn on_cpu(sandbox: &Sandbox, args: &[&str]) -> Outcome {
    let model = tiny_model(sandbox);
    let mut command = sandbox.command(args);
    outcome(command.arg("-m").arg(model).args(["--device", "cpu"]).output().expect("it runs"))
}

const RUN: [&str; 9] =
    ["run", "-p", "once upon", "--raw", "-n", "12", "--ignore-eos", "--temp", "0"];

/// A trace of twelve tokens, and what `run --json` said of them.
fn traced(sandbox: &Sandbox) -> (PathBuf, Value) {
    let run = on_cpu(sandbox, &[&RUN[..], &["--json", "--trace", "t.jsonl"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    (sandbox.path().join("t.jsonl"), json(&run.stdout))
}

#[test]
fn a_trace_holds_the_answer_and_needs_no_model() {
    let sandbox = Sandbox::new();
    let (path, report) = traced(&sandbox);
    let trace = Trace::open(&path).expect("a whole trace");
    assert_eq!(trace.notes, Vec::<String>::new());
    assert_eq!(trace.mismatches(), Vec::<String>::new());
    assert_eq!(trace.header.method.name(), "plain");
    assert_eq!(trace.header.acceptance, "greedy");
    // The first token of an answer comes from its prompt and is the root of the first round.
    let mut ids = vec![trace.rounds[0].outcome.nodes[0].token];
    trace.rounds.iter().for_each(|round| ids.extend(round.outcome.added()));
    assert_eq!(serde_json::json!(ids), report["output_ids"]);
    assert_eq!(serde_json::json!(trace.prompts[0].ids), report["prompt_ids"]);
    assert_eq!(trace.summary.as_ref().map(|summary| summary.generated), Some(12));

    let summary = sandbox.run(["trace", "summary", "t.jsonl", "--json"]);
    assert_eq!(summary.code, Some(0), "{}", summary.stderr);
    let summary = json(&summary.stdout);
    assert_eq!(
        (&summary["stats"]["rounds"], &summary["stats"]["tokens"]),
        (&11.into(), &11.into())
    );
    assert_eq!(summary["generated"], 12);
    let text = sandbox.run(["trace", "summary", "t.jsonl"]).stdout;
    assert!(text.contains("11 rounds gave 11 tokens, 1.00 a round"), "{text}");
    let rounds = sandbox.run(["trace", "rounds", "t.jsonl"]);
    assert_eq!(rounds.stdout.lines().count(), 1 + 11, "{}", rounds.stdout);
}

#[test]
fn a_round_is_drawn_and_one_that_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    traced(&sandbox);
    let drawn = sandbox.run(["trace", "tree", "t.jsonl", "--round", "3", "-o", "tree.svg"]);
    assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
    assert!(drawn.stdout.is_empty());
    let svg = std::fs::read_to_string(sandbox.path().join("tree.svg")).expect("it was written");
    assert!(svg.starts_with("<svg") && svg.contains("Round 3: plain"), "{svg}");
    let out = sandbox.run(["trace", "tree", "t.jsonl", "--round", "3"]);
    assert_eq!(out.stdout, svg);
    let wrong = sandbox.run(["trace", "tree", "t.jsonl", "--round", "11"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("--round 11: t.jsonl has 11 rounds"), "{}", wrong.stderr);
}

#[test]
fn a_trace_is_never_written_over() {
    let sandbox = Sandbox::new();
    let (path, _) = traced(&sandbox);
    let before = std::fs::read(&path).expect("it is there");
    let again = on_cpu(&sandbox, &[&RUN[..], &["--trace", "t.jsonl"]].concat());
    assert_eq!(again.code, Some(2), "{}", again.stderr);
    assert!(again.stderr.contains("t.jsonl is there already"), "{}", again.stderr);
    assert_eq!(std::fs::read(&path).expect("it is still there"), before);
}

#[test]
fn a_trace_that_was_cut_off_opens_and_a_broken_one_names_its_line() {
    let sandbox = Sandbox::new();
    let (path, _) = traced(&sandbox);
    let text = std::fs::read_to_string(&path).expect("it is there");
    let write = |text: &str| std::fs::write(&path, text).expect("writable");
    // Figures vary in length from run to run, so the middle may be a line's end: cut inside a line.
    let line = text[..text.len() / 2].rfind('\n').expect("a line ends in the first half") + 1;
    write(&text[..line + 10]);
    let cut = sandbox.run(["trace", "summary", "t.jsonl", "--json"]);
    assert_eq!(cut.code, Some(0), "{}", cut.stderr);
    assert!(cut.stderr.contains("is cut off and was left out"), "{}", cut.stderr);
    assert!(json(&cut.stdout)["stats"]["rounds"].as_u64().is_some_and(|n| n > 0 && n < 11));
    write(&text.replacen("\"path\":[0]", "\"path\":[7]", 1));
    let broken = sandbox.run(["trace", "rounds", "t.jsonl"]);
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("t.jsonl:3: path [7]"), "{}", broken.stderr);
    write(&text.replacen("\"rounds\":11", "\"rounds\":12", 1));
    let off = sandbox.run(["trace", "summary", "t.jsonl"]);
    assert_eq!(off.code, Some(1), "a summary that does not add up");
    assert!(off.stderr.contains("rounds: 11 in the rounds, 12 in the summary"), "{}", off.stderr);
}

#[test]
fn chat_traces_all_answers_into_one_file() {
    let sandbox = Sandbox::new();
    let script = sandbox.path().join("script");
    std::fs::write(&script, "hello\nand again\n/quit\n").expect("writable");
    let model = tiny_model(&sandbox);
    let chat = outcome(
        sandbox
            .command(["chat", "-n", "3", "--ignore-eos", "--seed", "1", "--trace", "t.jsonl", "-m"])
            .arg(&model)
            .args(["--device", "cpu"])
            .stdin(std::fs::File::open(&script).expect("it is there"))
            .output()
            .expect("it runs"),
    );
    assert_eq!(chat.code, Some(0), "{}", chat.stderr);
    let trace = Trace::open(&sandbox.path().join("t.jsonl")).expect("a whole trace");
    assert_eq!(trace.prompts.len(), 2);
    assert_eq!(trace.rounds.iter().map(|round| round.answer).collect::<Vec<_>>(), [0, 0, 1, 1]);
    assert_eq!(trace.mismatches(), Vec::<String>::new());
}

/// Text between signs of `--show-spec`, with what the answer has and without what was rejected.
fn without_signs(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("[-") {
        out.push_str(&rest[..at]);
        rest = rest[at..].split_once("-]").expect("a sign ends").1;
    }
    out.push_str(rest);
    for sign in ["{+", "+}", "{*", "*}"] {
        out = out.replace(sign, "");
    }
    out
}

#[test]
fn the_marked_answer_is_the_answer() {
    let sandbox = Sandbox::new();
    for method in ["plain", "lookup"] {
        // A prompt that repeats itself, so that lookup has something to draft.
        let args =
            ["run", "-p", "abcabcabcabc", "--raw", "-n", "40", "--temp", "0", "--spec", method];
        let plain = on_cpu(&sandbox, &args);
        assert_eq!(plain.code, Some(0), "{}", plain.stderr);
        let marked = on_cpu(&sandbox, &[&args[..], &["--show-spec"]].concat());
        assert_eq!(marked.code, Some(0), "{}", marked.stderr);
        let (shown, figures) = marked.stdout.rsplit_once("\n\n").expect("figures at the end");
        assert_eq!(without_signs(shown), plain.stdout.trim_end_matches('\n'), "{method}");
        assert!(figures.contains(" rounds gave ") && figures.ends_with('\n'), "{figures}");
        assert!(marked.stderr.contains("{+accepted+}"), "{}", marked.stderr);
        let coloured =
            on_cpu(&sandbox, &[&args[..], &["--show-spec", "--color", "always"]].concat());
        assert!(!coloured.stdout.contains("{*"), "{}", coloured.stdout);
        assert_eq!(coloured.stdout.contains("\x1b[34m"), method != "plain");
    }
}

/// The figures are counted here again from the lines as they stand in the file, by nothing of ours.
#[test]
fn the_figures_at_the_end_of_a_trace_are_those_of_its_rounds() {
    let sandbox = Sandbox::new();
    let args = ["run", "-p", "abcabcabcabc", "--raw", "-n", "40", "--ignore-eos", "--temp", "0"];
    let spec = ["--spec", "lookup", "--no-gate", "--json", "--trace", "t.jsonl"];
    let run = on_cpu(&sandbox, &[&args[..], &spec].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = lines(&sandbox.path().join("t.jsonl"));
    let rounds: Vec<&Value> =
        lines.iter().filter(|line| line["kind"] == "round").map(|line| &line["outcome"]).collect();
    let summary = lines.last().filter(|line| line["kind"] == "summary").expect("the last line");
    let len = |list: &Value| list.as_array().map_or(0, Vec::len);
    let sum = |of: &dyn Fn(&Value) -> usize| rounds.iter().map(|round| of(round)).sum::<usize>();
    let nodes = |round: &Value, is: &str| {
        let all = round["nodes"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|node| node["verdict"]["is"] == is).count()
    };
    let stats = &summary["stats"];
    for (name, counted) in [
        ("rounds", rounds.len()),
        ("plain_rounds", sum(&|round| usize::from(len(&round["nodes"]) == 1))),
        ("tokens", sum(&|round| len(&round["path"]))),
        ("bonus", rounds.len()),
        ("drafted", sum(&|round| len(&round["nodes"]) - 1)),
        ("accepted", sum(&|round| nodes(round, "accepted"))),
        ("accepted", sum(&|round| len(&round["path"]) - 1)),
        ("reached", sum(&|round| nodes(round, "accepted") + nodes(round, "rejected"))),
    ] {
        assert_eq!(stats[name], counted, "{name} of {stats}");
    }
    assert!(stats["accepted"].as_u64() > Some(3), "something was drafted: {stats}");
    for stage in ["draft_ms", "verify_ms", "commit_ms", "host_ms"] {
        let of = |times: &Value| times[stage].as_f64().expect("milliseconds");
        let counted: f64 = rounds.iter().map(|round| of(&round["times"])).sum();
        assert!((counted - of(&stats["times"])).abs() < 1e-6 * counted.max(1.0), "{stage}");
    }
    // One token comes from the prompt; the last round may go beyond what was asked for.
    let generated = summary["generated"].as_u64().expect("a number");
    assert!(generated == 40 && stats["tokens"].as_u64() >= Some(39), "{stats}");
}

fn questions(sandbox: &Sandbox) {
    let mut text = String::new();
    for (id, category, turns) in [
        (81, "writing", r#"["ab","cd"]"#),
        (82, "writing", r#"["abababababab"]"#),
        (111, "math", r#"["1+1=1+1=1+1="]"#),
        (481, "rag", r#"["xyxyxyxyxyxy"]"#),
    ] {
        text.push_str(&format!(
            "{{\"question_id\":{id},\"category\":\"{category}\",\"turns\":{turns}}}\n"
        ));
    }
    std::fs::write(sandbox.path().join("q.jsonl"), text).expect("writable");
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).expect("it was written").lines().map(json).collect()
}

#[test]
fn spec_bench_reports_every_method_and_category() {
    let sandbox = Sandbox::new();
    questions(&sandbox);
    let bench = on_cpu(
        &sandbox,
        &[
            "bench",
            "spec",
            "--questions",
            "q.jsonl",
            "--methods",
            "lookup,auto",
            "-n",
            "12",
            "--format",
            "json",
            "--chart",
            "c.svg",
            "--answers",
            "a.jsonl",
        ],
    );
    assert_eq!(bench.code, Some(0), "{}", bench.stderr);
    let report = json(&bench.stdout);
    assert_eq!((&report["schema"], &report["questions"]), (&1.into(), &4.into()));
    assert_eq!(report["mismatches"], serde_json::json!([]));
    let methods = report["methods"].as_array().expect("a list");
    let names: Vec<&str> = methods.iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(names, ["plain", "lookup", "auto"]);
    for method in methods {
        let categories: Vec<&String> =
            method["categories"].as_object().expect("by name").keys().collect();
        assert_eq!(categories, ["writing", "math", "mt_bench", "rag"]);
        for figures in [&method["overall"], &method["categories"]["mt_bench"]] {
            for name in ["mean_accepted_tokens", "tokens_per_second", "speedup"] {
                assert!(figures[name].as_f64().is_some_and(|x| x > 0.0), "{name} of {figures}");
            }
        }
        // All methods give the same tokens from the same prompts.
        for count in ["tokens", "prompt_tokens", "questions"] {
            assert_eq!(method["overall"][count], methods[0]["overall"][count], "{count}");
        }
    }
    assert_eq!(methods[0]["overall"]["mean_accepted_tokens"], 1.0);
    assert_eq!(methods[0]["overall"]["speedup"], 1.0);
    assert_eq!(methods[0]["categories"]["mt_bench"]["questions"], 3);

    let answers = lines(&sandbox.path().join("a.jsonl"));
    assert_eq!(answers.len(), 4 * 3);
    assert_eq!(answers[0]["new_tokens"].as_array().map(Vec::len), Some(2), "two turns");
    for of_question in answers.chunks(3) {
        assert!(of_question.iter().all(|answer| answer["ids"] == of_question[0]["ids"]));
    }
    let chart = std::fs::read_to_string(sandbox.path().join("c.svg")).expect("it was written");
    for word in ["lookup", "mt_bench", "overall"] {
        assert!(chart.contains(word), "{word} is not in the chart");
    }
}

#[test]
fn spec_bench_takes_some_questions_and_prints_tables() {
    let sandbox = Sandbox::new();
    questions(&sandbox);
    let bench = |args: &[&str]| {
        let base = ["bench", "spec", "--questions", "q.jsonl", "--methods", "plain", "-n", "3"];
        on_cpu(&sandbox, &[&base[..], args].concat())
    };
    let csv = bench(&["--per-category", "1", "--format", "csv", "-o", "out.csv"]);
    assert_eq!((csv.code, csv.stdout.as_str()), (Some(0), ""), "{}", csv.stderr);
    let csv = std::fs::read_to_string(sandbox.path().join("out.csv")).expect("it was written");
    assert!(csv.lines().nth(1).is_some_and(|line| line.starts_with("plain,overall,3,")), "{csv}");
    let md = bench(&["--limit", "2"]);
    assert!(md.stdout.contains("2 of 2 questions"), "{}", md.stdout);
    assert!(md.stdout.contains("| plain | 1.00 |"), "{}", md.stdout);
    let unknown = bench(&["--methods", "magic"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("possible values: plain"), "{}", unknown.stderr);
    std::fs::write(sandbox.path().join("q.jsonl"), "{}\n").expect("writable");
    let broken = bench(&[]);
    assert_eq!(broken.code, Some(2));
    assert!(broken.stderr.contains("q.jsonl:1: missing field"), "{}", broken.stderr);
}

#[test]
fn questions_beyond_the_context_are_left_out_by_name() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(400);
    let text = format!(
        "{{\"question_id\":1,\"category\":\"qa\",\"turns\":[\"{long}\"]}}\n\
         {{\"question_id\":2,\"category\":\"qa\",\"turns\":[\"x\"]}}\n"
    );
    std::fs::write(sandbox.path().join("q.jsonl"), text).expect("writable");
    let args = [
        "bench",
        "spec",
        "--questions",
        "q.jsonl",
        "--methods",
        "plain",
        "-n",
        "3",
        "--format",
        "json",
    ];
    let bench = on_cpu(&sandbox, &args);
    assert_eq!(bench.code, Some(0), "{}", bench.stderr);
    let report = json(&bench.stdout);
    assert_eq!((&report["questions"], &report["asked"]), (&1.into(), &2.into()));
    assert!(report["skipped"][0].as_str().is_some_and(|why| why.contains("question 1")));
}

const LOSSLESS: [&str; 10] = [
    "bench",
    "lossless",
    "--questions",
    "q.jsonl",
    "-n",
    "10",
    "--settings",
    "greedy,t1-p0.9-penalties",
    "--log",
    "log.jsonl",
];

#[test]
fn every_kind_of_draft_is_compared_with_plain_decoding_and_a_stopped_run_goes_on() {
    let sandbox = Sandbox::new();
    questions(&sandbox);
    // Known to be wrong before any model is opened.
    let wrong =
        sandbox.run([&LOSSLESS[..], &["-m", "no-such.gguf", "--drafts", "no-such"]].concat());
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("there are no such drafts"), "{}", wrong.stderr);
    for nodes in ["1", "65"] {
        let wrong = sandbox.run([&LOSSLESS[..], &["-m", "no-such.gguf", "--tree", nodes]].concat());
        assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
        assert!(wrong.stderr.contains("tree"), "{}", wrong.stderr);
    }
    let bench = || on_cpu(&sandbox, &[&LOSSLESS[..], &["--json"]].concat());
    let whole = bench();
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let report = json(&whole.stdout);
    assert_eq!((&report["lossless"], &report["prompts"]), (&true.into(), &4.into()));
    let cells = report["cells"].as_array().expect("a list").clone();
    let names: Vec<&str> = cells.iter().filter_map(|cell| cell["drafts"].as_str()).collect();
    // No heads come with the program for this model.
    let kinds = ["medusa-random", "lookup", "rest", "draft", "auto", "perfect"];
    assert_eq!(names, kinds.map(|kind| [kind, kind]).concat());
    for cell in &cells {
        assert_eq!((&cell["answered"], &cell["equal"]), (&4.into(), &4.into()), "{cell}");
        let tokens = cell["tokens_a_round"].as_f64().expect("a number");
        assert!(cell["drafts"] != "perfect" || tokens > 3.0, "{cell}");
    }
    let path = sandbox.path().join("log.jsonl");
    let log = std::fs::read_to_string(&path).expect("it was written");
    assert_eq!(log.lines().count(), 1 + 2 * 4 * 7);

    // Cut off in the middle of a line, the rest is answered again and nothing else.
    let half = log.len() / 2;
    std::fs::write(&path, &log[..half]).expect("writable");
    let again = bench();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    for cell in json(&again.stdout)["cells"].as_array().expect("a list") {
        assert_eq!((&cell["answered"], &cell["equal"]), (&4.into(), &4.into()), "{cell}");
    }
    // How much is drafted depends on measured times, and on what earlier rounds taught.
    let answers = |log: &str| -> Vec<Value> {
        let answer = |line| {
            let mut answer = json(line);
            let fields = answer.as_object_mut().expect("an object");
            fields.remove("rounds");
            fields.remove("accepted");
            answer
        };
        log.lines().map(answer).collect()
    };
    assert_eq!(answers(&std::fs::read_to_string(&path).expect("it is there")), answers(&log));

    // An answer that differs is found: here plain decoding's is not what it was.
    let first = log.lines().nth(1).expect("an answer");
    let mut plain = json(first);
    plain["ids"][3] = ((plain["ids"][3].as_u64().expect("an id") + 1) % 256).into();
    let kept = log
        .lines()
        .take(1 + 2 * 4)
        .map(|line| if line == first { plain.to_string() } else { line.to_owned() });
    let kept: Vec<String> = kept.collect();
    std::fs::write(&path, kept.join("\n") + "\n").expect("writable");
    let wrong = on_cpu(&sandbox, &[&LOSSLESS[..], &["--drafts", "lookup,perfect"]].concat());
    assert_eq!(wrong.code, Some(1), "{}", wrong.stdout);
    let said = "MISMATCH: perfect at greedy, prompt 0, token 3";
    assert!(wrong.stdout.contains(said), "{}", wrong.stdout);
    assert!(wrong.stdout.contains("| lookup | 3 of 4, "), "{}", wrong.stdout);

    let other = on_cpu(&sandbox, &[&LOSSLESS[..], &["--seed", "5"]].concat());
    assert_eq!(other.code, Some(2));
    assert!(other.stderr.contains("of another model, device or prompts"), "{}", other.stderr);
    let unknown = on_cpu(&sandbox, &[&LOSSLESS[..], &["--drafts", "magic"]].concat());
    assert!(unknown.stderr.contains("there are medusa-random, medusa"), "{}", unknown.stderr);
}

#[test]
fn without_heads_or_other_sources_decoding_is_plain() {
    let sandbox = Sandbox::new();
    let trace = |more: &[&str], file: &str| {
        let args = [&RUN[..], &["--trace", file], more].concat();
        let run = on_cpu(&sandbox, &args);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let trace = Trace::open(&sandbox.path().join(file)).expect("a whole trace");
        trace.header.method.name().to_owned()
    };
    assert_eq!(trace(&[], "1.jsonl"), "plain");
    std::fs::write(sandbox.path().join("notes.txt"), "once upon a time").expect("writable");
    assert_eq!(trace(&["--documents", "notes.txt"], "2.jsonl"), "auto");
    assert_eq!(trace(&["--heads", "none"], "3.jsonl"), "plain");
    let none = on_cpu(&sandbox, &[&RUN[..], &["--spec", "medusa"]].concat());
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("--spec medusa needs --heads"), "{}", none.stderr);
}
