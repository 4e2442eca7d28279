//! Looking for tokens in trees.

use std::sync::Arc;

use coppice::spec::trace::TraceRound;

/// Nodes of a round whose text holds a query; capitals do not matter. None for an empty query.
pub fn nodes(round: &TraceRound, query: &str) -> Vec<usize> {
    let query = query.to_lowercase();
    if query.is_empty() {
        return Vec::new();
    }
    let is_match = |text: &String| text.to_lowercase().contains(&query);
    (0..round.texts.len()).filter(|&n| is_match(&round.texts[n])).collect()
}

/// The next round behind `from` with a match, or the one before it where `forwards` is false.
pub fn round(
    rounds: &[Arc<TraceRound>],
    from: usize,
    query: &str,
    forwards: bool,
) -> Option<usize> {
    let has = |n: &usize| !nodes(&rounds[*n], query).is_empty();
    match forwards {
        true => (from + 1..rounds.len()).find(has),
        false => (0..from.min(rounds.len())).rev().find(has),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_found_in_both_directions() {
        let log = crate::demo::trace();
        let text = log.rounds[6].texts[3].trim().to_uppercase();
        assert!(!text.is_empty());
        assert!(nodes(&log.rounds[6], &text).contains(&3));
        let before = round(&log.rounds, 5, &text, true).expect("round 6 has it");
        assert!(before > 5 && before <= 6);
        assert!(round(&log.rounds, log.rounds.len(), &text, false).is_some());
        assert_eq!(round(&log.rounds, 0, &text, false), None, "there is nothing before the first");
        assert_eq!(round(&log.rounds, 0, "", true), None);
        assert_eq!(nodes(&log.rounds[0], ""), Vec::<usize>::new());
    }
}
