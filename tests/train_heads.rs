//! Heads trained from scratch on a tiny model, by the command line.

#[path = "support/command.rs"]
mod command;
#[path = "support/tiny.rs"]
mod tiny;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use command::Sandbox;
use coppice::format::{
    ModelSource,
    heads::{HeadKind, Heads},
};
use serde_json::Value;
use tiny::tiny_model;

/// A model, and a folder of what it said.
fn prepared(sandbox: &Sandbox) -> (PathBuf, PathBuf) {
    let model = tiny_model(sandbox);
    let prompts = sandbox.path().join("p.txt");
    let lines: Vec<String> = (0..80).map(|i| format!("{}", i * i * 7919)).collect();
    std::fs::write(&prompts, lines.join("\n")).expect("writable");
    let data = sandbox.path().join("data");
    let paths = [&model, &prompts, &data].map(|path| path.to_string_lossy());
    let mut args = vec!["train", "data", "-d", "cpu", "-m", &paths[0], "--prompts", &paths[1]];
    args.extend([
        "-o",
        &paths[2],
        "--ctx",
        "128",
        "-n",
        "60",
        "--greedy-share",
        "0",
        "--temp",
        "0.4",
    ]);
    let made = sandbox.run(args);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    (model, data)
}

/// Words of a training into `out`.
fn words(model: &Path, data: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let paths = [model, data, out].map(|path| path.to_string_lossy().into_owned());
    let mut words = vec!["train", "medusa", "-d", "cpu", "-m", &paths[0], "--data", &paths[1]];
    words.extend(["-o", &paths[2], "--heads", "2", "--batch", "64", "--lr", "5e-3"]);
    words.extend(["--held-out", "0.2", "--every", "20", "--precision", "f32"]);
    words.extend(more);
    words.into_iter().map(str::to_owned).collect()
}

/// Entries of a run's log.
fn log(out: &Path) -> Vec<Value> {
    let path = PathBuf::from(format!("{}.work", out.display())).join("log.jsonl");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn load(path: &Path) -> Heads {
    Heads::load(path).expect("readable").1
}

#[test]
fn loss_falls_and_heads_beat_untrained_ones() {
    let sandbox = Sandbox::new();
    let (model, data) = prepared(&sandbox);
    // Answers are drawn at T = 0.4: a head that does not see the token drawn before can gain little.
    for (kind, targets, gain) in [("hydra", "soft", 1.3), ("medusa", "hard", 1.0)] {
        let out = sandbox.path().join(format!("{kind}.safetensors"));
        let more = ["--kind", kind, "--targets", targets, "--epochs", "6"];
        let run = sandbox.run(words(&model, &data, &out, &more));
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
        let entries = log(&out);
        let losses: Vec<f64> = entries.iter().filter_map(|e| e["loss"][0].as_f64()).collect();
        assert!(losses[losses.len() - 1] < 0.95 * losses[0], "{losses:?}");
        let top1: Vec<f64> =
            entries.iter().filter_map(|e| e["evaluation"]["heads"][0]["top1"].as_f64()).collect();
        assert!(top1[top1.len() - 1] > gain * top1[0], "{top1:?}");
        let heads = load(&out);
        let wanted = if kind == "hydra" { HeadKind::Sequential } else { HeadKind::Independent };
        assert_eq!((heads.kind, heads.heads.len()), (wanted, 2));
        heads.check(64, 258).expect("made for this model");
        calibrated(&sandbox, &model, &data, &out);
        let record = heads.record;
        assert_eq!(record.base_norms_sha256.as_ref().map(String::len), Some(64));
        assert_eq!(record.base_sha256.map(|hash| hash.len()), Some(64));
        let first = f64::from(record.accuracy[0][0]);
        assert!((first - top1[top1.len() - 1]).abs() < 1e-6, "of these heads");
        let plot = sandbox.path().join(format!("{kind}.safetensors.work/loss.svg"));
        let plot = std::fs::read_to_string(plot).expect("drawn");
        assert!(plot.starts_with("<svg") && plot.contains("head 2"), "{plot}");
    }
}

/// `heads calibrate` counts guesses behind guesses, and changes nothing else.
fn calibrated(sandbox: &Sandbox, model: &Path, data: &Path, heads: &Path) {
    let out = heads.with_extension("calibrated");
    let paths = [heads, data, &out, model].map(|path| path.to_string_lossy().into_owned());
    let mut args = vec!["heads", "calibrate", &paths[0], "--data", &paths[1], "-o", &paths[2]];
    args.extend(["-m", &paths[3], "-d", "cpu", "--held-out", "0.2", "--rounds", "150"]);
    args.extend(["-n", "40", "--store", "f32"]);
    let run = sandbox.run(&args);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let (before, mut after) = (load(heads), load(&out));
    let counts = std::mem::take(&mut after.record.paths);
    assert_eq!(after, before, "all but the counts");
    let count = |ranks: &[u16]| {
        counts.iter().find(|path| path.ranks == ranks).map_or((0, 0), |p| (p.hits, p.trials))
    };
    let (hits, rounds) = count(&[0]);
    assert!(rounds >= 100 && hits <= rounds, "{counts:?}");
    // Where a first guess was right, the second head was tested, and only there.
    let below = counts.iter().filter(|path| path.ranks.len() == 2 && path.ranks[0] == 0);
    assert!(
        below.clone().all(|path| path.trials <= hits && path.hits <= path.trials),
        "{counts:?}"
    );
    assert!(hits == 0 || below.count() > 0, "{counts:?}");
}

#[test]
fn a_killed_run_ends_with_the_same_heads() {
    let sandbox = Sandbox::new();
    let (model, data) = prepared(&sandbox);
    let (whole, parts) =
        (sandbox.path().join("a.safetensors"), sandbox.path().join("b.safetensors"));
    let more = ["--epochs", "8", "--threads", "1"];
    let run = sandbox.run(words(&model, &data, &whole, &more));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut command = sandbox.command(words(&model, &data, &parts, &more));
    let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
    let start = Instant::now();
    let evaluated = |entries: &[Value]| {
        entries.iter().any(|e| e["evaluation"]["step"].as_u64().is_some_and(|step| step >= 20))
    };
    while !evaluated(&log(&parts)) && start.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(5));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    let more = ["--epochs", "8", "--threads", "2"];
    let run = sandbox.run(words(&model, &data, &parts, &more));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let (mut wanted, mut got) = (load(&whole), load(&parts));
    // The record names the device, and with it its threads.
    wanted.record.training = None;
    got.record.training = None;
    assert_eq!(got, wanted);
}

#[test]
fn a_model_trained_with_its_heads_becomes_a_file_that_runs_with_them() {
    let sandbox = Sandbox::new();
    let (model, data) = prepared(&sandbox);
    let out = sandbox.path().join("joint.safetensors");
    let merged = sandbox.path().join("merged.gguf");
    let merged_text = merged.to_string_lossy().into_owned();
    let more = ["--joint", "--merged", &merged_text, "--merged-format", "q8_0", "--window", "64"];
    let more =
        [&more[..], &["--rank", "4", "--alpha", "4", "--adapt", "q,v,down", "--epochs", "2"]]
            .concat();
    let run = sandbox.run(words(&model, &data, &out, &more));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("MiB beside the model"), "{}", run.stderr);
    let record = load(&out).record;
    let sha256 = ModelSource::open(&merged).expect("readable").sha256();
    assert_eq!(record.base_sha256.as_deref(), Some(sha256.as_str()), "of the merged model");
    let divergences: Vec<f64> =
        log(&out).iter().filter_map(|e| e["evaluation"]["divergence"].as_f64()).collect();
    assert_eq!(divergences[0], 0.0);
    let last = divergences[divergences.len() - 1];
    assert!(last > 0.0 && last < 0.5, "{divergences:?}");

    let heads = out.to_string_lossy().into_owned();
    let say = |spec: &str| {
        let mut args = vec!["run", "-d", "cpu", "-m", &merged_text, "-p", "17", "-n", "24"];
        args.extend(["--temp", "0", "--spec", spec]);
        if spec == "medusa" {
            args.extend(["--heads", &heads]);
        }
        let run = sandbox.run(args);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stdout
    };
    assert_eq!(say("medusa"), say("plain"));
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let (model, data) = prepared(&sandbox);
    let out = sandbox.path().join("h.safetensors");
    let refused = |more: &[&str], said: &str| {
        let run = sandbox.run(words(&model, &data, &out, more));
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(said), "{}", run.stderr);
    };
    refused(&["--all-tokens", "--targets", "hard"], "--targets soft");
    refused(&["--epochs", "0"], "0 epochs");
    refused(&["--warmup", "2"], "warm-up 2");
    refused(&["--joint"], "--merged");
    refused(&["--rank", "4"], "--joint");
    let merged = sandbox.path().join("m.gguf").to_string_lossy().into_owned();
    let joint = |more: &[&'static str], said: &str| {
        refused(&[&["--joint", "--merged", &merged][..], more].concat(), said);
    };
    joint(&["--window", "64", "--adapt", "q,head"], "`head` is no matrix");
    joint(&["--window", "48"], "a whole number of windows of 48");
    joint(&["--window", "64", "--targets", "soft"], "hard targets");
    joint(&["--merged-format", "q9"], "unknown weight format `q9`");
    joint(&["--quant", "q8_0"], "leave --quant out");
    assert!(!sandbox.path().join("m.gguf").exists());
    let run = sandbox.run(words(&model, &data, &out, &["--epochs", "1"]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    refused(&["--epochs", "2"], "`epochs` was 1, now it is 2");
    let run = sandbox.run(words(&model, &data, &out, &["--epochs", "2", "--restart"]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let out_text = out.to_string_lossy().into_owned();
    refused(&["--from", &out_text, "--kind", "medusa", "--restart"], "start from");
}
