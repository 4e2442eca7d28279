//! `coppice tokenize`.

use std::{io::Write as _, process::ExitCode};

use serde::Serialize;

use super::{high, low_files, term::Term};
use crate::{
    engine::Engine,
    text::{AddSpecial, ParseSpecial},
};

#[derive(Serialize)]
struct Report {
    ids: Vec<u32>,
    pieces: Vec<String>,
}

pub(super) fn main(args: &low_files::Tokenize, term: &Term) -> anyhow::Result<ExitCode> {
    let text = high::text_of(&args.file)?;
    let path = high::model_path(&args.model, args.offline, term)?;
    let tokenizer = Engine::load_tokenizer(&path)?;
    let parse = if args.no_special { ParseSpecial::No } else { ParseSpecial::Yes };
    let ids = tokenizer.encode(&text, AddSpecial::Yes, parse)?;
    let pieces = ids
        .iter()
        .map(|&id| {
            let bytes = tokenizer.token_bytes(id).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        })
        .collect();
    let report = Report { ids, pieces };
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    } else {
        for (id, piece) in report.ids.iter().zip(&report.pieces) {
            writeln!(stdout, "{id:>7} {piece:?}")?;
        }
        term.detail(&format!("{} tokens", report.ids.len()));
    }
    Ok(ExitCode::SUCCESS)
}
