//! The command line: low args (as typed) become high args (checked, opened), verbs take only those.
//!
//! stdout is data, stderr is progress and messages. Exit codes: 0 success, 1 ran but failed, 2
//! usage, 3 no such device, 4 internal error, 130 stopped by Ctrl-C. A broken pipe is success.

mod bench;
mod bench_spec;
mod bench_suite;
mod calibrate;
mod chat;
mod config;
mod datastore;
mod devices;
mod doctor;
mod drafters;
mod gpu_test;
mod heads;
mod high;
mod inspect;
mod interrupt;
mod logits;
mod lossless;
mod low;
mod low_files;
mod low_gpu;
mod low_shared;
mod low_spec;
mod low_train;
mod perplexity;
mod progress;
mod pull;
mod record;
mod run;
mod show_spec;
mod term;
mod tokenize;
mod trace;
mod train_data;
mod train_joint;
mod train_medusa;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

use self::{
    low::{Cli, Verb},
    low_files::HeadsAction,
    low_train::TrainStage,
    term::Term,
};
use crate::{backend::BackendError, error::Error};

/// Ran, but found a failure (a test, a mismatch).
const FAILED: u8 = 1;
/// The words on the command line are off.
const USAGE: u8 = 2;
/// The device asked for is not here.
const NO_DEVICE: u8 = 3;
/// Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Runs the command and gives its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match config::with_defaults(Cli::command()) {
        Ok(command) => command,
        Err(message) => {
            complain(&message, None);
            return ExitCode::from(USAGE);
        }
    };
    let parsed = command.try_get_matches_from(args).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are a success.
            let code = if error.use_stderr() { USAGE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
                Err(_) => ExitCode::from(FAILED),
            };
        }
    };
    let term = Term::new(&cli.global);
    if cli.global.print_config {
        return finish(config::print(&cli));
    }
    finish(dispatch(&cli, &term))
}

fn dispatch(cli: &Cli, term: &Term) -> anyhow::Result<ExitCode> {
    match &cli.verb {
        Verb::Run(args) => run::main(args, term),
        Verb::Chat(args) => chat::main(args, term),
        Verb::Pull(args) => pull::main(args, term),
        Verb::Perplexity(args) => perplexity::main(args, term),
        Verb::Logits(args) => logits::main(args, term),
        Verb::Train(args) => match &args.stage {
            TrainStage::Data(args) => train_data::main(args, term),
            TrainStage::Medusa(args) => train_medusa::main(args, term),
        },
        Verb::Bench(args) => match &args.kind {
            Some(low_spec::BenchKind::Spec(args)) => bench_spec::main(args, term),
            Some(low_spec::BenchKind::Lossless(args)) => lossless::main(args, term),
            Some(low_spec::BenchKind::Suite(args)) => bench_suite::main(args, term),
            None => bench::main(args, term),
        },
        Verb::Tokenize(args) => tokenize::main(args, term),
        Verb::Datastore(args) => datastore::main(args, term),
        Verb::Inspect(args) => inspect::main(args),
        Verb::Heads(args) => match &args.action {
            HeadsAction::Convert(args) => heads::convert(args, term),
            HeadsAction::Calibrate(args) => calibrate::main(args, term),
        },
        Verb::Devices(args) => devices::main(args),
        Verb::Doctor(args) => doctor::main(args, term),
        Verb::GpuTest(args) => gpu_test::main(args, term),
        Verb::Trace(args) => trace::main(args, term),
        Verb::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "coppice", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The exit code of a verb's result; prints its error, once, with a hint where there is one.
fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    let is_broken_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let ours = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if matches!(ours, Some(Error::Cancelled)) {
        return ExitCode::from(INTERRUPTED);
    }
    complain(&format!("{error:#}"), ours.and_then(Error::hint).as_deref());
    ExitCode::from(match ours {
        Some(Error::Backend(BackendError::NoAdapter { .. })) => NO_DEVICE,
        Some(Error::Invalid { .. }) => USAGE,
        _ => FAILED,
    })
}

fn complain(message: &str, hint: Option<&str>) {
    let mut stderr = std::io::stderr().lock();
    // Nothing can be done if stderr itself is gone.
    let _ = writeln!(stderr, "coppice: {message}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}
