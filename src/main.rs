//! The `coppice` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    coppice::cli::main(std::env::args_os())
}
