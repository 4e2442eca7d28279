//! `coppice run`: one prompt, one answer.

use std::{io::Write as _, path::Path, process::ExitCode, sync::atomic::Ordering};

use serde::Serialize;

use super::{
    INTERRUPTED, drafters, high, interrupt, low,
    record::Record,
    show_spec::{Marked, Paint},
    term::Term,
};
use crate::{
    engine::{Engine, Event, Generation, Request, StopReason, Timings},
    error::{Error, Result},
    text::{AddSpecial, ChatInput, Message, ParseSpecial},
};

/// Version of the JSON object.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: &'a str,
    device: String,
    seed: u64,
    prompt_ids: &'a [u32],
    output_ids: &'a [u32],
    text: &'a str,
    stop_reason: StopReason,
    timings: &'a Timings,
}

pub(super) fn main(args: &low::Run, term: &Term) -> anyhow::Result<ExitCode> {
    let sampler = high::sampler(&args.sampling)?;
    let text = match (&args.prompt, &args.file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(file)) => high::text_of(file)?,
        (None, None) => high::text_of(Path::new("-"))?,
    };
    let cancel = interrupt::flag()?;
    let mut engine = high::engine(&args.model, &args.device, term)?;
    let spec =
        drafters::speculation(&mut engine, &args.speculation, (&args.model, &args.device), term)?;
    let prompt = prompt_ids(&engine, args, &text)?;
    let request = Request {
        prompt,
        max_tokens: args.output.max_tokens,
        sampler,
        stop: args.output.stop.clone(),
        ignore_eos: args.output.ignore_eos,
        spec,
    };
    let mut record =
        Record::new(args.output.trace.as_deref(), &engine, &request.sampler, &request.spec)?;
    record.begin(&request.prompt)?;
    let mut marked = args.show_spec.then(|| marked(&engine, args, term));
    let mut stdout = std::io::stdout().lock();
    let mut failed = None;
    let generation = engine.generate(&request, &cancel, &mut |event| {
        if let Event::Round(outcome) = event {
            record.round(outcome);
        }
        let text = match (event, &mut marked) {
            (Event::Text(text), None) if !args.json => text.to_owned(),
            (Event::Round(outcome), Some(marked)) => marked.round(outcome),
            _ => return,
        };
        if failed.is_none()
            && let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        {
            // A reader that went away ends the generation at the next step.
            cancel.store(true, Ordering::SeqCst);
            failed = Some(error);
        }
    })?;
    let recorded = record.end(generation.ids.len());
    if let Some(error) = failed {
        return Err(error.into());
    }
    if let Some(marked) = marked {
        // An answer of one token has no round.
        let rest = if marked.has_begun() { marked.finish() } else { generation.text.clone() };
        write!(stdout, "{rest}\n\n{}", record.stats().summary())?;
    }
    if args.json {
        let report = Report {
            schema: SCHEMA,
            model: engine.name(),
            device: engine.adapter().to_string(),
            seed: request.sampler.seed,
            prompt_ids: &request.prompt,
            output_ids: &generation.ids,
            text: &generation.text,
            stop_reason: generation.stop_reason,
            timings: &generation.timings,
        };
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(stdout)?;
    }
    end_note(&generation, &engine, term);
    recorded?;
    record.finish(term)?;
    Ok(match generation.stop_reason {
        StopReason::Cancelled => ExitCode::from(INTERRUPTED),
        _ => ExitCode::SUCCESS,
    })
}

/// Marks the answer of `--show-spec`, and says how.
fn marked(engine: &Engine, args: &low::Run, term: &Term) -> Marked {
    let paint = if term.stdout_colour() { Paint::Colours } else { Paint::Signs };
    term.note(&term.dim(paint.legend()));
    let output = &args.output;
    Marked::new(engine.shared_tokenizer(), &output.stop, output.ignore_eos, paint)
}

/// Ids of the prompt, through the chat template unless `--raw`.
fn prompt_ids(engine: &Engine, args: &low::Run, text: &str) -> Result<Vec<u32>> {
    let tokenizer = engine.tokenizer();
    let ids = match engine.chat_template() {
        _ if args.raw => tokenizer.encode(text, AddSpecial::Yes, ParseSpecial::Yes)?,
        Some(template) => {
            let system = args.system.iter().map(|text| Message::new("system", text));
            let messages: Vec<Message> = system.chain([Message::new("user", text)]).collect();
            let prompt = template.render(&ChatInput::new(&messages))?;
            tokenizer.encode(&prompt, AddSpecial::No, ParseSpecial::Yes)?
        }
        None if args.system.is_some() => {
            return Err(Error::Invalid {
                message: format!("{} has no chat template for --system", engine.name()),
                hint: Some("put the system prompt into the prompt".into()),
            });
        }
        None => tokenizer.encode(text, AddSpecial::Yes, ParseSpecial::Yes)?,
    };
    if ids.is_empty() {
        return Err(Error::Invalid {
            message: "the prompt is empty".into(),
            hint: Some("give one with -p TEXT, -f FILE or on standard input".into()),
        });
    }
    Ok(ids)
}

/// What the user should know after the answer: a full context always, the speed if asked for.
pub(super) fn end_note(generation: &Generation, engine: &Engine, term: &Term) {
    if generation.stop_reason == StopReason::Context {
        term.note(&format!(
            "coppice: the context of {} tokens is full; raise --ctx to go on",
            engine.context()
        ));
    }
    let t = &generation.timings;
    term.detail(&term.dim(&format!(
        "prompt {} tokens at {:.1} tokens/s ({} from the cache), answer {} tokens at {:.1} tokens/s, \
         first token after {:.0} ms",
        t.prompt_n,
        t.prompt_per_second,
        t.cache_n,
        t.predicted_n,
        t.predicted_per_second,
        t.first_token_ms
    )));
}
