//! Hidden states of all answers: computed once, kept on disk as f16, read through a mapping.
//!
//! Row `r` is the final-normed hidden state from which the target chose an answer's token; rows of an
//! answer follow each other. A set's file only grows, so that a set can grow too and an interrupted
//! pass goes on where it was.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use half::{f16, slice::HalfFloatSliceExt as _};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::checkpoint::write_whole;
use crate::error::{Error, Result};

/// Version of the files.
const VERSION: u32 = 1;
/// Time between notes of what is complete.
const NOTE_EVERY: Duration = Duration::from_secs(20);

/// A conversation to learn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// All tokens.
    pub ids: Vec<u32>,
    /// Half-open ranges of `ids` that are answers, in order, none at the very beginning.
    pub answers: Vec<[usize; 2]>,
    /// Kept from training.
    pub held_out: bool,
}

/// What was computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    version: u32,
    /// What made the states: model and precision.
    made_by: String,
    /// Width of a row.
    width: usize,
    /// Conversations that are complete.
    conversations: usize,
    /// Their rows.
    rows: usize,
    /// SHA-256 over them.
    digest: String,
}

/// Hidden states with the tokens that follow, of one or several sets.
#[derive(Debug, Default)]
pub struct Features {
    width: usize,
    /// First row and states of each set.
    states: Vec<(usize, Mmap)>,
    next: Vec<u32>,
    left: Vec<u8>,
    held_out: Vec<bool>,
    digest: String,
}

/// How far a pass is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Conversations with states.
    pub done: usize,
    /// Conversations.
    pub all: usize,
    /// Tokens that went through the model in this run.
    pub tokens: usize,
    /// Since the run began.
    pub elapsed: Duration,
}

impl Features {
    /// States of a set of `conversations`, kept in `NAME.f16` and `NAME.json`, where `stem` is the path
    /// up to `NAME`; what is missing there comes from `states_of`, which gives the `[ids, width]` states of all of a conversation's
    /// tokens but the last. `made_by` names model and precision.
    ///
    /// # Errors
    /// Files that something else made, or from other conversations; whatever `states_of` reports,
    /// in which case complete conversations stay; a full disk.
    pub fn open(
        stem: &Path,
        conversations: &[Conversation],
        (made_by, width): (&str, usize),
        states_of: &mut dyn FnMut(&[u32]) -> Result<Vec<f32>>,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let mut pass = Pass::open(stem, conversations, (made_by, width))?;
        let start = Instant::now();
        let (mut tokens, mut noted) = (0, Instant::now());
        let result = loop {
            let done = pass.note.conversations;
            on_progress(Progress {
                done,
                all: conversations.len(),
                tokens,
                elapsed: start.elapsed(),
            });
            let Some(conversation) = conversations.get(done) else { break Ok(()) };
            let added = pass.add(conversation, states_of);
            match added {
                Ok(count) => tokens += count,
                Err(error) => break Err(error),
            }
            if noted.elapsed() >= NOTE_EVERY {
                pass.save()?;
                noted = Instant::now();
            }
        };
        // What was computed before a failure or Ctrl-C is worth keeping.
        pass.save()?;
        result?;
        pass.finish(conversations)
    }

    /// The rows of all sets, one after the other.
    ///
    /// # Errors
    /// Sets of different widths.
    pub fn join(sets: Vec<Self>) -> Result<Self> {
        let mut all = Self { width: sets.first().map_or(0, Self::width), ..Self::default() };
        for set in sets {
            if set.width != all.width {
                let (a, b) = (all.width, set.width);
                return Err(Error::invalid(format!("hidden states of widths {a} and {b}")));
            }
            let rows = all.rows();
            all.states.extend(set.states.into_iter().map(|(first, map)| (rows + first, map)));
            all.next.extend(set.next);
            all.left.extend(set.left);
            all.held_out.extend(set.held_out);
            all.digest.push_str(&set.digest);
        }
        Ok(all)
    }

    /// Width D of a state.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.next.len()
    }

    /// State of a row.
    pub fn state(&self, row: usize, out: &mut [f32]) {
        let bytes = 2 * self.width;
        let set = self.states.partition_point(|(first, _)| *first <= row) - 1;
        let (first, states) = &self.states[set];
        let halves: &[f16] = bytemuck::cast_slice(&states[(row - first) * bytes..][..bytes]);
        halves.convert_to_f32_slice(out);
    }

    /// The token that follows each row.
    pub fn next(&self) -> &[u32] {
        &self.next
    }

    /// Token `ahead` places after the one that follows row `row`, if the answer goes on so far.
    pub fn token(&self, row: usize, ahead: usize) -> Option<u32> {
        (usize::from(self.left[row]) >= ahead).then(|| self.next[row + ahead])
    }

    /// Rows of conversations that are kept from training, or of the others, that are followed by at
    /// least two tokens.
    pub fn positions(&self, held_out: bool) -> Vec<u32> {
        let rows = 0..self.rows();
        rows.filter(|&r| self.held_out[r] == held_out && self.left[r] >= 1)
            .map(|r| r as u32)
            .collect()
    }

    /// SHA-256 over the conversations.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// The files while they grow.
struct Pass {
    path: PathBuf,
    note_path: PathBuf,
    file: BufWriter<File>,
    note: Note,
    digest: Sha256,
}

impl Pass {
    fn open(
        stem: &Path,
        conversations: &[Conversation],
        (made_by, width): (&str, usize),
    ) -> Result<Self> {
        let dir = stem.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(io("cannot make the folder", dir))?;
        let (path, note_path) = (stem.with_extension("f16"), stem.with_extension("json"));
        let fresh = Note {
            version: VERSION,
            made_by: made_by.into(),
            width,
            conversations: 0,
            rows: 0,
            digest: hex(&Sha256::new()),
        };
        let note = match std::fs::read(&note_path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| other(&note_path, format!("is no note of hidden states: {e}")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => fresh.clone(),
            Err(error) => return Err(io("cannot read", &note_path)(error)),
        };
        if (note.version, &note.made_by, note.width) != (VERSION, &fresh.made_by, width) {
            let Note { made_by, width, .. } = &note;
            return Err(other(&note_path, format!("was made by {made_by} in width {width}")));
        }
        let mut digest = Sha256::new();
        let known = conversations.get(..note.conversations);
        for conversation in known.into_iter().flatten() {
            update(&mut digest, conversation);
        }
        if known.is_none() || hex(&digest) != note.digest {
            let message = format!("belongs to {} other conversations", note.conversations);
            return Err(other(&note_path, message));
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(io("cannot open", &path))?;
        let bytes = (2 * width * note.rows) as u64;
        let length = file.metadata().map_err(io("cannot read", &path))?.len();
        if length < bytes {
            return Err(other(&path, format!("has {length} bytes of {bytes}")));
        }
        // Behind the last note may be a part of a conversation.
        file.set_len(bytes).map_err(io("cannot cut", &path))?;
        file.seek(io::SeekFrom::End(0)).map_err(io("cannot write", &path))?;
        Ok(Self { path, note_path, file: BufWriter::new(file), note, digest })
    }

    /// Appends the states of a conversation; gives how many tokens went through the model.
    fn add(
        &mut self,
        conversation: &Conversation,
        states_of: &mut dyn FnMut(&[u32]) -> Result<Vec<f32>>,
    ) -> Result<usize> {
        let width = self.note.width;
        let end = conversation.answers.last().map_or(0, |answer| answer[1]);
        if end >= 2 {
            // The last token of the last answer is only predicted.
            let states = states_of(&conversation.ids[..end - 1])?;
            let mut halves = vec![f16::ZERO; width];
            for &[start, end] in &conversation.answers {
                for state in states[(start - 1) * width..(end - 1) * width].chunks_exact(width) {
                    halves.convert_from_f32_slice(state);
                    let written = self.file.write_all(bytemuck::cast_slice(&halves));
                    written.map_err(io("cannot write", &self.path))?;
                }
                self.note.rows += end - start;
            }
        }
        self.note.conversations += 1;
        update(&mut self.digest, conversation);
        Ok(end.saturating_sub(1))
    }

    /// Notes what is complete, once it is on the disk.
    fn save(&mut self) -> Result<()> {
        self.file.flush().map_err(io("cannot write", &self.path))?;
        self.file.get_ref().sync_data().map_err(io("cannot write", &self.path))?;
        self.note.digest = hex(&self.digest);
        let text = serde_json::to_vec(&self.note).expect("a note is plain data");
        write_whole(&self.note_path, &text)
    }

    fn finish(self, conversations: &[Conversation]) -> Result<Features> {
        let rows = self.note.rows;
        let (mut next, mut left) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut held_out = Vec::with_capacity(rows);
        for conversation in conversations {
            for &[start, end] in &conversation.answers {
                next.extend(&conversation.ids[start..end]);
                left.extend((start..end).map(|i| u8::try_from(end - 1 - i).unwrap_or(u8::MAX)));
                held_out.extend(std::iter::repeat_n(conversation.held_out, end - start));
            }
        }
        let file =
            self.file.into_inner().map_err(|e| io("cannot write", &self.path)(e.into_error()))?;
        // SAFETY: the file is ours and only ever appended to; whoever truncates it by force while it
        // is mapped ends the process, as with any mapped file.
        let states = (rows > 0).then(|| unsafe { Mmap::map(&file) }).transpose();
        let states = states.map_err(io("cannot map", &self.path))?;
        let states = states.map(|map| (0, map)).into_iter().collect();
        let (width, digest) = (self.note.width, self.note.digest);
        Ok(Features { width, states, next, left, held_out, digest })
    }
}

fn update(digest: &mut Sha256, conversation: &Conversation) {
    digest.update((conversation.ids.len() as u64).to_le_bytes());
    digest.update(bytemuck::cast_slice::<u32, u8>(&conversation.ids));
    for answer in &conversation.answers {
        digest.update(answer.map(|at| at as u64).map(u64::to_le_bytes).concat());
    }
}

fn hex(digest: &Sha256) -> String {
    digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn other(path: &Path, message: String) -> Error {
    Error::Invalid {
        message: format!("{} {message}", path.display()),
        hint: Some("choose another --work folder, or remove this file".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(first: u32, held_out: bool) -> Conversation {
        let ids = (first..first + 10).collect();
        Conversation { ids, answers: vec![[2, 5], [7, 10]], held_out }
    }

    /// States that tell their token and place.
    fn states(ids: &[u32]) -> Result<Vec<f32>> {
        Ok(ids.iter().enumerate().flat_map(|(i, &id)| [id as f32, i as f32]).collect())
    }

    fn open(
        dir: &Path,
        all: &[Conversation],
        of: &mut dyn FnMut(&[u32]) -> Result<Vec<f32>>,
    ) -> Result<Features> {
        Features::open(&dir.join("hidden"), all, ("m", 2), of, &mut |_| {})
    }

    #[test]
    fn rows_are_the_states_before_each_answer_token() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let all = [conversation(100, false), conversation(200, true)];
        let features = open(dir.path(), &all, &mut states).expect("computed");
        assert_eq!(features.rows(), 12);
        assert_eq!(features.next()[..6], [102, 103, 104, 107, 108, 109]);
        let mut state = [0.0; 2];
        features.state(3, &mut state);
        assert_eq!(state, [106.0, 6.0], "the state before token 107");
        features.state(6, &mut state);
        assert_eq!(state, [201.0, 1.0]);
        assert_eq!(features.positions(false), [0, 1, 3, 4]);
        assert_eq!(features.positions(true), [6, 7, 9, 10]);
        let tokens = [features.token(3, 0), features.token(3, 2), features.token(4, 2)];
        assert_eq!(tokens, [Some(107), Some(109), None]);
    }

    #[test]
    fn a_pass_goes_on_where_it_was_and_a_set_may_grow() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let all: Vec<_> = (0..4).map(|i| conversation(100 * i, false)).collect();
        let mut calls = 0;
        let mut fails = |ids: &[u32]| {
            calls += 1;
            if calls > 2 { Err(Error::Cancelled) } else { states(ids) }
        };
        open(dir.path(), &all[..3], &mut fails).expect_err("cancelled");
        let mut seen = Vec::new();
        let mut counts = |ids: &[u32]| {
            seen.push(ids[0]);
            states(ids)
        };
        let features = open(dir.path(), &all, &mut counts).expect("goes on");
        assert_eq!(seen, [200, 300]);
        let fresh = tempfile::tempdir().expect("a temporary folder");
        let whole = open(fresh.path(), &all, &mut states).expect("computed");
        assert_eq!(features.digest(), whole.digest());
        assert_eq!(features.states[0].1[..], whole.states[0].1[..]);
    }

    #[test]
    fn sets_are_joined_row_by_row() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let set = |name: &str, first: u32| {
            let all = [conversation(first, false)];
            let stem = dir.path().join(name);
            Features::open(&stem, &all, ("m", 2), &mut states, &mut |_| {}).expect("computed")
        };
        let all = Features::join(vec![set("a", 100), set("b", 200)]).expect("as wide");
        let mut state = [0.0; 2];
        for (row, token) in [(0, 101.0), (5, 108.0), (6, 201.0), (11, 208.0)] {
            all.state(row, &mut state);
            assert_eq!(state[0], token);
            assert_eq!(f32::from(all.next()[row] as u16), token + 1.0);
        }
    }

    #[test]
    fn states_of_other_conversations_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        open(dir.path(), &[conversation(1, false)], &mut states).expect("computed");
        let error = open(dir.path(), &[conversation(2, false)], &mut states).expect_err("other");
        assert!(error.to_string().contains("other conversations"), "{error}");
        let made = Features::open(
            &dir.path().join("hidden"),
            &[conversation(1, false)],
            ("n", 2),
            &mut states,
            &mut |_| {},
        );
        assert!(made.expect_err("another model").to_string().contains("made by m"));
    }
}
