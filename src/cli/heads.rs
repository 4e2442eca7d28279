//! `coppice heads`, and what `coppice inspect` says about heads.

use std::{io::Write as _, path::Path, process::ExitCode};

use serde::Serialize;

use super::{high, low_files, term::Term};
use crate::{
    error::Error,
    format::{
        ModelSource,
        heads::{HeadKind, Heads, Layout, Precision},
    },
};

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    file: String,
    format: &'static str,
    layout: Layout,
    kind: HeadKind,
    heads: usize,
    /// Of the first head.
    blocks: usize,
    own_projections: bool,
    width: usize,
    /// Absent where the file does not say.
    vocab: Option<usize>,
    draft_vocab: Option<usize>,
    embed_scale: f32,
    parameters: usize,
    base_model: Option<&'a str>,
    base_sha256: Option<&'a str>,
    accuracy: &'a [Vec<f32>],
    /// Rounds in which guesses were counted by `heads calibrate`.
    calibration_rounds: Option<u64>,
    training: Option<&'a serde_json::Value>,
}

/// Prints what a file of heads holds.
pub(super) fn inspect(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (layout, heads) = Heads::load(file)?;
    let report = Report {
        schema: 1,
        file: file.display().to_string(),
        format: "draft heads",
        layout,
        kind: heads.kind,
        heads: heads.heads.len(),
        blocks: heads.heads[0].blocks.len(),
        own_projections: heads.heads[0].projection.is_some(),
        width: heads.width,
        vocab: Some(heads.vocab).filter(|&vocab| vocab > 0),
        draft_vocab: heads.draft_vocab.as_ref().map(Vec::len),
        embed_scale: heads.embed_scale,
        parameters: heads.parameters(),
        base_model: heads.record.base_model.as_deref(),
        base_sha256: heads.record.base_sha256.as_deref(),
        accuracy: &heads.record.accuracy,
        calibration_rounds: heads.record.paths.iter().map(|path| path.trials).max(),
        training: heads.record.training.as_ref(),
    };
    let mut stdout = std::io::stdout().lock();
    if json {
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(stdout, "{}: {} in the layout of {layout}", report.file, report.format)?;
    let serde_json::Value::Object(fields) = serde_json::to_value(&report)? else {
        return Ok(ExitCode::SUCCESS);
    };
    for (key, value) in fields.iter().skip_while(|(key, _)| *key != "kind") {
        if !value.is_null() {
            writeln!(stdout, "  {key:<20} {value}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Rewrites heads as our own file.
pub(super) fn convert(args: &low_files::ConvertHeads, term: &Term) -> anyhow::Result<ExitCode> {
    let (layout, mut heads) = Heads::load(&args.file)?;
    if let Some(base) = &args.base {
        let path = high::model_path(base, args.offline, term)?;
        let source = ModelSource::open(&path)?;
        let config = source.config()?;
        heads.check(config.d_model, config.vocab)?;
        heads.vocab = config.vocab;
        heads.record.base_sha256 = Some(source.sha256());
        heads.record.base_norms_sha256 = Some(source.norms_sha256()?);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        heads.record.base_model = name.or(heads.record.base_model);
    }
    if heads.vocab == 0 {
        return Err(Error::Invalid {
            message: format!("{} does not name a vocabulary", args.file.display()),
            hint: Some("name the model that the heads are for with --base".into()),
        }
        .into());
    }
    heads.save(&args.output, precision(args.store))?;
    let bytes = std::fs::metadata(&args.output).map_or(0, |file| file.len());
    term.note(&format!(
        "{} heads in the layout of {layout} written to {}, {}",
        heads.heads.len(),
        args.output.display(),
        indicatif::HumanBytes(bytes)
    ));
    Ok(ExitCode::SUCCESS)
}

/// How matrices are stored.
pub(super) fn precision(store: low_files::HeadStorage) -> Precision {
    match store {
        low_files::HeadStorage::F32 => Precision::F32,
        low_files::HeadStorage::F16 => Precision::F16,
        low_files::HeadStorage::Q8 => Precision::Q8,
    }
}
