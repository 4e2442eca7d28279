//! Figures of a run: per method and category. How they are printed is in [`output`].
//!
//! Spec-Bench's definitions: mean accepted tokens pool all rounds (tokens over rounds, the bonus
//! included, 1 for plain decoding); tokens a second are the mean over questions of tokens over wall
//! time, prompts included; a speedup is the ratio of two such means. Unlike Spec-Bench, tokens are
//! those of the engine on both sides.

mod output;

use std::collections::BTreeMap;

use serde::Serialize;

pub(super) use self::output::{TIMING, mismatch};
use super::{
    measure::{Answer, Mismatch},
    questions::MT_BENCH,
};
use crate::{
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

#[cfg(test)]
mod tests;
