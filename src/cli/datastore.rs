//! `coppice datastore`: text to draft from.

use std::{
    io::Write as _,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{high, interrupt, low_files, term::Term};
use crate::{
    engine::{Engine, vocabulary_id},
    error::{Error, Result},
    spec::datastore::{BuildStage, Datastore, DatastoreBuilder},
    text::{AddSpecial, ParseSpecial, Tokenizer},
};

/// Version of the JSON object.
const SCHEMA: u32 = 1;

/// Text that is tokenised in one piece; a document longer than that is cut between lines.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Serialize)]
struct Report {
    schema: u32,
    file: String,
    bytes: u64,
    /// With one separator a document.
    tokens: u64,
    documents: u64,
    vocabulary_tokens: u32,
    vocabulary_hash: String,
    entry_bytes: u32,
    /// Whether the model named has the same vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    fits_model: Option<bool>,
}

pub(super) fn main(args: &low_files::Datastore, term: &Term) -> anyhow::Result<ExitCode> {
    match args {
        low_files::Datastore::Build(args) => build(args, term),
        low_files::Datastore::Info(args) => info(args, term),
    }
}

fn build(args: &low_files::DatastoreBuild, term: &Term) -> anyhow::Result<ExitCode> {
    let path = &args.output;
    if path.exists() && !args.force {
        return Err(Error::Invalid {
            message: format!("{} exists", path.display()),
            hint: Some("choose another name, or replace it with --force".into()),
        }
        .into());
    }
    let cancel = interrupt::flag()?;
    let tokenizer = Engine::load_tokenizer(&high::model_path(&args.model, args.offline, term)?)?;
    let mut builder = DatastoreBuilder::new(vocabulary_id(&tokenizer));
    for text in &args.texts {
        read(&mut builder, &tokenizer, text, (&cancel, term))?;
    }
    let (tokens, mut bar, mut stage) = (builder.tokens(), None, None);
    builder.write(path, &mut |now, share| {
        if stage != Some(now) {
            stage = Some(now);
            let what = match now {
                BuildStage::Sort => format!("sorting {tokens} tokens"),
                BuildStage::Write => format!("writing {}", path.display()),
            };
            bar = Some(Bar::new(term, &what, 1000));
        }
        if let Some(bar) = &bar {
            bar.set((1000.0 * share) as u64);
        }
        !cancel.load(Ordering::Relaxed)
    })?;
    drop(bar);
    print(&Datastore::open(path)?, None, args.json)
}

fn info(args: &low_files::DatastoreInfo, term: &Term) -> anyhow::Result<ExitCode> {
    let store = Datastore::open(&args.file)?;
    let fits = match &args.model {
        None => None,
        Some(model) => {
            let path = high::model_path(model, args.offline, term)?;
            let wanted = vocabulary_id(&Engine::load_tokenizer(&path)?);
            Some(store.check_vocabulary(wanted).is_ok())
        }
    };
    print(&store, fits, args.json)
}

/// Tokenises a file as one document of its own.
fn read(
    builder: &mut DatastoreBuilder,
    tokenizer: &Tokenizer,
    file: &Path,
    (cancel, term): (&AtomicBool, &Term),
) -> Result<()> {
    let text = high::text_of(file)?;
    let bar = Bar::new(term, &format!("reading {}", file.display()), text.len() as u64);
    let mut done = 0;
    for piece in pieces(&text) {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        // Specials in the text are text: a file must not be able to end a turn.
        builder.extend(&tokenizer.encode(piece, AddSpecial::No, ParseSpecial::No)?)?;
        done += piece.len() as u64;
        bar.set(done);
    }
    builder.end_document();
    Ok(())
}

/// A text in pieces of about [`PIECE_BYTES`], cut where a line begins with no space, so that most
/// tokenisers give the tokens they would have given in one piece.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let bytes = rest.as_bytes();
        let lines = bytes.iter().enumerate().skip(PIECE_BYTES).filter(|(_, b)| **b == b'\n');
        let at = lines
            .map(|(i, _)| i + 1)
            .find(|&i| bytes.get(i).is_some_and(|byte| !byte.is_ascii_whitespace()))
            .unwrap_or(bytes.len());
        let (piece, behind) = rest.split_at(at);
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

fn print(store: &Datastore, fits_model: Option<bool>, json: bool) -> anyhow::Result<ExitCode> {
    let vocabulary = store.vocabulary();
    let report = Report {
        schema: SCHEMA,
        file: store.path().display().to_string(),
        bytes: store.bytes(),
        tokens: store.tokens(),
        documents: store.documents(),
        vocabulary_tokens: vocabulary.tokens,
        vocabulary_hash: vocabulary.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        entry_bytes: store.entry_bytes(),
        fits_model,
    };
    let mut stdout = std::io::stdout().lock();
    if json {
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(stdout, "{}: datastore, {} bytes", report.file, report.bytes)?;
    writeln!(stdout, "  tokens       {}", report.tokens)?;
    writeln!(stdout, "  documents    {}", report.documents)?;
    writeln!(
        stdout,
        "  vocabulary   {} tokens, SHA-256 {}",
        report.vocabulary_tokens, report.vocabulary_hash
    )?;
    writeln!(stdout, "  suffix array {} bytes an entry", report.entry_bytes)?;
    if let Some(fits) = fits_model {
        writeln!(stdout, "  fits model   {}", if fits { "yes" } else { "no" })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar on a terminal, one line elsewhere.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(term: &Term, what: &str, total: u64) -> Self {
        if !term.progress() {
            term.detail(what);
            return Self(None);
        }
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {percent} % {eta} left")
            .expect("the template is a constant that parses")
            .progress_chars("=> ");
        Self(Some(ProgressBar::new(total).with_style(style).with_message(what.to_owned())))
    }

    fn set(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_begin_at_lines() {
        let line = format!("{}\n", "word ".repeat(30));
        let text = format!("{}\n  tail", line.repeat(2 * PIECE_BYTES / line.len() + 50));
        let cut: Vec<&str> = pieces(&text).collect();
        assert_eq!(cut.concat(), text);
        assert!(cut.len() == 3, "{}", cut.len());
        assert!(cut[1..].iter().all(|piece| piece.starts_with("word")));
        assert_eq!(pieces("").count(), 0);
    }
}
