//! What if: controls of another tree and rule, and what recorded rounds would have given.

use coppice::spec::{TreeTemplate, policy::VerifyCurve};
use egui::{Grid, RichText, ScrollArea, Slider, TextEdit, Ui};

use crate::{
    state::Cx,
    tokens,
    trace_log::TraceLog,
    what_if::{Change, Job, Rescored, Rule, Trees, curve_of},
};

/// Rounds judged in a frame: some milliseconds.
const PIECE: usize = 400;

/// What is set, and what came of it.
#[derive(Clone, Debug)]
pub struct WhatIf {
    change: Change,
    /// Widths of a full tree, as typed; the trees of the trace where it is empty.
    widths: String,
    /// Settings of typical acceptance, also while it is off.
    typical: (f32, f32),
    job: Option<Job>,
}

impl Default for WhatIf {
    fn default() -> Self {
        // The published settings.
        let typical = (0.09, 0.3);
        Self { change: Change::default(), widths: String::new(), typical, job: None }
    }
}

impl WhatIf {
    /// What came of the rounds so far.
    pub fn result(&self) -> Option<Rescored> {
        self.job.as_ref().map(|job| job.result)
    }
}

/// Widths of levels, such as `4, 2, 1`.
fn template(text: &str) -> Result<Trees, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Trees::Recorded);
    }
    let widths = text.split([',', ' ']).filter(|part| !part.is_empty());
    let widths: Result<Vec<usize>, _> = widths.map(str::parse).collect();
    let widths = widths.map_err(|_| format!("`{text}`: wanted widths such as 4, 2, 1"))?;
    TreeTemplate::cartesian(&widths).map(Trees::Template).map_err(|error| error.to_string())
}

/// Draws the panel.
pub fn what_if_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if cx.state.trace().rounds.is_empty() {
        super::no_rounds_ui(ui, cx);
        return;
    }
    let measured = super::speed::curve(cx.state).cloned();
    let of_device = measured.is_some();
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        let state = &mut *cx.state;
        let log = state.opened.as_ref().unwrap_or(&state.live);
        let curve = measured.or_else(|| curve_of(log));
        let what_if = &mut state.what_if;
        let fault = controls_ui(ui, what_if, log);
        if let Some(fault) = fault {
            ui.colored_label(tokens::palette(ui).danger, fault);
            return;
        }
        let header = log.header.as_ref();
        let acceptance = header.map_or("", |header| header.acceptance.as_str());
        if !what_if.change.applies_to(acceptance) {
            ui.label(
                "These rounds were accepted by residual sampling, whose draws are not in a trace; \
                 choose typical acceptance to score them again",
            );
            return;
        }
        advance(what_if, log, curve.as_ref());
        let (change, Some(job)) = (&what_if.change, &what_if.job) else { return };
        if job.done() < log.rounds.len() {
            ui.weak(format!("{} of {} rounds are judged", job.done(), log.rounds.len()));
            ui.ctx().request_repaint();
        }
        result_ui(ui, &job.result, curve.as_ref());
        let temperature = header.map_or(1.0, |header| header.sampler.temperature);
        for note in change.notes(&job.result, acceptance, temperature) {
            ui.weak(format!("• {note}"));
        }
        ui.weak(match (curve.is_some(), of_device) {
            (true, true) => "• Times are by the curve measured on this device, for both columns",
            (true, false) => {
                "• Times are means of this trace by size of the tree, for both columns"
            }
            (false, _) => {
                "• Times are not known: no curve of this device, and too few sizes in the trace"
            }
        });
        if job.done() == log.rounds.len() {
            best_ui(ui, job);
        }
    });
}

/// Judges some more rounds of the change that is set.
fn advance(what_if: &mut WhatIf, log: &TraceLog, curve: Option<&VerifyCurve>) {
    let known = what_if.job.take().filter(|job| job.is_of(&what_if.change, log, curve));
    let mut job = known.unwrap_or_else(|| Job::new(what_if.change.clone(), log, curve.cloned()));
    job.advance(log, PIECE);
    what_if.job = Some(job);
}

/// Draws the controls; gives what is wrong with them.
fn controls_ui(ui: &mut Ui, what_if: &mut WhatIf, log: &TraceLog) -> Option<String> {
    let deepest = log.stats.by_depth.len().max(1);
    let ranks = log.stats.by_rank.len().max(1);
    let change = &mut what_if.change;
    let mut fault = None;
    Grid::new("what-if").num_columns(2).spacing([14.0, 4.0]).show(ui, |ui| {
        let slider = |ui: &mut Ui, name: &str, value: &mut usize, most: usize, least: usize| {
            let label = ui.label(name);
            let mut shown = (*value).min(most);
            let response = ui.add(Slider::new(&mut shown, least..=most)).labelled_by(label.id);
            if response.changed() {
                // The end of the scale means no limit, also when deeper trees come.
                *value = if shown == most { coppice::spec::MAX_NODES } else { shown };
            }
            ui.end_row();
        };
        slider(ui, "Most nodes, the likeliest", &mut change.nodes, coppice::spec::MAX_NODES, 1);
        slider(ui, "Most depth", &mut change.depth, deepest, 0);
        slider(ui, "Most guesses below a node", &mut change.ranks, ranks, 1);
        let label = ui.label("Least path probability");
        let p = Slider::new(&mut change.path_p, 0.0..=0.5).fixed_decimals(3);
        ui.add(p).labelled_by(label.id);
        ui.end_row();
        let label = ui.label("Full tree of widths");
        let field = TextEdit::singleline(&mut what_if.widths).hint_text("as recorded; or 4, 2, 1");
        ui.add(field.desired_width(150.0)).labelled_by(label.id);
        ui.end_row();
        match template(&what_if.widths) {
            Ok(trees) => change.trees = trees,
            Err(what) => fault = Some(what),
        }
        ui.label("Rule");
        ui.horizontal(|ui| {
            let mut typical = change.rule != Rule::Recorded;
            ui.selectable_value(&mut typical, false, "As recorded");
            ui.selectable_value(&mut typical, true, "Typical");
            let (eps, alpha) = what_if.typical;
            change.rule = if typical { Rule::Typical { eps, alpha } } else { Rule::Recorded };
        });
        ui.end_row();
        if let Rule::Typical { .. } = change.rule {
            let (eps, alpha) = &mut what_if.typical;
            for (name, value) in [("Typical eps", eps), ("Typical alpha", alpha)] {
                let label = ui.label(name);
                ui.add(Slider::new(value, 0.0..=1.0).fixed_decimals(2)).labelled_by(label.id);
                ui.end_row();
            }
        }
    });
    if ui.button("Reset").on_hover_text("Take all changes back").clicked() {
        *what_if = WhatIf { job: what_if.job.take(), ..WhatIf::default() };
        fault = None;
    }
    fault
}

/// A figure of both columns.
fn range(low: f64, high: f64) -> String {
    if low == high { format!("{low:.2}") } else { format!("{low:.2} to {high:.2}") }
}

fn result_ui(ui: &mut Ui, result: &Rescored, curve: Option<&VerifyCurve>) {
    let n = result.rounds.max(1) as f64;
    let [recorded, low, high] = [result.recorded, result.low, result.high].map(|t| t as f64 / n);
    ui.add_space(4.0);
    Grid::new("what-if-result").num_columns(3).spacing([18.0, 3.0]).striped(true).show(ui, |ui| {
        for head in ["", "recorded", "what if"] {
            ui.label(RichText::new(head).size(tokens::SMALL).weak());
        }
        ui.end_row();
        let mut row = |name: &str, recorded: String, changed: String| {
            ui.label(name);
            ui.label(recorded);
            ui.strong(changed);
            ui.end_row();
        };
        row("Tokens a round", range(recorded, recorded), range(low, high));
        let rows = |rows: u64| format!("{:.1}", rows as f64 / n);
        row("Rows a round", rows(result.recorded_rows), rows(result.rows));
        if let Some(curve) = curve {
            let [before, after] = [result.recorded_ms, result.ms].map(|ms| ms / n);
            row("Milliseconds a round", format!("{before:.2}"), format!("{after:.2}"));
            let speed = |tokens: f64, ms: f64| tokens * curve.plain_ms() / ms.max(1e-9);
            let plain = range(speed(recorded, before), speed(recorded, before));
            row("Times plain decoding", plain, range(speed(low, after), speed(high, after)));
        }
    });
}

fn best_ui(ui: &mut Ui, job: &Job) {
    let Some(best) = &job.best else { return };
    ui.add_space(4.0);
    ui.label(format!(
        "For heads that guess as in these rounds, a tree of {} nodes and depth {} pays most: {:.2} \
         tokens a round of {:.2} ms, {:.2} times plain decoding",
        best.template.len(),
        best.template.max_depth(),
        best.tokens,
        best.round_ms,
        best.speedup
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_read_and_their_faults_named() {
        assert_eq!(template(" "), Ok(Trees::Recorded));
        let wanted = TreeTemplate::cartesian(&[4, 2, 1]).expect("21 nodes");
        assert_eq!(template("4, 2 1"), Ok(Trees::Template(wanted)));
        for (text, says) in [("4, x", "4, x"), ("9, 9", "[9, 9]"), ("2, 0", "[2, 0]")] {
            let fault = template(text).expect_err("invalid");
            assert!(fault.contains(says), "{fault}");
        }
    }
}
