//! The file of conversations: one JSON object a line, a header first.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    sample::SamplerParams,
};

/// Version of the file.
const VERSION: u32 = 1;
/// The file within its folder.
const FILE: &str = "conversations.jsonl";

/// How conversations are made: everything that decides what becomes of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How answers are sampled that are not greedy.
    pub sampler: SamplerParams,
    /// Share of conversations with greedy answers, 0 to 1.
    pub greedy_share: f32,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// How the model samples a user's turn.
    pub user_sampler: SamplerParams,
    /// Most tokens of a user's turn; longer ones are given up.
    pub user_max_tokens: usize,
    /// Most tokens of a conversation.
    pub context: usize,
    /// Prompts are continued without the chat template.
    pub raw: bool,
}

/// First line: what wrote the conversations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the file.
    pub coppice_data: u32,
    /// File name of the model.
    pub model: String,
    /// SHA-256 of its weights, in hexadecimal.
    pub model_sha256: String,
    /// Rows of its output matrix: all ids are below.
    pub vocab: usize,
    /// SHA-256 over its tokens.
    pub vocab_sha256: String,
    /// Settings.
    pub settings: Settings,
}

impl Header {
    /// A header of the version written here.
    pub fn new(
        model: String,
        model_sha256: String,
        (vocab, vocab_sha256): (usize, String),
        settings: Settings,
    ) -> Self {
        Self { coppice_data: VERSION, model, model_sha256, vocab, vocab_sha256, settings }
    }
}

/// A finished conversation, or one that came to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The job's key.
    pub key: String,
    /// Where its prompt came from.
    pub source: String,
    /// Temperature of the answers.
    pub temperature: f32,
    /// All tokens, the chat template's included; empty if it came to nothing.
    pub ids: Vec<u32>,
    /// Half-open ranges of `ids` that are answers, in order, end tokens included.
    pub answers: Vec<[usize; 2]>,
    /// Why it came to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl Record {
    /// Tokens of all answers.
    pub fn answer_tokens(&self) -> usize {
        self.answers.iter().map(|[start, end]| end - start).sum()
    }

    /// Whether the conversation is among a `share` (0 to 1) that is kept from training. The choice
    /// belongs to the key, so a set that grows keeps it.
    pub fn is_held_out(&self, share: f64) -> bool {
        // Another mix than the order of jobs, of which a part may have been made so far.
        let mixed = super::prompts::hash(&format!("held out {}", self.key));
        (mixed as f64) < share * 2f64.powi(64)
    }

    fn check(&self, vocab: usize) -> Result<(), String> {
        if let Some(id) = self.ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(format!("id {id} is not below the vocabulary of {vocab}"));
        }
        let mut from = 1;
        for &[start, end] in &self.answers {
            if start < from || end <= start || end > self.ids.len() {
                return Err(format!(
                    "answer [{start}, {end}] is out of order or beyond {} ids",
                    self.ids.len()
                ));
            }
            from = end;
        }
        Ok(())
    }
}

/// All conversations of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSet {
    /// What wrote them.
    pub header: Header,
    /// In the order they were finished in, without those that came to nothing.
    pub records: Vec<Record>,
}

impl DataSet {
    /// Reads the set of a folder, or the file itself. A last line without an end, which a run that
    /// was killed leaves, is passed over.
    ///
    /// # Errors
    /// A file that cannot be read, is of another version, or has a line that is no record.
    pub fn open(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let file = File::open(&path).map_err(|source| Error::Io {
            action: "cannot open",
            path: path.clone(),
            source,
        })?;
        let mut records = Vec::new();
        let (header, _) = read(&path, &file, |record| {
            if record.skipped.is_none() {
                records.push(record);
            }
        })?;
        let header =
            header.ok_or_else(|| Error::invalid(format!("{}: has no header", path.display())))?;
        Ok(Self { header, records })
    }
}

/// Appends conversations to the file of a folder.
#[derive(Debug)]
pub struct SetWriter {
    path: PathBuf,
    file: File,
    done: HashSet<String>,
    answer_tokens: usize,
}

impl SetWriter {
    /// Opens the set of a folder, made if need be, to add to it. What a killed run left of a line is
    /// cut off; everything before it stays. Only one writer at a time has the file.
    ///
    /// # Errors
    /// A set that another model or other settings made: what differs is named, and nothing is
    /// changed. A file that is no set, that is being written, or that cannot be written.
    pub fn open(dir: &Path, header: &Header) -> Result<Self> {
        let path = dir.join(FILE);
        let io = |action: &'static str| {
            let path = path.clone();
            move |source| Error::Io { action, path, source }
        };
        std::fs::create_dir_all(dir).map_err(io("cannot make the folder of"))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(io("cannot open"))?;
        if let Err(error) = file.try_lock() {
            return Err(Error::invalid(match error {
                std::fs::TryLockError::WouldBlock => {
                    format!("{}: another run is writing it", path.display())
                }
                std::fs::TryLockError::Error(error) => {
                    format!("{}: cannot be locked: {error}", path.display())
                }
            }));
        }
        let (mut done, mut answer_tokens) = (HashSet::new(), 0);
        let (found, end) = read(&path, &file, |record| {
            answer_tokens += record.answer_tokens();
            done.insert(record.key);
        })?;
        if let Some(found) = &found {
            same(&path, found, header)?;
        }
        file.set_len(end).map_err(io("cannot cut the torn end of"))?;
        file.seek(io::SeekFrom::End(0)).map_err(io("cannot write"))?;
        let mut writer = Self { path, file, done, answer_tokens };
        if found.is_none() {
            writer.line(header)?;
        }
        Ok(writer)
    }

    /// Whether a conversation is there already.
    pub fn has(&self, key: &str) -> bool {
        self.done.contains(key)
    }

    /// Conversations there are, those that came to nothing included.
    pub fn len(&self) -> usize {
        self.done.len()
    }

    /// True without conversations.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Tokens of all answers.
    pub fn answer_tokens(&self) -> usize {
        self.answer_tokens
    }

    /// Adds a conversation; it is on its way to the disk when this returns.
    ///
    /// # Errors
    /// A file that cannot be written, such as on a full disk.
    pub fn push(&mut self, record: &Record) -> Result<()> {
        self.line(record)?;
        self.answer_tokens += record.answer_tokens();
        self.done.insert(record.key.clone());
        Ok(())
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value).map_err(|e| Error::invalid(e.to_string()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|source| Error::Io {
            action: "cannot write",
            path: self.path.clone(),
            source,
        })
    }
}

/// Reads the whole lines of a set; gives the header, if there is one, and where they end.
fn read(path: &Path, file: &File, mut each: impl FnMut(Record)) -> Result<(Option<Header>, u64)> {
    let fault = |line: usize, what: String| {
        Error::invalid(format!("{}, line {line}: {what}", path.display()))
    };
    let mut reader = BufReader::new(file);
    let (mut header, mut end, mut line) = (None::<Header>, 0, Vec::new());
    for number in 1.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        read.map_err(|source| Error::Io { action: "cannot read", path: path.into(), source })?;
        if line.last() != Some(&b'\n') {
            break;
        }
        match &header {
            None => {
                let found: Header = serde_json::from_slice(&line)
                    .map_err(|e| fault(number, format!("no header of a data set: {e}")))?;
                if found.coppice_data != VERSION {
                    let version = found.coppice_data;
                    return Err(fault(number, format!("version {version}, wanted {VERSION}")));
                }
                header = Some(found);
            }
            Some(header) => {
                let record: Record = serde_json::from_slice(&line)
                    .map_err(|e| fault(number, format!("no conversation: {e}")))?;
                record.check(header.vocab).map_err(|what| fault(number, what))?;
                each(record);
            }
        }
        end += line.len() as u64;
    }
    Ok((header, end))
}

/// Fails naming the first thing in which two headers differ.
fn same(path: &Path, found: &Header, wanted: &Header) -> Result<()> {
    // The model's name may change; its hash may not.
    let flat = |header: &Header| {
        let mut all = Vec::new();
        let header = Header { model: String::new(), ..header.clone() };
        // Through text, which writes an f32 as it was given.
        let text = serde_json::to_string(&header).expect("a header is plain data");
        let value = serde_json::from_str(&text).expect("as it was written");
        flatten("", &value, &mut all);
        all
    };
    match flat(found).into_iter().zip(flat(wanted)).find(|(found, wanted)| found != wanted) {
        None => Ok(()),
        Some(((name, found), (_, wanted))) => Err(Error::Invalid {
            message: format!(
                "{}: was made with {name} {found}, now it is {wanted}",
                path.display()
            ),
            hint: Some("use the same model and flags, or write to another folder".into()),
        }),
    }
}

fn flatten(name: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{key}"), value, out);
            }
        }
        value => out.push((name.to_owned(), value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let settings = Settings {
            sampler: SamplerParams { temperature: 0.7, ..SamplerParams::default() },
            greedy_share: 0.5,
            max_tokens: 8,
            user_sampler: SamplerParams::default(),
            user_max_tokens: 8,
            context: 64,
            raw: false,
        };
        Header::new("a.gguf".into(), "00".into(), (100, "11".into()), settings)
    }

    fn record(key: &str) -> Record {
        Record {
            key: key.into(),
            source: "self".into(),
            temperature: 0.7,
            ids: vec![1, 2, 3, 4, 5, 6],
            answers: vec![[2, 4], [5, 6]],
            skipped: None,
        }
    }

    #[test]
    fn a_torn_line_is_cut_off_and_written_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut writer = SetWriter::open(dir.path(), &header()).expect("a new set");
        writer.push(&record("a")).expect("written");
        let skipped = Some("why".into());
        let nothing = Record { ids: vec![], answers: vec![], skipped, ..record("b") };
        writer.push(&nothing).expect("written");
        let error = SetWriter::open(dir.path(), &header()).expect_err("still open");
        assert!(error.to_string().contains("another run"), "{error}");
        drop(writer);
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).expect("written");
        let mut torn = whole.clone();
        torn.extend_from_slice(b"{\"key\": \"c\", \"sou");
        std::fs::write(&path, &torn).expect("writable");
        assert_eq!(DataSet::open(&path).expect("readable").records, [record("a")]);
        let mut writer = SetWriter::open(dir.path(), &header()).expect("the same settings");
        assert!(writer.has("a") && writer.has("b") && !writer.has("c"));
        assert_eq!((writer.len(), writer.answer_tokens()), (2, 3));
        assert_eq!(std::fs::read(&path).expect("there"), whole);
        writer.push(&record("c")).expect("written");
        let set = DataSet::open(dir.path()).expect("readable");
        assert_eq!((set.records.len(), set.header), (2, header()));
    }

    #[test]
    fn another_model_or_setting_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        drop(SetWriter::open(dir.path(), &header()).expect("a new set"));
        let renamed = Header { model: "b.gguf".into(), ..header() };
        drop(SetWriter::open(dir.path(), &renamed).expect("the same model"));
        let mut other = header();
        other.settings.sampler.temperature = 1.0;
        let error = SetWriter::open(dir.path(), &other).expect_err("another temperature");
        let text = error.to_string();
        assert!(text.contains("settings.sampler.temperature 0.7, now it is 1.0"), "{text}");
        let other = Header { model_sha256: "22".into(), ..header() };
        let error = SetWriter::open(dir.path(), &other).expect_err("another model");
        assert!(error.to_string().contains("model_sha256"), "{error}");
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_line() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join(FILE);
        let line = |value: &Record| serde_json::to_string(value).expect("plain data");
        let head = serde_json::to_string(&header()).expect("plain data");
        let bad = |change: fn(&mut Record)| {
            let mut record = record("a");
            change(&mut record);
            format!("{head}\n{}\n", line(&record))
        };
        for (text, said) in [
            ("{}\n".to_owned(), "line 1"),
            (head.replacen("\"coppice_data\":1", "\"coppice_data\":9", 1) + "\n", "version 9"),
            (format!("{head}\n{{}}\n{}\n", line(&record("a"))), "line 2"),
            (bad(|r| r.ids[0] = 100), "id 100"),
            (bad(|r| r.answers[1] = [5, 7]), "[5, 7]"),
            (bad(|r| r.answers[1] = [3, 5]), "[3, 5]"),
            (bad(|r| r.answers[0] = [0, 1]), "[0, 1]"),
        ] {
            std::fs::write(&path, &text).expect("writable");
            for error in [
                DataSet::open(&path).expect_err(said),
                SetWriter::open(dir.path(), &header()).expect_err(said),
            ] {
                assert!(error.to_string().contains(said), "{error}");
            }
            assert_eq!(std::fs::read_to_string(&path).expect("there"), text, "left as it was");
        }
    }

    #[test]
    fn a_share_is_held_out_by_key() {
        let out = (0..1000).filter(|i| record(&format!("k{i}")).is_held_out(0.1)).count();
        assert!((60..140).contains(&out), "{out}");
        assert!(!record("a").is_held_out(0.0) && record("a").is_held_out(1.0));
    }
}
