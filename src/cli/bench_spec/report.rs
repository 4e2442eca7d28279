//! Figures of a run: per method and category, and how they are printed.
//!
//! Spec-Bench's definitions: mean accepted tokens pool all rounds (tokens over rounds, the bonus
//! included, 1 for plain decoding); tokens a second are the mean over questions of tokens over wall
//! time, prompts included; a speedup is the ratio of two such means. Unlike Spec-Bench, tokens are
//! those of the engine on both sides.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    measure::{Answer, Mismatch},
    questions::MT_BENCH,
};
use crate::{
    draw::{BarChart, BarSeries},
    sample::SamplerParams,
    spec::{Method, Ratio, SpecStats},
};

/// Sums over questions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    questions: usize,
    tokens: usize,
    prompt_tokens: usize,
    seconds: f64,
    /// Sum over questions of tokens a second.
    rates: f64,
    /// The same without the time of the prompts.
    decode_rates: f64,
    stats: SpecStats,
}

impl Sums {
    fn add(&mut self, answer: &Answer) {
        let rate =
            |seconds: f64| if seconds > 0.0 { answer.tokens() as f64 / seconds } else { 0.0 };
        self.questions += 1;
        self.tokens += answer.tokens();
        self.prompt_tokens += answer.prompt_tokens;
        self.seconds += answer.wall.as_secs_f64();
        self.rates += rate(answer.wall.as_secs_f64());
        self.decode_rates += rate(answer.decode.as_secs_f64());
        self.stats.merge(&answer.stats);
    }

    fn merge(&mut self, other: &Self) {
        self.questions += other.questions;
        self.tokens += other.tokens;
        self.prompt_tokens += other.prompt_tokens;
        self.seconds += other.seconds;
        self.rates += other.rates;
        self.decode_rates += other.decode_rates;
        self.stats.merge(&other.stats);
    }

    /// Figures, with plain decoding's sums over the same questions.
    fn figures(&self, plain: &Self) -> Figures {
        let mean = |sum: f64, n: usize| if n == 0 { 0.0 } else { sum / n as f64 };
        let over = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let rate = mean(self.rates, self.questions);
        let decode = mean(self.decode_rates, self.questions);
        Figures {
            questions: self.questions,
            mean_accepted_tokens: self.stats.tokens_a_round().value(),
            tokens_per_second: rate,
            speedup: over(rate, mean(plain.rates, plain.questions)),
            decode_tokens_per_second: decode,
            decode_speedup: over(decode, mean(plain.decode_rates, plain.questions)),
            tokens: self.tokens,
            rounds: self.stats.rounds,
            round_tokens: self.stats.tokens,
            plain_rounds: self.stats.plain_rounds,
            prompt_tokens: self.prompt_tokens,
            seconds: self.seconds,
            promised_rounds: self.stats.promised.rounds,
            expected_tokens: self.stats.promised.expected_a_round(),
            promised_tokens: self
                .stats
                .promised
                .expected_a_round()
                .map(|_| self.stats.promised.tokens_a_round().value()),
            path_rate: self.stats.path_rate(),
            budget_rate: self.stats.budget_rate(),
            draft_ms: self.stats.times.draft_ms,
            verify_ms: self.stats.times.verify_ms,
            commit_ms: self.stats.times.commit_ms,
            host_ms: self.stats.times.host_ms,
        }
    }
}

/// What is printed of a method over some questions.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) questions: usize,
    /// Tokens a round, the bonus included.
    pub(super) mean_accepted_tokens: f64,
    /// With the time of the prompts.
    pub(super) tokens_per_second: f64,
    pub(super) speedup: f64,
    /// Without the time of the prompts.
    pub(super) decode_tokens_per_second: f64,
    pub(super) decode_speedup: f64,
    /// Generated, end tokens included.
    pub(super) tokens: usize,
    pub(super) rounds: u64,
    /// Chosen by rounds, with what lies behind an end token.
    pub(super) round_tokens: u64,
    pub(super) plain_rounds: u64,
    pub(super) prompt_tokens: usize,
    pub(super) seconds: f64,
    /// Rounds whose tree a search chose.
    pub(super) promised_rounds: u64,
    /// Tokens a round that the search expected of them, before each round.
    pub(super) expected_tokens: Option<f64>,
    /// Tokens a round that they gave.
    pub(super) promised_tokens: Option<f64>,
    pub(super) path_rate: Ratio,
    pub(super) budget_rate: Ratio,
    pub(super) draft_ms: f64,
    pub(super) verify_ms: f64,
    pub(super) commit_ms: f64,
    pub(super) host_ms: f64,
}

/// A method's figures.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MethodReport {
    pub(super) name: &'static str,
    pub(super) overall: Figures,
    /// By category in the order of the file; `mt_bench` is its eight categories together.
    pub(super) categories: serde_json::Map<String, serde_json::Value>,
    #[serde(skip)]
    groups: Vec<(String, Figures)>,
}

/// Collects answers.
pub(super) struct Table {
    methods: Vec<Method>,
    /// In the order of the file.
    categories: Vec<String>,
    sums: BTreeMap<(Method, String), Sums>,
}

/// All categories of MT-bench together.
const GROUP: &str = "mt_bench";

impl Table {
    pub(super) fn new(methods: &[Method]) -> Self {
        Self { methods: methods.to_vec(), categories: Vec::new(), sums: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, method: Method, category: &str, answer: &Answer) {
        if !self.categories.iter().any(|known| known == category) {
            self.categories.push(category.to_owned());
        }
        self.sums.entry((method, category.to_owned())).or_default().add(answer);
    }

    /// Sums over the categories that `take` wants.
    fn over(&self, method: Method, take: impl Fn(&str) -> bool) -> Sums {
        let mut all = Sums::default();
        for category in self.categories.iter().filter(|category| take(category)) {
            if let Some(sums) = self.sums.get(&(method, category.clone())) {
                all.merge(sums);
            }
        }
        all
    }

    pub(super) fn methods(&self) -> Vec<MethodReport> {
        let mut groups: Vec<String> = self.categories.clone();
        let in_group = |category: &str| MT_BENCH.contains(&category);
        if let Some(last) = groups.iter().rposition(|category| in_group(category)) {
            groups.insert(last + 1, GROUP.into());
        }
        let figures = |method: Method, take: &dyn Fn(&str) -> bool| {
            self.over(method, take).figures(&self.over(Method::Plain, take))
        };
        let report = |&method: &Method| {
            let groups: Vec<(String, Figures)> = groups
                .iter()
                .map(|group| {
                    let is_it = |category: &str| match group.as_str() {
                        GROUP => in_group(category),
                        group => category == group,
                    };
                    (group.clone(), figures(method, &is_it))
                })
                .collect();
            let value = |figures: &Figures| {
                serde_json::to_value(figures).expect("numbers under names are JSON")
            };
            MethodReport {
                name: method.name(),
                overall: figures(method, &|_| true),
                categories: groups.iter().map(|(name, f)| (name.clone(), value(f))).collect(),
                groups,
            }
        };
        self.methods.iter().map(report).collect()
    }
}

/// The whole report; the JSON output is this.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    pub(super) model: String,
    pub(super) device: String,
    pub(super) threads: Option<usize>,
    pub(super) file: String,
    pub(super) questions: usize,
    pub(super) asked: usize,
    /// Questions that do not fit the context, with their lengths.
    pub(super) skipped: Vec<String>,
    pub(super) interrupted: bool,
    pub(super) max_tokens: usize,
    pub(super) sampler: SamplerParams,
    /// What the times are.
    pub(super) timing: &'static str,
    pub(super) methods: Vec<MethodReport>,
    /// Whether the rule of acceptance must give plain decoding's ids.
    pub(super) ids_checked: bool,
    /// Where a method did not.
    pub(super) mismatches: Vec<Mismatch>,
}

/// What the times are, for all formats.
pub(super) const TIMING: &str = "tokens/s: mean over questions of generated tokens over wall time, \
    prompts computed from an empty cache included; decode tokens/s: without the prompts; speedup: \
    over plain in this run, methods interleaved question by question in rotating order; tokens a \
    round: pooled over rounds, the bonus included";

impl Report {
    /// Markdown tables.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "{} on {}: {} of {} questions of {}, at most {} tokens a turn, {}\n",
            self.model,
            self.device,
            self.questions,
            self.asked,
            self.file,
            self.max_tokens,
            match self.sampler.temperature {
                0.0 => "greedy".to_owned(),
                t => format!("temperature {t}, seed {}", self.sampler.seed),
            }
        );
        if self.interrupted {
            text.push_str("\n**Interrupted**: figures are of the questions answered until then.\n");
        }
        text.push_str(
            "\n| method | tokens a round | tokens/s | speedup | decode tokens/s | decode speedup | \
             tokens | rounds | path rate | budget rate |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for method in &self.methods {
            let f = &method.overall;
            text.push_str(&format!(
                "| {} | {:.2} | {:.1} | {:.2} | {:.1} | {:.2} | {} | {} | {} | {} |\n",
                method.name,
                f.mean_accepted_tokens,
                f.tokens_per_second,
                f.speedup,
                f.decode_tokens_per_second,
                f.decode_speedup,
                f.tokens,
                f.rounds,
                rate(f.path_rate),
                rate(f.budget_rate)
            ));
        }
        self.promises(&mut text);
        self.stages(&mut text);
        self.by_category(&mut text, "speedup", |f| f.speedup);
        self.by_category(&mut text, "tokens a round", |f| f.mean_accepted_tokens);
        self.by_category(&mut text, "tokens/s", |f| f.tokens_per_second);
        text.push_str(&format!("\nHere {TIMING}.\n"));
        for skipped in &self.skipped {
            text.push_str(&format!("\nLeft out: {skipped}.\n"));
        }
        match (self.ids_checked, self.mismatches.is_empty()) {
            (false, _) => text.push_str(
                "\nIds were not compared: this rule of acceptance may choose other tokens.\n",
            ),
            (true, true) => text.push_str("\nEvery method gave the ids of plain decoding.\n"),
            (true, false) => {}
        }
        for wrong in &self.mismatches {
            text.push_str(&format!("\nMISMATCH: {}\n", mismatch(wrong)));
        }
        text
    }

    /// What the search for trees expected, beside what came of it.
    fn promises(&self, text: &mut String) {
        let promised = |method: &&MethodReport| method.overall.expected_tokens.is_some();
        let mut methods = self.methods.iter().filter(promised).peekable();
        if methods.peek().is_none() {
            return;
        }
        text.push_str(
            "\n| trees chosen by search | rounds | expected tokens a round | measured | off by |\n\
             |---|---|---|---|---|\n",
        );
        for method in methods {
            let f = &method.overall;
            let (Some(expected), Some(measured)) = (f.expected_tokens, f.promised_tokens) else {
                continue;
            };
            text.push_str(&format!(
                "| {} | {} | {expected:.3} | {measured:.3} | {:+.1} % |\n",
                method.name,
                f.promised_rounds,
                100.0 * (expected / measured - 1.0)
            ));
        }
    }

    /// Where the time of rounds goes.
    fn stages(&self, text: &mut String) {
        text.push_str(
            "\n| milliseconds a round | draft on the host | submission (draft, verify, accept) | \
             commit | host |\n|---|---|---|---|---|\n",
        );
        for method in &self.methods {
            let f = &method.overall;
            let ms = |total: f64| total / (f.rounds as f64).max(1.0);
            text.push_str(&format!(
                "| {} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
                method.name,
                ms(f.draft_ms),
                ms(f.verify_ms),
                ms(f.commit_ms),
                ms(f.host_ms)
            ));
        }
    }

    fn by_category(&self, text: &mut String, name: &str, figure: impl Fn(&Figures) -> f64) {
        let Some(first) = self.methods.first() else { return };
        text.push_str(&format!("\n| {name} |"));
        for (group, _) in &first.groups {
            text.push_str(&format!(" {group} |"));
        }
        text.push_str(&format!(" overall |\n|---|{}---|\n", "---|".repeat(first.groups.len())));
        for method in &self.methods {
            text.push_str(&format!("| {} |", method.name));
            for (_, figures) in &method.groups {
                text.push_str(&format!(" {:.2} |", figure(figures)));
            }
            text.push_str(&format!(" {:.2} |\n", figure(&method.overall)));
        }
    }

    /// A line for each method and category.
    pub(super) fn csv(&self) -> String {
        let mut text = String::from(
            "method,category,questions,mean_accepted_tokens,tokens_per_second,speedup,\
             decode_tokens_per_second,decode_speedup,tokens,rounds,prompt_tokens,seconds\n",
        );
        for method in &self.methods {
            let overall = std::iter::once(("overall", &method.overall));
            let groups = method.groups.iter().map(|(name, f)| (name.as_str(), f));
            for (name, f) in overall.chain(groups) {
                text.push_str(&format!(
                    "{},{},{},{:.4},{:.3},{:.4},{:.3},{:.4},{},{},{},{:.3}\n",
                    method.name,
                    quoted(name),
                    f.questions,
                    f.mean_accepted_tokens,
                    f.tokens_per_second,
                    f.speedup,
                    f.decode_tokens_per_second,
                    f.decode_speedup,
                    f.tokens,
                    f.rounds,
                    f.prompt_tokens,
                    f.seconds
                ));
            }
        }
        text
    }

    /// Speedups as bars.
    pub(super) fn chart(&self) -> BarChart {
        let groups = self.methods.first().map_or(&[][..], |method| &method.groups);
        let names = groups.iter().map(|(name, _)| name.clone()).chain(["overall".into()]);
        let values = |method: &MethodReport| {
            let groups = method.groups.iter().map(|(_, f)| f);
            groups
                .chain([&method.overall])
                .map(|f| (f.questions > 0).then_some(f.speedup))
                .collect()
        };
        BarChart {
            title: format!("Speedup over plain decoding: {}", self.model),
            lines: vec![format!(
                "{}; {} questions, at most {} tokens a turn; end to end, prompts included",
                self.device, self.questions, self.max_tokens
            )],
            y_label: "speedup".into(),
            groups: names.collect(),
            series: self
                .methods
                .iter()
                .map(|method| BarSeries { name: method.name.into(), values: values(method) })
                .collect(),
            reference: Some(1.0),
        }
    }
}

/// In words, for tables and messages.
pub(super) fn mismatch(wrong: &Mismatch) -> String {
    let id = |id: Option<u32>| id.map_or_else(|| "the end".to_owned(), |id| format!("id {id}"));
    format!(
        "{} on question {}, turn {}, token {}: {} where plain decoding has {}",
        wrong.method.name(),
        wrong.question_id,
        wrong.turn,
        wrong.position,
        id(wrong.got),
        id(wrong.plain)
    )
}

fn rate(ratio: Ratio) -> String {
    if ratio.of == 0 {
        return "-".into();
    }
    format!("{:.1} % ({}/{})", 100.0 * ratio.value(), ratio.n, ratio.of)
}

/// A field of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
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
        let round =
            crate::spec::RoundOutcome { expected: Some(2.7), ..sample_rounds::branching(2) };
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
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
