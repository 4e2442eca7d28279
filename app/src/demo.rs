//! The demonstration: a recorded trace that comes with the app.

use std::path::Path;

use coppice::spec::trace::Trace;

use crate::trace_log::{Origin, TraceLog};

/// Rounds of SmolLM2 with its Medusa heads, recorded with `coppice run --trace`.
const TRACE: &[u8] = include_bytes!("../../assets/traces/demo.jsonl");

/// The recorded rounds.
pub fn trace() -> TraceLog {
    let trace = Trace::parse(Path::new("demo.jsonl"), TRACE).expect("the file is checked in tests");
    TraceLog::from_trace(trace, Origin::Demo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_is_a_whole_trace_with_trees() {
        let log = trace();
        assert!(log.rounds.len() >= 20, "{} rounds", log.rounds.len());
        assert!(log.notes.is_empty(), "{:?}", log.notes);
        assert!(log.rounds.iter().any(|round| round.outcome.accepted() >= 2));
        let stats = log.stats.clone();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("again.jsonl");
        log.save(&path).expect("writable");
        let again = TraceLog::open(&path).expect("it was just written");
        assert_eq!(again.rounds, log.rounds);
        assert_eq!((again.stats, again.answers), (stats, log.answers));
    }
}
