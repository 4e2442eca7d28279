//! What a check tried: progress, counts, and a table that sorts by any column.

use std::cmp::Ordering;

use coppice::check::report::Status;
use egui::{Button, Label, ProgressBar, RichText, ScrollArea, Ui, WidgetInfo};

use super::super::problem_ui;
use crate::{
    state::{Action, Cx, Devices},
    tokens,
    worker::{CheckKind, CheckRow},
};

/// Height of a row.
const ROW: f32 = 22.0;
/// Height of the table, so that the devices below stay in reach.
const TALLEST: f32 = 300.0;

/// A column of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// What came of it; faults first.
    #[default]
    Result,
    /// The op.
    Op,
    /// The case.
    Case,
    /// Time: of all checks of a case, or of one op.
    Time,
    /// Bytes that the op must move, a second.
    Bandwidth,
    /// Operations that it must do, a second.
    Arithmetic,
    /// Throughput of what the device can do at most.
    Share,
}

impl Column {
    /// Columns for a kind of check.
    const fn of(kind: CheckKind) -> &'static [Self] {
        match kind {
            CheckKind::Results => &[Self::Result, Self::Op, Self::Case, Self::Time],
            CheckKind::Speed => &[
                Self::Result,
                Self::Op,
                Self::Case,
                Self::Time,
                Self::Bandwidth,
                Self::Arithmetic,
                Self::Share,
            ],
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Result => "Result",
            Self::Op => "Op",
            Self::Case => "Case",
            Self::Time => "Time",
            Self::Bandwidth => "GB/s",
            Self::Arithmetic => "GFLOP/s",
            Self::Share => "Of peak",
        }
    }

    /// Width in points; none for the column that takes what is left.
    const fn width(self) -> Option<f32> {
        match self {
            Self::Result => Some(120.0),
            Self::Op => Some(130.0),
            Self::Case => None,
            Self::Time => Some(84.0),
            Self::Bandwidth | Self::Arithmetic | Self::Share => Some(72.0),
        }
    }

    fn text(self, row: &CheckRow) -> String {
        let (record, measured) = (&row.record, &row.measured);
        match self {
            Self::Result => format!("{} {}", mark(record.status), record.status.name()),
            Self::Op => record.op.clone(),
            Self::Case => record.name.clone(),
            Self::Time => match measured {
                Some(measured) => time_text(measured.timing.time.median_us),
                None => time_text(record.ms * 1e3),
            },
            Self::Bandwidth => measured.as_ref().map_or_else(String::new, |m| figure(m.gb_s)),
            Self::Arithmetic => {
                let worked = measured.as_ref().filter(|m| m.timing.flops > 0);
                worked.map_or_else(String::new, |m| figure(m.gflop_s))
            }
            Self::Share => measured
                .as_ref()
                .and_then(|m| m.share())
                .map_or_else(String::new, |(share, of)| format!("{:.0} % of {of}", share * 100.0)),
        }
    }

    fn compare(self, a: &CheckRow, b: &CheckRow) -> Ordering {
        let number = |of: fn(&CheckRow) -> f64| of(a).total_cmp(&of(b));
        match self {
            // Faults first, what is as it should be last.
            Self::Result => {
                let key = |row: &CheckRow| (row.record.status.is_fine(), row.record.status);
                let (a, b) = (key(a), key(b));
                a.0.cmp(&b.0).then(b.1.cmp(&a.1))
            }
            Self::Op => a.record.op.cmp(&b.record.op),
            Self::Case => a.record.name.cmp(&b.record.name),
            Self::Time => number(|row| match &row.measured {
                Some(measured) => measured.timing.time.median_us,
                None => row.record.ms * 1e3,
            }),
            Self::Bandwidth => number(|row| row.measured.as_ref().map_or(-1.0, |m| m.gb_s)),
            Self::Arithmetic => number(|row| row.measured.as_ref().map_or(-1.0, |m| m.gflop_s)),
            Self::Share => number(|row| {
                row.measured.as_ref().and_then(|m| m.share()).map_or(-1.0, |(share, _)| share)
            }),
        }
    }
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Passed => "●",
        Status::Skipped | Status::ExpectedFailure => "–",
        _ => "×",
    }
}

/// A time in the unit that fits, from microseconds.
fn time_text(us: f64) -> String {
    match us {
        ..1e3 => format!("{us:.1} µs"),
        ..1e6 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// A number with three digits that count.
fn figure(n: f64) -> String {
    match n {
        ..10.0 => format!("{n:.2}"),
        ..100.0 => format!("{n:.1}"),
        _ => format!("{n:.0}"),
    }
}

/// Rows in the order on screen, kept until rows, column or filter change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    of: (usize, Column, bool, bool),
    rows: Vec<usize>,
}

impl Order {
    /// Places of the rows that are shown, first first.
    pub fn rows(&mut self, rows: &[CheckRow], sort: (Column, bool), faults: bool) -> &[usize] {
        let (column, down) = sort;
        let of = (rows.len(), column, down, faults);
        if self.of != of {
            let shown = |n: &usize| !faults || rows[*n].record.status != Status::Passed;
            self.rows = (0..rows.len()).filter(shown).collect();
            self.rows.sort_by(|&a, &b| {
                let order = column.compare(&rows[a], &rows[b]);
                if down { order.reverse() } else { order }
            });
            self.of = of;
        }
        &self.rows
    }
}

/// Draws the check that runs or ran last.
pub(super) fn check_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if let Some(problem) = cx.state.devices.problem.clone() {
        problem_ui(ui, &problem, |_| ());
    }
    let devices = &cx.state.devices;
    if devices.rows.is_empty() && devices.running.is_none() {
        return;
    }
    ui.strong(match devices.kind {
        CheckKind::Results => format!("Op table on {}", devices.device),
        CheckKind::Speed => format!("Speed of {}", devices.device),
    });
    if let Some(running) = &devices.running {
        let share = running.done as f32 / running.total.max(1) as f32;
        let text = format!("{} of {}", running.done, running.total);
        let stop = ui
            .horizontal(|ui| {
                let stop = ui.button("Stop check").on_hover_text("After the case that runs");
                ui.add(ProgressBar::new(share).text(text));
                stop.clicked()
            })
            .inner;
        let name = RichText::new(&running.case).size(tokens::SMALL).weak();
        ui.add(Label::new(name).truncate());
        if stop {
            cx.ask(Action::CancelCheck);
        }
    }
    let devices = &mut cx.state.devices;
    ui.horizontal_wrapped(|ui| {
        ui.label(super::summary(&devices.rows));
        ui.checkbox(&mut devices.only_faults, "Only what did not pass");
    });
    rows_ui(ui, devices);
    ui.separator();
}

/// Widths of the columns; the one without a width gets what the others leave.
fn widths(ui: &Ui, columns: &[Column]) -> Vec<f32> {
    let gaps = ui.spacing().item_spacing.x * columns.len() as f32;
    let fixed: f32 = columns.iter().filter_map(|column| column.width()).sum();
    let bar = ui.spacing().scroll.bar_width + 8.0;
    let rest = (ui.available_width() - fixed - gaps - bar).max(140.0);
    columns.iter().map(|column| column.width().unwrap_or(rest)).collect()
}

fn rows_ui(ui: &mut Ui, devices: &mut Devices) {
    let columns = Column::of(devices.kind);
    let widths = widths(ui, columns);
    // Narrow windows scroll sideways rather than crush the columns.
    ScrollArea::horizontal().id_salt("check").auto_shrink([false, true]).show(ui, |ui| {
        head_ui(ui, devices, columns, &widths);
        let Devices { rows, order, sort, only_faults, .. } = devices;
        let order = order.rows(rows, *sort, *only_faults);
        ScrollArea::vertical().max_height(TALLEST).auto_shrink([false, true]).show_rows(
            ui,
            ROW,
            order.len(),
            |ui, range| {
                for &n in &order[range] {
                    row_ui(ui, &rows[n], columns, &widths);
                }
            },
        );
    });
}

fn head_ui(ui: &mut Ui, devices: &mut Devices, columns: &[Column], widths: &[f32]) {
    ui.horizontal(|ui| {
        for (&column, &width) in columns.iter().zip(widths) {
            let mark = match devices.sort {
                (by, true) if by == column => " ⬇",
                (by, false) if by == column => " ⬆",
                _ => "",
            };
            let title = column.title();
            let head = Button::selectable(false, format!("{title}{mark}"));
            let head = ui.add_sized([width, ROW], head);
            head.widget_info(|| {
                WidgetInfo::labeled(egui::Role::Button, true, format!("Sort by {title}"))
            });
            if head.clicked() {
                let (by, down) = devices.sort;
                devices.sort = (column, by == column && !down);
            }
        }
    });
}

fn row_ui(ui: &mut Ui, row: &CheckRow, columns: &[Column], widths: &[f32]) {
    let palette = tokens::palette(ui);
    let record = &row.record;
    let color = match record.status {
        Status::Passed => palette.accepted,
        Status::Skipped | Status::ExpectedFailure => palette.weak,
        _ => palette.danger,
    };
    ui.horizontal(|ui| {
        for (&column, &width) in columns.iter().zip(widths) {
            let text = RichText::new(column.text(row));
            let text = if column == Column::Result { text.color(color) } else { text };
            let align = egui::Layout::left_to_right(egui::Align::Center);
            ui.allocate_ui_with_layout(egui::vec2(width, ROW), align, |ui| {
                ui.set_min_width(width);
                let cell = ui.add(Label::new(text).truncate());
                cell.on_hover_ui(|ui| details_ui(ui, row));
            });
        }
    });
}

fn details_ui(ui: &mut Ui, row: &CheckRow) {
    let record = &row.record;
    ui.strong(&record.name);
    if !record.variant.is_empty() {
        ui.label(format!("Kernel {}", record.variant));
    }
    if let Some(measured) = &row.measured {
        let time = measured.timing.time;
        ui.label(format!(
            "Median {}, a tenth below {} and above {}, of {} samples",
            time_text(time.median_us),
            time_text(time.p10_us),
            time_text(time.p90_us),
            time.samples
        ));
    }
    if !record.message.is_empty() {
        ui.label(&record.message);
    }
    for more in [&record.expected, &record.replay].into_iter().flatten() {
        ui.weak(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_unit() {
        assert_eq!(time_text(12.34), "12.3 µs");
        assert_eq!(time_text(12_345.0), "12.35 ms");
        assert_eq!(time_text(2.5e6), "2.50 s");
        assert_eq!([figure(1.234), figure(12.34), figure(1234.5)], ["1.23", "12.3", "1234"]);
    }
}
