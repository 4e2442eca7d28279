//! `coppice train medusa`: draft heads from conversations of the model.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::Context as _;
use indicatif::HumanDuration;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{high, interrupt, low_shared, low_train, progress::WorkBar, term::Term, train_joint};
use crate::{
    draw::{LineChart, LineSeries},
    engine::Engine,
    error::{Error, Result},
    format::{
        ModelSource,
        heads::{HeadKind, Heads, Precision},
    },
    text::{AddSpecial, ParseSpecial},
    train::{
        data::{DataSet, Record},
        heads::{
            Event, Options, Target, Targets, Trained,
            features::{Conversation, Features, Progress},
            train,
        },
    },
};

/// What a token of an answer counts for when the draft vocabulary is chosen, next to any other.
const ANSWER_WEIGHT: u64 = 8;
/// Most tokens of a piece of text.
const WINDOW: usize = 512;

pub(super) fn main(args: &low_train::TrainMedusa, term: &Term) -> anyhow::Result<ExitCode> {
    let options = options(args)?;
    let joint = train_joint::options(args, &options)?;
    let others_tokens = args.all_tokens || !args.text.is_empty();
    if others_tokens && options.targets == Targets::Hard {
        return Err(Error::Invalid {
            message:
                "the model did not write texts and prompts, so heads cannot learn their tokens"
                    .into(),
            hint: Some("--text and --all-tokens need --targets soft".into()),
        }
        .into());
    }
    let cancel = interrupt::flag()?;
    let path = high::model_path(&args.model.model, args.model.offline, term)?;
    let source = ModelSource::open(&path)?;
    let (sha256, norms) = (source.sha256(), source.norms_sha256()?);
    drop(source);
    let sets = args.data.iter().map(|dir| Ok((dir, DataSet::open(dir)?)));
    let sets = sets.collect::<Result<Vec<_>>>()?;
    for (dir, set) in &sets {
        if set.header.model_sha256 != sha256 {
            return Err(Error::Invalid {
                message: format!("{} was made by {}", dir.display(), set.header.model),
                hint: Some("train heads on what the same model wrote".into()),
            }
            .into());
        }
    }
    let contexts = sets.iter().map(|(_, set)| set.header.settings.context);
    let model = low_shared::Model { ctx: args.model.ctx.or(contexts.max()), ..args.model.clone() };
    let mut engine = high::engine(&model, &args.device, term)?;
    let work = args.work.clone().unwrap_or_else(|| with_suffix(&args.output, ".work"));
    let initial = args.from.as_deref().map(Heads::load).transpose().map_err(Error::from)?;
    let initial = initial.map(|(_, heads)| heads);
    // States of another precision are others.
    let precision = args.device.activations.map_or_else(String::new, |asked| format!(" {asked:?}"));
    let made_by = format!("{sha256} {}{precision}", engine.adapter().selector);

    let mut named: Vec<(PathBuf, Vec<Conversation>)> = Vec::new();
    for (dir, set) in &sets {
        let of = |record: &Record| conversation(record, args);
        let kind = if args.all_tokens { "all" } else { "answers" };
        named.push((stem(&work, dir, kind), set.records.iter().map(of).collect()));
    }
    for file in &args.text {
        named.push((stem(&work, file, "text"), pieces(&engine, file, args.text_tokens)?));
    }
    let learn_from = match &joint {
        None => LearnFrom::States(features(&mut engine, (&named, &made_by), &cancel, term)?),
        Some(_) => LearnFrom::Model(named.iter().flat_map(|(_, all)| all.clone()).collect()),
    };
    if let LearnFrom::States(features) = &learn_from {
        term.note(&format!(
            "{} positions to train on, {} held out",
            features.positions(false).len(),
            features.positions(true).len()
        ));
    }

    let counts = counts(&sets, &named, args.held_out, engine.vocab());
    let target = Target {
        backend: Arc::clone(engine.model().backend()),
        embed: engine.model().embedding().clone(),
        embed_rows: &|ids| engine.model().embedding_rows(ids),
        output_rows: &|ids| engine.model().output_rows(ids),
        counts: &counts,
        made_by,
    };
    let record = json!({
        "options": options,
        "data": sets.iter().map(|(dir, set)| json!({
            "name": dir.file_name().map(|name| name.to_string_lossy()),
            "conversations": set.records.len(),
            "answer_tokens": set.records.iter().map(|r| r.answer_tokens()).sum::<usize>(),
        })).collect::<Vec<_>>(),
        "texts": args.text.len(),
        "joint": joint,
        "device": engine.adapter().to_string(),
    });
    let mut bar = WorkBar::new(term);
    let mut written = Ok(());
    let mut on_event = |event: Event<'_>| match event {
        Event::Teaching(done, all) => {
            bar.set(done as f64 / all as f64, || "what the model holds likely".into());
        }
        Event::Steps { step, steps, losses, divergence, positions_per_second, left } => {
            bar.set(step as f64 / steps as f64, || {
                let losses: Vec<_> = losses.iter().map(|loss| format!("{loss:.3}")).collect();
                let divergence =
                    divergence.map_or_else(String::new, |d| format!(", divergence {d:.4}"));
                format!(
                    "step {step} of {steps}, loss {}{divergence}, {positions_per_second:.0} \
                     tokens/s, {} left",
                    losses.join(" "),
                    HumanDuration(left)
                )
            });
        }
        Event::Evaluated(trained) => {
            term.note(&accuracy_line(trained));
            // Heads of joint training are of no use without the model, which is written at the end.
            if trained.evaluation.step > 0 && joint.is_none() {
                written = write(args, trained, (engine.name(), &sha256, Some(&norms)), &record);
                if written.is_err() {
                    // The next step stops; a checkpoint keeps what was learnt.
                    cancel.store(true, std::sync::atomic::Ordering::Relaxed);
                }
            }
        }
    };
    let place = (&*work, initial.as_ref(), args.restart);
    let result = match (&learn_from, &joint) {
        (LearnFrom::Model(conversations), Some(joint)) => train_joint::run(
            (&engine, &path),
            (&target, conversations),
            (&options, joint),
            place,
            (&cancel, term),
            &mut on_event,
        )
        .map(|(trained, adapters)| (trained, Some(adapters))),
        (LearnFrom::States(features), _) => {
            train(&target, features, &options, place, &cancel, &mut on_event)
                .map(|trained| (trained, None))
        }
        (LearnFrom::Model(_), None) => unreachable!("conversations are for joint training"),
    };
    bar.finish();
    written.with_context(|| format!("cannot write {}", args.output.display()))?;
    if matches!(result, Err(Error::Cancelled)) {
        term.note("stopped; the same command goes on");
    }
    let (trained, adapters) = result?;
    match &adapters {
        None => write(args, &trained, (engine.name(), &sha256, Some(&norms)), &record)?,
        Some(adapters) => {
            let merged = train_joint::write_merged(args, &path, adapters, term)?;
            // Its norms are the original's, for which these heads are not.
            write(args, &trained, (&merged.name, &merged.sha256, None), &record)?;
        }
    }
    let plot = work.join("loss.svg");
    std::fs::write(&plot, loss_chart(&work.join("log.jsonl"))?.svg())
        .with_context(|| format!("cannot write {}", plot.display()))?;
    term.note(&format!(
        "{} is written; log, plot and checkpoint are in {}",
        args.output.display(),
        work.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What is learnt from.
enum LearnFrom {
    /// Hidden states of the model as it is.
    States(Features),
    /// Conversations that the model, which changes, sees each time.
    Model(Vec<Conversation>),
}

/// What the flags ask for.
fn options(args: &low_train::TrainMedusa) -> Result<Options> {
    let alone = !args.joint.joint;
    let default = if alone { low_train::HeadTargets::Soft } else { low_train::HeadTargets::Hard };
    let options = Options {
        kind: match args.kind {
            low_train::Kind::Medusa => HeadKind::Independent,
            low_train::Kind::Hydra => HeadKind::Sequential,
        },
        heads: args.heads,
        blocks: args.blocks,
        draft_vocab: args.draft_vocab,
        targets: match args.targets.unwrap_or(default) {
            low_train::HeadTargets::Hard => Targets::Hard,
            low_train::HeadTargets::Soft => Targets::Soft { top: args.soft_top },
        },
        head_weight: args.head_weight,
        batch: args.batch,
        epochs: args.epochs,
        lr: args.lr.unwrap_or(if alone { 1e-3 } else { 2.5e-4 }),
        warmup: args.warmup,
        decay: args.decay,
        max_norm: args.max_norm,
        held_out: args.held_out,
        every: args.every,
        eval_positions: args.eval_positions,
        seed: args.seed,
    };
    options.check()?;
    Ok(options)
}

/// Path of the hidden states of a data set or text: its name, and a hash of where it is.
fn stem(work: &Path, of: &Path, kind: &str) -> PathBuf {
    let full = std::path::absolute(of).unwrap_or_else(|_| of.to_owned());
    let hash = Sha256::digest(full.to_string_lossy().as_bytes());
    let name = of.file_stem().unwrap_or_default().to_string_lossy().replace('.', "_");
    work.join(format!("{name}-{:02x}{:02x}{:02x}-{kind}", hash[0], hash[1], hash[2]))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Where heads learn from a conversation; what is held out is always its answers.
fn conversation(record: &Record, args: &low_train::TrainMedusa) -> Conversation {
    let held_out = record.is_held_out(args.held_out);
    let answers = match args.all_tokens && !held_out {
        true => vec![[1, record.ids.len()]],
        false => record.answers.clone(),
    };
    Conversation { ids: record.ids.clone(), answers, held_out }
}

/// A text in pieces that are learnt from as a whole.
fn pieces(engine: &Engine, file: &Path, most: Option<usize>) -> Result<Vec<Conversation>> {
    let text = high::text_of(file)?;
    let mut ids = engine.tokenizer().encode(&text, AddSpecial::No, ParseSpecial::No)?;
    ids.truncate(most.unwrap_or(usize::MAX));
    let of = |ids: &[u32]| Conversation {
        ids: ids.to_vec(),
        answers: vec![[1, ids.len()]],
        held_out: false,
    };
    let window = WINDOW.min(engine.context() - 1);
    Ok(ids.chunks(window + 1).filter(|piece| piece.len() > 2).map(of).collect())
}

/// How often tokens occur in the conversations and texts to learn from, those of answers above all.
fn counts(
    sets: &[(&PathBuf, DataSet)],
    named: &[(PathBuf, Vec<Conversation>)],
    held_out: f64,
    vocab: usize,
) -> Vec<u64> {
    let mut counts = vec![0; vocab];
    let mut add = |ids: &[u32], weight: u64| {
        for &id in ids {
            counts[id as usize] += weight;
        }
    };
    let records = sets.iter().flat_map(|(_, set)| &set.records);
    for record in records.filter(|record| !record.is_held_out(held_out)) {
        for &[start, end] in &record.answers {
            add(&record.ids[start..end], ANSWER_WEIGHT);
        }
    }
    let conversations = named.iter().flat_map(|(_, conversations)| conversations);
    for conversation in conversations.filter(|conversation| !conversation.held_out) {
        add(&conversation.ids, 1);
    }
    counts
}

/// Hidden states of all sets.
fn features(
    engine: &mut Engine,
    (named, made_by): (&[(PathBuf, Vec<Conversation>)], &str),
    cancel: &AtomicBool,
    term: &Term,
) -> Result<Features> {
    let width = engine.model().config().d_model;
    let mut sets = Vec::new();
    for (stem, conversations) in named {
        let mut bar = WorkBar::new(term);
        let set = Features::open(
            stem,
            conversations,
            (made_by, width),
            &mut |ids| engine.hidden_states(ids, cancel),
            &mut |Progress { done, all, tokens, elapsed }| {
                bar.set(done as f64 / all.max(1) as f64, || {
                    let rate = tokens as f64 / elapsed.as_secs_f64().max(1e-9);
                    format!("hidden states of {done} of {all}, {rate:.0} tokens/s")
                });
            },
        );
        bar.finish();
        sets.push(set?);
    }
    Features::join(sets)
}

fn accuracy_line(trained: &Trained) -> String {
    let heads = trained
        .evaluation
        .heads
        .iter()
        .map(|head| format!("{:.3}/{:.3} ({:.3})", head.top1, head.top5, head.chained));
    format!(
        "after {} steps: held-out top-1/top-5 (given earlier heads right) {}; the draft vocabulary \
         covers {:.3}{}",
        trained.evaluation.step,
        heads.collect::<Vec<_>>().join(", "),
        trained.coverage,
        trained
            .evaluation
            .divergence
            .map_or_else(String::new, |d| format!("; divergence from the original {d:.4} nats"))
    )
}

/// Writes the head file with its record.
fn write(
    args: &low_train::TrainMedusa,
    trained: &Trained,
    (name, sha256, norms): (&str, &str, Option<&str>),
    run: &serde_json::Value,
) -> Result<()> {
    let mut heads = trained.heads.clone();
    heads.record.base_model = Some(name.to_owned());
    heads.record.base_sha256 = Some(sha256.to_owned());
    heads.record.base_norms_sha256 = norms.map(str::to_owned);
    let mut run = run.clone();
    run["evaluation"] = json!(trained.evaluation);
    run["coverage"] = json!(trained.coverage);
    heads.record.training = Some(run);
    let precision = match args.precision {
        low_train::HeadPrecision::F32 => Precision::F32,
        low_train::HeadPrecision::F16 => Precision::F16,
        low_train::HeadPrecision::Q8 => Precision::Q8,
    };
    Ok(heads.save(&args.output, precision)?)
}

/// The losses of a run's log, a line for each head.
fn loss_chart(log: &Path) -> anyhow::Result<LineChart> {
    let text = high::text_of(log)?;
    let mut series: Vec<LineSeries> = Vec::new();
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line)?;
        let (Some(step), Some(losses)) = (entry["step"].as_f64(), entry["loss"].as_array()) else {
            continue;
        };
        for (k, loss) in losses.iter().enumerate() {
            if series.len() == k {
                series.push(LineSeries { name: format!("head {}", k + 1), points: Vec::new() });
            }
            series[k].points.push((step, loss.as_f64().unwrap_or(f64::NAN)));
        }
    }
    Ok(LineChart {
        title: "Loss of draft heads".into(),
        lines: vec!["Mean cross-entropy of ten steps, without the weights of heads.".into()],
        x_label: "step".into(),
        y_label: "loss (nats)".into(),
        series,
    })
}
