//! Figures and formats of made-up answers.

use std::time::Duration;

use super::*;
use crate::spec::sample_rounds;

/// So many tokens in so many seconds, half of them prompt.
fn answer(tokens: usize, seconds: f64) -> Answer {
    let mut stats = SpecStats::default();
    stats.add(&sample_rounds::branching(0));
    stats.add(&sample_rounds::plain(1));
    Answer {
        turns: vec![vec![0; tokens]],
        prompt_tokens: 10,
        wall: Duration::from_secs_f64(seconds),
        decode: Duration::from_secs_f64(seconds / 2.0),
        stats,
    }
}

fn report() -> Report {
    let mut table = Table::new(&[Method::Plain, Method::Lookup]);
    for (category, plain, lookup) in
        [("writing", 2.0, 1.0), ("writing", 4.0, 4.0), ("math", 1.0, 0.5), ("rag", 1.0, 2.0)]
    {
        table.add(Method::Plain, category, &answer(8, plain));
        table.add(Method::Lookup, category, &answer(8, lookup));
    }
    Report {
        schema: 1,
        model: "tiny".into(),
        device: "cpu".into(),
        threads: None,
        file: "q.jsonl".into(),
        questions: 4,
        asked: 4,
        skipped: vec![],
        interrupted: false,
        max_tokens: 8,
        sampler: SamplerParams::default(),
        timing: TIMING,
        methods: table.methods(),
        ids_checked: true,
        mismatches: vec![],
    }
}

#[test]
fn rates_are_means_over_questions_and_speedups_their_ratios() {
    let report = report();
    let [plain, lookup] = &report.methods[..] else { panic!("two methods") };
    // Plain: 4, 2, 8 and 8 tokens/s; lookup: 8, 2, 16 and 4.
    assert!((plain.overall.tokens_per_second - 5.5).abs() < 1e-9);
    assert!((lookup.overall.tokens_per_second - 7.5).abs() < 1e-9);
    assert!((lookup.overall.speedup - 7.5 / 5.5).abs() < 1e-9);
    assert!((lookup.overall.decode_tokens_per_second - 15.0).abs() < 1e-9);
    assert!((plain.overall.speedup - 1.0).abs() < 1e-12);
    let names: Vec<&String> = lookup.categories.keys().collect();
    assert_eq!(names, ["writing", "math", "mt_bench", "rag"]);
    let speedup = |name: &str| lookup.categories[name]["speedup"].as_f64().expect("a number");
    assert!((speedup("writing") - 5.0 / 3.0).abs() < 1e-9);
    // Over the three questions of MT-bench: (8 + 2 + 16) / (4 + 2 + 8).
    assert!((speedup("mt_bench") - 26.0 / 14.0).abs() < 1e-9);
    assert!((speedup("rag") - 0.5).abs() < 1e-9);
}

#[test]
fn tokens_a_round_pool_all_rounds() {
    let report = report();
    let overall = &report.methods[1].overall;
    // Each question has a round of three tokens and one of one.
    assert_eq!((overall.rounds, overall.round_tokens), (8, 16));
    assert!((overall.mean_accepted_tokens - 2.0).abs() < 1e-12);
    assert_eq!((overall.tokens, overall.prompt_tokens), (32, 40));
}

#[test]
fn what_a_search_expected_stands_beside_what_came() {
    let mut answer = answer(8, 1.0);
    let round = crate::spec::RoundOutcome { expected: Some(2.7), ..sample_rounds::branching(2) };
    answer.stats.add(&round);
    let mut table = Table::new(&[Method::Plain, Method::Medusa]);
    table.add(Method::Plain, "qa", &self::answer(8, 1.0));
    table.add(Method::Medusa, "qa", &answer);
    let md = Report { methods: table.methods(), ..report() }.markdown();
    assert!(md.contains("| medusa | 1 | 2.700 | 3.000 | -10.0 % |"), "{md}");
}

#[test]
fn every_format_has_all_methods_and_categories() {
    let report = report();
    let (md, csv) = (report.markdown(), report.csv());
    assert!(md.contains("| lookup | 2.00 | 7.5 | 1.36 |"), "{md}");
    assert!(md.contains("| speedup | writing | math | mt_bench | rag | overall |"), "{md}");
    assert!(md.contains("Every method gave the ids"), "{md}");
    assert!(!md.contains("trees chosen by search"), "nothing was promised");
    let lossy = Report { ids_checked: false, ..self::report() }.markdown();
    assert!(lossy.contains("Ids were not compared"), "{lossy}");
    assert_eq!(csv.lines().count(), 1 + 2 * 5);
    assert!(csv.contains("\nlookup,rag,1,2.0000,4.000,0.5000,"), "{csv}");
    let chart = report.chart();
    assert_eq!(chart.groups.last().map(String::as_str), Some("overall"));
    assert_eq!(chart.series[1].values.len(), chart.groups.len());
    assert_eq!(output::quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
}
