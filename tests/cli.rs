//! The built binary on a tiny model: output, errors, exit codes, JSON.

#[path = "support/command.rs"]
mod command;
#[path = "support/tiny.rs"]
mod tiny;

use std::{
    io::{Read as _, Write as _},
    process::Stdio,
};

use command::{Sandbox, outcome};
use serde_json::Value;
use tiny::tiny_model;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// Runs with the tiny model on a device.
fn on(sandbox: &Sandbox, device: &str, args: &[&str]) -> command::Outcome {
    let model = tiny_model(sandbox);
    let model = model.to_str().expect("a UTF-8 path");
    sandbox.run(args.iter().copied().chain(["-m", model, "--device", device]))
}

#[test]
fn help_names_every_verb_and_the_exit_codes() {
    let help = Sandbox::new().run(["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["run", "chat", "pull", "bench", "perplexity", "gpu-test", "Exit codes"] {
        assert!(help.stdout.contains(word), "`{word}` is missing");
    }
}

#[test]
fn every_flag_of_every_verb_is_explained() {
    let sandbox = Sandbox::new();
    for verb in [
        "run",
        "chat",
        "pull",
        "perplexity",
        "logits",
        "bench",
        "tokenize",
        "datastore build",
        "datastore info",
        "inspect",
        "devices",
        "doctor",
        "gpu-test",
        "bench spec",
        "bench suite",
        "trace tree",
        "trace summary",
        "trace rounds",
    ] {
        let help = sandbox.run(verb.split(' ').chain(["--help"]));
        assert_eq!(help.code, Some(0), "{verb}");
        let lines: Vec<&str> = help.stdout.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let flag = line.trim_start();
            if !flag.starts_with('-') || flag.starts_with("- ") {
                continue;
            }
            let here = flag.split("  ").nth(1).is_some_and(|text| !text.trim().is_empty());
            let below = lines.get(i + 1).is_some_and(|next| !next.trim().is_empty());
            assert!(here || below, "{verb}: `{flag}` has no explanation");
        }
    }
}

#[test]
fn words_that_are_off_are_usage_errors() {
    let sandbox = Sandbox::new();
    for args in [
        &["run", "--no-such-flag"][..],
        &["frobnicate"],
        &["run", "-p", "x", "--temp", "warm"],
        &["run", "-p", "x", "--temp", "-1"],
        &["run", "-p", "x", "--device", "gpu"],
        &["run", "-p", "x", "--threads", "0"],
        &["logits"],
    ] {
        let run = sandbox.run(args);
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty() && run.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_device_that_is_not_here_has_its_own_exit_code() {
    let sandbox = Sandbox::new();
    for device in ["cuda", "wgpu:99"] {
        let run = on(&sandbox, device, &["run", "-p", "x"]);
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        assert!(run.stderr.contains("hint: `coppice devices`"), "{}", run.stderr);
    }
}

#[test]
fn json_holds_ids_text_and_timings() {
    let sandbox = Sandbox::new();
    let run = on(
        &sandbox,
        "cpu",
        &["run", "-p", "hi", "--raw", "-n", "5", "--ignore-eos", "--temp", "0", "--json"],
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = json(&run.stdout);
    assert_eq!(report["schema"], 1);
    assert_eq!(report["prompt_ids"], serde_json::json!([104, 105]));
    assert_eq!(report["output_ids"].as_array().map(Vec::len), Some(5));
    assert_eq!(report["stop_reason"], "length");
    for name in [
        "cache_n",
        "prompt_n",
        "prompt_ms",
        "prompt_per_token_ms",
        "prompt_per_second",
        "predicted_n",
        "predicted_ms",
        "predicted_per_token_ms",
        "predicted_per_second",
    ] {
        assert!(report["timings"][name].is_number(), "{name} is missing");
    }
    assert_eq!(report["timings"]["prompt_n"], 2);
    assert_eq!(report["timings"]["predicted_n"], 5);
}

#[test]
fn text_is_the_same_on_any_number_of_threads_and_for_a_seed() {
    let sandbox = Sandbox::new();
    let ids = |device: &str, extra: &[&str]| {
        let args = ["run", "-p", "once upon", "--raw", "-n", "24", "--ignore-eos", "--json"];
        let args: Vec<&str> = args.iter().chain(extra).copied().collect();
        let run = on(&sandbox, device, &args);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        json(&run.stdout)["output_ids"].clone()
    };
    let greedy = ids("cpu", &["--temp", "0", "--threads", "1"]);
    assert_eq!(greedy, ids("cpu", &["--temp", "0", "--threads", "3"]));
    let seeded = ids("cpu", &["--seed", "7", "--threads", "1"]);
    assert_eq!(seeded, ids("cpu", &["--seed", "7", "--threads", "2"]));
    assert_ne!(seeded, ids("cpu", &["--seed", "8"]));
    let exact = ids("reference", &["--temp", "0", "--kv", "f32"]);
    assert_eq!(exact, ids("cpu", &["--temp", "0", "--kv", "f32", "--activations", "f32"]));
}

#[test]
fn a_full_context_is_a_clear_stop() {
    let sandbox = Sandbox::new();
    let run = on(
        &sandbox,
        "cpu",
        &["run", "-p", "abcd", "--raw", "--ctx", "16", "--ignore-eos", "--json"],
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = json(&run.stdout);
    assert_eq!(report["stop_reason"], "context");
    // Four prompt tokens fill the context with twelve more; the next is predicted and not computed.
    assert_eq!(report["output_ids"].as_array().map(Vec::len), Some(13));
    assert!(run.stderr.contains("raise --ctx"), "{}", run.stderr);
    let long =
        on(&sandbox, "cpu", &["run", "-p", "a prompt that is longer", "--raw", "--ctx", "16"]);
    assert_eq!(long.code, Some(2));
    assert!(long.stderr.contains("the prompt has 23 tokens, the context 16"), "{}", long.stderr);
}

#[test]
fn a_prompt_comes_from_a_file_or_standard_input() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("prompt.txt");
    std::fs::write(&file, "from a file").expect("the folder can be written");
    let path = file.to_str().expect("a UTF-8 path");
    let args = ["run", "--raw", "--temp", "0", "-n", "4", "--json", "-f"];
    let from_file = on(&sandbox, "cpu", &[&args[..], &[path]].concat());
    let model = tiny_model(&sandbox);
    let mut child = sandbox
        .command(args.iter().copied().chain(["-", "--device", "cpu", "-m"]))
        .arg(&model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("piped").write_all(b"from a file").expect("it reads");
    let from_stdin = outcome(child.wait_with_output().expect("it ends"));
    assert_eq!(from_file.code, Some(0), "{}", from_file.stderr);
    assert_eq!(json(&from_file.stdout)["output_ids"], json(&from_stdin.stdout)["output_ids"]);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let sandbox = Sandbox::new();
    let model = tiny_model(&sandbox);
    let mut child = sandbox
        .command(["run", "-p", "x", "--raw", "--ignore-eos", "--device", "cpu", "-m"])
        .arg(&model)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdout = child.stdout.take().expect("piped");
    let mut first = [0];
    stdout.read_exact(&mut first).expect("it writes something");
    drop(stdout);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn chat_answers_lines_and_keeps_the_conversation() {
    let sandbox = Sandbox::new();
    let model = tiny_model(&sandbox);
    let mut child = sandbox
        .command(["chat", "-n", "3", "--seed", "1", "--device", "cpu", "-v", "-m"])
        .arg(&model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let script = "hello\n/nonsense\nand again\n/save talk.md\n/save talk.md\n/quit\n";
    child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
    let chat = outcome(child.wait_with_output().expect("it ends"));
    assert_eq!(chat.code, Some(0), "{}", chat.stderr);
    assert!(chat.stderr.contains("there is no `/nonsense`"), "{}", chat.stderr);
    let saved = std::fs::read_to_string(sandbox.path().join("talk.md")).expect("it was saved");
    assert!(saved.contains("## user\n\nhello") && saved.contains("## user\n\nand again"));
    assert_eq!(saved.matches("## assistant").count(), 2);
    assert!(chat.stderr.contains("cannot write talk.md"), "a saved file must not be overwritten");
    let reused = chat.stderr.lines().filter(|line| line.contains("from the cache")).nth(1);
    assert!(reused.is_some_and(|line| !line.contains("(0 from the cache)")), "{}", chat.stderr);
}

#[test]
fn perplexity_and_logits_agree_with_each_other() {
    let sandbox = Sandbox::new();
    let text = sandbox.path().join("text.txt");
    std::fs::write(&text, "abc").expect("the folder can be written");
    let path = text.to_str().expect("a UTF-8 path");
    let scored = on(&sandbox, "cpu", &["perplexity", "-f", path, "--ctx", "16", "--json"]);
    assert_eq!(scored.code, Some(0), "{}", scored.stderr);
    let report = json(&scored.stdout);
    assert_eq!((&report["scored"], &report["windows"]), (&2.into(), &1.into()));
    let nll = |ids: &str, next: u32| {
        let run = on(&sandbox, "cpu", &["logits", "--ids", ids, "--top", "258", "--json"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let report = json(&run.stdout);
        let top = report["top"].as_array().expect("a list").clone();
        let total: f64 = top.iter().map(|e| e["logprob"].as_f64().expect("a number").exp()).sum();
        assert!((total - 1.0).abs() < 1e-6, "probabilities sum to {total}");
        let entry = top.iter().find(|entry| entry["id"] == next).expect("all ids are there");
        -entry["logprob"].as_f64().expect("a number")
    };
    let mean = (nll("97", 98) + nll("97,98", 99)) / 2.0;
    let got = report["mean_nll"].as_f64().expect("a number");
    assert!((got - mean).abs() < 1e-6, "{got} against {mean}");
}

#[test]
fn ids_beyond_the_vocabulary_are_refused() {
    let run = on(&Sandbox::new(), "cpu", &["logits", "--ids", "1,9999"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("token 9999 at position 1"), "{}", run.stderr);
}

#[test]
fn bench_reports_every_row_count() {
    let args =
        ["bench", "-p", "8", "-n", "4", "--depth", "8", "--rows", "1,3,8", "-r", "2", "-o", "json"];
    let bench = on(&Sandbox::new(), "cpu", &args);
    assert_eq!(bench.code, Some(0), "{}", bench.stderr);
    let report = json(&bench.stdout);
    let rows: Vec<_> =
        report["verify"].as_array().expect("a list").iter().map(|v| v["rows"].clone()).collect();
    assert_eq!(rows, [1, 3, 8]);
    assert!(report["prompt"]["tokens_per_second"].as_f64().is_some_and(|x| x > 0.0));
    assert!(report["decode"]["median_ms"].as_f64().is_some_and(|x| x > 0.0));
}

#[test]
fn a_synthetic_model_is_timed_without_a_file() {
    let sandbox = Sandbox::new();
    let bench = |shape: &str, more: &[&str]| {
        let args = ["bench", "--synthetic", shape, "-p", "4", "-n", "2", "--depth", "4", "-r", "1"];
        let rest = ["--rows", "1,2", "-o", "json", "--device", "cpu"];
        sandbox.run(args.iter().chain(&rest).chain(more).copied())
    };
    let run = bench("llama-68m", &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = json(&run.stdout);
    assert_eq!(report["model"], "synthetic llama-68m q4_k");
    assert!(report["decode"]["median_ms"].as_f64().is_some_and(|x| x > 0.0));
    let unfit = bench("smollm2-135m", &["--quant", "q4_k"]);
    assert_eq!(unfit.code, Some(2));
    assert!(unfit.stderr.contains("576") && unfit.stderr.contains("q8_0"), "{}", unfit.stderr);
    let unknown = bench("llama9", &[]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("llama2-7b"), "{}", unknown.stderr);
    // more than any machine has
    let large = bench("llama-33b", &["--quant", "f32", "--ctx", "2048"]);
    assert_eq!(large.code, Some(2), "{}", large.stderr);
    assert!(large.stderr.contains("GB of weights in f32"), "{}", large.stderr);
}

#[test]
fn the_suite_writes_a_table_of_shares() {
    let sandbox = Sandbox::new();
    let suite = sandbox.run([
        "bench",
        "suite",
        "--out",
        "speed",
        "--device",
        "cpu",
        "--shape",
        "llama-68m",
        "-p",
        "8",
        "-n",
        "2",
        "--depth",
        "4",
        "-r",
        "1",
        "--python",
        "no-such-python",
    ]);
    assert_eq!(suite.code, Some(0), "{}", suite.stderr);
    let read = |name: &str| {
        let path = sandbox.path().join("speed").join(name);
        std::fs::read_to_string(path).expect("the suite wrote it")
    };
    assert_eq!(read("suite.md"), suite.stdout);
    let report = json(&read("suite.json"));
    let runs = report["devices"][0]["runs"].as_array().expect("a list");
    for (run, format) in runs.iter().zip(["q4_k", "q8_0"]) {
        assert_eq!(run["format"], format);
        let measured = &run["measured"];
        for figure in ["decode_share", "few", "many", "host_us", "prompt_share"] {
            assert!(measured[figure].as_f64().is_some_and(|x| x > 0.0), "{figure}: {measured}");
        }
    }
    assert_eq!(runs.len(), 2);
    let reason = report["peer"]["reason"].as_str().expect("no such program");
    assert!(reason.contains("no-such-python"), "{reason}");
    assert!(suite.stdout.contains("| t(16)/t(1) |"), "{}", suite.stdout);
}

#[test]
fn tokenize_prints_ids_and_pieces() {
    let sandbox = Sandbox::new();
    let model = tiny_model(&sandbox);
    let file = sandbox.path().join("text.txt");
    std::fs::write(&file, "é<|im_end|>").expect("the folder can be written");
    let run = outcome(
        sandbox
            .command(["tokenize", "--json", "-m"])
            .arg(&model)
            .arg("-f")
            .arg(&file)
            .output()
            .expect("it runs"),
    );
    assert_eq!(json(&run.stdout)["ids"], serde_json::json!([195, 169, 257]));
}

#[test]
fn inspect_lists_tensors_and_says_what_is_wrong_with_a_file() {
    let sandbox = Sandbox::new();
    let model = tiny_model(&sandbox);
    let inspect =
        outcome(sandbox.command(["inspect", "--json"]).arg(&model).output().expect("it runs"));
    let report = json(&inspect.stdout);
    assert_eq!(report["tensors"].as_array().map(Vec::len), Some(11));
    assert!(report["config"]["n_layers"] == 1, "{}", report["config"]);
    let broken = sandbox.path().join("broken.gguf");
    std::fs::write(&broken, b"GGUF\x03\0\0\0").expect("the folder can be written");
    let run = outcome(sandbox.command(["inspect"]).arg(&broken).output().expect("it runs"));
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("broken.gguf"), "{}", run.stderr);
}

#[test]
fn devices_lists_the_cpu_and_says_why_cuda_is_absent() {
    let devices = Sandbox::new().run(["devices", "--json"]);
    assert_eq!(devices.code, Some(0), "{}", devices.stderr);
    let report = json(&devices.stdout);
    let selectors: Vec<_> = report["devices"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|d| d["selector"].clone())
        .collect();
    assert!(selectors.contains(&"cpu".into()) && selectors.contains(&"reference".into()));
    assert_eq!(report["missing"][0]["api"], "cuda");
}

#[test]
fn settings_in_effect_can_be_printed() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("config.toml");
    std::fs::write(&file, "temp = 0.25\n").expect("the folder can be written");
    let run = sandbox.run(["run", "--print-config", "--top-k", "3"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout.contains("temp = 0.25") && run.stdout.contains("top_k = 3"),
        "{}",
        run.stdout
    );
    std::fs::write(&file, "tmep = 1\n").expect("the folder can be written");
    let wrong = sandbox.run(["run", "-p", "x"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("`tmep` is no flag"), "{}", wrong.stderr);
}

#[test]
fn completions_and_manual_are_generated() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.run(["completions", shell]);
        assert!(script.code == Some(0) && script.stdout.contains("gpu-test"), "{shell}");
    }
    let manual = sandbox.run(["man"]);
    assert!(manual.code == Some(0) && manual.stdout.contains(".TH"), "no manual page");
}

#[test]
fn a_datastore_is_built_described_and_not_overwritten() {
    let sandbox = Sandbox::new();
    let model = tiny_model(&sandbox);
    let model = model.to_str().expect("a UTF-8 path");
    for (name, text) in [("a.txt", "hello<|im_end|>"), ("b.txt", "world"), ("empty.txt", "")] {
        std::fs::write(sandbox.path().join(name), text).expect("the folder can be written");
    }
    let texts = ["a.txt", "b.txt", "empty.txt"];
    let build = ["datastore", "build", "-o", "x.store", "--json", "-m", model];
    let run = |more: &[&str]| sandbox.run([&build[..], &texts, more].concat());
    let built = run(&[]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let report = json(&built.stdout);
    // A byte is a token here, specials in texts are text, and each document has a separator.
    assert_eq!(report["tokens"], 15 + 1 + 5 + 1);
    assert_eq!(report["documents"], 2);
    assert_eq!(report["vocabulary_tokens"], 258);

    let again = run(&[]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("x.store exists") && again.stderr.contains("--force"));
    assert_eq!(run(&["--force"]).code, Some(0));

    let info = sandbox.run(["datastore", "info", "x.store", "--json", "-m", model]);
    let info = json(&info.stdout);
    assert_eq!(info["fits_model"], true);
    assert_eq!(info["bytes"], report["bytes"]);
    let shown = sandbox.run(["datastore", "info", "x.store"]);
    assert!(shown.stdout.contains("documents    2"), "{}", shown.stdout);

    let wrong = sandbox.run(["datastore", "info", "a.txt"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("a.txt: no datastore"), "{}", wrong.stderr);
    let absent = sandbox.run(["datastore", "build", "-o", "y.store", "-m", model, "empty.txt"]);
    assert_eq!(absent.code, Some(2), "{}", absent.stderr);
    assert!(!sandbox.path().join("y.store").exists());
}

#[test]
fn every_way_to_draft_gives_the_plain_text() {
    let sandbox = Sandbox::new();
    let model = tiny_model(&sandbox);
    let model = model.to_str().expect("a UTF-8 path");
    let text = "one two three one two three ".repeat(3);
    std::fs::write(sandbox.path().join("text.txt"), &text).expect("the folder can be written");
    let built =
        sandbox.run(["datastore", "build", "-o", "text.store", "text.txt", "-q", "-m", model]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let answer = |temp: &str, spec: &[&str]| {
        let run = [
            "run",
            "--raw",
            "-p",
            "one two three one",
            "-n",
            "60",
            "--json",
            "--ignore-eos",
            "--seed",
            "7",
            "--temp",
            temp,
            "-m",
            model,
            "-d",
            "cpu",
        ];
        let run = sandbox.run([&run[..], spec].concat());
        assert_eq!(run.code, Some(0), "{spec:?}: {}", run.stderr);
        json(&run.stdout)
    };
    for temp in ["0", "1"] {
        let plain = answer(temp, &["--spec", "plain"]);
        assert_eq!(plain["timings"]["draft_n"], 0);
        for spec in [
            &["--spec", "lookup"][..],
            &["--spec", "lookup", "--documents", "text.txt", "text.txt"],
            &["--spec", "rest", "--datastore", "text.store"],
            &["--spec", "draft", "--draft-model", model],
            &["--spec", "auto"],
            &["--spec", "auto", "--datastore", "text.store", "--draft-model", model],
        ] {
            let drafted = answer(temp, spec);
            assert_eq!(drafted["output_ids"], plain["output_ids"], "{spec:?} at {temp}");
        }
    }
    // The model itself knows what it will say.
    let own = answer("0", &["--spec", "draft", "--draft-model", model]);
    let (drafted, accepted) = (&own["timings"]["draft_n"], &own["timings"]["draft_n_accepted"]);
    assert_eq!(drafted, accepted);
}

#[test]
fn sources_of_drafts_are_checked() {
    let sandbox = Sandbox::new();
    for (args, wanted) in [
        (&["--spec", "rest"][..], "--spec rest needs --datastore"),
        (&["--spec", "draft"], "--spec draft needs --draft-model"),
        (&["--spec", "lookup", "--datastore", "x"], "lookup makes no use of --datastore"),
        (&["--spec", "plain", "--draft-model", "tiny.gguf"], "plain makes no use of --draft-model"),
    ] {
        let run = on(&sandbox, "cpu", &[&["run", "-p", "x"][..], args].concat());
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(wanted), "{}", run.stderr);
    }
    let other = ["run", "-p", "x", "--spec", "rest", "--datastore", "tiny.gguf"];
    let run = on(&sandbox, "cpu", &other);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("tiny.gguf: no datastore"), "{}", run.stderr);
}
