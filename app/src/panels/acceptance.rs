//! Rates of acceptance with both of their numbers: by who guessed, by depth, by rank.

use coppice::spec::{Ratio, Source};
use egui::{Grid, RichText, ScrollArea, Ui};

use crate::{state::Cx, tokens};

/// Draws the panel.
pub fn acceptance_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if cx.state.trace().rounds.is_empty() {
        super::no_rounds_ui(ui, cx);
        return;
    }
    let stats = &cx.state.trace().stats;
    ScrollArea::both().auto_shrink([false, false]).show(ui, |ui| {
        ui.horizontal_wrapped(|ui| {
            ui.strong(format!("{:.2} tokens a round", stats.tokens_a_round().value()));
            ui.weak(format!(
                "{} rounds; {} of depths tested passed; {} of candidates accepted",
                stats.rounds,
                rate(stats.path_rate()),
                rate(stats.budget_rate())
            ));
        });
        let by_source = stats.by_source.iter().map(|s| {
            let name = match s.source {
                Source::Root => "root".into(),
                Source::Head(head) => format!("head {}", head + 1),
                Source::Lookup => "lookup".into(),
                Source::Rest => "datastore".into(),
                Source::Draft => "draft model".into(),
            };
            (name, s.tally.drafted, s.tally.hit_rate())
        });
        table_ui(ui, "Guessed by", by_source.collect());
        let by_depth = stats.by_depth.iter().enumerate();
        let by_depth =
            by_depth.map(|(n, d)| (format!("depth {}", n + 1), d.tally.drafted, d.path_rate()));
        table_ui(ui, "Depth", by_depth.collect());
        let by_rank = stats.by_rank.iter().enumerate();
        let by_rank = by_rank.map(|(n, t)| (format!("rank {}", n + 1), t.drafted, t.hit_rate()));
        table_ui(ui, "Rank", by_rank.collect());
    });
}

/// A rate with its numbers.
fn rate(ratio: Ratio) -> String {
    match ratio.of {
        0 => "none".into(),
        of => format!("{:.0} % ({} of {of})", 100.0 * ratio.value(), ratio.n),
    }
}

fn table_ui(ui: &mut Ui, title: &str, rows: Vec<(String, u64, Ratio)>) {
    if rows.is_empty() {
        return;
    }
    let palette = tokens::palette(ui);
    ui.add_space(6.0);
    Grid::new(title).num_columns(4).spacing([18.0, 3.0]).show(ui, |ui| {
        for head in [title, "drafted", "accepted of tested"] {
            ui.label(RichText::new(head).size(tokens::SMALL).color(palette.weak));
        }
        ui.end_row();
        for (name, drafted, ratio) in rows {
            ui.label(name);
            ui.label(drafted.to_string());
            let share = ratio.value() as f32;
            let (rect, _) = ui.allocate_exact_size(egui::vec2(90.0, 10.0), egui::Sense::hover());
            ui.painter().rect_filled(rect, 2.0, palette.well);
            let filled = egui::Rect::from_min_size(rect.min, rect.size() * egui::vec2(share, 1.0));
            ui.painter().rect_filled(filled, 2.0, palette.accepted);
            ui.label(rate(ratio));
            ui.end_row();
        }
    });
}
