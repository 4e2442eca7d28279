//! Windows over the rest: settings, and the list of shortcuts.

use egui::{Grid, Id, Modal, ScrollArea, Slider, TextEdit, Ui, WidgetInfo};

use crate::{
    command::{Command, Menu, keys_text},
    settings::Theme,
    state::Cx,
    tokens,
};

/// Width of a column in the list of shortcuts.
const KEYS: f32 = 180.0;

pub(super) fn settings_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if !cx.state.settings_open {
        return;
    }
    let mut close = false;
    let modal = Modal::new(Id::unique("settings")).frame(tokens::dialog(ui)).show(ui.ctx(), |ui| {
        ui.set_width(420.0_f32.min(ui.ctx().content_rect().width() - 60.0));
        ui.heading("Settings");
        let settings = &mut cx.state.settings;
        ui.add_space(6.0);
        ui.strong("Appearance");
        ui.horizontal(|ui| {
            for (theme, text) in
                [(Theme::System, "System"), (Theme::Light, "Light"), (Theme::Dark, "Dark")]
            {
                ui.selectable_value(&mut settings.theme, theme, text);
            }
        });
        let label = ui.label("Size");
        // Applied when let go: a slider that moves under the pointer cannot be aimed.
        let memory = Id::unique("settings-scale");
        let mut percent = ui
            .data(|data| data.get_temp::<f32>(memory))
            .unwrap_or_else(|| (settings.scale * 100.0).round());
        let slider =
            Slider::new(&mut percent, 100.0..=200.0).step_by(10.0).fixed_decimals(0).suffix(" %");
        let slider = ui.add(slider).labelled_by(label.id);
        if slider.dragged() {
            ui.data_mut(|data| data.insert_temp(memory, percent));
        } else if slider.changed() || slider.drag_stopped() {
            ui.data_mut(|data| data.remove::<f32>(memory));
            settings.scale = percent / 100.0;
        }
        ui.checkbox(&mut settings.tokens, "Show who guessed each token of an answer");
        ui.checkbox(&mut settings.native_dialogs, "Choose files in dialogs of the system")
            .on_hover_text("Otherwise, and where the system has none, by their path");
        ui.add_space(6.0);
        ui.strong("System prompt of new chats");
        let field =
            TextEdit::multiline(&mut settings.system).desired_rows(3).desired_width(f32::INFINITY);
        let field = ui.add(field);
        field.widget_info(|| {
            WidgetInfo::labeled(egui::Role::TextInput, true, "System prompt of new chats")
        });
        ui.add_space(8.0);
        close = ui.button("Close").clicked();
    });
    if close || modal.should_close() {
        cx.state.settings_open = false;
    }
}

pub(super) fn shortcuts_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if !cx.state.shortcuts_open {
        return;
    }
    let mut close = false;
    let modal =
        Modal::new(Id::unique("shortcuts")).frame(tokens::dialog(ui)).show(ui.ctx(), |ui| {
            let window = ui.ctx().content_rect();
            ui.set_width(440.0_f32.min(window.width() - 60.0));
            ui.heading("Keyboard shortcuts");
            let tallest = window.height() - 160.0;
            let list = ScrollArea::vertical().max_height(tallest).min_scrolled_height(tallest);
            list.auto_shrink([false, true]).show(ui, |ui| {
                for menu in Menu::ALL {
                    ui.add_space(6.0);
                    ui.strong(menu.title());
                    let grid = Grid::new(menu.title()).num_columns(2).spacing([24.0, 4.0]);
                    // The same columns in every menu.
                    grid.min_col_width(KEYS).show(ui, |ui| {
                        let in_menu = |command: &Command| command.menu() == menu;
                        for command in Command::ALL.into_iter().filter(in_menu) {
                            if let Some(keys) = command.shortcut() {
                                ui.label(command.text());
                                ui.monospace(keys_text(ui.ctx(), &keys));
                                ui.end_row();
                            }
                        }
                    });
                }
                ui.add_space(6.0);
                ui.strong("In the text field");
                ui.label("Enter sends, Shift+Enter begins a new line");
            });
            ui.add_space(8.0);
            close = ui.button("Close").clicked();
        });
    if close || modal.should_close() {
        cx.state.shortcuts_open = false;
    }
}
