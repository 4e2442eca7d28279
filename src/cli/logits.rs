//! `coppice logits`: what the model expects next.

use std::{io::Write as _, process::ExitCode};

use serde::Serialize;

use super::{high, low, term::Term};

#[derive(Serialize)]
struct Entry<'a> {
    id: u32,
    piece: &'a str,
    logprob: f64,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: &'a str,
    device: String,
    ids: &'a [u32],
    top: Vec<Entry<'a>>,
}

pub(super) fn main(args: &low::Logits, term: &Term) -> anyhow::Result<ExitCode> {
    let mut engine = high::engine(&args.model, &args.device, term)?;
    let scored = engine.next_logprobs(&args.ids, args.top)?;
    let top: Vec<Entry<'_>> = scored
        .iter()
        .map(|entry| Entry {
            id: entry.id,
            piece: engine.tokenizer().token_text(entry.id).unwrap_or_default(),
            logprob: entry.logprob,
        })
        .collect();
    let mut stdout = std::io::stdout();
    if args.json {
        let report = Report {
            schema: 1,
            model: engine.name(),
            device: engine.adapter().to_string(),
            ids: &args.ids,
            top,
        };
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    } else {
        for entry in top {
            writeln!(stdout, "{:>7} {:>10.5} {:?}", entry.id, entry.logprob, entry.piece)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
