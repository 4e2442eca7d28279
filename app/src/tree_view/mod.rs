//! The explorer: which round is shown, and its tree.

mod layout;
mod paint;

use egui::{Button, Key, Modifiers, RichText, ScrollArea, Slider, Ui};

use crate::{
    panels::no_rounds_ui,
    state::{Action, Cx},
    tokens,
    trace_log::Origin,
};

/// Where the explorer is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explorer {
    /// The round on screen; the newest one while following.
    round: Option<usize>,
    /// The round that the pointer is over in the chat.
    pub hovered: Option<usize>,
}

impl Explorer {
    /// Shows a round and stops following.
    pub fn show(&mut self, round: usize) {
        self.round = Some(round);
    }

    /// Shows the newest round, whichever that is.
    pub fn follow(&mut self) {
        self.round = None;
    }

    /// Whether the newest round is shown as it comes.
    pub fn is_following(&self) -> bool {
        self.round.is_none()
    }

    /// The round on screen, of so many.
    pub fn round(&self, rounds: usize) -> Option<usize> {
        let newest = rounds.checked_sub(1)?;
        Some(self.round.map_or(newest, |round| round.min(newest)))
    }
}

/// Draws the tree of the round on screen.
pub fn tree_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let rounds = cx.state.trace().rounds.len();
    let Some(shown) = cx.state.explorer.round(rounds) else {
        no_rounds_ui(ui, cx);
        return;
    };
    origin_ui(ui, cx);
    steps_ui(ui, cx, shown, rounds);
    let Some(round) = cx.state.trace().rounds.get(shown).cloned() else { return };
    let outcome = &round.outcome;
    ui.horizontal_wrapped(|ui| {
        ui.label(format!(
            "{} of {} candidates accepted, {} tokens in {:.1} ms by {}",
            outcome.accepted(),
            outcome.drafted(),
            outcome.tokens(),
            outcome.times.total_ms(),
            outcome.method.name()
        ));
        ui.weak(format!("adds {:?}", round.added_text()));
    });
    paint::legend_ui(ui);
    ScrollArea::both()
        .id_salt("tree")
        .auto_shrink([false, false])
        .show(ui, |ui| paint::round_ui(ui, &round));
}

/// What is shown, where that is not this session.
fn origin_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let text = match &cx.state.trace().origin {
        Origin::Live => return,
        Origin::Demo => "The demonstration: recorded rounds".to_owned(),
        Origin::File(path) => format!("Recorded rounds of {}", path.display()),
    };
    ui.horizontal(|ui| {
        let close = ui.button("Back to this session");
        ui.add(egui::Label::new(RichText::new(text).weak()).truncate());
        if close.clicked() {
            cx.ask(Action::CloseTrace);
        }
    });
}

/// Steps through rounds: buttons, a slider, arrow keys where nothing else has the keyboard.
fn steps_ui(ui: &mut Ui, cx: &mut Cx<'_>, shown: usize, rounds: usize) {
    let key = |ui: &Ui, key: Key| {
        let free = ui.memory(|memory| memory.focused().is_none());
        free && ui.input_mut(|input| input.consume_key(Modifiers::NONE, key))
    };
    let (left, right) = (key(ui, Key::ArrowLeft), key(ui, Key::ArrowRight));
    let (home, end) = (key(ui, Key::Home), key(ui, Key::End));
    ui.horizontal(|ui| {
        let back = ui.add_enabled(shown > 0, Button::new("‹"));
        back.widget_info(|| named("Previous round"));
        let on = ui.add_enabled(shown + 1 < rounds, Button::new("›"));
        on.widget_info(|| named("Next round"));
        let following = cx.state.explorer.is_following();
        let follow = ui.add(Button::selectable(following, "Follow"));
        let follow = follow.on_hover_text("Show each round as it comes (End)");
        let label = ui.label(format!("Round {} of {rounds}", shown + 1));
        ui.spacing_mut().slider_width = (ui.available_width() - 12.0).max(60.0);
        let mut number = shown + 1;
        let slider = Slider::new(&mut number, 1..=rounds).show_value(false);
        let slider = ui.add(slider).labelled_by(label.id);
        let explorer = &mut cx.state.explorer;
        if slider.changed() {
            explorer.show(number - 1);
        }
        if back.clicked() || left {
            explorer.show(shown.saturating_sub(1));
        }
        if on.clicked() || right {
            explorer.show((shown + 1).min(rounds - 1));
        }
        if home {
            explorer.show(0);
        }
        if follow.clicked() || end {
            explorer.follow();
        }
    });
    ui.add_space(tokens::GAP / 4.0);
}

fn named(name: &str) -> egui::WidgetInfo {
    egui::WidgetInfo::labeled(egui::Role::Button, true, name)
}
