//! Runs the built `coppice` in a folder of its own, shut off from the user's settings.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A temporary folder with the built binary at hand.
pub struct Sandbox {
    dir: TempDir,
}

/// What a command left behind.
pub struct Outcome {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Sandbox {
    /// An empty folder.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A command with these arguments; all of its state lies in the folder.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coppice"));
        command
            .args(args)
            .current_dir(self.path())
            .env("COPPICE_HOME", self.path().join("home"))
            .env("COPPICE_CONFIG", self.config())
            .env("HF_HOME", self.path().join("hf"))
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_TOKEN")
            .env_remove("COPPICE_MODEL")
            .env_remove("COPPICE_DEVICE")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    fn config(&self) -> std::path::PathBuf {
        let path = self.path().join("config.toml");
        if !path.exists() {
            std::fs::write(&path, "").expect("the folder can be written");
        }
        path
    }

    /// Runs with these arguments.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        outcome(self.command(args).output().expect("the binary runs"))
    }
}

/// Text form of a finished command.
pub fn outcome(output: Output) -> Outcome {
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
