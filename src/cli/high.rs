//! Checked, opened things made from the words on the command line.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{low_shared, progress::DownloadBar, term::Term};
use crate::{
    engine::{DeviceSpec, Engine, LoadOptions},
    error::{Error, Result},
    hub::{self, Network, Source},
    model::Precision,
    ops::{Activations, KvFormat},
    sample::SamplerParams,
};

/// Path of a model, pulled if need be.
pub(super) fn model_path(model: &str, offline: bool, term: &Term) -> Result<PathBuf> {
    let source: Source = model.parse()?;
    let hub_offline =
        std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
    let network = if offline || hub_offline { Network::Offline } else { Network::Allowed };
    Ok(hub::pull(&source, network, &mut DownloadBar::new(term))?)
}

/// Loads the model on the device.
pub(super) fn engine(
    model: &low_shared::Model,
    device: &low_shared::Device,
    term: &Term,
) -> Result<Engine> {
    engine_for(1, model, device, term)
}

/// Loads the model on the device, with room in the cache for so many sequences.
pub(super) fn engine_for(
    sequences: usize,
    model: &low_shared::Model,
    device: &low_shared::Device,
    term: &Term,
) -> Result<Engine> {
    let options = LoadOptions { sequences, ..load_options(model, device)? };
    let path = model_path(&model.model, model.offline, term)?;
    let engine = Engine::load(&path, &options)?;
    term.detail(&format!("{} on {}", path.display(), engine.adapter()));
    Ok(engine)
}

/// How to load a model.
pub(super) fn load_options(
    model: &low_shared::Model,
    device: &low_shared::Device,
) -> Result<LoadOptions> {
    Ok(LoadOptions {
        device: device.device.parse::<DeviceSpec>()?,
        threads: threads(device.threads)?,
        precision: device.activations.map(|activations| match activations {
            low_shared::Activations::F32 => Activations::F32.into(),
            low_shared::Activations::Q12 => Activations::Q12.into(),
            low_shared::Activations::Mixed => Precision::MIXED,
            low_shared::Activations::Q8 => Activations::Q8.into(),
        }),
        quant: model.quant.as_deref().map(str::parse).transpose().map_err(Error::invalid)?,
        kv: match model.kv {
            low_shared::Kv::F32 => KvFormat::F32,
            low_shared::Kv::F16 => KvFormat::F16,
            low_shared::Kv::Q8_0 => KvFormat::Q8_0,
        },
        context: model.ctx,
        sequences: 1,
    })
}

/// A thread count that can be used.
pub(super) fn threads(threads: Option<usize>) -> Result<Option<usize>> {
    const MOST: usize = 1024;
    match threads {
        Some(n) if n == 0 || n > MOST => {
            Err(Error::invalid(format!("--threads {n}: wanted 1 to {MOST}")))
        }
        threads => Ok(threads),
    }
}

/// Sampler settings; without a seed, one from the clock.
pub(super) fn sampler(sampling: &low_shared::Sampling) -> Result<SamplerParams> {
    let clock =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let params = SamplerParams {
        temperature: sampling.temp,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        typical_p: sampling.typical,
        repeat_penalty: sampling.repeat_penalty,
        presence_penalty: sampling.presence_penalty,
        frequency_penalty: sampling.frequency_penalty,
        penalty_last_n: match sampling.repeat_last_n {
            0 => usize::MAX,
            n => n,
        },
        seed: sampling.seed.unwrap_or_else(clock),
    };
    params.check()?;
    Ok(params)
}

/// Text of a file, or of standard input for `-`.
pub(super) fn text_of(path: &Path) -> Result<String> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        (PathBuf::from("standard input"), read.map(|_| bytes))
    } else {
        (path.to_path_buf(), std::fs::read(path))
    };
    let bytes =
        bytes.map_err(|source| Error::Io { action: "cannot read", path: name.clone(), source })?;
    String::from_utf8(bytes).map_err(|error| {
        Error::invalid(format!(
            "{} is no UTF-8: byte {:#04x} at {}",
            name.display(),
            error.as_bytes()[error.utf8_error().valid_up_to()],
            error.utf8_error().valid_up_to()
        ))
    })
}
