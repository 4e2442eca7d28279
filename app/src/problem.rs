//! What went wrong, as the user sees it: what happened, and what to do about it.

use std::fmt;

/// An error for display; shown where it happened, with a button that copies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What failed, on which thing, with which values.
    pub what: String,
    /// What the reader can do now.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with advice.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: Some(hint.into()) }
    }

    /// Text for the clipboard.
    pub fn report(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}\n{hint}", self.what),
            None => self.what.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

impl From<coppice::Error> for Problem {
    fn from(error: coppice::Error) -> Self {
        Self { what: error.to_string(), hint: error.hint() }
    }
}

impl From<coppice::error::HubError> for Problem {
    fn from(error: coppice::error::HubError) -> Self {
        Self { what: error.to_string(), hint: error.hint() }
    }
}
