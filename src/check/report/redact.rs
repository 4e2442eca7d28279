//! Blanks what identifies a person: home folder, user name, host name.

use std::fs;

/// Texts to blank, and what stands in their place.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// Longest first.
    pairs: Vec<(String, &'static str)>,
}

/// Names that tell nothing, or would blank half of a report.
const COMMON: [&str; 8] =
    ["root", "user", "admin", "home", "runner", "ubuntu", "debian", "localhost"];

impl Redactor {
    /// From the environment of this process.
    pub fn from_environment() -> Self {
        let var = |name: &str| std::env::var(name).ok();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        Self::new(
            ["HOME", "USERPROFILE"].into_iter().filter_map(var),
            ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(var),
            host.into_iter().chain(["HOSTNAME", "COMPUTERNAME"].into_iter().filter_map(var)),
        )
    }

    /// Of these home folders, user names and host names.
    pub fn new(
        homes: impl IntoIterator<Item = String>,
        users: impl IntoIterator<Item = String>,
        hosts: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut pairs: Vec<(String, &'static str)> = Vec::new();
        let mut add = |text: &str, least: usize, instead| {
            let text = text.trim().trim_end_matches(['/', '\\']);
            if text.len() >= least && !COMMON.contains(&text.to_lowercase().as_str()) {
                pairs.push((text.to_owned(), instead));
            }
        };
        homes.into_iter().for_each(|text| add(&text, 4, "~"));
        users.into_iter().for_each(|text| add(&text, 3, "<user>"));
        hosts.into_iter().for_each(|text| add(&text, 3, "<host>"));
        pairs.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        pairs.dedup();
        Self { pairs }
    }

    /// `text` with all of them blanked, where they stand as whole words.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.pairs {
            text = replace_words(&text, from, to);
        }
        text
    }

    /// [`Self::redact`] in place.
    pub fn blank(&self, text: &mut String) {
        *text = self.redact(text);
    }
}

fn replace_words(text: &str, from: &str, to: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let cut_before = before.chars().next_back().or(out.chars().next_back());
        let whole = !cut_before.is_some_and(is_word) && !after.chars().next().is_some_and(is_word);
        out.push_str(before);
        out.push_str(if whole { to } else { from });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Redactor {
        let one = |text: &str| [text.to_owned()];
        Redactor::new(one("/home/ada/"), one("ada"), one("engine-1"))
    }

    #[test]
    fn homes_users_and_hosts_are_blanked() {
        let text = "/home/ada/models on engine-1 by ada, /home/ada";
        assert_eq!(ada().redact(text), "~/models on <host> by <user>, ~");
        assert_eq!(ada().redact("C:\\Users\\ada\\x"), "C:\\Users\\<user>\\x");
    }

    #[test]
    fn words_that_contain_a_name_stay() {
        assert_eq!(ada().redact("adapter canada adaada"), "adapter canada adaada");
        let common = Redactor::new(None, Some("root".into()), Some("localhost".into()));
        assert_eq!(common.redact("the root of localhost"), "the root of localhost");
    }
}
