//! Where the time goes: stages of each round, the device's measured curve, and why it is not faster.

use coppice::spec::policy::VerifyCurve;
use egui::{Grid, Painter, Rect, RichText, ScrollArea, Ui};
use egui_plot::{Corner, HLine, Legend, Line, MarkerShape, Plot, PlotPoints, Points, VLine};

use crate::{
    state::{Cx, State},
    tokens::{self, Palette},
    trace_log::{Sums, TraceLog},
    tree_view::strip::{Strip, strip_ui},
    why::Account,
};

const HEIGHT: f32 = 64.0;

/// Names of the stages, in the order of [`stages`].
const STAGES: [&str; 4] = ["draft", "verify", "commit", "host"];

/// Milliseconds of the stages, all rounds together.
fn stages(sums: &Sums) -> [f64; 4] {
    let times = &sums.times;
    [times.draft_ms, times.verify_ms, times.commit_ms, times.host_ms]
}

/// What rounds take on the device of these rounds, if that is the one in use.
pub(super) fn curve(state: &State) -> Option<&VerifyCurve> {
    let (header, info) = (state.trace().header.as_ref()?, state.model.ready()?);
    let same = header.device == info.device && header.model == info.name;
    info.curve.as_ref().filter(|_| same)
}

/// Draws the panel.
pub fn speed_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let rounds = cx.state.trace().rounds.len();
    let Some(shown) = cx.state.explorer.round(rounds) else {
        super::no_rounds_ui(ui, cx);
        return;
    };
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        why_ui(ui, cx.state);
        ui.add_space(6.0);
        stages_ui(ui, cx.state.trace());
        strip_ui(ui, cx, shown, (HEIGHT, "Round on screen, over times"), &paint_stages);
        ui.add_space(6.0);
        curve_ui(ui, cx.state, shown);
    });
}

fn why_ui(ui: &mut Ui, state: &State) {
    let account = Account::new(state.trace().between(0..usize::MAX), curve(state));
    ui.label(RichText::new(account.headline()).strong());
    let reasons = account.reasons();
    if reasons.is_empty() {
        return;
    }
    ui.label("Why not faster, by what would be gained:");
    for reason in reasons {
        let gain =
            reason.without.map(|speed| format!(" → without, {speed:.2} times plain decoding"));
        ui.label(format!("• {}{}", reason.what, gain.unwrap_or_default()));
    }
}

fn stages_ui(ui: &mut Ui, log: &TraceLog) {
    let palette = tokens::palette(ui);
    let sums = log.between(0..usize::MAX);
    let (each, all) = (stages(&sums), sums.times.total_ms());
    Grid::new("stages").num_columns(4).spacing([14.0, 3.0]).show(ui, |ui| {
        for head in ["Stage", "a round", "share", "in all"] {
            ui.label(RichText::new(head).size(tokens::SMALL).weak());
        }
        ui.end_row();
        for (n, (name, ms)) in STAGES.iter().zip(each).enumerate() {
            ui.horizontal(|ui| {
                let (rect, _) =
                    ui.allocate_exact_size(egui::vec2(10.0, 10.0), egui::Sense::hover());
                ui.painter().rect_filled(rect, 2.0, palette.series[n]);
                ui.label(*name);
            });
            ui.label(format!("{:.2} ms", ms / sums.rounds.max(1) as f64));
            ui.label(format!("{:.0} %", if all > 0.0 { 100.0 * ms / all } else { 0.0 }));
            ui.label(format!("{:.2} s", ms / 1e3));
            ui.end_row();
        }
    });
}

/// Stages stacked, in milliseconds a round; as high as the strip is the slowest bar.
fn paint_stages(painter: &Painter, palette: &Palette, log: &TraceLog, strip: &Strip) {
    let bars: Vec<_> =
        strip.columns().map(|(columns, rounds)| (columns, log.between(rounds))).collect();
    let most = bars.iter().map(|(_, sums)| sums.round_ms()).fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    for (columns, sums) in bars {
        let mut bottom = strip.rect.bottom() - 1.0;
        for (stage, ms) in stages(&sums).into_iter().enumerate() {
            let tall = (ms.max(0.0) / sums.rounds.max(1) as f64 / most) as f32;
            let top = bottom - tall * (strip.rect.height() - 4.0);
            let block = Rect::from_x_y_ranges(columns, top..=bottom);
            painter.rect_filled(block, 0.0, palette.series[stage]);
            bottom = top;
        }
    }
    let text = format!("{most:.1} ms");
    let at = strip.rect.right_top() + egui::vec2(-4.0, 2.0);
    let font = egui::FontId::proportional(tokens::SMALL);
    painter.text(at, egui::Align2::RIGHT_TOP, text, font, palette.text);
}

fn curve_ui(ui: &mut Ui, state: &State, shown: usize) {
    let log = state.trace();
    let Some(round) = log.rounds.get(shown) else { return };
    let rows = round.outcome.nodes.len();
    let curve = curve(state);
    let observed = log.verified.get(&rows);
    let here = observed
        .map(|(n, ms)| format!("{:.2} ms in {n} rounds of this trace", ms / (*n).max(1) as f64));
    let text = match (curve, here) {
        (Some(curve), Some(here)) => format!(
            "The tree on screen has {rows} rows: {:.2} ms by the device's curve, {here}",
            curve.verify_ms(rows)
        ),
        (None, Some(here)) => format!(
            "The tree on screen has {rows} rows: {here}. The device's curve is known while its \
             model is loaded here"
        ),
        (_, None) => return,
    };
    ui.label(text);
    let palette = tokens::palette(ui);
    let mean = |&(n, ms): &(u64, f64)| ms / n.max(1) as f64;
    let top = log.verified.values().map(mean).fold(0.0, f64::max);
    let plot = Plot::new("curve")
        .height(180.0)
        .x_axis_label("rows")
        .y_axis_label("ms")
        .include_x(0.0)
        .include_x(1.15 * rows as f64)
        .include_y(0.0)
        .include_y(1.2 * top)
        .grid_color(palette.outline)
        .legend(Legend::default().position(Corner::LeftTop))
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false);
    plot.show(ui, |plot| {
        if let Some(curve) = curve {
            let points: Vec<[f64; 2]> =
                curve.points().iter().map(|&(rows, ms)| [rows as f64, ms]).collect();
            let line = Line::new("verify curve of the device", PlotPoints::from(points));
            plot.line(line.color(palette.series[0]).width(2.0));
            plot.hline(HLine::new("plain step", curve.plain_ms()).color(palette.series[1]));
        }
        let seen = log.verified.iter();
        let seen = seen.map(|(&rows, verified)| [rows as f64, mean(verified)]);
        let seen = Points::new("rounds of this trace", PlotPoints::from(seen.collect::<Vec<_>>()));
        plot.points(seen.shape(MarkerShape::Diamond).radius(4.0).color(palette.series[2]));
        plot.vline(VLine::new("tree on screen", rows as f64).color(palette.text));
    });
}
