//! How far probabilities of guesses can be believed: predicted against observed, for each head.

use coppice::spec::{CALIBRATION_BINS, CalibrationBin};
use egui::{CollapsingHeader, Grid, RichText, ScrollArea, Ui};
use egui_plot::{Corner, Legend, Line, MarkerShape, Plot, PlotPoints, Points};

use super::acceptance::rate;
use crate::{state::Cx, tokens, tree_view::source_name};

/// Shapes of points, so that series differ in grey too.
const SHAPES: [MarkerShape; 6] = [
    MarkerShape::Circle,
    MarkerShape::Square,
    MarkerShape::Diamond,
    MarkerShape::Up,
    MarkerShape::Cross,
    MarkerShape::Asterisk,
];

/// A source's bins in a few figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reliability {
    /// Tested candidates with a predicted probability.
    pub count: u64,
    /// Mean of what was predicted.
    pub predicted: f64,
    /// Share that came true.
    pub observed: f64,
    /// Mean distance of the two over the bins, each by its candidates: the expected calibration
    /// error (arXiv 1706.04599).
    pub error: f64,
}

/// The figures of some bins.
pub fn reliability(bins: &[CalibrationBin; CALIBRATION_BINS]) -> Reliability {
    let count: u64 = bins.iter().map(|bin| bin.count).sum();
    if count == 0 {
        return Reliability::default();
    }
    let n = count as f64;
    let apart = |bin: &CalibrationBin| {
        bin.count as f64 * (bin.mean_predicted() - bin.observed().value()).abs()
    };
    Reliability {
        count,
        predicted: bins.iter().map(|bin| bin.predicted).sum::<f64>() / n,
        observed: bins.iter().map(|bin| bin.passed as f64).sum::<f64>() / n,
        error: bins.iter().map(apart).sum::<f64>() / n,
    }
}

/// Draws the panel.
pub fn calibration_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if cx.state.trace().rounds.is_empty() {
        super::no_rounds_ui(ui, cx);
        return;
    }
    let log = cx.state.trace();
    if log.calibration.is_empty() {
        ui.weak("No candidate of these rounds has a probability: lookup and plain steps give none");
        return;
    }
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.weak("Of guesses given such a probability, how many the model chose");
        plot_ui(ui, log);
        Grid::new("reliability").num_columns(5).spacing([18.0, 3.0]).show(ui, |ui| {
            for head in ["Guessed by", "tested", "predicted", "observed", "error"] {
                ui.label(RichText::new(head).size(tokens::SMALL).weak());
            }
            ui.end_row();
            for (source, bins) in &log.calibration {
                let figures = reliability(bins);
                ui.label(source_name(*source));
                ui.label(figures.count.to_string());
                ui.label(percent(figures.predicted));
                ui.label(percent(figures.observed));
                ui.label(percent(figures.error)).on_hover_text(
                    "Mean distance of predicted and observed over the bins, each by its candidates",
                );
                ui.end_row();
            }
        });
        for (source, bins) in &log.calibration {
            let name = source_name(*source);
            CollapsingHeader::new(format!("Bins of {name}"))
                .show(ui, |ui| bins_ui(ui, &name, bins));
        }
    });
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn plot_ui(ui: &mut Ui, log: &crate::trace_log::TraceLog) {
    let palette = tokens::palette(ui);
    let plot = Plot::new("calibration")
        .height(190.0)
        .default_x_bounds(-0.02, 1.02)
        .default_y_bounds(-0.02, 1.02)
        .x_axis_label("predicted")
        .y_axis_label("observed")
        .grid_color(palette.outline)
        .legend(Legend::default().position(Corner::LeftTop))
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false);
    plot.show(ui, |plot| {
        let ideal = PlotPoints::from(vec![[0.0, 0.0], [1.0, 1.0]]);
        plot.line(Line::new("perfect", ideal).color(palette.weak).width(1.5));
        for (n, (source, bins)) in log.calibration.iter().enumerate() {
            let seen = bins.iter().filter(|bin| bin.count > 0);
            let at = seen.map(|bin| [bin.mean_predicted(), bin.observed().value()]);
            let at: Vec<[f64; 2]> = at.collect();
            let color = palette.series[n % palette.series.len()];
            let name = source_name(*source);
            plot.line(Line::new(name.clone(), PlotPoints::from(at.clone())).color(color));
            let points = Points::new(name, PlotPoints::from(at)).color(color).radius(4.0);
            plot.points(points.shape(SHAPES[n % SHAPES.len()]));
        }
    });
}

fn bins_ui(ui: &mut Ui, name: &str, bins: &[CalibrationBin; CALIBRATION_BINS]) {
    Grid::new(("bins", name)).num_columns(3).spacing([18.0, 3.0]).show(ui, |ui| {
        for head in ["Predicted", "mean", "observed"] {
            ui.label(RichText::new(head).size(tokens::SMALL).weak());
        }
        ui.end_row();
        for (n, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
            ui.label(format!("{} to {} %", n * 10, n * 10 + 10));
            ui.label(percent(bin.mean_predicted()));
            ui.label(rate(bin.observed()));
            ui.end_row();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_weighed_by_candidates() {
        let mut bins = [CalibrationBin::default(); CALIBRATION_BINS];
        bins[1] = CalibrationBin { count: 30, predicted: 4.5, passed: 9 };
        bins[8] = CalibrationBin { count: 10, predicted: 8.5, passed: 8 };
        let figures = reliability(&bins);
        assert_eq!(figures.count, 40);
        assert!((figures.predicted - 13.0 / 40.0).abs() < 1e-12);
        assert!((figures.observed - 17.0 / 40.0).abs() < 1e-12);
        // 0.15 against 0.3 for 30, 0.85 against 0.8 for 10.
        assert!((figures.error - (30.0 * 0.15 + 10.0 * 0.05) / 40.0).abs() < 1e-12);
        let none = reliability(&[CalibrationBin::default(); CALIBRATION_BINS]);
        assert_eq!(none, Reliability::default());
    }
}
