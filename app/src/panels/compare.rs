//! Side by side: controls of two runs, their lanes on one time axis, what each had said when.

use coppice::spec::Method;
use egui::{Button, Color32, ComboBox, DragValue, Grid, Rect, RichText, ScrollArea, Sense, Slider};
use egui::{TextEdit, Ui, WidgetInfo};
use egui_plot::{Corner, Legend, Line, Plot, PlotPoints};

use crate::{
    compare::{Compare, Lane},
    state::{Action, Cx},
    tokens,
    worker::{Drafting, TreeSize},
};

/// Names of the runs.
const NAMES: [&str; 2] = ["A", "B"];
/// Height of a lane.
const LANE: f32 = 18.0;

/// Draws the panel.
pub fn compare_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        let running = cx.state.compare.running;
        ui.add_enabled_ui(running.is_none(), |ui| controls_ui(ui, &mut cx.state.compare));
        ui.horizontal_wrapped(|ui| {
            let ready = cx.state.model.ready().is_some() && cx.state.writing.is_none();
            if running.is_some() {
                if ui.button("Stop comparing").clicked() {
                    cx.ask(Action::StopCompare);
                }
            } else {
                let button = ui.add_enabled(ready, Button::new("Compare"));
                let button = button.on_disabled_hover_text("Load a model, and let answers finish");
                if button.clicked() {
                    cx.ask(Action::Compare);
                }
            }
            ui.weak(match running {
                Some(lane) => format!("Run {} goes on", NAMES[lane.min(1)]),
                None => "Same prompt, same seed, one run after the other on this device".into(),
            });
        });
        if let Some(problem) = cx.state.compare.problem.clone() {
            super::problem_ui(ui, &problem, |_| ());
        }
        if cx.state.compare.lanes.iter().any(|lane| !lane.marks.is_empty()) {
            result_ui(ui, &mut cx.state.compare);
        }
    });
}

fn controls_ui(ui: &mut Ui, compare: &mut Compare) {
    ui.horizontal_wrapped(|ui| {
        let label = ui.label("Prompt");
        let width = (ui.available_width() - 160.0).max(120.0);
        let field = TextEdit::singleline(&mut compare.prompt).desired_width(width);
        ui.add(field).labelled_by(label.id);
        let tokens = DragValue::new(&mut compare.max_tokens).range(8..=2048).suffix(" tokens");
        let tokens = ui.add(tokens);
        tokens.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, "Most tokens"));
    });
    Grid::new("compare").num_columns(4).spacing([10.0, 4.0]).show(ui, |ui| {
        for (n, drafting) in compare.drafting.iter_mut().enumerate() {
            drafting_ui(ui, NAMES[n], drafting);
            ui.end_row();
        }
    });
}

fn drafting_ui(ui: &mut Ui, name: &str, drafting: &mut Drafting) {
    let label = ui.strong(name);
    let combo = ComboBox::from_id_salt(("method", name)).selected_text(drafting.method.name());
    let combo = combo.show_ui(ui, |ui| {
        for method in Method::ALL {
            ui.selectable_value(&mut drafting.method, method, method.name());
        }
    });
    combo.response.labelled_by(label.id);
    let treed = matches!(drafting.method, Method::Medusa | Method::Auto);
    ui.add_enabled_ui(treed, |ui| {
        let mut sized = matches!(drafting.tree, TreeSize::Nodes(_));
        if ui.checkbox(&mut sized, "Tree of").on_hover_text("Else the best size").changed() {
            drafting.tree = if sized { TreeSize::Nodes(24) } else { TreeSize::Auto };
        }
        if let TreeSize::Nodes(nodes) = &mut drafting.tree {
            let most = coppice::spec::MAX_NODES;
            ui.add(DragValue::new(nodes).range(2..=most).suffix(" nodes"));
        }
    });
    ui.add_enabled_ui(drafting.method != Method::Plain, |ui| {
        ui.checkbox(&mut drafting.gate, "Gate")
            .on_hover_text("Falls back to plain steps where drafting does not pay");
    });
}

fn result_ui(ui: &mut Ui, compare: &mut Compare) {
    if let Some(verdict) = compare.verdict() {
        ui.strong(verdict);
    }
    let end = compare.lanes.iter().map(Lane::end_ms).fold(0.0, f64::max).max(1e-3);
    figures_ui(ui, &compare.lanes);
    let now = end * compare.at.clamp(0.0, 1.0);
    for (name, lane) in NAMES.iter().zip(&compare.lanes) {
        lane_ui(ui, name, lane, end, now);
    }
    ui.horizontal(|ui| {
        let label = ui.label(format!("At {now:.0} ms"));
        ui.spacing_mut().slider_width = (ui.available_width() - 12.0).max(60.0);
        let slider = Slider::new(&mut compare.at, 0.0..=1.0).show_value(false);
        ui.add(slider).labelled_by(label.id);
    });
    ui.columns(2, |columns| {
        for ((ui, lane), name) in columns.iter_mut().zip(&compare.lanes).zip(NAMES) {
            ui.label(RichText::new(format!("{name}: {} tokens", lane.at(now).tokens)).strong());
            ui.label(lane.text_at(now));
        }
    });
    plot_ui(ui, &compare.lanes, now);
}

fn figures_ui(ui: &mut Ui, lanes: &[Lane; 2]) {
    Grid::new("compare-figures").num_columns(7).spacing([16.0, 3.0]).show(ui, |ui| {
        for head in ["", "method", "tokens", "ms", "tokens/s", "rounds", "tokens a round"] {
            ui.label(RichText::new(head).size(tokens::SMALL).weak());
        }
        ui.end_row();
        for (name, lane) in NAMES.iter().zip(lanes) {
            ui.strong(*name);
            ui.label(match (lane.drafting.tree, lane.drafting.method) {
                (TreeSize::Nodes(n), method @ (Method::Medusa | Method::Auto)) => {
                    format!("{}, {n} nodes", method.name())
                }
                (_, method) => method.name().to_owned(),
            });
            ui.label(lane.stats.tokens.to_string());
            ui.label(format!("{:.0}", lane.end_ms()));
            ui.label(lane.tokens_per_second().map_or_else(String::new, |t| format!("{t:.1}")));
            ui.label(lane.stats.rounds.to_string());
            ui.label(format!("{:.2}", lane.stats.tokens_a_round().value()));
            ui.end_row();
        }
    });
}

/// Rounds of a run as blocks: as long as they took, as strong in colour as they gave tokens.
fn lane_ui(ui: &mut Ui, name: &str, lane: &Lane, end: f64, now: f64) {
    let palette = tokens::palette(ui);
    let size = egui::vec2(ui.available_width(), LANE);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let painter = ui.painter();
    painter.rect_filled(rect, 2.0, palette.well);
    let x = |ms: f64| rect.left() + (ms / end) as f32 * rect.width();
    let (mut from, mut tokens) = (0.0, 0);
    for mark in &lane.marks {
        let gained = (mark.tokens - tokens) as f32;
        let block = Rect::from_x_y_ranges(x(from)..=(x(mark.ms) - 0.5), rect.y_range());
        let strength = (0.35 + 0.2 * (gained - 1.0)).clamp(0.35, 1.0);
        let color: Color32 = if gained > 1.0 { palette.accepted } else { palette.pending };
        painter.rect_filled(block, 0.0, color.gamma_multiply(strength));
        (from, tokens) = (mark.ms, mark.tokens);
    }
    painter.vline(x(now), rect.y_range(), egui::Stroke::new(2.0, palette.text));
    let font = egui::FontId::proportional(tokens::SMALL);
    let at = rect.left_center() + egui::vec2(4.0, 0.0);
    painter.text(at, egui::Align2::LEFT_CENTER, name, font, palette.text);
    let text = format!("Run {name}: {} rounds in {:.0} ms", lane.marks.len(), lane.end_ms());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, &text));
    response.on_hover_text(text);
}

fn plot_ui(ui: &mut Ui, lanes: &[Lane; 2], now: f64) {
    let palette = tokens::palette(ui);
    let plot = Plot::new("compare-plot")
        .height(150.0)
        .x_axis_label("ms")
        .y_axis_label("tokens")
        .include_x(0.0)
        .include_y(0.0)
        .grid_color(palette.outline)
        .legend(Legend::default().position(Corner::LeftTop))
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false);
    plot.show(ui, |plot| {
        for (n, lane) in lanes.iter().enumerate() {
            let start = [[0.0, 0.0]];
            let marks = lane.marks.iter().map(|mark| [mark.ms, mark.tokens as f64]);
            let points: Vec<[f64; 2]> = start.into_iter().chain(marks).collect();
            let line = Line::new(NAMES[n], PlotPoints::from(points)).color(palette.series[n]);
            plot.line(line.width(2.0));
        }
        plot.vline(egui_plot::VLine::new("shown", now).color(palette.text));
    });
}
