//! Panels: one file each, drawing functions end in `_ui`.

mod acceptance;
mod cache;
mod calibration;
pub mod chat;
mod compare;
pub mod devices;
mod menu;
mod models;
mod path;
mod sampling;
mod settings;
mod sidebar;
mod speed;
mod status;
mod what_if;

pub use acceptance::Stretch;
pub(crate) use acceptance::rate;
use egui::{CentralPanel, Frame, Margin, Panel, RichText, Ui};
use egui_tiles::{Behavior, SimplificationOptions, TileId, Tiles, UiResponse};
pub use what_if::WhatIf;

use crate::{
    layout::Pane,
    problem::Problem,
    state::{Action, Cx},
    tokens, tree_view,
};

/// Narrowest window in which side panels leave room for the rest.
const WIDE: f32 = 760.0;

/// Draws the whole window.
pub fn window_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let palette = tokens::palette(ui);
    let bar = Frame::new().fill(palette.surface).inner_margin(Margin::symmetric(8, 4));
    let width = ui.available_width();
    let covered = cx.state.is_covered();
    Panel::top("menu").frame(bar).show(ui, |ui| menu::menu_ui(ui, cx));
    Panel::bottom("status").frame(bar).show(ui, |ui| status::status_ui(ui, cx));
    let side = Frame::new().fill(palette.surface).inner_margin(Margin::same(8));
    if cx.state.settings.sidebar {
        Panel::left("chats")
            .frame(side)
            .default_size(230.0)
            .size_range(170.0..=(width * 0.4).max(171.0))
            .show(ui, |ui| sidebar::sidebar_ui(ui, cx));
    }
    // Narrow windows show one side panel, not two.
    if cx.state.settings.sampling_panel && (width > WIDE || !cx.state.settings.sidebar) {
        Panel::right("sampling")
            .frame(side)
            .default_size(270.0)
            .size_range(220.0..=(width * 0.45).max(221.0))
            .show(ui, |ui| sampling::sampling_ui(ui, cx));
    }
    CentralPanel::default()
        .frame(Frame::new().fill(palette.background))
        .show(ui, |ui| tiles_ui(ui, cx));
    status::notices_ui(ui, cx);
    settings::settings_ui(ui, cx);
    settings::shortcuts_ui(ui, cx);
    path::path_ui(ui, cx);
    crate::palette::palette_ui(ui, cx);
    drop_ui(ui);
    // Whatever was on top had its chance to take Escape for itself.
    let escape =
        |input: &mut egui::InputState| input.consume_key(egui::Modifiers::NONE, egui::Key::Escape);
    if cx.state.writing.is_some() && !covered && ui.input_mut(escape) {
        cx.ask(Action::Run(crate::command::Command::StopAnswer));
    }
}

/// While files are held over the window: what dropping them does.
fn drop_ui(ui: &Ui) {
    if ui.input(|input| input.raw.hovered_files.is_empty()) {
        return;
    }
    let palette = tokens::palette(ui);
    let layer = egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop-here"));
    let painter = ui.ctx().layer_painter(layer);
    let rect = ui.ctx().content_rect();
    painter.rect_filled(rect, 0.0, palette.background.gamma_multiply(0.85));
    painter.text(
        rect.center(),
        egui::Align2::CENTER_CENTER,
        "Drop to load a model (GGUF) or open a trace (JSONL)",
        egui::FontId::proportional(20.0),
        palette.text,
    );
}

fn tiles_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let view = cx.state.settings.view;
    let empty = egui_tiles::Tree::empty(egui::Id::unique("tiles-taken"));
    let mut tree = std::mem::replace(cx.state.settings.layouts.of(view), empty);
    tree.ui(&mut Panes { cx }, ui);
    *cx.state.settings.layouts.of(view) = tree;
}

struct Panes<'a, 'b> {
    cx: &'a mut Cx<'b>,
}

impl Behavior<Pane> for Panes<'_, '_> {
    fn pane_ui(&mut self, ui: &mut Ui, _tile: TileId, pane: &mut Pane) -> UiResponse {
        let margin = if *pane == Pane::Chat { Margin::ZERO } else { Margin::same(8) };
        Frame::new().inner_margin(margin).show(ui, |ui| {
            ui.set_min_size(ui.available_size());
            pane_ui(ui, *pane, self.cx);
        });
        UiResponse::None
    }

    fn tab_title_for_pane(&mut self, pane: &Pane) -> egui::WidgetText {
        pane.title().into()
    }

    fn tab_bar_color(&self, visuals: &egui::Visuals) -> egui::Color32 {
        visuals.faint_bg_color
    }

    fn simplification_options(&self) -> SimplificationOptions {
        SimplificationOptions { all_panes_must_have_tabs: true, ..SimplificationOptions::default() }
    }

    fn is_tab_bar_visible(&self, _tile: TileId, tabs: &egui_tiles::Tabs) -> bool {
        // A view of one panel needs no tab.
        tabs.children.len() > 1 || self.cx.state.settings.view == crate::layout::View::Explore
    }

    fn min_size(&self) -> f32 {
        120.0
    }

    fn is_tile_draggable(&self, tiles: &Tiles<Pane>, tile: TileId) -> bool {
        !tiles.is_root(tile)
    }
}

fn pane_ui(ui: &mut Ui, pane: Pane, cx: &mut Cx<'_>) {
    match pane {
        Pane::Chat => chat::chat_ui(ui, cx),
        Pane::Tree => tree_view::tree_ui(ui, cx),
        Pane::Devices => devices::devices_ui(ui, cx),
        Pane::Acceptance => acceptance::acceptance_ui(ui, cx),
        Pane::Calibration => calibration::calibration_ui(ui, cx),
        Pane::Speed => speed::speed_ui(ui, cx),
        Pane::Compare => compare::compare_ui(ui, cx),
        Pane::Cache => cache::cache_ui(ui, cx),
        Pane::WhatIf => what_if::what_if_ui(ui, cx),
    }
}

/// What panels of rounds show before there are any.
pub fn no_rounds_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.centered_and_justified(|ui| {
        ui.vertical_centered(|ui| {
            ui.add_space((ui.available_height() / 2.0 - 40.0).max(0.0));
            ui.weak("Ask something, and the rounds of the answer appear here");
            if ui.button("Play the demonstration").clicked() {
                cx.ask(Action::Run(crate::command::Command::PlayDemo));
            }
        });
    });
}

/// A problem where it happened, with what to do and a button that copies it. `buttons` draws more.
pub fn problem_ui<R>(ui: &mut Ui, problem: &Problem, buttons: impl FnOnce(&mut Ui) -> R) -> R {
    let palette = tokens::palette(ui);
    Frame::new()
        .fill(palette.surface)
        .stroke(egui::Stroke::new(1.0, palette.danger))
        .corner_radius(tokens::RADIUS)
        .inner_margin(Margin::same(10))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.horizontal_top(|ui| {
                ui.label(RichText::new("▲").color(palette.danger));
                ui.vertical(|ui| {
                    ui.add(
                        egui::Label::new(RichText::new(&problem.what).color(palette.danger)).wrap(),
                    );
                    if let Some(hint) = &problem.hint {
                        ui.add(egui::Label::new(hint.as_str()).wrap());
                    }
                });
            });
            ui.horizontal_wrapped(|ui| {
                let more = buttons(ui);
                if ui.button("Copy error").clicked() {
                    ui.copy_text(problem.report());
                }
                more
            })
            .inner
        })
        .inner
}

/// Bytes in the unit that fits.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} bytes"),
        _ if value < 10.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_their_unit() {
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(98_362_432), "94 MiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(bytes(u64::MAX), "16777216 TiB");
    }
}
