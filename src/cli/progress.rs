//! Progress: bars on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

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

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// A bar with a message for long work; a line now and then elsewhere.
pub(super) struct WorkBar<'a> {
    term: &'a Term,
    bar: Option<ProgressBar>,
    last: Instant,
}

impl<'a> WorkBar<'a> {
    pub(super) fn new(term: &'a Term) -> Self {
        let bar = term.progress().then(|| {
            let style = ProgressStyle::with_template("[{bar:30}] {percent:>3} % {msg}")
                .expect("the template is a constant that parses")
                .progress_chars("=> ");
            ProgressBar::new(1000).with_style(style)
        });
        Self { term, bar, last: Instant::now() }
    }

    /// `share` of the work, 0 to 1, is done; `message` says how it goes.
    pub(super) fn set(&mut self, share: f64, message: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => {
                bar.set_position((1000.0 * share.clamp(0.0, 1.0)) as u64);
                if self.last.elapsed() >= Duration::from_millis(200) {
                    bar.set_message(message());
                    self.last = Instant::now();
                }
            }
            None if self.last.elapsed() >= LINE_EVERY => {
                self.term.note(&format!("{:3.0} % {}", 100.0 * share, message()));
                self.last = Instant::now();
            }
            None => {}
        }
    }

    /// Runs `print` with the bar out of the way.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
