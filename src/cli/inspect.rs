//! `coppice inspect`: what a model file holds.

use std::{io::Write as _, process::ExitCode};

use serde::Serialize;

use super::{heads, low_files};
use crate::format::{ModelSource, gguf::Value, heads::Heads};

/// Longest value printed for a person.
const SHOWN: usize = 100;

#[derive(Serialize)]
struct Tensor {
    name: String,
    r#type: String,
    shape: Vec<usize>,
    /// Absent for a type of unknown size.
    bytes: Option<usize>,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    value: String,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    file: String,
    format: String,
    /// The model's configuration, if it is one that we can run.
    config: Option<serde_json::Value>,
    /// Why it cannot be run.
    unsupported: Option<String>,
    metadata: Vec<Entry>,
    tensors: Vec<Tensor>,
}

pub(super) fn main(args: &low_files::Inspect) -> anyhow::Result<ExitCode> {
    if Heads::are_in(&args.file) {
        return heads::inspect(&args.file, args.json);
    }
    let source = ModelSource::open(&args.file)?;
    let report = report(&source, args)?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(stdout, "{}: {}", report.file, report.format)?;
    if let Some(config) = &report.config {
        writeln!(stdout, "\nconfiguration")?;
        for (key, value) in config.as_object().into_iter().flatten() {
            writeln!(stdout, "  {key:<40} {value}")?;
        }
    }
    if let Some(reason) = &report.unsupported {
        writeln!(stdout, "\ncannot be run: {reason}")?;
    }
    if !report.metadata.is_empty() {
        writeln!(stdout, "\nmetadata")?;
    }
    for entry in &report.metadata {
        let mut value: String = entry.value.chars().take(SHOWN).collect();
        if value.len() < entry.value.len() {
            value.push('…');
        }
        writeln!(stdout, "  {:<40} {value:?}", entry.key)?;
    }
    writeln!(stdout, "\n{} tensors", report.tensors.len())?;
    for tensor in &report.tensors {
        let shape = format!("{:?}", tensor.shape);
        writeln!(
            stdout,
            "  {:<40} {:<6} {shape:<18} {:>12} bytes",
            tensor.name,
            tensor.r#type,
            tensor.bytes.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string())
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(source: &ModelSource, args: &low_files::Inspect) -> anyhow::Result<Report> {
    let (config, unsupported) = match source.config() {
        Ok(config) => (Some(serde_json::to_value(&config)?), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let (format, metadata) = match source.gguf() {
        Some(gguf) => {
            let entries =
                gguf.metadata().map(|(key, value)| Entry { key: key.into(), value: shown(value) });
            (format!("GGUF v{}", gguf.version()), entries.collect())
        }
        None => ("safetensors".into(), Vec::new()),
    };
    let tensors = source
        .tensors()
        .into_iter()
        .map(|tensor| Tensor {
            name: tensor.name.clone(),
            r#type: tensor.dtype.to_string(),
            shape: tensor.shape.clone(),
            bytes: tensor.bytes,
        })
        .collect();
    Ok(Report {
        schema: 1,
        file: args.file.display().to_string(),
        format,
        config,
        unsupported,
        metadata,
        tensors,
    })
}

/// A value as text; arrays by type and length.
fn shown(value: &Value) -> String {
    match value {
        Value::Unsigned(_, n) => n.to_string(),
        Value::Signed(_, n) => n.to_string(),
        Value::Float(_, x) => x.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(array) => format!("{} ({})", value.type_name(), array.len),
    }
}
