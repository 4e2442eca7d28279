//! Whether one model's guesses mean the same to another.

use std::fmt;

/// The first id that stands for different pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VocabularyDifference {
    /// The id.
    pub id: u32,
    /// Its piece in the target's vocabulary.
    pub target: String,
    /// Its piece in the draft model's.
    pub draft: String,
    /// Id of the draft model's piece in the target's vocabulary, if it has it.
    pub elsewhere: Option<u32>,
}

impl fmt::Display for VocabularyDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, target, draft, elsewhere } = self;
        write!(f, "token {id} is {target:?} in the model and {draft:?} in the draft model")?;
        match elsewhere {
            Some(other) => write!(f, ", which the model has as token {other}"),
            None => write!(f, ", which the model does not have"),
        }
    }
}

/// Compares the pieces of two vocabularies, id by id. Gives how many more ids the draft model has
/// than the target, negative if it has fewer: ids at the end that only one of them has are never
/// drafted, so they do no harm.
///
/// # Errors
/// The first id whose pieces differ.
pub fn compare_vocabularies(target: &[&str], draft: &[&str]) -> Result<i64, VocabularyDifference> {
    match target.iter().zip(draft).position(|(a, b)| a != b) {
        None => Ok(draft.len() as i64 - target.len() as i64),
        Some(id) => Err(VocabularyDifference {
            id: id as u32,
            target: target[id].to_owned(),
            draft: draft[id].to_owned(),
            elsewhere: target.iter().position(|piece| *piece == draft[id]).map(|at| at as u32),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_both_pieces() {
        let target = ["a", "b", "Ġc", "d"];
        let moved = compare_vocabularies(&target, &["a", "b", "d", "Ġc"]).expect_err("differs");
        assert_eq!(
            moved.to_string(),
            "token 2 is \"Ġc\" in the model and \"d\" in the draft model, which the model has as \
             token 3"
        );
        let other = compare_vocabularies(&target, &["a", "x"]).expect_err("differs");
        assert_eq!(
            other.to_string(),
            "token 1 is \"b\" in the model and \"x\" in the draft model, which the model does not \
             have"
        );
    }

    #[test]
    fn ids_at_the_end_may_be_missing_on_either_side() {
        assert_eq!(compare_vocabularies(&["a", "b"], &["a", "b"]), Ok(0));
        assert_eq!(compare_vocabularies(&["a", "b"], &["a", "b", "<unused0>"]), Ok(1));
        assert_eq!(compare_vocabularies(&["a", "b", "c"], &["a"]), Ok(-2));
    }
}
