//! A round as a picture: nodes coloured *and* shaped by what became of them, edges as wide as the
//! draft thought them likely.

use coppice::spec::{NodeOutcome, Source, Verdict, trace::TraceRound};
use egui::{
    Color32, FontId, Painter, Pos2, Rect, Sense, Stroke, StrokeKind, TextFormat, Ui, Vec2,
    WidgetInfo, text::LayoutJob,
};

use super::layout::places;
use crate::tokens::{self, Palette};

/// Distance of columns; a token's text stands between them.
const COLUMN: f32 = 112.0;
/// Distance of rows.
const ROW: f32 = 24.0;
/// Radius of a node.
const RADIUS: f32 = 7.0;
/// Longest text beside a node, in characters.
const TEXT: usize = 11;

/// What a node is drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Root,
    Accepted,
    Rejected,
    Outrun,
    Unreached,
    Bonus,
}

impl Look {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Root, "root"),
        (Self::Accepted, "accepted"),
        (Self::Rejected, "rejected"),
        (Self::Outrun, "outrun"),
        (Self::Unreached, "unreached"),
        (Self::Bonus, "bonus"),
    ];

    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Root => Self::Root,
            Verdict::Accepted => Self::Accepted,
            Verdict::Rejected { .. } | Verdict::BelowThreshold => Self::Rejected,
            Verdict::Outrun => Self::Outrun,
            Verdict::Unreached => Self::Unreached,
        }
    }

    fn color(self, palette: &Palette) -> Color32 {
        match self {
            Self::Root => palette.text,
            Self::Accepted => palette.accepted,
            Self::Rejected => palette.rejected,
            Self::Outrun => palette.corrected,
            Self::Unreached => palette.pending,
            Self::Bonus => palette.bonus,
        }
    }

    fn paint(self, painter: &Painter, at: Pos2, palette: &Palette) {
        let color = self.color(palette);
        let stroke = Stroke::new(1.5, color);
        let square = Rect::from_center_size(at, Vec2::splat(1.7 * RADIUS));
        match self {
            Self::Root | Self::Accepted => {
                painter.circle_filled(at, RADIUS, color);
            }
            Self::Rejected => {
                painter.rect_stroke(square, 2.0, stroke, StrokeKind::Middle);
                let cross = square.shrink(2.5);
                painter.line_segment([cross.left_top(), cross.right_bottom()], stroke);
                painter.line_segment([cross.left_bottom(), cross.right_top()], stroke);
            }
            Self::Outrun => {
                painter.rect_stroke(square, 2.0, stroke, StrokeKind::Middle);
            }
            Self::Unreached => {
                painter.circle_stroke(at, RADIUS * 0.75, Stroke::new(1.0, color));
            }
            Self::Bonus => {
                let r = RADIUS * 1.2;
                let points = [(0.0, -r), (r, 0.0), (0.0, r), (-r, 0.0)];
                let points = points.map(|(x, y)| at + egui::vec2(x, y)).to_vec();
                painter.add(egui::Shape::convex_polygon(points, color, Stroke::NONE));
            }
        }
    }
}

/// What the shapes mean.
pub(super) fn legend_ui(ui: &mut Ui) {
    let palette = tokens::palette(ui);
    ui.horizontal_wrapped(|ui| {
        for (look, name) in Look::ALL {
            let size = Vec2::splat(2.0 * RADIUS + 4.0);
            let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
            look.paint(ui.painter(), rect.center(), &palette);
            ui.label(egui::RichText::new(name).size(tokens::SMALL).color(palette.weak));
        }
    });
}

/// Draws the tree of a round; each node has a name for screen readers and a card of figures.
pub(super) fn round_ui(ui: &mut Ui, round: &TraceRound) {
    let palette = tokens::palette(ui);
    let nodes = &round.outcome.nodes;
    let parents: Vec<Option<u32>> = nodes.iter().map(|node| node.parent).collect();
    let (places, rows) = places(&parents);
    let columns = places.iter().map(|place| place.column).max().unwrap_or(0) + 2;
    let size = egui::vec2(columns as f32 * COLUMN, (rows as f32 + 1.0) * ROW);
    let (area, _) = ui.allocate_exact_size(size.max(ui.available_size()), Sense::hover());
    let at = |column: usize, row: f32| {
        area.min + egui::vec2(RADIUS * 2.0 + column as f32 * COLUMN, (row + 0.8) * ROW)
    };
    let painter = ui.painter().clone();
    let on_path = |n: usize| round.outcome.path.contains(&(n as u32));
    for (n, node) in nodes.iter().enumerate() {
        let Some(parent) = node.parent.map(|parent| parent as usize) else { continue };
        let color = if on_path(n) { palette.accepted } else { palette.outline };
        let width = 1.0 + 4.0 * node.draft_p.unwrap_or(0.0).clamp(0.0, 1.0);
        let ends = [&places[parent], &places[n]].map(|place| at(place.column, place.row));
        edge(&painter, ends, Stroke::new(width, color));
    }
    let last = round.outcome.path.last().map_or(0, |&last| last as usize);
    if let Some(place) = places.get(last) {
        // Behind a leaf there is room; behind other nodes it gets a row of its own.
        let leaf = !parents.contains(&Some(last as u32));
        let row = if leaf { place.row } else { rows as f32 - 0.2 };
        let to = at(place.column + 1, row);
        edge(&painter, [at(place.column, place.row), to], Stroke::new(1.5, palette.bonus));
        let name = format!("Bonus {:?}, chosen by the model", round.bonus_text);
        node_ui(ui, to, Look::Bonus, &round.bonus_text, &name).on_hover_text(&name);
    }
    for (n, (node, place)) in nodes.iter().zip(&places).enumerate() {
        let look = Look::of(node.verdict);
        let name = describe(node, &round.texts[n]);
        let response = node_ui(ui, at(place.column, place.row), look, &round.texts[n], &name);
        response.on_hover_ui(|ui| card_ui(ui, round, n));
    }
}

fn edge(painter: &Painter, [from, to]: [Pos2; 2], stroke: Stroke) {
    let middle = (to.x - from.x) * 0.5;
    let points = [from, from + egui::vec2(middle, 0.0), to - egui::vec2(middle, 0.0), to];
    painter.add(egui::epaint::CubicBezierShape::from_points_stroke(
        points,
        false,
        Color32::TRANSPARENT,
        stroke,
    ));
}

fn node_ui(ui: &mut Ui, at: Pos2, look: Look, text: &str, name: &str) -> egui::Response {
    let palette = tokens::palette(ui);
    let mut shown: String = text.chars().take(TEXT).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let mut job = LayoutJob::default();
    let struck = if look == Look::Rejected { 1.0 } else { 0.0 };
    let color = if look == Look::Unreached { palette.weak } else { palette.text };
    let format = TextFormat {
        font_id: FontId::monospace(11.5),
        color,
        strikethrough: Stroke::new(struck, palette.rejected),
        ..TextFormat::default()
    };
    job.append(&shown.replace('\n', "¶"), 0.0, format);
    let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
    let corner = at + egui::vec2(RADIUS + 4.0, -galley.size().y / 2.0);
    let rect = Rect::from_center_size(at, Vec2::splat(2.0 * RADIUS))
        .union(Rect::from_min_size(corner, galley.size()));
    let ground = Rect::from_min_size(corner, galley.size()).expand(1.0);
    // The text stands on the edge that goes on behind it.
    ui.painter().rect_filled(ground, 2.0, palette.background.gamma_multiply(0.85));
    look.paint(ui.painter(), at, &palette);
    ui.painter().galley(corner, galley, color);
    let id = ui.scope_id().with((name, at.x as i32, at.y as i32));
    let response = ui.interact(rect, id, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Label, true, name));
    response
}

/// A node in words.
fn describe(node: &NodeOutcome, text: &str) -> String {
    let mut name = format!("Node {text:?}, {}", source(node.source));
    if let Some(p) = node.draft_p {
        name.push_str(&format!(", p {p:.2}"));
    }
    name.push_str(&format!(", {}", verdict(node.verdict)));
    name
}

fn source(source: Source) -> String {
    match source {
        Source::Root => "root".into(),
        Source::Head(head) => format!("head {}", head + 1),
        Source::Lookup => "lookup".into(),
        Source::Rest => "datastore".into(),
        Source::Draft => "draft model".into(),
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Root => "chosen in the round before",
        Verdict::Accepted => "accepted",
        Verdict::Rejected { .. } => "rejected",
        Verdict::BelowThreshold => "below the threshold",
        Verdict::Outrun => "passed, but another path was better",
        Verdict::Unreached => "never looked at: its parent was not kept",
    }
}

fn card_ui(ui: &mut Ui, round: &TraceRound, n: usize) {
    let node = &round.outcome.nodes[n];
    let why = match node.verdict {
        Verdict::Rejected { wanted } => match round.text_of(wanted) {
            Some(text) => format!("rejected: the model chose {text:?}"),
            None => format!("rejected: the model chose token {wanted}"),
        },
        other => verdict(other).to_owned(),
    };
    let p = |p: Option<f32>| p.map_or_else(|| "not read back".to_owned(), |p| format!("{p:.4}"));
    let rows = [
        ("Token", format!("{:?} ({})", round.texts[n], node.token)),
        ("Guessed by", format!("{}, rank {}", source(node.source), node.rank + 1)),
        ("Depth", node.depth.to_string()),
        ("Draft p", p(node.draft_p)),
        ("Model p", p(node.target_p)),
        ("Threshold", node.threshold.map_or_else(|| "none".to_owned(), |t| format!("{t:.4}"))),
        (
            "Entropy after it",
            node.entropy.map_or_else(|| "not read back".into(), |e| format!("{e:.2} nats")),
        ),
        ("Verdict", why),
    ];
    egui::Grid::new("card").num_columns(2).spacing([12.0, 2.0]).show(ui, |ui| {
        for (name, value) in rows {
            ui.weak(name);
            ui.label(value);
            ui.end_row();
        }
    });
}
