//! What stderr may show: messages, progress, colour.

use std::io::{IsTerminal, Write as _};

use super::low::{Color, Global};

/// How talkative to be, decided once.
#[derive(Clone, Debug)]
pub(super) struct Term {
    quiet: bool,
    verbose: u8,
    progress: bool,
    colour: bool,
    stdout_colour: bool,
}

impl Term {
    pub(super) fn new(global: &Global) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let terminal = std::io::stderr().is_terminal();
        let coloured = |terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => set("CLICOLOR_FORCE") || (terminal && !dumb && !set("NO_COLOR")),
        };
        let (colour, stdout_colour) =
            (coloured(terminal), coloured(std::io::stdout().is_terminal()));
        let progress = terminal && !dumb && !global.quiet && !set("HF_HUB_DISABLE_PROGRESS_BARS");
        Self { quiet: global.quiet, verbose: global.verbose, progress, colour, stdout_colour }
    }

    /// Bars and live lines may be drawn.
    pub(super) fn progress(&self) -> bool {
        self.progress
    }

    /// What is printed on stdout may have colours.
    pub(super) fn stdout_colour(&self) -> bool {
        self.stdout_colour
    }

    /// A message for the user on stderr.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            // Nothing can be done if stderr itself is gone.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// A message for those who asked for more.
    pub(super) fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.note(text);
        }
    }

    /// Dim text, where colour is on.
    pub(super) fn dim(&self, text: &str) -> String {
        if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text.into() }
    }
}
