//! Line charts: losses over steps, tokens a round over tree sizes.

use super::{
    FAINT_INK, GRID, INK, SERIES, axis, measure,
    svg::{Anchor, Svg, TextStyle, n},
};

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct LineSeries {
    /// Name at its end.
    pub name: String,
    /// Points by rising x; a value that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over a common x.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// Line above.
    pub title: String,
    /// Smaller lines below the title.
    pub lines: Vec<String>,
    /// What x is, with its unit.
    pub x_label: String,
    /// What y is, with its unit.
    pub y_label: String,
    /// Lines; each has a colour, a dash and its name at the end.
    pub series: Vec<LineSeries>,
}

const MARGIN: f64 = 20.0;
const TITLE: f64 = 17.0;
const LABEL: f64 = 12.5;
const AXIS: f64 = 62.0;
const PLOT: (f64, f64) = (560.0, 320.0);
/// Lines with no more points than this have a dot at each.
const MOST_DOTS: usize = 24;
/// Least distance of two names at the right.
const NAME_PITCH: f64 = 16.0;
const DASHES: [&str; 4] = ["none", "8 4", "2 3", "10 3 2 3"];

/// From values to pixels.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    left: f64,
    top: f64,
}

impl Scale {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let part = |v: f64, (low, high): (f64, f64)| (v - low) / (high - low);
        (self.left + PLOT.0 * part(x, self.x), self.top + PLOT.1 * (1.0 - part(y, self.y)))
    }
}

fn finite((x, y): &(f64, f64)) -> bool {
    x.is_finite() && y.is_finite()
}

/// Least and largest, never equal; 0 to 1 of nothing.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    match (low <= high, low == high) {
        (false, _) => (0.0, 1.0),
        (true, true) => (low - 0.5 * low.abs().max(1.0), high + 0.5 * high.abs().max(1.0)),
        (true, false) => (low, high),
    }
}

impl LineChart {
    /// The picture as an SVG document.
    pub fn svg(&self) -> String {
        let names = self.series.iter().map(|s| measure::bold(&s.name, LABEL)).fold(0.0, f64::max);
        let left = MARGIN + AXIS;
        let width = (left + PLOT.0 + 12.0 + names + MARGIN)
            .max(measure::bold(&self.title, TITLE) + 2.0 * MARGIN);
        let mut svg = Svg::new();
        let mut top = MARGIN + TITLE;
        svg.text((MARGIN, top), &self.title, TextStyle::new(TITLE, INK).bold());
        for line in &self.lines {
            for part in measure::wrapped(line, LABEL, width - 2.0 * MARGIN) {
                top += LABEL * 1.5;
                svg.text((MARGIN, top), &part, TextStyle::new(LABEL, FAINT_INK));
            }
        }
        top += 22.0;
        let points = || self.series.iter().flat_map(|s| s.points.iter().filter(|p| finite(p)));
        let x = span(points().map(|p| p.0));
        let (low, high) = span(points().map(|p| p.1));
        let y_ticks = axis::ticks(low, high, 6);
        let ends = |ticks: &[f64]| (ticks[0], ticks[ticks.len() - 1]);
        let scale = Scale { x, y: ends(&y_ticks), left, top };
        self.draw_axes(&mut svg, &scale, &y_ticks);
        for (s, series) in self.series.iter().enumerate() {
            draw_line(&mut svg, &scale, s, series);
        }
        self.draw_names(&mut svg, &scale);
        let bottom = top + PLOT.1 + 46.0;
        svg.finish(width, bottom + MARGIN * 0.5, &self.title)
    }

    fn draw_axes(&self, svg: &mut Svg, scale: &Scale, y_ticks: &[f64]) {
        let right = scale.left + PLOT.0;
        let bottom = scale.top + PLOT.1;
        let step = y_ticks[1] - y_ticks[0];
        for &tick in y_ticks {
            let y = scale.at((scale.x.0, tick)).1;
            let (x1, x2, at) = (n(scale.left), n(right), n(y));
            svg.element(
                "line",
                &[("x1", &x1), ("x2", &x2), ("y1", &at), ("y2", &at), ("stroke", &GRID)],
            );
            let style = TextStyle::new(LABEL - 1.0, FAINT_INK).at(Anchor::End);
            svg.text((scale.left - 8.0, y + 4.0), &axis::label(tick, step), style);
        }
        let x_ticks = axis::ticks(scale.x.0, scale.x.1, 7);
        let step = x_ticks[1] - x_ticks[0];
        let within = |tick: &&f64| **tick >= scale.x.0 - 1e-9 && **tick <= scale.x.1 + 1e-9;
        for &tick in x_ticks.iter().filter(within) {
            let x = scale.at((tick, 0.0)).0;
            let (at, y1, y2) = (n(x), n(bottom), n(bottom + 5.0));
            svg.element(
                "line",
                &[("x1", &at), ("x2", &at), ("y1", &y1), ("y2", &y2), ("stroke", &INK)],
            );
            let style = TextStyle::new(LABEL - 1.0, FAINT_INK).at(Anchor::Middle);
            svg.text((x, bottom + 19.0), &axis::label(tick, step), style);
        }
        let (x1, x2, y) = (n(scale.left), n(right), n(bottom));
        svg.element("line", &[("x1", &x1), ("x2", &x2), ("y1", &y), ("y2", &y), ("stroke", &INK)]);
        let middle = TextStyle::new(LABEL, INK).at(Anchor::Middle);
        svg.text((scale.left + PLOT.0 / 2.0, bottom + 40.0), &self.x_label, middle);
        let turn =
            format!("translate({} {}) rotate(-90)", n(MARGIN + 4.0), n(scale.top + PLOT.1 / 2.0));
        svg.open("g", &[("transform", &turn)]);
        svg.text((0.0, 4.0), &self.y_label, middle);
        svg.close("g");
    }

    /// Names at the ends of the lines, moved apart where they would overlap.
    fn draw_names(&self, svg: &mut Svg, scale: &Scale) {
        let mut names: Vec<(f64, usize)> = Vec::new();
        for (s, series) in self.series.iter().enumerate() {
            if let Some(&last) = series.points.iter().rev().find(|p| finite(p)) {
                names.push((scale.at(last).1, s));
            }
        }
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total = NAME_PITCH * names.len() as f64;
        let mut y = f64::NEG_INFINITY;
        for (i, (wanted, s)) in names.into_iter().enumerate() {
            // Room for the names that still follow above the lower edge.
            let latest = scale.top + PLOT.1.max(total) - total + NAME_PITCH * (i + 1) as f64;
            y = (y + NAME_PITCH).max(wanted).min(latest);
            let style = TextStyle::new(LABEL, SERIES[(s + 1) % SERIES.len()]).bold();
            svg.text((scale.left + PLOT.0 + 10.0, y + 4.0), &self.series[s].name, style);
        }
    }
}

fn draw_line(svg: &mut Svg, scale: &Scale, s: usize, series: &LineSeries) {
    // Grey, the first colour, is for what others are compared with; lines have no such one.
    let colour = SERIES[(s + 1) % SERIES.len()];
    for part in series.points.split(|point| !finite(point)).filter(|part| !part.is_empty()) {
        let points: Vec<String> = part
            .iter()
            .map(|&point| {
                let (x, y) = scale.at(point);
                format!("{},{}", n(x), n(y))
            })
            .collect();
        svg.element(
            "polyline",
            &[
                ("points", &points.join(" ")),
                ("fill", &"none"),
                ("stroke", &colour),
                ("stroke-width", &"2"),
                ("stroke-dasharray", &DASHES[s % DASHES.len()]),
                ("stroke-linejoin", &"round"),
            ],
        );
    }
    if series.points.len() <= MOST_DOTS {
        for &point in series.points.iter().filter(|point| finite(point)) {
            let (x, y) = scale.at(point);
            svg.open("g", &[]);
            svg.title(&format!("{}: {}, {}", series.name, point.0, point.1));
            svg.element(
                "circle",
                &[("cx", &n(x)), ("cy", &n(y)), ("r", &"3.5"), ("fill", &colour)],
            );
            svg.close("g");
        }
    }
}
