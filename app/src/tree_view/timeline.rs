//! Rounds in a row: steps, playback, and the strip of tokens a round.

use egui::{Button, ComboBox, Key, Label, Modifiers, Painter, Rect, Ui, WidgetInfo};

use super::{
    Explorer,
    play::{Playing, SPEEDS, Shown},
    strip::{self, Strip},
};
use crate::{
    command::Command,
    state::{Action, Cx},
    tokens::Palette,
    trace_log::TraceLog,
};

const HEIGHT: f32 = 40.0;

/// Steps, playback and the strip.
pub(super) fn timeline_ui(ui: &mut Ui, cx: &mut Cx<'_>, shown: usize) {
    keys(ui, cx, shown);
    ui.horizontal_wrapped(|ui| steps_ui(ui, cx, shown));
    strip::strip_ui(ui, cx, shown, (HEIGHT, "Round on screen"), &paint_tokens);
}

/// Arrow keys where nothing else has the keyboard.
fn keys(ui: &Ui, cx: &mut Cx<'_>, shown: usize) {
    let rounds = cx.state.trace().rounds.len();
    if ui.memory(|memory| memory.focused().is_some()) {
        return;
    }
    let key = |key: Key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    let (left, right) = (key(Key::ArrowLeft), key(Key::ArrowRight));
    let (home, end) = (key(Key::Home), key(Key::End));
    let explorer = &mut cx.state.explorer;
    if left {
        explorer.show(shown.saturating_sub(1));
    }
    if right {
        explorer.show((shown + 1).min(rounds - 1));
    }
    if home {
        explorer.show(0);
    }
    if end {
        explorer.follow();
    }
}

fn steps_ui(ui: &mut Ui, cx: &mut Cx<'_>, shown: usize) {
    let rounds = cx.state.trace().rounds.len();
    let back = ui.add_enabled(shown > 0, Button::new("‹"));
    back.widget_info(|| named("Previous round"));
    if back.clicked() {
        cx.state.explorer.show(shown.saturating_sub(1));
    }
    let playing = cx.state.explorer.playing.is_some();
    let play = ui.button(if playing { "Pause" } else { "Play" });
    let keys = Command::PlayRounds.shortcut().map(|keys| ui.ctx().format_shortcut(&keys));
    let play = play.on_hover_text(format!(
        "Play rounds as they came ({}); the model is not stopped by a pause",
        keys.unwrap_or_default()
    ));
    if play.clicked() {
        cx.ask(Action::Run(Command::PlayRounds));
    }
    let on = ui.add_enabled(shown + 1 < rounds, Button::new("›"));
    on.widget_info(|| named("Next round"));
    if on.clicked() {
        cx.state.explorer.show((shown + 1).min(rounds - 1));
    }
    let following = cx.state.explorer.is_following();
    let follow = ui.add(Button::selectable(following, "Follow"));
    if follow.on_hover_text("Show each round as it comes (End)").clicked() {
        match following {
            true => cx.state.explorer.show(shown),
            false => cx.state.explorer.follow(),
        }
    }
    speed_ui(ui, cx);
    ui.add(Label::new(format!("Round {} of {rounds}", shown + 1)).extend());
    if cx.state.opened.is_none() {
        let stepping = Button::selectable(cx.state.stepping, Command::ToggleStepping.text());
        let stepping = ui.add(stepping).on_hover_text(Command::ToggleStepping.tooltip());
        if stepping.clicked() {
            cx.ask(Action::Run(Command::ToggleStepping));
        }
        if cx.state.stepping {
            let held = cx.state.can(Command::StepRound);
            let one = ui.add_enabled(held, Button::new(Command::StepRound.text()));
            if one.clicked() {
                cx.ask(Action::Run(Command::StepRound));
            }
        }
    }
}

fn speed_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let speed = cx.state.explorer.speed;
    let name = SPEEDS.iter().find(|(known, _)| *known == speed).map_or("", |(_, name)| *name);
    let now = ui.input(|input| input.time);
    let label = ui.label("Speed");
    let combo = ComboBox::from_id_salt("speed").selected_text(name).width(50.0);
    let combo = combo.show_ui(ui, |ui| {
        for (speed, name) in SPEEDS {
            let explorer = &mut cx.state.explorer;
            if ui.selectable_value(&mut explorer.speed, speed, name).changed() {
                explorer.playing = explorer.playing.map(|playing| playing.at_speed(now, speed));
            }
        }
    });
    let response = combo.response.labelled_by(label.id);
    response.on_hover_text("Speed of playback as a share of the recorded one");
}

fn named(name: &str) -> WidgetInfo {
    WidgetInfo::labeled(egui::Role::Button, true, name)
}

/// Tokens a round: the one that each gives anyway, and what guesses added.
fn paint_tokens(painter: &Painter, palette: &Palette, log: &TraceLog, strip: &Strip) {
    let rect = strip.rect;
    let most = log.stats.tokens_histogram.len().saturating_sub(1).max(2) as f32;
    let tall = |tokens: f64| (tokens as f32 / most) * (rect.height() - 4.0);
    for (columns, rounds) in strip.columns() {
        let sums = log.between(rounds);
        let bottom = rect.bottom() - 1.0;
        let base = bottom - tall(1.0);
        let top = bottom - tall(sums.tokens_a_round().value());
        let block = |y0: f32, y1: f32| Rect::from_x_y_ranges(columns, y0..=y1);
        painter.rect_filled(block(base, bottom), 0.0, palette.bonus);
        painter.rect_filled(block(top, base), 0.0, palette.accepted);
    }
}

/// Moves a playback on; asks for the next frame when the next round is due.
pub(super) fn tick(ui: &Ui, explorer: &mut Explorer, log: &TraceLog) {
    let Some(playing) = explorer.playing else { return };
    let now = ui.input(|input| input.time);
    match playing.shown(log, now) {
        Shown::Round(round, wait) => {
            explorer.round = Some(round);
            ui.ctx().request_repaint_after(std::time::Duration::from_secs_f64(wait));
        }
        Shown::End => {
            explorer.playing = None;
            explorer.round = log.rounds.len().checked_sub(1);
        }
    }
}

/// Begins to play at the round on screen, from the first where that is the last; or pauses.
pub fn toggle(explorer: &mut Explorer, log: &TraceLog, now: f64) {
    let Some(shown) = explorer.round(log.rounds.len()) else { return };
    if explorer.playing.take().is_some() {
        explorer.round = Some(shown);
        return;
    }
    let first = if shown + 1 < log.rounds.len() { shown } else { 0 };
    explorer.round = Some(first);
    explorer.playing = Some(Playing::from(log, first, now, explorer.speed));
}
