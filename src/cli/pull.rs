//! `coppice pull`.

use std::{io::Write as _, process::ExitCode};

use super::{high, low, term::Term};

/// Fetches the model and prints its path.
pub(super) fn main(args: &low::Pull, term: &Term) -> anyhow::Result<ExitCode> {
    let path = high::model_path(&args.model, args.offline, term)?;
    writeln!(std::io::stdout(), "{}", path.display())?;
    Ok(ExitCode::SUCCESS)
}
