//! `coppice doctor`: which devices work, and what is missing.

use std::{io::Write as _, process::ExitCode};

use super::{
    config,
    gpu_test::{isolated, limit},
    high, low_gpu,
    progress::DownloadBar,
    term::Term,
};
use crate::{
    check::{
        doctor::{Examination, Fit, examine, markdown},
        report::Redactor,
    },
    error::Result,
    format::ModelSource,
    hub::{self, Network, Source},
    model::{Model, ModelOptions},
    ops::{Activations, KvFormat},
};

/// Contexts for which memory is estimated, as far as the model goes.
const CONTEXTS: [usize; 2] = [2048, 8192];

pub(super) fn main(args: &low_gpu::Doctor, term: &Term) -> anyhow::Result<ExitCode> {
    let limit = limit(args.timeout)?;
    let mut runner = isolated()?;
    let mut all = examine(&mut runner, high::threads(args.threads)?, limit);
    // A model that is not here is nothing the doctor is asked about.
    match fits(&all, &args.model, term) {
        Ok(fits) => all.fits = fits,
        Err(error) => term.detail(&format!("no estimate for {}: {error}", args.model)),
    }
    all.config = config::of_run().unwrap_or_default();
    let redactor = Redactor::from_environment();
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", all.to_json(&redactor))?;
    } else {
        write!(stdout, "{}", markdown(&all, &redactor))?;
    }
    Ok(ExitCode::from(all.exit_code()))
}

/// Memory of a model beside that of each device.
fn fits(all: &Examination, model: &str, term: &Term) -> Result<Vec<Fit>> {
    let source: Source = model.parse()?;
    let path = hub::pull(&source, Network::Offline, &mut DownloadBar::new(term))?;
    let source = ModelSource::open(&path)?;
    let most = source.config()?.max_context;
    let mut fits = Vec::new();
    for context in CONTEXTS.into_iter().filter(|&context| context <= most.max(CONTEXTS[0])) {
        let context = context.min(most);
        let options = ModelOptions {
            quant: None,
            precision: Activations::F32.into(),
            kv_format: KvFormat::F16,
            capacity: context,
        };
        let needed_bytes = Model::estimate(&source, &options)?.total_bytes();
        for device in &all.devices {
            let adapter = &device.adapter;
            let available_bytes = match adapter.api.as_str() {
                "cpu" => all.host.available_bytes,
                "cuda" => Some(adapter.max_buffer_bytes),
                // These take the processor's memory.
                _ if adapter.is_software || adapter.kind == "integrated" => {
                    all.host.available_bytes
                }
                _ => None,
            };
            fits.push(Fit {
                model: model.into(),
                context,
                needed_bytes,
                device: adapter.selector.clone(),
                available_bytes,
                fits: available_bytes.map(|available| needed_bytes <= available),
            });
        }
    }
    Ok(fits)
}
