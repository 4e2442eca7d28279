//! Bar charts: a group a category, a bar a series.

use super::{
    FAINT_INK, GRID, INK, SERIES, axis, measure,
    svg::{Anchor, Svg, TextStyle, n},
};

/// One bar in every group.
#[derive(Clone, Debug, PartialEq)]
pub struct BarSeries {
    /// Name in the legend.
    pub name: String,
    /// A value for each group; absent or not finite ones have no bar.
    pub values: Vec<Option<f64>>,
}

/// A chart of bars that start at zero.
#[derive(Clone, Debug, PartialEq)]
pub struct BarChart {
    /// Line above.
    pub title: String,
    /// Smaller lines below the title.
    pub lines: Vec<String>,
    /// What the values are, with their unit.
    pub y_label: String,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// Series in the order of their bars.
    pub series: Vec<BarSeries>,
    /// A value to compare with, drawn as a line across.
    pub reference: Option<f64>,
}

const MARGIN: f64 = 20.0;
const TITLE: f64 = 17.0;
const LABEL: f64 = 12.5;
const VALUE: f64 = 10.0;
const BAR: f64 = 24.0;
const GROUP_GAP: f64 = 26.0;
const PLOT_HEIGHT: f64 = 280.0;
const AXIS: f64 = 56.0;
const LEAST_WIDTH: f64 = 480.0;

impl BarChart {
    /// The picture as an SVG document.
    pub fn svg(&self) -> String {
        let bars = self.series.len().max(1) as f64 * BAR;
        let label = self.groups.iter().map(|name| measure::sans(name, LABEL)).fold(0.0, f64::max);
        // Names that are wider than their group are turned.
        let turned = label > bars + GROUP_GAP - 6.0;
        let pitch = bars + GROUP_GAP;
        let title = measure::bold(&self.title, TITLE) + 2.0 * MARGIN;
        let plot = (pitch * self.groups.len() as f64 + GROUP_GAP).max(LEAST_WIDTH);
        let width = (MARGIN + AXIS + plot + MARGIN).max(title);
        let mut svg = Svg::new();
        let top = self.draw_head(&mut svg, width);
        let highest = self
            .series
            .iter()
            .flat_map(|series| series.values.iter().flatten())
            .copied()
            .chain(self.reference)
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max);
        let ticks = axis::ticks(0.0, if highest > 0.0 { highest } else { 1.0 }, 6);
        let most = ticks.last().copied().unwrap_or(1.0);
        let left = MARGIN + AXIS;
        let y_of = |value: f64| top + PLOT_HEIGHT * (1.0 - value / most);
        draw_grid(&mut svg, &ticks, (left, left + plot), &y_of);
        let middle = (MARGIN + 4.0, top + PLOT_HEIGHT / 2.0);
        turned_text(&mut svg, middle, -90.0, &self.y_label, Anchor::Middle);
        let slack = (plot - pitch * self.groups.len() as f64) / 2.0;
        for (g, group) in self.groups.iter().enumerate() {
            let x = left + slack + pitch * g as f64 + GROUP_GAP / 2.0;
            for (s, series) in self.series.iter().enumerate() {
                let value = series.values.get(g).copied().flatten().filter(|v| v.is_finite());
                let Some(value) = value else { continue };
                let bar = x + BAR * s as f64;
                draw_bar(
                    &mut svg,
                    bar,
                    (y_of(value.max(0.0)), y_of(0.0)),
                    (s, series, group, value),
                );
            }
            let at = x + bars / 2.0;
            if turned {
                let at = (at + 4.0, top + PLOT_HEIGHT + 14.0);
                turned_text(&mut svg, at, -38.0, group, Anchor::End);
            } else {
                let style = TextStyle::new(LABEL, INK).at(Anchor::Middle);
                svg.text((at, top + PLOT_HEIGHT + 18.0), group, style);
            }
        }
        if let Some(value) = self.reference.filter(|value| value.is_finite()) {
            let y = n(y_of(value));
            svg.element(
                "line",
                &[
                    ("x1", &n(left)),
                    ("x2", &n(left + plot)),
                    ("y1", &y),
                    ("y2", &y),
                    ("stroke", &INK),
                    ("stroke-dasharray", &"5 4"),
                ],
            );
        }
        let names = if turned { 14.0 + label * 0.62 } else { 18.0 };
        let bottom = top + PLOT_HEIGHT + names + 12.0;
        svg.finish(width, bottom + MARGIN * 0.5, &self.title)
    }

    /// Title, lines and legend; gives the top of the plot.
    fn draw_head(&self, svg: &mut Svg, width: f64) -> f64 {
        let mut y = MARGIN + TITLE;
        svg.text((MARGIN, y), &self.title, TextStyle::new(TITLE, INK).bold());
        for line in &self.lines {
            for part in measure::wrapped(line, LABEL, width - 2.0 * MARGIN) {
                y += LABEL * 1.5;
                svg.text((MARGIN, y), &part, TextStyle::new(LABEL, FAINT_INK));
            }
        }
        y += LABEL * 2.0;
        let mut x = MARGIN;
        for (s, series) in self.series.iter().enumerate() {
            let item = 20.0 + measure::sans(&series.name, LABEL) + 14.0;
            if x + item > width - MARGIN && x > MARGIN {
                (x, y) = (MARGIN, y + LABEL * 1.6);
            }
            let (bx, by, colour) = (n(x), n(y - 10.0), SERIES[s % SERIES.len()]);
            svg.element(
                "rect",
                &[("x", &bx), ("y", &by), ("width", &"12"), ("height", &"12"), ("fill", &colour)],
            );
            svg.text((x + 18.0, y), &series.name, TextStyle::new(LABEL, INK));
            x += item;
        }
        y + 30.0
    }
}

fn draw_grid(svg: &mut Svg, ticks: &[f64], (left, right): (f64, f64), y_of: &dyn Fn(f64) -> f64) {
    let step = ticks.windows(2).next().map_or(1.0, |pair| pair[1] - pair[0]);
    for &tick in ticks {
        let y = n(y_of(tick));
        let ink = if tick == 0.0 { INK } else { GRID };
        svg.element(
            "line",
            &[("x1", &n(left)), ("x2", &n(right)), ("y1", &y), ("y2", &y), ("stroke", &ink)],
        );
        let style = TextStyle::new(LABEL - 1.0, FAINT_INK).at(Anchor::End);
        svg.text((left - 8.0, y_of(tick) + 4.0), &axis::label(tick, step), style);
    }
}

/// A bar with its value on top.
fn draw_bar(
    svg: &mut Svg,
    x: f64,
    (top, bottom): (f64, f64),
    (s, series, group, value): (usize, &BarSeries, &str, f64),
) {
    svg.open("g", &[]);
    svg.title(&format!("{group}, {}: {value:.3}", series.name));
    svg.element(
        "rect",
        &[
            ("x", &n(x + 1.0)),
            ("y", &n(top)),
            ("width", &n(BAR - 2.0)),
            ("height", &n((bottom - top).max(0.5))),
            ("fill", &SERIES[s % SERIES.len()]),
        ],
    );
    let text = if value >= 99.5 { format!("{value:.0}") } else { format!("{value:.2}") };
    let style = TextStyle::new(VALUE, INK).at(Anchor::Middle);
    svg.text((x + BAR / 2.0, top - 4.0), &text, style);
    svg.close("g");
}

fn turned_text(svg: &mut Svg, (x, y): (f64, f64), degrees: f64, text: &str, anchor: Anchor) {
    let turn = format!("translate({} {}) rotate({})", n(x), n(y), n(degrees));
    svg.open("g", &[("transform", &turn)]);
    svg.text((0.0, 4.0), text, TextStyle::new(LABEL, INK).at(anchor));
    svg.close("g");
}
