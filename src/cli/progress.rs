//! Progress bars of downloads.

use indicatif::{ProgressBar, ProgressStyle};

use super::term::Term;
use crate::hub;

/// A bar with bytes, speed and time left on a terminal; a line a file elsewhere.
pub(super) struct DownloadBar<'a> {
    term: &'a Term,
    bar: Option<ProgressBar>,
}

impl<'a> DownloadBar<'a> {
    pub(super) fn new(term: &'a Term) -> Self {
        Self { term, bar: None }
    }
}

impl hub::Progress for DownloadBar<'_> {
    fn start(&mut self, name: &str, total_bytes: u64, done_bytes: u64) {
        if !self.term.progress() {
            self.term.note(&format!("{name}: {}", indicatif::HumanBytes(total_bytes)));
            return;
        }
        let style = ProgressStyle::with_template(
            "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
        )
        .expect("the template is a constant that parses")
        .progress_chars("=> ");
        let bar = ProgressBar::new(total_bytes).with_style(style).with_message(name.to_owned());
        bar.set_position(done_bytes);
        self.bar = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => self.term.note(text),
        }
    }
}
