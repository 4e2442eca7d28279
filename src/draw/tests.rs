//! Well-formed, complete, and nothing on top of anything else.

use proptest::prelude::*;

use super::{
    BarChart, BarSeries, LineChart, LineSeries, State, Tree, TreeNode, axis, measure, round_tree,
    tree::layout,
};
use crate::spec::{sample_rounds, trace::TraceRound};

/// Checks that tags nest and that entities and characters are XML's. Gives the texts.
fn well_formed(svg: &str) -> Vec<String> {
    let mut open = Vec::new();
    let mut texts = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(!text.contains('>'), "a bare > in {text:?}");
        for entity in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;", "apos;"];
            assert!(known.iter().any(|name| entity.starts_with(name)), "&{entity}");
        }
        if open.last().is_some_and(|name: &String| name == "text") {
            texts.push(text.to_owned());
        }
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
        assert!(!tag.contains('<'), "<{tag}>");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name").to_owned());
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} is open, {rest:?} follows");
    assert!(!svg.chars().any(|c| c.is_control() && c != '\n'));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    texts
}

fn traced(outcome: crate::spec::RoundOutcome) -> TraceRound {
    let texts = (0..outcome.nodes.len()).map(|i| format!(" <t{i}> & \"q\"")).collect();
    TraceRound { answer: 0, outcome, texts, bonus_text: "\u{1b}[31m\u{202e}".into() }
}

#[test]
fn a_round_shows_every_node_and_the_bonus() {
    for outcome in [
        sample_rounds::branching(0),
        sample_rounds::plain(0),
        sample_rounds::chain(0),
        sample_rounds::typical(0),
    ] {
        let round = traced(outcome);
        let svg = round_tree(7, &round).svg();
        let texts = well_formed(&svg);
        for i in 0..round.outcome.nodes.len() {
            let token = format!("␣&lt;t{i}&gt;␣&amp;␣&quot;q&quot;");
            assert!(texts.contains(&token), "{token} is missing");
            assert!(svg.contains(&format!("<title>node {i}: ")), "details of {i} are missing");
        }
        assert!(texts.contains(&"\\u{1b}[31m\\u{202e}".to_owned()), "no bonus in {texts:?}");
        assert!(texts.iter().any(|text| text.starts_with("Round 7: ")));
    }
}

#[test]
fn a_node_says_who_guessed_it_with_which_odds_and_why_it_went() {
    let svg = round_tree(0, &traced(sample_rounds::branching(0))).svg();
    let texts = well_formed(&svg);
    assert!(texts.iter().any(|text| text.starts_with("Round 0: medusa, 2 of 6 candidates")));
    assert!(texts.contains(&"#0  draft 62%  target 75%".to_owned()), "{texts:?}");
    assert!(texts.contains(&"head 1".to_owned()));
    assert!(svg.contains("rejected: the target chose "));
    assert!(svg.contains("not reached: its parent was not kept"));
    for words in ["accepted", "rejected", "not reached"] {
        assert!(texts.contains(&words.to_owned()), "{words} is not in the legend");
    }
    assert!(!texts.contains(&"passed, not kept".to_owned()), "the legend has what is not there");
}

#[test]
fn states_differ_in_more_than_colour() {
    let signs: Vec<String> = [
        State::Root,
        State::Accepted,
        State::Bonus,
        State::Rejected,
        State::BelowThreshold,
        State::Outrun,
        State::Unreached,
    ]
    .map(|state| {
        let node = TreeNode {
            parent: None,
            text: "x".into(),
            caption: String::new(),
            details: String::new(),
            state,
            p: None,
        };
        let tree = Tree { title: String::new(), lines: vec![], columns: vec![], nodes: vec![node] };
        let svg = tree.svg();
        let path = svg.split("<path d=\"").nth(1).expect("a sign");
        path.split('"').next().expect("a path").to_owned()
    })
    .to_vec();
    let mut different = signs.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), signs.len());
}

proptest! {
    #[test]
    fn nodes_of_a_column_keep_a_row_apart(picks in prop::collection::vec(any::<u16>(), 1..64)) {
        let parents: Vec<Option<usize>> = picks
            .iter()
            .enumerate()
            .map(|(i, pick)| i.checked_sub(1).map(|last| usize::from(*pick) % (last + 1)))
            .collect();
        let places = layout(&parents);
        for (i, a) in places.iter().enumerate() {
            for b in &places[..i] {
                prop_assert!(a.column != b.column || (a.row - b.row).abs() > 0.999);
            }
            if let Some(parent) = parents[i] {
                prop_assert_eq!(a.column, places[parent].column + 1);
            }
            let children: Vec<f64> =
                (0..places.len()).filter(|&c| parents[c] == Some(i)).map(|c| places[c].row).collect();
            if let (Some(first), Some(last)) = (children.first(), children.last()) {
                prop_assert!((a.row - (first + last) / 2.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn any_text_gives_a_well_formed_picture(text in any::<String>(), p in 0.0..=1.0f32) {
        let mut round = traced(sample_rounds::typical(0));
        round.texts[1].clone_from(&text);
        round.outcome.nodes[1].draft_p = Some(p);
        well_formed(&round_tree(0, &round).svg());
    }

    #[test]
    fn ticks_cover_the_span(low in -1e6..1e6f64, span in 1e-3..1e6f64) {
        let ticks = axis::ticks(low, low + span, 6);
        prop_assert!(ticks.len() >= 2 && ticks.len() <= 12, "{:?}", ticks);
        prop_assert!(ticks[0] <= low + span * 1e-6);
        prop_assert!(ticks[ticks.len() - 1] >= low + span * (1.0 - 1e-6));
    }
}

#[test]
fn bars_have_their_values_and_names() {
    let series = |name: &str, values: [Option<f64>; 3]| BarSeries {
        name: name.into(),
        values: values.to_vec(),
    };
    let chart = BarChart {
        title: "Speed".into(),
        lines: vec!["of <two> methods".into()],
        y_label: "speedup".into(),
        groups: ["math", "a very long name of a category", "rag"].map(str::to_owned).to_vec(),
        series: vec![
            series("plain", [Some(1.0), Some(1.0), Some(1.0)]),
            series("medusa", [Some(1.875), None, Some(f64::NAN)]),
        ],
        reference: Some(1.0),
    };
    let texts = well_formed(&chart.svg());
    for wanted in ["math", "rag", "plain", "medusa", "1.88", "of &lt;two&gt; methods"] {
        assert!(texts.contains(&wanted.to_owned()), "{wanted} is not in {texts:?}");
    }
    assert_eq!(texts.iter().filter(|text| *text == "1.00").count(), 3);
    well_formed(&BarChart { groups: vec![], series: vec![], ..chart }.svg());
}

#[test]
fn lines_break_where_a_value_is_missing() {
    let chart = |points: Vec<(f64, f64)>| LineChart {
        title: "Loss".into(),
        lines: vec![],
        x_label: "step".into(),
        y_label: "nats".into(),
        series: vec![LineSeries { name: "head 0".into(), points }],
    };
    let svg = chart(vec![(0.0, 5.0), (1.0, f64::NAN), (2.0, 3.0), (3.0, 2.5)]).svg();
    assert!(well_formed(&svg).contains(&"head 0".to_owned()));
    assert_eq!(svg.matches("<polyline").count(), 2);
    for points in [vec![], vec![(1.0, 1.0)], vec![(0.0, f64::INFINITY)]] {
        well_formed(&chart(points).svg());
    }
}

#[test]
fn tokens_are_shown_with_what_one_cannot_see() {
    assert_eq!(measure::visible(" a\n\t"), "␣a↵⇥");
    assert_eq!(measure::visible(""), "(none)");
    assert_eq!(measure::visible("\u{7}\u{200b}"), "\\u{7}\\u{200b}");
    assert_eq!(measure::shortened("abcdef", 4), "abc…");
}
