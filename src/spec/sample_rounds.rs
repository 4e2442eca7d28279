//! Rounds made by hand for tests, whose figures can be counted on fingers.

use super::{Method, NodeOutcome, RoundOutcome, Source, StageTimes, Verdict};

fn node(
    (token, parent, depth): (u32, Option<u32>, u32),
    (source, rank): (Source, u16),
    (draft_p, target_p): (Option<f32>, Option<f32>),
    verdict: Verdict,
) -> NodeOutcome {
    NodeOutcome {
        token,
        parent,
        depth,
        source,
        rank,
        draft_p,
        target_p,
        entropy: None,
        threshold: None,
        verdict,
    }
}

fn root(token: u32) -> NodeOutcome {
    node((token, None, 0), (Source::Root, 0), (None, None), Verdict::Root)
}

const TIMES: StageTimes =
    StageTimes { draft_ms: 0.25, verify_ms: 8.0, commit_ms: 0.5, host_ms: 0.25 };

/// Heads over a tree of six candidates: two of three tested depths accepted, one candidate never
/// reached.
///
/// ```text
/// 0 root ─┬─ 1 accepted ─┬─ 3 rejected
///         │              └─ 4 accepted ── 6 rejected
///         └─ 2 rejected ──── 5 unreached
/// ```
pub(crate) fn branching(round: u64) -> RoundOutcome {
    let p = |draft: f32, target: f32| (Some(draft), Some(target));
    let nodes = vec![
        root(10),
        node((11, Some(0), 1), (Source::Head(0), 0), p(0.625, 0.75), Verdict::Accepted),
        node(
            (12, Some(0), 1),
            (Source::Head(0), 1),
            p(0.25, 0.125),
            Verdict::Rejected { wanted: 11 },
        ),
        node(
            (13, Some(1), 2),
            (Source::Head(1), 0),
            p(0.5, 0.25),
            Verdict::Rejected { wanted: 14 },
        ),
        node((14, Some(1), 2), (Source::Head(1), 1), p(0.25, 0.5), Verdict::Accepted),
        node((13, Some(2), 2), (Source::Head(1), 0), p(0.5, 0.25), Verdict::Unreached),
        node(
            (15, Some(4), 3),
            (Source::Head(2), 0),
            p(0.4375, 0.0625),
            Verdict::Rejected { wanted: 16 },
        ),
    ];
    let (method, path) = (Method::Medusa, vec![0, 1, 4]);
    RoundOutcome { round, prefix: 20, method, nodes, path, bonus: 16, expected: None, times: TIMES }
}

/// The root alone.
pub(crate) fn plain(round: u64) -> RoundOutcome {
    RoundOutcome {
        round,
        prefix: 23,
        method: Method::Plain,
        nodes: vec![root(16)],
        path: vec![0],
        bonus: 17,
        expected: None,
        times: StageTimes { verify_ms: 4.0, ..StageTimes::default() },
    }
}

/// A looked-up chain of three, kept whole.
pub(crate) fn chain(round: u64) -> RoundOutcome {
    let link = |token, depth: u32| {
        let at = (token, Some(depth - 1), depth);
        node(at, (Source::Lookup, 0), (None, None), Verdict::Accepted)
    };
    let nodes = vec![root(17), link(18, 1), link(19, 2), link(20, 3)];
    let (method, path) = (Method::Lookup, vec![0, 1, 2, 3]);
    RoundOutcome { round, prefix: 24, method, nodes, path, bonus: 21, expected: None, times: TIMES }
}

/// Typical acceptance: one candidate kept, one outrun, one below the threshold.
pub(crate) fn typical(round: u64) -> RoundOutcome {
    let candidate = |token, rank, draft, target, verdict| NodeOutcome {
        entropy: Some(1.5),
        threshold: Some(0.0625),
        ..node((token, Some(0), 1), (Source::Head(0), rank), (Some(draft), Some(target)), verdict)
    };
    let nodes = vec![
        root(21),
        candidate(22, 0, 0.5, 0.375, Verdict::Accepted),
        candidate(23, 1, 0.25, 0.25, Verdict::Outrun),
        candidate(24, 2, 0.125, 0.03125, Verdict::BelowThreshold),
    ];
    let (method, path) = (Method::Medusa, vec![0, 1]);
    RoundOutcome { round, prefix: 28, method, nodes, path, bonus: 25, expected: None, times: TIMES }
}
