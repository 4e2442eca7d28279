//! The command palette: every command by name, found by any letters of it in order.

use egui::{Align, Id, Key, Modal, Modifiers, RichText, ScrollArea, TextEdit, Ui, WidgetInfo};

use crate::{
    command::Command,
    state::{Action, Cx, PaletteState},
    tokens,
};

/// Width of the palette.
const WIDTH: f32 = 480.0;

/// A palette that was just opened.
pub fn opened() -> PaletteState {
    PaletteState { open: true, ..PaletteState::default() }
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

/// Draws the palette if it is open.
pub fn palette_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if !cx.state.palette.open {
        return;
    }
    let found = matches(&cx.state.palette.query);
    let (up, down, enter) = ui.input_mut(|input| {
        (
            input.consume_key(Modifiers::NONE, Key::ArrowUp),
            input.consume_key(Modifiers::NONE, Key::ArrowDown),
            input.consume_key(Modifiers::NONE, Key::Enter),
        )
    });
    let moved = up || down;
    let palette = &mut cx.state.palette;
    palette.chosen = match (up, down) {
        (true, _) => palette.chosen.checked_sub(1).unwrap_or(found.len().saturating_sub(1)),
        (_, true) => (palette.chosen + 1) % found.len().max(1),
        _ => palette.chosen.min(found.len().saturating_sub(1)),
    };
    let mut run = if enter { found.get(palette.chosen).copied() } else { None };
    let id = Id::unique("command-palette");
    let area = Modal::default_area(id).anchor(egui::Align2::CENTER_TOP, [0.0, 70.0]);
    let modal = Modal::new(id).area(area).show(ui.ctx(), |ui| {
        ui.set_width(WIDTH.min(ui.ctx().content_rect().width() - 40.0));
        let field = TextEdit::singleline(&mut cx.state.palette.query)
            .hint_text("Type a command")
            .desired_width(f32::INFINITY);
        let field = ui.add(field);
        field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, "Command"));
        field.request_focus();
        if field.changed() {
            cx.state.palette.chosen = 0;
        }
        ui.separator();
        if found.is_empty() {
            ui.weak("No command has these letters");
        }
        ScrollArea::vertical().max_height(340.0).auto_shrink([false, true]).show(ui, |ui| {
            for (n, command) in found.iter().enumerate() {
                let can = cx.state.can(*command);
                let chosen = n == cx.state.palette.chosen;
                let row = row_ui(ui, *command, can, chosen);
                if chosen && moved {
                    row.scroll_to_me(Some(Align::Center));
                }
                if row.clicked() {
                    run = Some(*command);
                }
            }
        });
    });
    if let Some(command) = run.filter(|command| cx.state.can(*command)) {
        cx.state.palette.open = false;
        cx.ask(Action::Run(command));
    } else if modal.should_close() {
        cx.state.palette.open = false;
    }
}

fn row_ui(ui: &mut Ui, command: Command, can: bool, chosen: bool) -> egui::Response {
    let palette = tokens::palette(ui);
    let keys = command.shortcut().map(|keys| ui.ctx().format_shortcut(&keys)).unwrap_or_default();
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
