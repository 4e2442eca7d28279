//! Prompts: from files, or to be written by the model.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Most conversations from one line.
const MOST: usize = 1 << 20;

/// What a user says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserTurn {
    /// This.
    Given(String),
    /// Something that begins with this; the model writes the rest.
    Written {
        /// May be empty.
        begin: String,
    },
}

/// A conversation to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Names the conversation: the same in every run over the same prompts.
    pub key: String,
    /// Where the prompt comes from: the file's name without folder, or `self`.
    pub source: String,
    /// System prompt; the template's own if absent.
    pub system: Option<String>,
    /// At least one.
    pub turns: Vec<UserTurn>,
}

/// A line of a JSONL file.
#[derive(Deserialize)]
struct Line {
    system: Option<String>,
    prompt: Option<String>,
    begin: Option<String>,
    turns: Option<Vec<String>>,
    messages: Option<Vec<Said>>,
    count: Option<usize>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: String,
}

impl Job {
    /// The prompts of a file: one a line, or, in a `.jsonl` file, one object a line with
    /// `prompt`, `turns` (several user's turns), `messages` (roles and contents; what the assistant
    /// said there is left out, since the model answers itself) or `begin` (the model completes the
    /// user's turn), and optionally `system` and `count` (so many conversations from `begin`).
    /// Empty lines are passed over.
    ///
    /// # Errors
    /// A file that cannot be read or, with file and line, an object that is none of these.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let read = std::fs::read_to_string(path);
        let io = |source| Error::Io { action: "cannot read", path: path.to_owned(), source };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let json = path.extension().is_some_and(|ext| ext == "jsonl");
        let text = read.map_err(io)?;
        let mut jobs = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let Parsed { system, turns, count } = match json {
                true => parse(line).map_err(|message| Error::Invalid {
                    message: format!("{}, line {}: {message}", path.display(), number + 1),
                    hint: Some(
                        "a line is an object with \"prompt\", \"turns\", \"messages\" or \"begin\""
                            .into(),
                    ),
                })?,
                false => {
                    let turns = vec![UserTurn::Given(line.trim().to_owned())];
                    Parsed { system: None, turns, count: None }
                }
            };
            let key = key(system.as_deref(), &turns);
            let source = name.clone().into_owned();
            let first = Self { key, source, system, turns };
            let more = count.unwrap_or(0);
            jobs.extend(
                (1..more).map(|i| Self { key: format!("{}-{i}", first.key), ..first.clone() }),
            );
            if count != Some(0) {
                jobs.push(first);
            }
        }
        Ok(jobs)
    }

    /// Conversations of 1 to `turns` turns, all of them written by the model.
    pub fn written(count: usize, turns: usize) -> impl Iterator<Item = Self> {
        (0..count).map(move |i| {
            let key = format!("self-{i}");
            let turns = 1 + (hash(&key) % turns.max(1) as u64) as usize;
            let turns = vec![UserTurn::Written { begin: String::new() }; turns];
            Self { key, source: "self".into(), system: None, turns }
        })
    }

    /// A number that belongs to the job's key, for choices that must not depend on its neighbours.
    pub fn hash(&self) -> u64 {
        hash(&self.key)
    }

    /// Mixes jobs of all sources, in an order that depends on their keys alone, and drops those
    /// with a key that another has.
    pub fn mix(mut jobs: Vec<Self>) -> Vec<Self> {
        // Another hash than the one that chooses greedy answers, or those would all come first.
        jobs.sort_by_cached_key(|job| (hash(&format!("order {}", job.key)), job.key.clone()));
        jobs.dedup_by(|a, b| a.key == b.key);
        jobs
    }
}

struct Parsed {
    system: Option<String>,
    turns: Vec<UserTurn>,
    count: Option<usize>,
}

fn parse(line: &str) -> Result<Parsed, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let (mut system, count) = (line.system, line.count);
    if count.is_some() && line.begin.is_none() {
        return Err("`count` goes with `begin` only".into());
    }
    if count > Some(MOST) {
        return Err(format!("`count` is above {MOST}"));
    }
    let given = |texts: Vec<String>| texts.into_iter().map(UserTurn::Given).collect::<Vec<_>>();
    let turns = match (line.prompt, line.begin, line.turns, line.messages) {
        (Some(prompt), None, None, None) => given(vec![prompt]),
        (None, Some(begin), None, None) => vec![UserTurn::Written { begin }],
        (None, None, Some(turns), None) => given(turns),
        (None, None, None, Some(messages)) => {
            let mut turns = Vec::new();
            for Said { role, content } in messages {
                match role.as_str() {
                    "user" => turns.push(content),
                    "system" => system = Some(content),
                    "assistant" => {}
                    other => return Err(format!("role `{other}` is not supported")),
                }
            }
            given(turns)
        }
        _ => return Err("wanted exactly one of prompt, begin, turns, messages".into()),
    };
    if turns.is_empty() {
        return Err("there is no user's turn".into());
    }
    Ok(Parsed { system, turns, count })
}

/// Key of a conversation: the beginning of a hash over what is given.
fn key(system: Option<&str>, turns: &[UserTurn]) -> String {
    let mut hash = Sha256::new();
    let mut part = |kind: u8, text: &str| {
        hash.update([kind]);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    if let Some(system) = system {
        part(0, system);
    }
    for turn in turns {
        match turn {
            UserTurn::Given(text) => part(1, text),
            UserTurn::Written { begin } => part(2, begin),
        }
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn hash(key: &str) -> u64 {
    let digest = Sha256::digest(key);
    u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<Job>> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("writable");
        Job::read(&path)
    }

    #[test]
    fn a_text_file_has_a_prompt_a_line() {
        let jobs = read("a.txt", "Why?\n\n  {\"prompt\": 1}  \nWhy?\n").expect("text");
        let turns: Vec<_> = jobs.iter().map(|job| job.turns[0].clone()).collect();
        let given = |text: &str| UserTurn::Given(text.into());
        assert_eq!(turns, [given("Why?"), given("{\"prompt\": 1}"), given("Why?")]);
        assert_eq!(jobs[0].source, "a.txt");
        assert_eq!(Job::mix(jobs).len(), 2, "the same prompt counts once");
    }

    #[test]
    fn every_form_of_a_jsonl_line_is_read() {
        let text = r#"{"prompt": "a"}
            {"turns": ["a", "b"], "system": "s", "question_id": 7}
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"},
"#
        .replace("\n            {\"messages", "\n{\"messages")
        .replace("\"a\"},\n", "\"a\"}, {\"role\": \"assistant\", \"content\": \"x\"}, {\"role\": \"user\", \"content\": \"b\"}]}\n");
        let text = format!("{text}{}", r#"{"begin": "Write", "count": 3}"#);
        let jobs = read("a.jsonl", &text).expect("all forms");
        assert_eq!((jobs.len(), Job::mix(jobs.clone()).len()), (6, 5));
        assert_eq!(jobs[1].turns, jobs[2].turns);
        assert_eq!(jobs[1].system.as_deref(), Some("s"));
        assert_eq!(jobs[1].key, jobs[2].key, "the same conversation in two forms");
        assert_eq!(jobs[3].turns, [UserTurn::Written { begin: "Write".into() }]);
        assert_ne!(jobs[0].key, jobs[3].key);
    }

    #[test]
    fn bad_lines_are_named() {
        for (line, said) in [
            ("{}", "exactly one"),
            (r#"{"prompt": "a", "turns": ["b"]}"#, "exactly one"),
            (r#"{"turns": []}"#, "no user's turn"),
            (r#"{"messages": [{"role": "tool", "content": ""}]}"#, "`tool`"),
            (r#"{"prompt": "a", "count": 2}"#, "`count`"),
            ("no json", "expected"),
        ] {
            let error = read("a.jsonl", &format!("{{\"prompt\": \"a\"}}\n{line}\n"));
            let error = error.expect_err(line).to_string();
            assert!(error.contains("line 2") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_model_s_own_conversations_have_one_to_n_turns() {
        let jobs: Vec<Job> = Job::written(64, 3).collect();
        let mut lengths: Vec<usize> = jobs.iter().map(|job| job.turns.len()).collect();
        assert_eq!(jobs, Job::written(64, 3).collect::<Vec<_>>());
        lengths.sort_unstable();
        lengths.dedup();
        assert_eq!(lengths, [1, 2, 3]);
    }

    #[test]
    fn the_order_has_nothing_to_do_with_the_hash() {
        let jobs = Job::mix(Job::written(400, 1).collect());
        let low = jobs[..200].iter().filter(|job| job.hash() < u64::MAX / 2).count();
        assert!((70..130).contains(&low), "{low}");
        assert_eq!(jobs, Job::mix(jobs.iter().rev().cloned().collect()));
    }
}
