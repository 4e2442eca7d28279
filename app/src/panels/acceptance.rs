//! Rates of acceptance with both of their numbers: by who guessed, by depth, by rank; and how many
//! tokens rounds give.

use coppice::spec::{Ratio, SpecStats};
use egui::{ComboBox, Grid, RichText, ScrollArea, Ui};

use crate::{state::Cx, tokens, tree_view::source_name, words};

/// Rounds that figures are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stretch {
    /// All of them.
    #[default]
    All,
    /// So many up to the round on screen.
    Last(usize),
}

impl Stretch {
    const CHOICES: [Self; 4] = [Self::All, Self::Last(10), Self::Last(50), Self::Last(200)];

    fn name(self) -> String {
        match self {
            Self::All => "All rounds".into(),
            Self::Last(n) => format!("Last {n} up to the one shown"),
        }
    }
}

/// Draws the panel.
pub fn acceptance_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let rounds = cx.state.trace().rounds.len();
    let Some(shown) = cx.state.explorer.round(rounds) else {
        super::no_rounds_ui(ui, cx);
        return;
    };
    ScrollArea::both().auto_shrink([false, false]).show(ui, |ui| {
        let stretch = &mut cx.state.explorer.stretch;
        ui.horizontal(|ui| {
            let label = ui.label("Rates of");
            let combo =
                ComboBox::from_id_salt("stretch").width(200.0).selected_text(stretch.name());
            let combo = combo.show_ui(ui, |ui| {
                for choice in Stretch::CHOICES {
                    ui.selectable_value(stretch, choice, choice.name());
                }
            });
            combo.response.labelled_by(label.id);
        });
        let stretch = *stretch;
        match stretch {
            Stretch::All => stats_ui(ui, &cx.state.trace().stats),
            Stretch::Last(n) => {
                let mut stats = SpecStats::default();
                let last = &cx.state.trace().rounds[(shown + 1).saturating_sub(n)..=shown];
                last.iter().for_each(|round| stats.add(&round.outcome));
                stats_ui(ui, &stats);
            }
        }
    });
}

fn stats_ui(ui: &mut Ui, stats: &SpecStats) {
    ui.horizontal_wrapped(|ui| {
        ui.strong(format!("{:.2} tokens a round", stats.tokens_a_round().value()));
        ui.weak(format!(
            "{} rounds; {} of depths tested passed; {} of candidates accepted",
            stats.rounds,
            rate(stats.path_rate()),
            rate(stats.budget_rate())
        ));
    });
    if let Some(expected) = stats.promised.expected_a_round() {
        ui.weak(format!(
            "Drafts promised {expected:.2} tokens a round and gave {:.2} ({} rounds)",
            stats.promised.tokens_a_round().value(),
            stats.promised.rounds
        ));
    }
    let by_source = stats.by_source.iter();
    let by_source = by_source.map(|s| (source_name(s.source), s.tally.drafted, s.tally.hit_rate()));
    table_ui(ui, ["Guessed by", "drafted", "accepted of tested"], by_source.collect());
    let by_depth = stats.by_depth.iter().enumerate();
    let by_depth =
        by_depth.map(|(n, d)| (format!("depth {}", n + 1), d.tally.drafted, d.path_rate()));
    table_ui(ui, ["Depth", "drafted", "accepted of tested"], by_depth.collect());
    let by_rank = stats.by_rank.iter().enumerate();
    let by_rank = by_rank.map(|(n, t)| (format!("rank {}", n + 1), t.drafted, t.hit_rate()));
    table_ui(ui, ["Rank", "drafted", "accepted of tested"], by_rank.collect());
    let histogram = stats.tokens_histogram.iter().enumerate().skip(1).map(|(tokens, &rounds)| {
        (words::tokens(tokens), rounds, Ratio { n: rounds, of: stats.rounds })
    });
    table_ui(ui, ["Tokens a round", "rounds", "of all rounds"], histogram.collect());
}

/// A rate with its numbers.
pub(crate) fn rate(ratio: Ratio) -> String {
    match ratio.of {
        0 => "none".into(),
        of => format!("{:.0} % ({} of {of})", 100.0 * ratio.value(), ratio.n),
    }
}

fn table_ui(ui: &mut Ui, heads: [&str; 3], rows: Vec<(String, u64, Ratio)>) {
    if rows.is_empty() {
        return;
    }
    let palette = tokens::palette(ui);
    ui.add_space(6.0);
    Grid::new(heads[0]).num_columns(4).spacing([18.0, 3.0]).show(ui, |ui| {
        for head in heads {
            ui.label(RichText::new(head).size(tokens::SMALL).color(palette.weak));
        }
        ui.end_row();
        for (name, count, ratio) in rows {
            ui.label(name);
            ui.label(count.to_string());
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
