//! A report as Markdown, CSV and bars.

use super::{Figures, MethodReport, Report};
use crate::{
    cli::bench_spec::measure::Mismatch,
    draw::{BarChart, BarSeries},
    spec::Ratio,
};

/// What the times are, for all formats.
pub(in crate::cli::bench_spec) const TIMING: &str = "tokens/s: mean over questions of generated tokens over wall time, \
    prompts computed from an empty cache included; decode tokens/s: without the prompts; speedup: \
    over plain in this run, methods interleaved question by question in rotating order; tokens a \
    round: pooled over rounds, the bonus included";

impl Report {
    /// Markdown tables.
    pub(in crate::cli::bench_spec) fn markdown(&self) -> String {
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
    pub(in crate::cli::bench_spec) fn csv(&self) -> String {
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
    pub(in crate::cli::bench_spec) fn chart(&self) -> BarChart {
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
pub(in crate::cli::bench_spec) fn mismatch(wrong: &Mismatch) -> String {
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
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
