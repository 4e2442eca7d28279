//! `coppice train medusa --joint`: the model learns with its heads, and becomes a new file.

use std::{path::Path, sync::atomic::AtomicBool};

use super::{low_train, progress::WorkBar, term::Term};
use crate::{
    engine::Engine,
    error::{Error, Result},
    format::{ModelSource, heads::Heads},
    quant::QuantFormat,
    train::heads::{
        Event, Options, Target, Trained,
        features::Conversation,
        joint::{
            Adapters, Backbone, JointOptions, Ramp, Trainee, available_bytes, estimate, merge,
            train_joint,
        },
    },
};

/// What the flags ask for, `None` without `--joint`.
pub(super) fn options(
    args: &low_train::TrainMedusa,
    options: &Options,
) -> Result<Option<JointOptions>> {
    let given = &args.joint;
    if !given.joint {
        return Ok(None);
    }
    format(args)?;
    if args.model.quant.is_some() {
        return Err(Error::Invalid {
            message: "--joint trains the matrices of the file, not what --quant makes of them"
                .into(),
            hint: Some("leave --quant out, and quantise the merged file".into()),
        });
    }
    let joint = JointOptions {
        rank: given.rank,
        alpha: given.alpha,
        matrices: given.adapt.iter().map(|name| name.parse()).collect::<Result<_>>()?,
        head_rate: given.head_rate,
        head_loss: given.head_loss,
        ramp: match given.head_ramp {
            low_train::HeadRamp::Sine => Ramp::Sine,
            low_train::HeadRamp::Constant => Ramp::Constant,
        },
        kl: given.kl,
        window: given.window,
    };
    joint.check(options)?;
    Ok(Some(joint))
}

fn format(args: &low_train::TrainMedusa) -> Result<QuantFormat> {
    args.joint.merged_format.parse().map_err(Error::invalid)
}

/// Trains, once it is clear that there is room.
pub(super) fn run(
    (engine, path): (&Engine, &Path),
    (target, conversations): (&Target<'_>, &[Conversation]),
    (options, joint): (&Options, &JointOptions),
    place: (&Path, Option<&Heads>, bool),
    (cancel, term): (&AtomicBool, &Term),
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(Trained, Adapters)> {
    let source = ModelSource::open(path)?;
    if source.gguf().is_none() {
        return Err(Error::Invalid {
            message: format!("{} is no GGUF file, and only those can be merged", path.display()),
            hint: Some("convert the model to GGUF first".into()),
        });
    }
    let model = engine.model();
    let memory = estimate(model.config(), options, joint, options.draft_vocab);
    memory.check(available_bytes(engine.adapter()))?;
    term.note(&format!(
        "joint training takes {} MiB beside the model: {} for matrices in f32, {} for the rows of a \
         window, {} for what is trained",
        memory.total_bytes() >> 20,
        memory.weights_bytes >> 20,
        memory.activation_bytes >> 20,
        memory.parameter_bytes >> 20
    ));
    std::fs::create_dir_all(place.0).map_err(|source| Error::Io {
        action: "cannot create",
        path: place.0.to_owned(),
        source,
    })?;
    let backbone = Backbone::load(model, &source)?;
    let trainee = Trainee { target, backbone: &backbone };
    train_joint(&trainee, conversations, (options, joint), place, cancel, on_event)
}

/// A file that was written.
pub(super) struct Merged {
    /// Its name without extension.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
}

/// Writes the model with its adapters.
pub(super) fn write_merged(
    args: &low_train::TrainMedusa,
    path: &Path,
    adapters: &Adapters,
    term: &Term,
) -> Result<Merged> {
    let to = args.joint.merged.as_deref().expect("--joint requires --merged");
    let mut bar = WorkBar::new(term);
    let mut on_progress = |done: f64| bar.set(done, || "merging".into());
    let source = ModelSource::open(path)?;
    let written = merge(&source, adapters, format(args)?, to, &mut on_progress);
    bar.finish();
    written?;
    term.note(&format!("{} is written", to.display()));
    let name = to.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Merged { name, sha256: ModelSource::open(to)?.sha256() })
}
