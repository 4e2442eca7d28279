//! A path that is typed, where the system has no file dialogs.

use egui::{
    Button, Id, Key, Label, Modal, Modifiers, RichText, TextEdit, Ui, WidgetInfo,
    text::{CCursor, CCursorRange},
    text_edit::TextEditState,
};

use crate::{
    app::AskedPath,
    state::{Action, Cx},
    tokens,
};

/// Draws the question, if there is one.
pub(super) fn path_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let Some(asked) = &mut cx.state.asked_path else { return };
    let palette = tokens::palette(ui);
    // The palette is drawn later, but lies above.
    let enter = !cx.state.palette.open
        && ui.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Enter));
    let (mut take, mut close) = (enter, false);
    let can = asked.path().is_some();
    let modal = Modal::new(Id::unique("path")).frame(tokens::dialog(ui)).show(ui.ctx(), |ui| {
        ui.set_width(520.0_f32.min(ui.ctx().content_rect().width() - 60.0));
        ui.heading(asked.purpose.title());
        ui.add_space(4.0);
        field_ui(ui, asked);
        if let Some(path) = &asked.replaces {
            let text = format!("▲ {} is there already", path.display());
            ui.add(Label::new(RichText::new(text).color(palette.warning)).wrap());
        }
        ui.add_space(6.0);
        let text = match (asked.purpose.writes(), asked.replaces.is_some()) {
            (true, true) => "Replace it",
            (true, false) => "Save",
            (false, _) => "Open",
        };
        ui.horizontal(|ui| {
            take |= ui.add_enabled(can, Button::new(text)).clicked();
            close = ui.button("Cancel").clicked();
        });
    });
    if close || modal.should_close() {
        cx.state.asked_path = None;
    } else if take && can {
        cx.ask(Action::TakePath);
    }
}

fn field_ui(ui: &mut Ui, asked: &mut AskedPath) {
    let id = Id::unique("path-text");
    let field = TextEdit::singleline(&mut asked.text)
        .id(id)
        .desired_width(f32::INFINITY)
        .hint_text("Path of the file");
    let field = ui.add(field);
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, "Path"));
    if field.changed() {
        asked.replaces = None;
    }
    if std::mem::take(&mut asked.focus) {
        field.request_focus();
        // What is typed goes on behind the folder, or replaces the whole after Ctrl+A.
        let end = CCursor::new(asked.text.chars().count());
        let mut state = TextEditState::load(ui.ctx(), id).unwrap_or_default();
        state.cursor.set_char_range(Some(CCursorRange::one(end)));
        state.store(ui.ctx(), id);
    }
}
