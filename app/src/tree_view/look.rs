//! What a node is drawn as: a colour *and* a shape for what became of it, the same on screen and in
//! files.

use coppice::spec::{NodeOutcome, Source, Verdict, trace::TraceRound};
use egui::{Color32, Painter, Pos2, Rect, Stroke, StrokeKind, Vec2};

use crate::tokens::Palette;

/// Radius of a node at full size.
pub(super) const RADIUS: f32 = 7.0;

/// Colour and shape of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Root,
    Accepted,
    Rejected,
    Outrun,
    Unreached,
    Bonus,
}

impl Look {
    pub(super) const ALL: [(Self, &'static str); 6] = [
        (Self::Root, "root"),
        (Self::Accepted, "accepted"),
        (Self::Rejected, "rejected"),
        (Self::Outrun, "outrun"),
        (Self::Unreached, "unreached"),
        (Self::Bonus, "bonus"),
    ];

    pub(super) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Root => Self::Root,
            Verdict::Accepted => Self::Accepted,
            Verdict::Rejected { .. } | Verdict::BelowThreshold => Self::Rejected,
            Verdict::Outrun => Self::Outrun,
            Verdict::Unreached => Self::Unreached,
        }
    }

    pub(super) fn color(self, palette: &Palette) -> Color32 {
        match self {
            Self::Root => palette.text,
            Self::Accepted => palette.accepted,
            Self::Rejected => palette.rejected,
            Self::Outrun => palette.corrected,
            Self::Unreached => palette.pending,
            Self::Bonus => palette.bonus,
        }
    }

    /// Draws the shape, `scale` times its full size.
    pub(super) fn paint(self, painter: &Painter, at: Pos2, scale: f32, palette: &Palette) {
        let color = self.color(palette);
        let radius = RADIUS * scale;
        let stroke = Stroke::new(1.5 * scale.max(0.6), color);
        let square = Rect::from_center_size(at, Vec2::splat(1.7 * radius));
        match self {
            Self::Root | Self::Accepted => {
                painter.circle_filled(at, radius, color);
            }
            Self::Rejected => {
                painter.rect_stroke(square, 2.0 * scale, stroke, StrokeKind::Middle);
                let cross = square.shrink(2.5 * scale);
                painter.line_segment([cross.left_top(), cross.right_bottom()], stroke);
                painter.line_segment([cross.left_bottom(), cross.right_top()], stroke);
            }
            Self::Outrun => {
                painter.rect_stroke(square, 2.0 * scale, stroke, StrokeKind::Middle);
            }
            Self::Unreached => {
                painter.circle_stroke(at, radius * 0.75, Stroke::new(1.0, color));
            }
            Self::Bonus => {
                let points = diamond(radius).map(|(x, y)| at + egui::vec2(x, y)).to_vec();
                painter.add(egui::Shape::convex_polygon(points, color, Stroke::NONE));
            }
        }
    }
}

/// Corners of the bonus, around its middle.
pub(super) fn diamond(radius: f32) -> [(f32, f32); 4] {
    let r = radius * 1.2;
    [(0.0, -r), (r, 0.0), (0.0, r), (-r, 0.0)]
}

/// A node in words, for screen readers.
pub(super) fn describe(node: &NodeOutcome, text: &str) -> String {
    let mut name = format!("Node {text:?}, {}", source(node.source));
    if let Some(p) = node.draft_p {
        name.push_str(&format!(", p {p:.2}"));
    }
    name.push_str(&format!(", {}", verdict(node.verdict)));
    name
}

/// Who guessed, in words.
pub fn source(source: Source) -> String {
    match source {
        Source::Root => "root".into(),
        Source::Head(head) => format!("head {}", head + 1),
        Source::Lookup => "lookup".into(),
        Source::Rest => "datastore".into(),
        Source::Draft => "draft model".into(),
    }
}

pub(super) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Root => "chosen in the round before",
        Verdict::Accepted => "accepted",
        Verdict::Rejected { .. } => "rejected",
        Verdict::BelowThreshold => "below the threshold",
        Verdict::Outrun => "passed, but another path was better",
        Verdict::Unreached => "never looked at: its parent was not kept",
    }
}

/// Everything that is known of a node, as names and values.
pub(super) fn facts(round: &TraceRound, n: usize) -> Vec<(&'static str, String)> {
    let node = &round.outcome.nodes[n];
    let p = |p: Option<f32>| p.map_or_else(|| "not read back".to_owned(), |p| format!("{p:.4}"));
    let guessed = match node.source {
        Source::Root => "nobody: the root".to_owned(),
        other => format!("{}, rank {}", source(other), node.rank + 1),
    };
    vec![
        ("Token", format!("{:?} ({})", round.texts[n], node.token)),
        ("Guessed by", guessed),
        ("Depth", node.depth.to_string()),
        ("Draft p", p(node.draft_p)),
        (
            "Path p",
            path_p(&round.outcome.nodes, n)
                .map_or_else(|| "not known".into(), |p| format!("{p:.4}")),
        ),
        ("Model p", p(node.target_p)),
        ("Threshold", node.threshold.map_or_else(|| "none".to_owned(), |t| format!("{t:.4}"))),
        (
            "Entropy after it",
            node.entropy.map_or_else(|| "not read back".into(), |e| format!("{e:.2} nats")),
        ),
        ("Verdict", why(round, n)),
    ]
}

/// Why a node was kept or not.
fn why(round: &TraceRound, n: usize) -> String {
    let node = &round.outcome.nodes[n];
    match (node.verdict, node.target_p, node.threshold) {
        (Verdict::Rejected { wanted }, _, _) => match round.text_of(wanted) {
            Some(text) => format!("rejected: the model chose {text:?}"),
            None => format!("rejected: the model chose token {wanted}"),
        },
        (Verdict::BelowThreshold, Some(p), Some(t)) => {
            format!("rejected: {p:.4} does not pass {t:.4}")
        }
        (Verdict::Accepted, Some(p), Some(t)) => format!("accepted: {p:.4} passes {t:.4}"),
        (other, _, _) => verdict(other).to_owned(),
    }
}

/// Probability that the draft gave to the whole path to a node; none where a part of it is unknown.
pub(crate) fn path_p(nodes: &[NodeOutcome], n: usize) -> Option<f32> {
    let mut p = 1.0;
    let mut at = n;
    while let Some(parent) = nodes[at].parent {
        p *= nodes[at].draft_p?;
        at = parent as usize;
    }
    Some(p)
}
