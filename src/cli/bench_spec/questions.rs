//! Questions in Spec-Bench's form (arXiv 2401.07851): a JSON object a line.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::{
    cli::high,
    error::{Error, Result},
};

/// Categories of MT-bench, which Spec-Bench reports together as one of its six tasks.
pub(in crate::cli) const MT_BENCH: [&str; 8] =
    ["writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"];

/// A question of one or more turns.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(in crate::cli) struct Question {
    pub(in crate::cli) question_id: u64,
    pub(in crate::cli) category: String,
    pub(in crate::cli) turns: Vec<String>,
}

/// How many questions to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Take {
    All,
    /// The first ones of the file.
    First(usize),
    /// The first ones of each category.
    PerCategory(usize),
}

impl Take {
    /// Of two flags that exclude each other.
    pub(in crate::cli) fn of(first: Option<usize>, per_category: Option<usize>) -> Self {
        match (first, per_category) {
            (Some(n), _) => Self::First(n),
            (None, Some(n)) => Self::PerCategory(n),
            (None, None) => Self::All,
        }
    }
}

/// Reads a file of questions.
///
/// # Errors
/// A file that cannot be read, or a line that is no question, by its number.
pub(in crate::cli) fn read(path: &Path, take: Take) -> Result<Vec<Question>> {
    let text = high::text_of(path)?;
    let mut questions = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: String| Error::Invalid {
            message: format!("{}:{}: {what}", path.display(), i + 1),
            hint: Some(
                "a line is a JSON object with question_id, category and turns, as in Spec-Bench"
                    .into(),
            ),
        };
        let question: Question =
            serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        if question.turns.is_empty() || question.category.is_empty() {
            return Err(wrong(format!(
                "question {} has {} turns and category {:?}",
                question.question_id,
                question.turns.len(),
                question.category
            )));
        }
        questions.push(question);
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    match take {
        Take::All => {}
        Take::First(n) => questions.truncate(n),
        Take::PerCategory(n) => questions.retain(|question| {
            let seen = seen.entry(question.category.clone()).or_default();
            *seen += 1;
            *seen <= n
        }),
    }
    if questions.is_empty() {
        return Err(Error::invalid(format!("{} has no questions to take", path.display())));
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("writable");
        file
    }

    #[test]
    fn questions_are_taken_by_number_or_by_category() {
        let mut text = String::new();
        for (id, category) in [(1, "qa"), (2, "qa"), (3, "rag"), (4, "qa"), (5, "rag")] {
            text.push_str(&format!(
                "{{\"question_id\":{id},\"category\":\"{category}\",\"turns\":[\"x\"],\"reference\":[]}}\n\n"
            ));
        }
        let file = file(&text);
        let ids = |take| -> Vec<u64> {
            read(file.path(), take).expect("fine").iter().map(|q| q.question_id).collect()
        };
        assert_eq!(ids(Take::All), [1, 2, 3, 4, 5]);
        assert_eq!(ids(Take::First(2)), [1, 2]);
        assert_eq!(ids(Take::PerCategory(1)), [1, 3]);
        let error = read(file.path(), Take::First(0)).expect_err("none");
        assert!(error.to_string().contains("no questions"), "{error}");
    }

    #[test]
    fn a_line_that_is_no_question_is_named() {
        for line in
            ["{", "{\"question_id\":1,\"category\":\"qa\",\"turns\":[]}", "[]", "{\"turns\":3}"]
        {
            let file = file(&format!(
                "{{\"question_id\":1,\"category\":\"a\",\"turns\":[\"x\"]}}\n{line}\n"
            ));
            let error = read(file.path(), Take::All).expect_err("no question");
            assert!(error.to_string().contains(":2: "), "{error}");
        }
    }
}
