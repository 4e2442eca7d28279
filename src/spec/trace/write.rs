//! Writing, a whole line at a time.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Header, Kind, Line, Prompt, Summary, TraceRound, token_text};
use crate::{
    error::{Error, Result},
    spec::{RoundOutcome, SpecStats},
};

/// Writes a trace while it happens. Every line is with the operating system when a call returns.
#[derive(Debug)]
pub struct TraceWriter {
    file: File,
    path: PathBuf,
    line: Vec<u8>,
    summary: Summary,
}

impl TraceWriter {
    /// A new file with its header. A file with content is never written over; pipes and devices
    /// are written to as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a file that is there, [`Error::Io`] if it cannot be written.
    pub fn create(path: &Path, header: &Header) -> Result<Self> {
        let taken = std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
        if taken {
            return Err(Error::Invalid {
                message: format!("{} is there already", path.display()),
                hint: Some("give the trace another name, or remove the file".into()),
            });
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|source| cannot_write(path, source))?;
        let mut writer =
            Self { file, path: path.into(), line: Vec::new(), summary: Summary::default() };
        writer.write(Kind::Header, header)?;
        Ok(writer)
    }

    /// Begins an answer; its rounds follow.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&mut self, ids: &[u32]) -> Result<()> {
        let answer = self.summary.answers;
        self.summary.answers += 1;
        self.write(
            Kind::Prompt,
            &Prompt { answer, tokens: ids.len() as u64, ids: Some(ids.to_vec()) },
        )
    }

    /// Writes a round of the answer begun last. `bytes_of` gives the bytes of a token.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn round<'t>(
        &mut self,
        outcome: &RoundOutcome,
        bytes_of: impl Fn(u32) -> Option<&'t [u8]>,
    ) -> Result<()> {
        let text = |token| token_text(bytes_of(token).unwrap_or_default());
        let round = TraceRound {
            answer: self.summary.answers.saturating_sub(1),
            texts: outcome.nodes.iter().map(|node| text(node.token)).collect(),
            bonus_text: text(outcome.bonus),
            outcome: outcome.clone(),
        };
        self.summary.stats.add(outcome);
        self.write(Kind::Round, &round)
    }

    /// Ends an answer of so many ids.
    pub fn end(&mut self, generated: usize) {
        self.summary.generated += generated as u64;
    }

    /// Figures of the rounds so far.
    pub fn stats(&self) -> &SpecStats {
        &self.summary.stats
    }

    /// Writes the summary; a trace that is dropped without it can be read all the same.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<()> {
        let summary = std::mem::take(&mut self.summary);
        self.write(Kind::Summary, &summary)
    }

    fn write(&mut self, kind: Kind, body: &impl Serialize) -> Result<()> {
        self.line.clear();
        let written = serde_json::to_writer(&mut self.line, &Line { kind, body })
            .map_err(std::io::Error::from)
            .and_then(|()| {
                self.line.push(b'\n');
                self.file.write_all(&self.line)
            });
        written.map_err(|source| cannot_write(&self.path, source))
    }
}

fn cannot_write(path: &Path, source: std::io::Error) -> Error {
    Error::Io { action: "cannot write", path: path.into(), source }
}
