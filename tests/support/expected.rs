//! `expected_failures.toml`: known failures by adapter and case.

use std::{fs, path::Path};

use coppice::{backend::AdapterReport, check::Outcome};
use serde::Deserialize;

/// One entry; absent fields match everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    pub api: String,
    pub adapter: String,
    pub driver: String,
    pub case: String,
    pub message: String,
    pub reason: String,
    pub link: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    expect: Vec<Expected>,
}

/// What a case's outcome means for the suite.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Pass,
    /// Failed as expected, for this reason.
    Excused(String),
    Fail(String),
}

/// Reads the file of this repository.
pub fn read() -> Result<Vec<Expected>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected_failures.toml");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

pub fn parse(text: &str) -> Result<Vec<Expected>, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    match file.expect.iter().find(|e| e.reason.is_empty() || e.link.is_empty()) {
        Some(entry) => Err(format!("an entry without reason or link: {entry:?}")),
        None => Ok(file.expect),
    }
}

/// Judges an outcome by the entries that apply to the adapter and the case.
pub fn verdict(
    entries: &[Expected],
    adapter: &AdapterReport,
    case: &str,
    outcome: &Outcome,
) -> Verdict {
    let entry = entries.iter().find(|e| {
        adapter.api.contains(&e.api)
            && adapter.name.contains(&e.adapter)
            && adapter.driver.contains(&e.driver)
            && case.contains(&e.case)
    });
    match (outcome, entry) {
        (Outcome::Pass, None) => Verdict::Pass,
        (Outcome::Pass, Some(e)) => Verdict::Fail(format!(
            "passes, but tests/expected_failures.toml says that it fails ({}): remove the entry",
            e.reason
        )),
        // neither a lost device nor a broken harness is ever as expected
        (Outcome::Fail(_) | Outcome::Unsupported { .. }, Some(e))
            if outcome.to_string().contains(&e.message) =>
        {
            Verdict::Excused(format!("{} ({})", e.reason, e.link))
        }
        (outcome, _) => Verdict::Fail(outcome.to_string()),
    }
}
