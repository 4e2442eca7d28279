//! The command palette: every command by name, found by any letters of it in order.

use egui::{Align, Id, Key, Modal, Modifiers, RichText, ScrollArea, TextEdit, Ui, WidgetInfo};

use crate::{
    command::Command,
    state::{Action, Cx, PaletteState},
    tokens,
};

/// Width of the palette.
const WIDTH: f32 = 480.0;
/// Height of its list in a window that has room for it.
const TALLEST: f32 = 380.0;

/// A palette that was just opened, with the keyboard.
pub fn opened(ctx: &egui::Context) -> PaletteState {
    let before = ctx.memory(|memory| memory.focused());
    ctx.memory_mut(|memory| memory.request_focus(field_id()));
    PaletteState { open: true, before, ..PaletteState::default() }
}

/// How well a text answers a query; `None` if it lacks a letter, else lower is better.
fn score(text: &str, query: &str) -> Option<usize> {
    let text = text.to_lowercase();
    let mut at = 0;
    let mut score = 0;
    for letter in query.to_lowercase().chars().filter(|letter| !letter.is_whitespace()) {
        let found = text[at..].find(letter)?;
        // Letters at the start of words count as near.
        let starts_word = at + found == 0 || text[..at + found].ends_with([' ', '-']);
        score += if starts_word { 0 } else { found + 1 };
        at += found + letter.len_utf8();
    }
    Some(score)
}

/// Commands that answer a query, best first.
fn matches(query: &str) -> Vec<Command> {
    let mut found: Vec<_> = Command::ALL
        .into_iter()
        .filter(|command| *command != Command::Palette)
        .filter_map(|command| Some((score(command.text(), query)?, command)))
        .collect();
    found.sort_by_key(|(score, _)| *score);
    found.into_iter().map(|(_, command)| command).collect()
}

/// The field, which has the keyboard from the moment the palette opens: what is typed in the very
/// frame of its shortcut is meant for it.
fn field_id() -> Id {
    Id::unique("command-palette-text")
}

/// Draws the palette if it is open.
pub fn palette_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if !cx.state.palette.open {
        give_back(ui, cx);
        return;
    }
    let (up, down, enter) = ui.input_mut(|input| {
        (
            input.consume_key(Modifiers::NONE, Key::ArrowUp),
            input.consume_key(Modifiers::NONE, Key::ArrowDown),
            input.consume_key(Modifiers::NONE, Key::Enter),
        )
    });
    let window = ui.ctx().content_rect();
    let mut run = None;
    let id = Id::unique("command-palette");
    let area = Modal::default_area(id).anchor(egui::Align2::CENTER_TOP, [0.0, 70.0]);
    let modal = Modal::new(id).area(area).show(ui.ctx(), |ui| {
        ui.set_width(WIDTH.min(window.width() - 40.0));
        let field = TextEdit::singleline(&mut cx.state.palette.query)
            .id(field_id())
            .hint_text("Type a command")
            .desired_width(f32::INFINITY);
        let field = ui.add(field);
        field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, "Command"));
        field.request_focus();
        let palette = &mut cx.state.palette;
        if field.changed() {
            palette.chosen = 0;
        }
        // After the field: text and Enter may come in one frame.
        let found = matches(&palette.query);
        palette.chosen = match (up, down) {
            (true, _) => palette.chosen.checked_sub(1).unwrap_or(found.len().saturating_sub(1)),
            (_, true) => (palette.chosen + 1) % found.len().max(1),
            _ => palette.chosen.min(found.len().saturating_sub(1)),
        };
        if enter {
            run = found.get(palette.chosen).copied();
        }
        ui.separator();
        if found.is_empty() {
            ui.weak("No command has these letters");
        }
        let clicked = list_ui(ui, cx, &found, up || down, window.height());
        run = clicked.or(run);
    });
    if let Some(command) = run.filter(|command| cx.state.can(*command)) {
        close(ui, cx);
        cx.ask(Action::Run(command));
    } else if modal.should_close() {
        close(ui, cx);
    }
}

/// Closes the palette. Until a pass ends without it, egui takes the keyboard from whatever lies below,
/// so this frame is drawn once more, and what is typed next finds all as it was.
fn close(ui: &Ui, cx: &mut Cx<'_>) {
    cx.state.palette.open = false;
    ui.ctx().request_discard("the palette closed");
}

/// Gives the keyboard back after the palette closed, unless what it ran took it.
fn give_back(ui: &Ui, cx: &mut Cx<'_>) {
    let Some(before) = cx.state.palette.before.take() else { return };
    ui.memory_mut(|memory| {
        if memory.focused().is_none_or(|focused| focused == field_id()) {
            memory.request_focus(before);
        }
    });
}

/// Draws the commands that answer; gives the one that is clicked.
fn list_ui(
    ui: &mut Ui,
    cx: &Cx<'_>,
    found: &[Command],
    moved: bool,
    window: f32,
) -> Option<Command> {
    let tallest = TALLEST.min(window - 200.0);
    let list = ScrollArea::vertical().max_height(tallest).min_scrolled_height(tallest);
    let mut clicked = None;
    list.auto_shrink([false, true]).show(ui, |ui| {
        for (n, command) in found.iter().enumerate() {
            let can = cx.state.can(*command);
            let chosen = n == cx.state.palette.chosen;
            let row = row_ui(ui, *command, can, chosen);
            if chosen && moved {
                row.scroll_to_me(Some(Align::Center));
            }
            if row.clicked() {
                clicked = Some(*command);
            }
        }
    });
    clicked
}

fn row_ui(ui: &mut Ui, command: Command, can: bool, chosen: bool) -> egui::Response {
    let palette = tokens::palette(ui);
    let keys = command
        .shortcut()
        .map(|keys| crate::command::keys_text(ui.ctx(), &keys))
        .unwrap_or_default();
    let text = format!("{}: {}", command.menu().title(), command.text());
    let color = if can { palette.text } else { palette.weak };
    let button = egui::Button::selectable(chosen, RichText::new(text).color(color))
        .right_text(RichText::new(keys).color(palette.weak))
        .min_size(egui::vec2(ui.available_width(), 0.0));
    let response = ui.add_enabled(can, button);
    if command.tooltip().is_empty() { response } else { response.on_hover_text(command.tooltip()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_order_find_commands() {
        assert_eq!(matches("new")[0], Command::NewChat);
        assert_eq!(matches("dt")[0], Command::ThemeDark);
        assert_eq!(matches("EXP md").first(), Some(&Command::ExportMarkdown));
        assert!(matches("qqq").is_empty());
        assert_eq!(matches("").len(), Command::ALL.len() - 1);
    }
}
