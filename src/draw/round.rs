//! The picture of a round of a trace.

use std::collections::BTreeMap;

use super::tree::{State, Tree, TreeNode, column_heads};
use crate::spec::{NodeOutcome, RoundOutcome, Source, Verdict, trace::TraceRound};

/// Most characters of the added text in the head line.
const MOST_TEXT: usize = 90;

/// The candidates of a round and, behind the last one kept, the bonus.
pub fn round_tree(number: usize, round: &TraceRound) -> Tree {
    let outcome = &round.outcome;
    let mut nodes = Vec::with_capacity(outcome.nodes.len() + 1);
    for (i, node) in outcome.nodes.iter().enumerate() {
        nodes.push(TreeNode {
            parent: node.parent.map(|parent| parent as usize),
            text: round.texts[i].clone(),
            caption: caption(node),
            details: details(i, node, round),
            state: state(node.verdict),
            p: node.draft_p,
        });
    }
    let last = outcome.path.last().copied().unwrap_or(0) as usize;
    nodes.push(TreeNode {
        parent: Some(last),
        text: round.bonus_text.clone(),
        caption: "bonus".into(),
        details: format!(
            "{:?}, token {}: the target's choice behind the last kept node; root of the next round",
            round.bonus_text, outcome.bonus
        ),
        state: State::Bonus,
        p: None,
    });
    let mut heads: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    heads.insert(0, vec!["root".into()]);
    for node in &outcome.nodes[1..] {
        let names = heads.entry(node.depth as usize).or_default();
        let name = source_name(node.source);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let t = &outcome.times;
    Tree {
        title: format!("Round {number}: {}, {}", outcome.method.name(), in_words(outcome)),
        lines: vec![
            format!(
                "Added {:?} at position {}",
                shortened(&round.added_text()),
                outcome.prefix + 1
            ),
            format!(
                "{:.2} ms: draft {:.2}, verify {:.2}, commit {:.2}, host {:.2}",
                t.total_ms(),
                t.draft_ms,
                t.verify_ms,
                t.commit_ms,
                t.host_ms
            ),
        ],
        columns: column_heads(heads),
        nodes,
    }
}

fn in_words(outcome: &RoundOutcome) -> String {
    if outcome.drafted() == 0 {
        return "nothing drafted, one token".into();
    }
    let tokens = match outcome.tokens() {
        1 => "only the bonus".to_owned(),
        tokens => format!("{tokens} tokens with the bonus"),
    };
    format!("{} of {} candidates accepted, {tokens}", outcome.accepted(), outcome.drafted())
}

fn shortened(text: &str) -> String {
    super::measure::shortened(text, MOST_TEXT)
}

fn state(verdict: Verdict) -> State {
    match verdict {
        Verdict::Root => State::Root,
        Verdict::Accepted => State::Accepted,
        Verdict::Rejected { .. } => State::Rejected,
        Verdict::BelowThreshold => State::BelowThreshold,
        Verdict::Outrun => State::Outrun,
        Verdict::Unreached => State::Unreached,
    }
}

fn source_name(source: Source) -> String {
    match source {
        Source::Root => "root".into(),
        Source::Head(head) => format!("head {head}"),
        Source::Lookup => "lookup".into(),
        Source::Rest => "rest".into(),
        Source::Draft => "draft model".into(),
    }
}

/// Rank and probabilities in short; the column says who guessed.
fn caption(node: &NodeOutcome) -> String {
    if node.verdict == Verdict::Root {
        return String::new();
    }
    let mut text = format!("#{}", node.rank);
    if let Some(p) = node.draft_p {
        text.push_str(&format!("  draft {}", percent(p)));
    }
    if let Some(p) = node.target_p {
        text.push_str(&format!("  target {}", percent(p)));
    }
    text
}

/// A probability in at most four characters.
fn percent(p: f32) -> String {
    let percent = 100.0 * p;
    if percent >= 9.95 || percent == 0.0 {
        format!("{percent:.0}%")
    } else {
        format!("{percent:.1}%")
    }
}

fn details(i: usize, node: &NodeOutcome, round: &TraceRound) -> String {
    let name = |token: u32| match round.text_of(token) {
        Some(text) => format!("{text:?} ({token})"),
        None => format!("token {token}"),
    };
    let mut text = format!("node {i}: {:?}, token {}", round.texts[i], node.token);
    let p = |text: &mut String, name: &str, value: Option<f32>| {
        if let Some(value) = value {
            text.push_str(&format!("; {name} {value:.4}"));
        }
    };
    if node.verdict != Verdict::Root {
        text.push_str(&format!(
            "; depth {}, {}, rank {}",
            node.depth,
            source_name(node.source),
            node.rank
        ));
    }
    p(&mut text, "draft p", node.draft_p);
    p(&mut text, "target p", node.target_p);
    p(&mut text, "entropy behind it", node.entropy);
    p(&mut text, "threshold", node.threshold);
    let why = match node.verdict {
        Verdict::Root => "root: chosen by the target in the round before".to_owned(),
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Rejected { wanted } => {
            format!("rejected: the target chose {} there", name(wanted))
        }
        Verdict::BelowThreshold => "rejected: below the threshold".to_owned(),
        Verdict::Outrun => "passed, but another path was longer or likelier".to_owned(),
        Verdict::Unreached => "not reached: its parent was not kept".to_owned(),
    };
    text.push_str(&format!("; {why}"));
    text
}
