//! What was answered so far, a JSON object a line, so that a stopped run goes on.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    cli::low_spec::BenchLossless,
    engine::Engine,
    error::{Error, Result},
};

/// Version of the lines.
const SCHEMA: u32 = 1;

/// What all answers have in common; the first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    schema: u32,
    pub(super) model: String,
    pub(super) device: String,
    pub(super) max_tokens: usize,
    pub(super) seed: u64,
    /// Nodes of the trees of heads.
    #[serde(default = "sixteen")]
    pub(super) tree: usize,
    /// SHA-256 of all prompts.
    prompts: String,
}

/// Before logs said so.
const fn sixteen() -> usize {
    16
}

impl Header {
    pub(super) fn new(engine: &Engine, prompts: &[Vec<u32>], args: &BenchLossless) -> Self {
        let mut hash = Sha256::new();
        for prompt in prompts {
            hash.update((prompt.len() as u64).to_le_bytes());
            prompt.iter().for_each(|id| hash.update(id.to_le_bytes()));
        }
        Self {
            schema: SCHEMA,
            model: engine.name().into(),
            device: engine.adapter().to_string(),
            max_tokens: args.max_tokens,
            seed: args.seed,
            tree: args.tree,
            prompts: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) setting: String,
    /// Kind of drafts, `plain` for none.
    pub(super) drafts: String,
    /// Number of the prompt, from 0.
    pub(super) prompt: usize,
    /// Of plain decoding, and of answers that differ from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ids: Option<Vec<u32>>,
    /// First token, from 0, that is not plain decoding's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) differs: Option<usize>,
    pub(super) rounds: usize,
    /// Candidates kept.
    pub(super) accepted: usize,
}

const PLAIN: &str = "plain";

impl Entry {
    pub(super) fn plain(setting: &str, prompt: usize, ids: Vec<u32>) -> Self {
        Self {
            setting: setting.into(),
            drafts: PLAIN.into(),
            prompt,
            rounds: ids.len().saturating_sub(1),
            ids: Some(ids),
            differs: None,
            accepted: 0,
        }
    }
}

/// Answers, and the file they are noted in.
pub(super) struct Log {
    entries: Vec<Entry>,
    file: Option<(File, PathBuf)>,
}

impl Log {
    /// Goes on with a file, or begins one; without a path nothing is kept.
    ///
    /// # Errors
    /// A file that cannot be read or written, or is of another run.
    pub(super) fn open(path: Option<&Path>, header: &Header) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { entries: Vec::new(), file: None }) };
        let io = |action| move |source| Error::Io { action, path: path.to_owned(), source };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io("cannot read")(error)),
        };
        // What a kill cut off has no end of line, and is answered again.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines();
        let mut entries = Vec::new();
        let other = |message: String| Error::Invalid {
            message: format!("--log {}: {message}", path.display()),
            hint: Some("name another file, or the flags it was written with".into()),
        };
        if let Some(first) = lines.next() {
            let found: Header = serde_json::from_str(first)
                .map_err(|error| other(format!("is no log of this verb ({error})")))?;
            if found != *header {
                return Err(other("is of another model, device or prompts, or other flags".into()));
            }
            for (i, line) in lines.enumerate() {
                let entry = serde_json::from_str(line);
                entries.push(entry.map_err(|error| other(format!("line {}: {error}", i + 2)))?);
            }
        }
        let mut file =
            File::options().create(true).append(true).open(path).map_err(io("cannot write"))?;
        file.set_len(whole.len() as u64).map_err(io("cannot write"))?;
        if whole.is_empty() {
            write(&mut file, header).map_err(io("cannot write"))?;
        }
        Ok(Self { entries, file: Some((file, path.to_owned())) })
    }

    /// Notes an answer.
    pub(super) fn add(&mut self, entry: Entry) -> Result<()> {
        if let Some((file, path)) = &mut self.file {
            write(file, &entry).map_err(|source| Error::Io {
                action: "cannot write",
                path: path.clone(),
                source,
            })?;
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Plain decoding's answer.
    pub(super) fn plain(&self, setting: &str, prompt: usize) -> Option<&[u32]> {
        self.outcome(setting, PLAIN, prompt)?.ids.as_deref()
    }

    /// What became of a prompt.
    pub(super) fn outcome(&self, setting: &str, drafts: &str, prompt: usize) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            (&entry.setting[..], &entry.drafts[..], entry.prompt) == (setting, drafts, prompt)
        })
    }
}

fn write(file: &mut File, line: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    file.write_all(text.as_bytes())
}
