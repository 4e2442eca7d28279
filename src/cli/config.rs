//! The configuration file: values in it become the defaults of the flags of the same names, so
//! that precedence is flag, environment, file, built-in default.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _, FromArgMatches as _};
use serde::Serialize;

use super::{
    low::{Cli, Verb},
    low_files::HeadsAction,
    low_spec::BenchKind,
    low_train::TrainStage,
};

/// `COPPICE_CONFIG`, else `config.toml` in the platform's configuration folder.
fn path() -> Option<(PathBuf, bool)> {
    if let Some(path) = std::env::var_os("COPPICE_CONFIG").filter(|path| !path.is_empty()) {
        return Some((path.into(), true));
    }
    let dirs = directories::ProjectDirs::from("", "", "coppice")?;
    Some((dirs.config_dir().join("config.toml"), false))
}

/// The command with the file's values as defaults. The error is a sentence for the user.
pub(super) fn with_defaults(command: Command) -> Result<Command, String> {
    let Some((path, asked_for)) = path() else { return Ok(command) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
            return Ok(command);
        }
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    apply(command, &text).map_err(|message| format!("{}: {message}", path.display()))
}

fn apply(mut command: Command, text: &str) -> Result<Command, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    for (key, value) in &table {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(n) => n.to_string(),
            toml::Value::Float(x) => x.to_string(),
            toml::Value::Boolean(b) => b.to_string(),
            other => return Err(format!("`{key}` is {}, wanted a value", other.type_str())),
        };
        if !verbs(&command).iter().any(|verb| argument(verb, key).is_some()) {
            return Err(format!("`{key}` is no flag of any verb"));
        }
        command = with_default(command, key, &text);
    }
    Ok(command)
}

/// The verbs of a command, and theirs.
fn verbs(command: &Command) -> Vec<&Command> {
    command.get_subcommands().flat_map(|verb| std::iter::once(verb).chain(verbs(verb))).collect()
}

/// Id of the flag of this name.
fn argument(verb: &Command, key: &str) -> Option<clap::Id> {
    let mut arguments = verb.get_arguments();
    arguments.find(|arg| arg.get_long() == Some(key)).map(|arg| arg.get_id().clone())
}

/// The command with a default for all flags of a name, those of verbs of verbs included.
fn with_default(mut command: Command, key: &str, value: &str) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |verb| {
            let verb = match argument(&verb, key) {
                Some(id) => verb.mut_arg(id, |arg| arg.default_value(value.to_owned())),
                None => verb,
            };
            with_default(verb, key, value)
        });
    }
    command
}

/// Prints the settings in effect as TOML.
pub(super) fn print(cli: &Cli) -> anyhow::Result<ExitCode> {
    fn toml_of(settings: &impl Serialize) -> anyhow::Result<String> {
        toml::to_string(settings).context("the settings cannot be written as TOML")
    }
    let text = match &cli.verb {
        Verb::Run(args) => toml_of(args),
        Verb::Chat(args) => toml_of(args),
        Verb::Pull(args) => toml_of(args),
        Verb::Perplexity(args) => toml_of(args),
        Verb::Logits(args) => toml_of(args),
        Verb::Train(args) => match &args.stage {
            TrainStage::Data(args) => toml_of(args),
            TrainStage::Medusa(args) => toml_of(args),
        },
        Verb::Bench(args) => match &args.kind {
            Some(BenchKind::Spec(args)) => toml_of(args),
            Some(BenchKind::Lossless(args)) => toml_of(args),
            Some(BenchKind::Suite(args)) => toml_of(args),
            None => toml_of(args),
        },
        Verb::Tokenize(args) => toml_of(args),
        Verb::Datastore(args) => toml_of(args),
        Verb::Inspect(args) => toml_of(args),
        Verb::Heads(args) => match &args.action {
            HeadsAction::Convert(args) => toml_of(args),
            HeadsAction::Calibrate(args) => toml_of(args),
        },
        Verb::Devices(args) => toml_of(args),
        Verb::Doctor(args) => toml_of(args),
        Verb::GpuTest(args) => toml_of(args),
        Verb::Trace(args) => toml_of(args),
        Verb::Completions(_) | Verb::Man => Ok(String::new()),
    }?;
    write!(std::io::stdout(), "# coppice {}\n{text}{}", cli.verb.name(), toml_of(&cli.global)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The settings of `coppice run` as environment and file leave them, as TOML; nothing if the file is
/// wrong, of which the user was told.
pub(super) fn of_run() -> Option<String> {
    let command = with_defaults(Cli::command()).ok()?;
    let matches = command.try_get_matches_from(["coppice", "run"]).ok()?;
    match Cli::from_arg_matches(&matches).ok()?.verb {
        Verb::Run(args) => toml::to_string(&args).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(file: &str, args: &[&str]) -> Cli {
        let command = apply(Cli::command(), file).expect("the file is fine");
        let matches = command.try_get_matches_from(args).expect("the words are fine");
        Cli::from_arg_matches(&matches).expect("the words are fine")
    }

    #[test]
    fn the_file_gives_defaults_that_flags_override() {
        let file = "temp = 0.25\ntop-k = 7\n";
        let Verb::Run(run) = parse(file, &["coppice", "run", "--top-k", "9"]).verb else {
            panic!("run was asked for")
        };
        assert!((run.sampling.temp - 0.25).abs() < 1e-6);
        assert_eq!(run.sampling.top_k, 9);
        let args = ["coppice", "train", "data", "-o", "here"];
        let Verb::Train(train) = parse("temp = 0.25\n", &args).verb else {
            panic!("train was asked for")
        };
        let TrainStage::Data(data) = train.stage else { panic!("data was asked for") };
        assert!((data.temp - 0.25).abs() < 1e-6, "verbs of verbs too");
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = apply(Cli::command(), "tmep = 1").expect_err("no such flag");
        assert!(error.contains("`tmep`"), "{error}");
    }
}
