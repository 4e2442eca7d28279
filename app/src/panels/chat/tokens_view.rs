//! An answer as tokens, coloured and marked by who guessed them; linked with the explorer.
//!
//! Kept apart from the rendered answer, as colouring tokens within Markdown breaks code.

use coppice::spec::{Verdict, trace::TraceRound};
use egui::{FontId, Label, RichText, Sense, Stroke, TextFormat, Ui, WidgetInfo, text::LayoutJob};

use crate::{
    history::Message,
    state::{Action, Cx},
    tokens::{self, Palette},
};

/// Who a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// Guessed and accepted.
    Accepted,
    /// Chosen by the model where all guesses were wrong.
    Corrected,
    /// Free behind the last accepted guess.
    Bonus,
    /// Of a plain step.
    Plain,
}

/// Tokens of a round with where they came from.
fn added(round: &TraceRound) -> Vec<(&str, From)> {
    let outcome = &round.outcome;
    let kept =
        outcome.path[1..].iter().map(|&n| (round.texts[n as usize].as_str(), From::Accepted));
    let last = outcome.path.last().copied().unwrap_or(0);
    let tested_below = outcome.nodes.iter().any(|node| {
        node.parent == Some(last)
            && matches!(node.verdict, Verdict::Rejected { .. } | Verdict::BelowThreshold)
    });
    let bonus = match (outcome.drafted(), tested_below) {
        (0, _) => From::Plain,
        (_, true) => From::Corrected,
        (_, false) => From::Bonus,
    };
    kept.chain([(round.bonus_text.as_str(), bonus)]).collect()
}

fn format(from: From, palette: &Palette, lit: bool) -> TextFormat {
    // Colour and line: solid for guesses, thick for what replaced one, dotted would be the bonus,
    // which has a thin line of its own colour.
    let (color, width) = match from {
        From::Accepted => (palette.accepted, 1.0),
        From::Corrected => (palette.corrected, 2.5),
        From::Bonus => (palette.bonus, 1.0),
        From::Plain => (palette.text, 0.0),
    };
    TextFormat {
        font_id: FontId::monospace(13.0),
        color,
        underline: Stroke::new(width, color),
        background: if lit { palette.selection } else { egui::Color32::TRANSPARENT },
        ..TextFormat::default()
    }
}

/// Draws the tokens of an answer of this session; false if its rounds are not known.
pub(super) fn tokens_ui(ui: &mut Ui, cx: &mut Cx<'_>, message: &Message) -> bool {
    let Some(range) = cx.state.live.rounds_of(message.id).filter(|range| !range.is_empty()) else {
        return false;
    };
    let palette = tokens::palette(ui);
    legend_ui(ui, &palette);
    let shown = match cx.state.opened {
        None => cx.state.explorer.round(cx.state.live.rounds.len()),
        Some(_) => None,
    };
    let mut hovered = None;
    let mut clicked = None;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        for n in range {
            let round = &cx.state.live.rounds[n];
            let lit = cx.state.explorer.hovered == Some(n) || shown == Some(n);
            let mut job = LayoutJob::default();
            for (text, from) in added(round) {
                let text = text.replace('\n', "¶");
                job.append(&text, 0.0, format(from, &palette, lit));
            }
            let name = job.text.clone();
            let response = ui.add(Label::new(job).sense(Sense::click()).selectable(false));
            response.widget_info(|| {
                let outcome = &round.outcome;
                let name = format!(
                    "{name}: round {}, {} of {} accepted",
                    n + 1,
                    outcome.accepted(),
                    outcome.drafted()
                );
                WidgetInfo::labeled(egui::Role::Link, true, name)
            });
            if response.hovered() {
                hovered = Some(n);
            }
            let response = response.on_hover_text(format!(
                "Round {}: {} of {} candidates accepted",
                n + 1,
                round.outcome.accepted(),
                round.outcome.drafted()
            ));
            if response.clicked() {
                clicked = Some(n);
            }
        }
    });
    if hovered.is_some() || ui.rect_contains_pointer(ui.min_rect()) {
        cx.state.explorer.hovered = hovered;
    }
    if let Some(n) = clicked {
        cx.ask(Action::CloseTrace);
        cx.ask(Action::ShowRound(n));
    }
    true
}

fn legend_ui(ui: &mut Ui, palette: &Palette) {
    ui.horizontal_wrapped(|ui| {
        for (from, text) in [
            (From::Accepted, "guessed and accepted"),
            (From::Corrected, "replaced a wrong guess"),
            (From::Bonus, "came free"),
            (From::Plain, "plain step"),
        ] {
            let mut job = LayoutJob::default();
            let format = TextFormat {
                font_id: FontId::proportional(tokens::SMALL),
                valign: egui::Align::Center,
                ..format(from, palette, false)
            };
            job.append(text, 0.0, format);
            ui.label(job);
        }
        ui.label(RichText::new("first token of the answer left out").size(tokens::SMALL).weak());
    });
}
