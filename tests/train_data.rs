//! Self-distillation on a tiny model: what is written does not depend on how the work was cut.

#[path = "support/command.rs"]
mod command;
#[path = "support/tiny.rs"]
mod tiny;

use std::{path::Path, sync::atomic::AtomicBool};

use command::Sandbox;
use coppice::{
    Error,
    engine::{DeviceSpec, Engine, LoadOptions, Request, StopReason},
    ops::KvFormat,
    sample::SamplerParams,
    spec::Speculation,
    text::{AddSpecial, ChatInput, Message, ParseSpecial},
    train::data::{DataSet, Header, Job, Progress, Record, SetWriter, Settings, write},
};
use tiny::tiny_model;

const CONTEXT: usize = 128;

fn engine(model: &Path, sequences: usize) -> Engine {
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        threads: Some(2),
        precision: None,
        quant: None,
        kv: KvFormat::F16,
        context: Some(CONTEXT),
        sequences,
    };
    Engine::load(model, &options).expect("the tiny model loads")
}

fn settings() -> Settings {
    let sampler = SamplerParams { temperature: 0.7, top_p: 0.9, seed: 5, ..Default::default() };
    Settings {
        user_sampler: SamplerParams { temperature: 1.0, ..sampler.clone() },
        sampler,
        greedy_share: 0.5,
        max_tokens: 9,
        user_max_tokens: 100,
        context: CONTEXT,
        raw: false,
    }
}

fn header() -> Header {
    Header::new("tiny".into(), "00".into(), (258, "11".into()), settings())
}

/// Prompts of several forms, one of them too long for the context.
fn jobs() -> Vec<Job> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = dir.path().join("a.txt");
    std::fs::write(&text, "Why?\nWho is there?\nOne two three four\nWhen\n").expect("writable");
    let chats = dir.path().join("b.jsonl");
    let long = "x".repeat(2 * CONTEXT);
    let lines = format!(
        "{{\"turns\": [\"a\", \"bb\"], \"system\": \"Rhyme.\"}}\n{{\"prompt\": \"{long}\"}}\n\
         {{\"turns\": [\"q\", \"r\", \"s\"]}}\n{{\"begin\": \"Ho\", \"count\": 12}}\n"
    );
    std::fs::write(&chats, lines).expect("writable");
    let mut jobs: Vec<Job> = Job::written(9, 2).collect();
    jobs.extend([text, chats].iter().flat_map(|path| Job::read(path).expect("readable")));
    Job::mix(jobs)
}

fn run(
    engine: &mut Engine,
    dir: &Path,
    width: usize,
    tokens: Option<usize>,
) -> Result<Progress, Error> {
    let mut set = SetWriter::open(dir, &header()).expect("the same settings");
    let cancel = AtomicBool::new(false);
    write(engine, (jobs(), width), &settings(), (&mut set, tokens), &cancel, &mut |_| {})
}

/// What a folder holds, by key.
fn records(dir: &Path) -> Vec<Record> {
    let mut records = DataSet::open(dir).expect("readable").records;
    records.sort_by(|a, b| a.key.cmp(&b.key));
    records
}

#[test]
fn a_set_is_the_same_at_any_width_and_however_often_it_was_stopped() {
    let home = Sandbox::new();
    let model = tiny_model(&home);
    let dir = |name: &str| home.path().join(name);
    let mut engine = engine(&model, 7);
    let whole = run(&mut engine, &dir("seven"), 7, None).expect("it runs");
    let wanted = records(&dir("seven"));
    assert_eq!((whole.done, whole.jobs), (28, 28));
    assert_eq!(whole.done - whole.skipped, wanted.len());
    assert!((7..28).contains(&wanted.len()), "{whole:?}");
    assert_eq!(whole.answer_tokens, wanted.iter().map(Record::answer_tokens).sum::<usize>());
    run(&mut engine, &dir("one"), 1, None).expect("it runs");
    assert_eq!(records(&dir("one")), wanted);
    for tokens in [1, 20, 40] {
        let part = run(&mut engine, &dir("parts"), 4, Some(tokens)).expect("it runs");
        assert!(part.answer_tokens >= tokens && part.answer_tokens < whole.answer_tokens);
        let file = dir("parts").join("conversations.jsonl");
        let mut torn = std::fs::read(&file).expect("there");
        torn.extend_from_slice(b"{\"key\":");
        std::fs::write(&file, torn).expect("writable");
    }
    let last = run(&mut engine, &dir("parts"), 3, None).expect("it runs");
    assert_eq!(last.answer_tokens, whole.answer_tokens);
    assert!(last.added_tokens <= whole.answer_tokens - 40);
    assert_eq!(records(&dir("parts")), wanted);
}

#[test]
fn answers_are_those_of_a_plain_run() {
    let home = Sandbox::new();
    let model = tiny_model(&home);
    let mut engine = engine(&model, 8);
    run(&mut engine, home.path(), 8, None).expect("it runs");
    let records = records(home.path());
    let temperatures: Vec<f32> = records.iter().map(|record| record.temperature).collect();
    assert!(temperatures.contains(&0.0) && temperatures.contains(&0.7), "{temperatures:?}");
    let jobs = jobs();
    for record in &records {
        let job = jobs.iter().find(|job| job.key == record.key).expect("from a job");
        for &[start, end] in &record.answers {
            let request = Request {
                prompt: record.ids[..start].to_vec(),
                max_tokens: Some(9),
                sampler: SamplerParams {
                    temperature: record.temperature,
                    seed: 5 ^ job.hash(),
                    ..settings().sampler
                },
                stop: Vec::new(),
                ignore_eos: false,
                spec: Speculation::default(),
            };
            let plain = engine.generate(&request, &AtomicBool::new(false), &mut |_| {});
            let plain = plain.expect("it runs");
            assert_eq!(plain.ids, record.ids[start..end], "{record:?}");
        }
    }
    // A prompt of one turn is what the template renders.
    let prompt = engine
        .chat_template()
        .expect("the tiny model has one")
        .render(&ChatInput::new(&[Message::new("user", "Who is there?")]))
        .expect("it renders");
    let ids = engine.tokenizer().encode(&prompt, AddSpecial::No, ParseSpecial::Yes).expect("text");
    assert!(records.iter().any(|record| {
        record.answers.len() == 1 && record.ids[..record.answers[0][0]] == ids[..]
    }));
    // A second turn follows an answer that ended.
    let ends = |r: &Record, end: usize| engine.tokenizer().is_end_of_generation(r.ids[end - 1]);
    for record in &records {
        for pair in record.answers.windows(2) {
            assert!(ends(record, pair[0][1]));
            let between = engine.tokenizer().decode(&record.ids[pair[0][1]..pair[1][0]]);
            assert!(between.starts_with("\nuser\n") && between.ends_with("\nassistant\n"));
        }
    }
}

#[test]
fn a_batch_gives_each_generation_its_own_end() {
    use coppice::engine::Turn;
    let home = Sandbox::new();
    let mut engine = engine(&tiny_model(&home), 3);
    let never = AtomicBool::new(false);
    let mut batch = engine.batch();
    let turn = |key: usize, len: usize, max_tokens: usize| Turn {
        key,
        ids: vec![65; len],
        sequence: None,
        sampler: SamplerParams { temperature: 1.0, seed: key as u64, ..Default::default() },
        max_tokens,
    };
    let error = batch.start(turn(0, CONTEXT, 1), &never).expect_err("no room for an answer");
    assert!(error.to_string().contains("128"), "{error}");
    batch.start(turn(1, 10, 4), &never).expect("it fits");
    batch.start(turn(2, 10, 1), &never).expect("it fits");
    batch.start(turn(3, CONTEXT - 2, 50), &never).expect("it fits");
    let mut ends = Vec::new();
    while !batch.is_empty() {
        for done in batch.step().expect("it runs") {
            ends.push((done.key, done.ids.len() - done.prompt, done.stop_reason));
        }
    }
    ends.sort_unstable_by_key(|end| end.0);
    let wanted = [(1, 4, StopReason::Length), (2, 1, StopReason::Length)];
    assert_eq!(ends[..2], wanted);
    assert_eq!(ends[2], (3, 3, StopReason::Context));
}

#[test]
fn the_command_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    let model = tiny_model(&sandbox);
    let prompts = sandbox.path().join("p.txt");
    std::fs::write(&prompts, "Why?\nWho?\nWhen?\n").expect("writable");
    let out = sandbox.path().join("set");
    let run = |more: &[&str]| {
        let (model, prompts, out) =
            (model.to_string_lossy(), prompts.to_string_lossy(), out.to_string_lossy());
        let mut args = vec!["train", "data", "-d", "cpu", "-m", &model, "--prompts", &prompts];
        args.extend(["-o", &out, "--ctx", "100", "-n", "5"]);
        args.extend(more);
        sandbox.run(args)
    };
    let first = run(&["--tokens", "1", "--batch", "1"]);
    assert_eq!((first.code, first.stdout.as_str()), (Some(0), ""), "{}", first.stderr);
    let second = run(&[]);
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert!(second.stderr.contains("going on after 1 conv"), "{}", second.stderr);
    assert_eq!(DataSet::open(&out).expect("readable").records.len(), 3);
    let third = run(&["--temp", "0.9"]);
    assert_eq!(third.code, Some(2), "{}", third.stderr);
    assert!(third.stderr.contains("temperature 0.7, now it is 0.9"), "{}", third.stderr);
    let none = sandbox.run(["train", "data", "-o", "x"]);
    assert!(none.stderr.contains("no prompts") && none.stderr.contains("--self-prompts"));
}
