//! Devices of this machine, and what checking them shows.

mod report;
mod table;

use coppice::backend::AdapterReport;
use egui::{Button, Frame, Grid, Label, Margin, RichText, ScrollArea, Ui, WidgetInfo};

pub use self::{
    report::{report, summary},
    table::{Column, Order},
};
use super::{bytes, problem_ui};
use crate::{
    command::Command,
    state::{Action, Cx},
    tokens,
    worker::CheckKind,
};

/// Draws the panel.
pub fn devices_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if cx.state.devices.list.is_none() && !cx.state.devices.listing {
        cx.ask(Action::Run(Command::ViewDevices));
    }
    ui.horizontal_wrapped(|ui| {
        ui.heading("Devices");
        if ui.button("Look again").clicked() {
            cx.ask(Action::Run(Command::RefreshDevices));
        }
        let can = cx.state.can(Command::CopyDeviceReport);
        if ui.add_enabled(can, Button::new("Copy report as Markdown")).clicked() {
            cx.ask(Action::Run(Command::CopyDeviceReport));
        }
    });
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        // What was asked for last comes first.
        table::check_ui(ui, cx);
        match cx.state.devices.list.take() {
            None => {
                ui.horizontal(|ui| {
                    ui.spinner();
                    ui.label("Asking the drivers");
                });
            }
            Some(Err(problem)) => {
                problem_ui(ui, &problem, |_| ());
                cx.state.devices.list = Some(Err(problem));
            }
            Some(Ok(list)) => {
                for device in &list {
                    device_ui(ui, cx, device);
                }
                cx.state.devices.list = Some(Ok(list));
            }
        }
    });
}

/// Facts about a device, as (name, value).
fn facts(device: &AdapterReport) -> Vec<(&'static str, String)> {
    let subgroup = device.subgroup.map(|(least, most)| format!("{least} to {most} lanes"));
    let memory = u64::from(device.workgroup_memory_bytes);
    [
        ("Selector", Some(device.selector.clone())),
        ("API", Some(device.api.clone())),
        ("Driver", Some(device.driver.clone())),
        ("Kind", Some(device.kind.to_string())),
        ("Kernels", Some(format!("tier {}", device.tier))),
        ("16-bit floats", Some(if device.f16 { "yes" } else { "no" }.to_owned())),
        ("Subgroups", subgroup),
        ("Largest buffer", (device.max_buffer_bytes > 0).then(|| limit(device.max_buffer_bytes))),
        (
            "Largest binding",
            (device.max_binding_bytes > 0).then(|| limit(device.max_binding_bytes)),
        ),
        ("Workgroup memory", (memory > 0).then(|| bytes(memory))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn limit(n: u64) -> String {
    if n >= 1 << 60 { "no limit".into() } else { bytes(n) }
}

fn device_ui(ui: &mut Ui, cx: &mut Cx<'_>, device: &AdapterReport) {
    let palette = tokens::palette(ui);
    Frame::new()
        .fill(palette.surface)
        .stroke(egui::Stroke::new(1.0, palette.outline))
        .corner_radius(tokens::RADIUS)
        .inner_margin(Margin::same(10))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.horizontal_wrapped(|ui| {
                ui.strong(&device.name);
                if device.is_software() {
                    ui.label(RichText::new("software").color(palette.warning))
                        .on_hover_text("A driver that runs shaders on the processor");
                }
                check_button_ui(ui, cx, device, CheckKind::Results);
                check_button_ui(ui, cx, device, CheckKind::Speed);
            });
            Grid::new(("facts", &device.selector)).num_columns(2).spacing([16.0, 2.0]).show(
                ui,
                |ui| {
                    for (name, value) in facts(device) {
                        ui.label(RichText::new(name).color(palette.weak));
                        ui.add(Label::new(value).wrap());
                        ui.end_row();
                    }
                },
            );
        });
    ui.add_space(6.0);
}

fn check_button_ui(ui: &mut Ui, cx: &mut Cx<'_>, device: &AdapterReport, kind: CheckKind) {
    let (text, hint) = match kind {
        CheckKind::Results => {
            ("Run op table", "Compares every kernel with the reference; takes minutes")
        }
        CheckKind::Speed => (
            "Measure speed",
            "Times ops, of what the device can do at most; takes minutes. Let no answer be written \
             meanwhile",
        ),
    };
    let is_reference = device.selector == "reference";
    let free = cx.state.devices.running.is_none() && !is_reference;
    let button = ui.add_enabled(free, Button::new(text));
    button.widget_info(|| {
        let name = format!("{text} on {}", device.selector);
        WidgetInfo::labeled(egui::Role::Button, free, name)
    });
    let why = if is_reference { "All others are compared with it" } else { "Another check runs" };
    if button.on_hover_text(hint).on_disabled_hover_text(why).clicked() {
        cx.ask(Action::Check(device.selector.clone(), kind));
    }
}
