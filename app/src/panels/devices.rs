//! Devices of this machine, and the op table on them.

use coppice::backend::AdapterReport;
use egui::{Button, Frame, Grid, Label, Margin, ProgressBar, RichText, ScrollArea, Ui};

use super::{bytes, problem_ui};
use crate::{
    command::Command,
    state::{Action, Cx, Devices},
    tokens,
    worker::{TableRow, Verdict},
};

/// Columns of the table.
const COLUMNS: [&str; 4] = ["Result", "Op", "Case", "Time"];
/// Height of a row.
const ROW: f32 = 22.0;

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
        table_ui(ui, cx);
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
                let free = cx.state.devices.running.is_none() && device.selector != "reference";
                let button = Button::new("Run op table");
                let run = ui.add_enabled(free, button);
                run.widget_info(|| {
                    let name = format!("Run op table on {}", device.selector);
                    egui::WidgetInfo::labeled(egui::Role::Button, free, name)
                });
                let hint = "Checks every kernel against the reference; takes minutes";
                let run = match &*device.selector {
                    "reference" => run.on_disabled_hover_text("All others are compared with it"),
                    _ => run.on_hover_text(hint),
                };
                if run.clicked() {
                    cx.ask(Action::RunTable(device.selector.clone()));
                }
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

fn table_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if let Some(problem) = cx.state.devices.problem.clone() {
        problem_ui(ui, &problem, |_| ());
    }
    let devices = &mut cx.state.devices;
    if devices.rows.is_empty() && devices.running.is_none() {
        return;
    }
    ui.separator();
    ui.strong("Op table");
    let mut stop = false;
    if let Some(selector) = &devices.running {
        let share = devices.rows.len() as f32 / devices.total.max(1) as f32;
        let text = format!("{} of {} cases on {selector}", devices.rows.len(), devices.total);
        ui.horizontal(|ui| {
            stop = ui.button("Stop op table").clicked();
            ui.add(ProgressBar::new(share).text(text));
        });
    }
    let count = |verdict| devices.rows.iter().filter(|row| row.verdict == verdict).count();
    ui.horizontal_wrapped(|ui| {
        ui.label(format!(
            "{} passed, {} failed, {} unsupported",
            count(Verdict::Passed),
            count(Verdict::Failed) + count(Verdict::Lost),
            count(Verdict::Unsupported)
        ));
        ui.checkbox(&mut devices.only_faults, "Only what did not pass");
    });
    if stop {
        cx.actions.push(Action::CancelTable);
    }
    rows_ui(ui, &mut cx.state.devices);
}

fn sorted(devices: &Devices) -> Vec<&TableRow> {
    let shown = |row: &&TableRow| !devices.only_faults || row.verdict != Verdict::Passed;
    let mut rows: Vec<_> = devices.rows.iter().filter(shown).collect();
    let (column, down) = devices.sort;
    rows.sort_by(|a, b| {
        let order = match column {
            0 => a.verdict.cmp(&b.verdict),
            1 => a.op.cmp(&b.op),
            2 => a.case.cmp(&b.case),
            _ => a.ms.cmp(&b.ms),
        };
        if down { order.reverse() } else { order }
    });
    rows
}

fn rows_ui(ui: &mut Ui, devices: &mut Devices) {
    let palette = tokens::palette(ui);
    let widths = [90.0, 130.0, (ui.available_width() - 320.0).max(120.0), 60.0];
    ui.horizontal(|ui| {
        for (n, title) in COLUMNS.into_iter().enumerate() {
            let mark = match devices.sort {
                (column, true) if column == n => " ⬇",
                (column, false) if column == n => " ⬆",
                _ => "",
            };
            let head = Button::selectable(false, format!("{title}{mark}"));
            let head = ui.add_sized([widths[n], ROW], head);
            head.widget_info(|| {
                egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Sort by {title}"))
            });
            if head.clicked() {
                let (column, down) = devices.sort;
                devices.sort = (n, column == n && !down);
            }
        }
    });
    let rows = sorted(devices);
    ScrollArea::vertical().max_height(360.0).auto_shrink([false, true]).show_rows(
        ui,
        ROW,
        rows.len(),
        |ui, range| {
            for row in &rows[range] {
                ui.horizontal(|ui| {
                    let color = match row.verdict {
                        Verdict::Passed => palette.accepted,
                        Verdict::Unsupported => palette.weak,
                        Verdict::Failed | Verdict::Lost => palette.danger,
                    };
                    let mark = match row.verdict {
                        Verdict::Passed => "●",
                        Verdict::Unsupported => "–",
                        Verdict::Failed | Verdict::Lost => "×",
                    };
                    let verdict = format!("{mark} {}", row.verdict.name());
                    let cells = [
                        RichText::new(verdict).color(color),
                        RichText::new(&row.op),
                        RichText::new(&row.case),
                        RichText::new(format!("{} ms", row.ms)),
                    ];
                    let hint = match row.detail.as_str() {
                        "" => format!("{} on {}", row.case, row.device),
                        detail => format!("{} on {}\n{detail}", row.case, row.device),
                    };
                    for (cell, width) in cells.into_iter().zip(widths) {
                        let size = egui::vec2(width, ROW);
                        let layout = egui::Layout::left_to_right(egui::Align::Center);
                        ui.allocate_ui_with_layout(size, layout, |ui| {
                            ui.set_min_width(width);
                            ui.add(Label::new(cell).truncate()).on_hover_text(&hint);
                        });
                    }
                });
            }
        },
    );
}

/// All that is known, as Markdown for a bug report.
pub fn report(devices: &Devices) -> String {
    let mut text = format!("## Coppice {} devices\n", env!("CARGO_PKG_VERSION"));
    if let Some(Ok(list)) = &devices.list {
        for device in list {
            text.push_str(&format!("\n### {}\n\n", device.name));
            for (name, value) in facts(device) {
                text.push_str(&format!("- {name}: {value}\n"));
            }
        }
    }
    if !devices.rows.is_empty() {
        let passed = devices.rows.iter().filter(|row| row.verdict == Verdict::Passed).count();
        text.push_str(&format!(
            "\n### Op table\n\n{passed} of {} cases passed ({} planned)\n\n| result | device | case | detail |\n|---|---|---|---|\n",
            devices.rows.len(),
            devices.total
        ));
        for row in devices.rows.iter().filter(|row| row.verdict != Verdict::Passed) {
            let detail = row.detail.replace('|', "\\|").replace('\n', " ");
            text.push_str(&format!(
                "| {} | {} | {} | {detail} |\n",
                row.verdict.name(),
                row.device,
                row.case
            ));
        }
    }
    text
}
