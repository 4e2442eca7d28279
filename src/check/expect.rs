//! Known failures by adapter and case, so that a suite stays green without hiding anything: what is listed
//! and passes is itself a failure.

use serde::Deserialize;

use super::{outcome::Outcome, report::Status, work::Adapter};
use crate::{
    backend::AdapterReport,
    error::{Error, Result},
};

/// One entry. Every field but `reason`, `link` and `status` is a text that must occur; an absent one matches
/// everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    /// API, such as `vulkan`.
    pub api: String,
    /// PCI vendor, such as `0x10de`.
    pub vendor: String,
    /// Name of the adapter.
    pub adapter: String,
    /// Driver and version.
    pub driver: String,
    /// Form of the device, such as `tier=subgroup`.
    pub form: String,
    /// The op, in full.
    pub op: String,
    /// Name of the case.
    pub case: String,
    /// What the failure says.
    pub message: String,
    /// How it ends: `failed` and `skipped` if absent; a crash, a timeout or a lost device only where it
    /// is named.
    pub status: Option<Status>,
    /// What is wrong, and whose fault it is.
    pub reason: String,
    /// Where that is written.
    pub link: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    expect: Vec<Expected>,
}

/// Who ran a case, as far as entries ask.
#[derive(Clone, Debug)]
pub struct Who<'a> {
    /// API.
    pub api: &'a str,
    /// PCI vendor.
    pub vendor: &'a str,
    /// Name.
    pub name: &'a str,
    /// Driver and version.
    pub driver: &'a str,
    /// Form.
    pub form: &'a str,
}

impl<'a> Who<'a> {
    /// An adapter of a report.
    pub fn of(adapter: &'a Adapter, form: &'a str) -> Self {
        let vendor = adapter.vendor.as_deref().unwrap_or_default();
        Self { api: &adapter.api, vendor, name: &adapter.name, driver: &adapter.driver, form }
    }
}

impl<'a> From<&'a AdapterReport> for Who<'a> {
    fn from(report: &'a AdapterReport) -> Self {
        let AdapterReport { api, name, driver, .. } = report;
        Self { api, vendor: "", name, driver, form: "" }
    }
}

/// What a case's end means for the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// No entry speaks of it.
    None,
    /// It fails as expected, for this reason.
    Expected(String),
    /// It passes although an entry says that it fails, for this reason.
    UnexpectedPass(String),
}

/// Reads a file of entries.
///
/// # Errors
/// [`Error::Invalid`] for a text that is none, and an entry without reason or link.
pub fn parse(text: &str) -> Result<Vec<Expected>> {
    let file: File = toml::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
    match file.expect.iter().find(|e| e.reason.is_empty() || e.link.is_empty()) {
        Some(entry) => Err(Error::invalid(format!("an entry without reason or link: {entry:?}"))),
        None => Ok(file.expect),
    }
}

/// The entries of this repository.
pub fn known() -> Vec<Expected> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expected_failures.toml"));
    parse(text).expect("a test reads the file of this repository")
}

/// Judges the end of a case by the first entry that speaks of it.
pub fn judge(
    entries: &[Expected],
    who: &Who<'_>,
    op: &str,
    case: &str,
    status: Status,
    message: &str,
) -> Excuse {
    let entry = entries.iter().find(|e| {
        who.api.contains(&e.api)
            && who.vendor.contains(&e.vendor)
            && who.name.contains(&e.adapter)
            && who.driver.contains(&e.driver)
            && who.form.contains(&e.form)
            && (e.op.is_empty() || e.op == op)
            && case.contains(&e.case)
    });
    let Some(entry) = entry else { return Excuse::None };
    let reason = || format!("{} ({})", entry.reason, entry.link);
    let as_expected = match entry.status {
        Some(wanted) => wanted == status,
        // Neither a lost device nor a broken harness is as expected unless the entry says so.
        None => matches!(status, Status::Failed | Status::Skipped),
    };
    match status {
        Status::Passed => Excuse::UnexpectedPass(reason()),
        _ if as_expected && message.contains(&entry.message) => Excuse::Expected(reason()),
        _ => Excuse::None,
    }
}

/// The status that an outcome amounts to, before expectations.
pub fn status_of(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Pass => Status::Passed,
        Outcome::Fail(_) => Status::Failed,
        Outcome::Unsupported { .. } => Status::Skipped,
        Outcome::Lost { .. } => Status::DeviceLost,
        Outcome::Harness { .. } => Status::HarnessError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Who<'_> = Who {
        api: "vulkan",
        vendor: "0x10005",
        name: "llvmpipe (LLVM 15)",
        driver: "llvmpipe Mesa 22.3.6",
        form: "usual",
    };

    fn judged(fields: &str, status: Status, message: &str) -> Excuse {
        let text = format!("[[expect]]\n{fields}\nreason = 'r'\nlink = 'l'\n");
        let entries = parse(&text).expect("an entry");
        judge(&entries, &WHO, "copy", "copy(m=1)", status, message)
    }

    #[test]
    fn an_entry_excuses_the_failure_it_describes_and_nothing_else() {
        let excused = Excuse::Expected("r (l)".into());
        let entry = "case = 'copy'\nmessage = 'f16'";
        assert_eq!(judged(entry, Status::Failed, "no f16"), excused);
        assert_eq!(judged(entry, Status::Skipped, "no f16"), excused);
        assert_eq!(judged(entry, Status::Passed, ""), Excuse::UnexpectedPass("r (l)".into()));
        assert_eq!(judged(entry, Status::Failed, "no f64"), Excuse::None);
        for status in [Status::DeviceLost, Status::Crashed, Status::Timeout, Status::HarnessError] {
            assert_eq!(judged(entry, status, "no f16"), Excuse::None, "{status:?}");
        }
        assert_eq!(judged("case = 'rope'", Status::Failed, ""), Excuse::None);
        assert_eq!(judged("op = 'cop'", Status::Failed, ""), Excuse::None);
        assert_eq!(judged("op = 'copy'", Status::Failed, ""), excused);
        assert_eq!(judged("status = 'crashed'", Status::Crashed, "signal 11"), excused);
        assert_eq!(judged("status = 'crashed'", Status::Failed, "signal 11"), Excuse::None);
    }

    #[test]
    fn entries_are_chosen_by_adapter() {
        let excused = Excuse::Expected("r (l)".into());
        let exact = "api = 'vulkan'\nvendor = '0x10005'\nadapter = 'llvmpipe'\ndriver = 'Mesa 22'\nform = 'usual'";
        assert_eq!(judged(exact, Status::Failed, ""), excused);
        for other in [
            "api = 'metal'",
            "vendor = '0x10de'",
            "adapter = 'Swift'",
            "driver = 'Mesa 25'",
            "form = 'tier'",
        ] {
            assert_eq!(judged(other, Status::Failed, ""), Excuse::None, "{other}");
        }
    }

    #[test]
    fn files_must_give_reasons_and_known_fields() {
        assert!(parse("expect = []").expect("empty").is_empty());
        for wrong in
            ["[[expect]]\ncase = 'copy'", "[[expect]]\nkase = 'x'\nreason = 'r'\nlink = 'l'", "x"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let _ = known();
    }
}
