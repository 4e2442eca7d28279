//! Where messages are written.

use egui::{
    Align, Button, Frame, Id, Key, KeyboardShortcut, Layout, Margin, Modifiers, RichText,
    ScrollArea, TextEdit, Ui, WidgetInfo,
};

use crate::{
    command::Command,
    state::{Action, Cx, ModelState},
    tokens, words,
};

/// Longest text whose tokens are counted in the frame that changes it; longer ones are estimated.
const COUNTED: usize = 8000;
/// Bytes of a token of ordinary text.
const BYTES_A_TOKEN: usize = 4;

pub(super) fn composer_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let palette = tokens::palette(ui);
    let frame = Frame::new()
        .fill(palette.surface)
        .stroke(egui::Stroke::new(1.0, palette.outline))
        .corner_radius(tokens::RADIUS)
        .inner_margin(Margin::same(8));
    super::column_ui(ui, |ui| {
        frame.show(ui, |ui| {
            field_ui(ui, cx);
            // The button first: what it leaves is the hint's.
            ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                button_ui(ui, cx);
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| hint_ui(ui, cx));
            });
        });
    });
    count(cx);
}

fn field_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let id = Id::unique("composer-text");
    if is_meant(ui, cx) {
        ui.memory_mut(|memory| memory.request_focus(id));
    }
    let focused = ui.memory(|memory| memory.has_focus(id));
    // An input method takes Enter for itself before it gets here.
    let send = focused && ui.input_mut(take_enter);
    let newline = KeyboardShortcut::new(Modifiers::SHIFT, Key::Enter);
    let text = &mut cx.state.composer.text;
    let height = (ui.ctx().content_rect().height() * 0.3).max(60.0);
    let field = ScrollArea::vertical()
        .max_height(height)
        .show(ui, |ui| {
            let field = TextEdit::multiline(text)
                .id(id)
                .hint_text("Write a message")
                .desired_width(f32::INFINITY)
                .desired_rows(2)
                .frame(Frame::NONE)
                .return_key(newline);
            ui.add(field)
        })
        .inner;
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, "Message"));
    if std::mem::take(&mut cx.state.composer.focus) {
        field.request_focus();
    }
    if send && !cx.state.composer.text.trim().is_empty() {
        let text = cx.state.composer.text.clone();
        cx.ask(Action::Send(text));
    }
}

/// Whether something is typed while nothing else has the keyboard: then it is meant for the message.
fn is_meant(ui: &Ui, cx: &Cx<'_>) -> bool {
    !cx.state.is_covered()
        && ui.memory(|memory| memory.focused().is_none())
        && ui.input(|input| input.events.iter().any(|event| matches!(event, egui::Event::Text(_))))
}

/// Whether Enter was pressed on its own; unlike egui's own matching, with Shift it is another key.
fn take_enter(input: &mut egui::InputState) -> bool {
    let before = input.events.len();
    input.events.retain(|event| {
        !matches!(
            event,
            egui::Event::Key { key: Key::Enter, pressed: true, modifiers, .. } if modifiers.is_none()
        )
    });
    input.events.len() < before
}

fn hint_ui(ui: &mut Ui, cx: &Cx<'_>) {
    let palette = tokens::palette(ui);
    let tokens = cx.state.composer.counted.1;
    let text = match &cx.state.model {
        ModelState::Ready(_) if tokens > 0 => {
            let about = if cx.state.composer.text.len() > COUNTED { "about " } else { "" };
            let tokens = words::tokens(tokens);
            format!("{about}{tokens} · Enter sends, Shift+Enter for a new line")
        }
        ModelState::Ready(_) => "Enter sends, Shift+Enter for a new line".into(),
        ModelState::Loading { .. } => "The model is being loaded".into(),
        ModelState::Absent | ModelState::Failed { .. } => "No model is loaded".into(),
    };
    ui.add(
        egui::Label::new(RichText::new(text).size(tokens::SMALL).color(palette.weak)).truncate(),
    );
}

fn button_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let palette = tokens::palette(ui);
    if cx.state.writing.is_some() {
        if ui.button("■ Stop").on_hover_text("Esc").clicked() {
            cx.ask(Action::Run(Command::StopAnswer));
        }
        if cx.state.stepping && ui.button("Run one round").on_hover_text("Ctrl+Space").clicked() {
            cx.ask(Action::Run(Command::StepRound));
        }
        return;
    }
    let can = !cx.state.composer.text.trim().is_empty();
    let text = RichText::new("Send").color(if can { palette.on_accent } else { palette.weak });
    let fill = if can { palette.accent } else { palette.surface };
    if ui.add_enabled(can, Button::new(text).fill(fill)).clicked() {
        let text = cx.state.composer.text.clone();
        cx.ask(Action::Send(text));
    }
}

/// Counts the tokens of what is typed, once a change.
fn count(cx: &mut Cx<'_>) {
    let length = cx.state.composer.text.len();
    if cx.state.composer.counted.0 == length {
        return;
    }
    let Some(info) = cx.state.model.ready() else { return };
    let tokens = match length {
        0 => 0,
        1..=COUNTED => (info.count_tokens)(&cx.state.composer.text),
        _ => length / BYTES_A_TOKEN,
    };
    cx.state.composer.counted = (length, tokens);
}
