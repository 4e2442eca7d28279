//! The bar at the top: menus, views, the model.

use egui::{Align, Button, Layout, MenuBar, RichText, Ui, containers::menu::MenuButton};

use super::models;
use crate::{
    command::{Command, Menu, keys_text},
    layout::View,
    state::{Action, Cx},
    tokens,
};

/// Width below which the menus fold into one.
const NARROW: f32 = 820.0;

pub(super) fn menu_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let narrow = ui.available_width() < NARROW;
    MenuBar::new().ui(ui, |ui| {
        if narrow {
            ui.menu_button("Menu", |ui| {
                for menu in Menu::ALL {
                    ui.menu_button(menu.title(), |ui| commands_ui(ui, menu, cx));
                }
            });
        } else {
            for menu in Menu::ALL {
                ui.menu_button(menu.title(), |ui| commands_ui(ui, menu, cx));
            }
        }
        ui.separator();
        ui.spacing_mut().button_padding.x = 8.0;
        for view in View::ALL {
            let on = cx.state.settings.view == view;
            let button = ui.add(Button::selectable(on, view.title()));
            if button.clicked() {
                let command = match view {
                    View::Chat => Command::ViewChat,
                    View::Explore => Command::ViewExplore,
                    View::Devices => Command::ViewDevices,
                };
                cx.ask(Action::Run(command));
            }
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let on = cx.state.settings.sampling_panel;
            let sampling = ui.add(Button::selectable(on, "Sampling"));
            if sampling.on_hover_text("Temperature, presets, system prompt").clicked() {
                cx.ask(Action::Run(Command::ToggleSampling));
            }
            let text = models::short_text(cx.state);
            let width = (ui.available_width() - 12.0).max(60.0);
            let button = Button::new(text).truncate();
            ui.scope(|ui| {
                ui.set_max_width(width.min(340.0));
                MenuButton::from_button(button)
                    .config(
                        egui::containers::menu::MenuConfig::new()
                            // A panel of controls, not a list of commands.
                            .style(egui::style::StyleModifier::default())
                            .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside),
                    )
                    .ui(ui, |ui| models::picker_ui(ui, cx));
            });
        });
    });
}

fn commands_ui(ui: &mut Ui, menu: Menu, cx: &mut Cx<'_>) {
    let palette = tokens::palette(ui);
    ui.set_min_width(260.0);
    for command in Command::ALL.into_iter().filter(|command| command.menu() == menu) {
        let keys = command.shortcut().map(|keys| keys_text(ui.ctx(), &keys));
        let keys = RichText::new(keys.unwrap_or_default()).color(palette.weak);
        let marked = match command {
            Command::ToggleSidebar => cx.state.settings.sidebar,
            Command::ToggleSampling => cx.state.settings.sampling_panel,
            Command::ToggleTokens => cx.state.settings.tokens,
            Command::ToggleStepping => cx.state.stepping,
            _ => command.view() == Some(cx.state.settings.view),
        };
        let button = Button::selectable(marked, command.text()).right_text(keys);
        let response = ui.add_enabled(cx.state.can(command), button);
        let response = match command.tooltip() {
            "" => response,
            tooltip => response.on_hover_text(tooltip),
        };
        if response.clicked() {
            cx.ask(Action::Run(command));
            ui.close();
        }
    }
}
