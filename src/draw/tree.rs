//! A tree of tokens from left to right: a column a depth, a row a leaf, parents centred before
//! their children.

use std::collections::BTreeMap;

use super::{
    FAINT_INK, GRID, INK, measure,
    svg::{Svg, TextStyle, n},
};

/// What became of a node; each has a colour, an outline and a sign of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Where the round started.
    Root,
    /// Kept.
    Accepted,
    /// The token the target chose behind the kept path.
    Bonus,
    /// Tested, and another token was chosen.
    Rejected,
    /// Tested, and too unlikely.
    BelowThreshold,
    /// Passed, but another path was kept.
    Outrun,
    /// Never tested.
    Unreached,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Root,
        Self::Accepted,
        Self::Bonus,
        Self::Rejected,
        Self::BelowThreshold,
        Self::Outrun,
        Self::Unreached,
    ];

    /// In words, for the legend.
    fn words(self) -> &'static str {
        match self {
            Self::Root => "root, certain before",
            Self::Accepted => "accepted",
            Self::Bonus => "bonus, the target's own",
            Self::Rejected => "rejected",
            Self::BelowThreshold => "below the threshold",
            Self::Outrun => "passed, not kept",
            Self::Unreached => "not reached",
        }
    }

    fn stroke(self) -> &'static str {
        match self {
            Self::Root => INK,
            Self::Accepted => "#009e73",
            Self::Bonus => "#0072b2",
            Self::Rejected => "#d55e00",
            Self::BelowThreshold => "#b87700",
            Self::Outrun => "#b0568a",
            Self::Unreached => "#a7adb6",
        }
    }

    fn fill(self) -> &'static str {
        match self {
            Self::Root => "#eceef1",
            Self::Accepted => "#e0f4ed",
            Self::Bonus => "#e1effa",
            Self::Rejected => "#fdeee5",
            Self::BelowThreshold => "#fdf4e1",
            Self::Outrun => "#f9eaf3",
            Self::Unreached => "#ffffff",
        }
    }

    fn dashes(self) -> &'static str {
        match self {
            Self::Unreached => "3 3",
            Self::Outrun => "7 3",
            _ => "none",
        }
    }

    fn is_kept(self) -> bool {
        matches!(self, Self::Root | Self::Accepted | Self::Bonus)
    }
}

/// A node of the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeNode {
    /// Index of the parent, which comes before it; the first node has none.
    pub parent: Option<usize>,
    /// Token.
    pub text: String,
    /// Small line below the token.
    pub caption: String,
    /// All there is to know, shown when pointed at.
    pub details: String,
    /// What became of it.
    pub state: State,
    /// Probability given its parent, which the width of its edge shows.
    pub p: Option<f32>,
}

/// A picture of a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// Line above.
    pub title: String,
    /// Smaller lines below the title.
    pub lines: Vec<String>,
    /// Heads of the columns, from depth 0; missing ones stay empty.
    pub columns: Vec<String>,
    /// Nodes, parents first. Not empty.
    pub nodes: Vec<TreeNode>,
}

const MARGIN: f64 = 20.0;
const TITLE: f64 = 17.0;
const LINE: f64 = 12.5;
const TOKEN: f64 = 13.5;
const CAPTION: f64 = 10.5;
const BOX_HEIGHT: f64 = 36.0;
const ROW: f64 = 44.0;
const GAP: f64 = 58.0;
/// Room for the sign before the token.
const SIGN: f64 = 24.0;
const PAD: f64 = 9.0;
/// Characters of a token that are shown; all of them are in the details.
const MOST_CHARS: usize = 24;
const LEAST_WIDTH: f64 = 560.0;

/// Where a node is: its column, and its row in units of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) column: usize,
    pub(super) row: f64,
}

/// Places of nodes: leaves take rows of their own in the order of a walk, parents stand in the
/// middle of their first and last child. Subtrees share no row, so nothing can overlap.
pub(super) fn layout(parents: &[Option<usize>]) -> Vec<Place> {
    let mut children = vec![Vec::new(); parents.len()];
    let mut columns = vec![0; parents.len()];
    for (node, parent) in parents.iter().enumerate() {
        if let Some(parent) = *parent {
            children[parent].push(node);
            columns[node] = columns[parent] + 1;
        }
    }
    let mut rows = vec![0.0; parents.len()];
    let mut next = 0.0;
    let roots = parents.iter().enumerate().filter(|(_, parent)| parent.is_none());
    let mut walk: Vec<usize> = roots.map(|(node, _)| node).rev().collect();
    while let Some(node) = walk.pop() {
        if children[node].is_empty() {
            rows[node] = next;
            next += 1.0;
        }
        walk.extend(children[node].iter().rev());
    }
    for node in (0..parents.len()).rev() {
        if let (Some(&first), Some(&last)) = (children[node].first(), children[node].last()) {
            rows[node] = (rows[first] + rows[last]) / 2.0;
        }
    }
    columns.into_iter().zip(rows).map(|(column, row)| Place { column, row }).collect()
}

/// A box in pixels.
#[derive(Clone, Copy)]
struct Frame {
    x: f64,
    y: f64,
    width: f64,
}

impl Frame {
    fn middle(&self) -> f64 {
        self.y + BOX_HEIGHT / 2.0
    }

    fn right(&self) -> f64 {
        self.x + self.width
    }
}

impl Tree {
    /// The picture as an SVG document.
    pub fn svg(&self) -> String {
        let parents: Vec<_> = self.nodes.iter().map(|node| node.parent).collect();
        let places = layout(&parents);
        let shown: Vec<String> = self
            .nodes
            .iter()
            .map(|node| measure::shortened(&measure::visible(&node.text), MOST_CHARS))
            .collect();
        let columns = 1 + places.iter().map(|place| place.column).max().unwrap_or(0);
        let mut widths = vec![0f64; columns];
        for ((node, place), text) in self.nodes.iter().zip(&places).zip(&shown) {
            let text = measure::mono(text, TOKEN).max(measure::sans(&node.caption, CAPTION));
            let width = &mut widths[place.column];
            *width = width.max(SIGN + text + PAD);
        }
        for (width, head) in widths.iter_mut().zip(&self.columns) {
            *width = width.max(measure::bold(head, LINE));
        }
        let mut lefts = Vec::with_capacity(columns);
        let mut x = MARGIN;
        for width in &widths {
            lefts.push(x);
            x += width + GAP;
        }
        let legend = self.legend();
        let title = measure::bold(&self.title, TITLE);
        let width = (x - GAP).max(title + MARGIN).max(LEAST_WIDTH) + MARGIN;
        let mut svg = Svg::new();
        let top = self.draw_head(&mut svg, width, &lefts);
        let rows = places.iter().map(|place| place.row).fold(0.0, f64::max) + 1.0;
        let frames: Vec<Frame> = places
            .iter()
            .map(|place| Frame {
                x: lefts[place.column],
                y: top + place.row * ROW,
                width: widths[place.column],
            })
            .collect();
        self.draw_edges(&mut svg, &frames);
        for ((node, frame), text) in self.nodes.iter().zip(&frames).zip(&shown) {
            draw_node(&mut svg, node, *frame, text);
        }
        let bottom = draw_legend(&mut svg, &legend, top + rows * ROW + 6.0, width);
        svg.finish(width, bottom + MARGIN, &self.title)
    }

    /// Title, lines and column heads; gives where the nodes begin.
    fn draw_head(&self, svg: &mut Svg, width: f64, lefts: &[f64]) -> f64 {
        let mut y = MARGIN + TITLE;
        svg.text((MARGIN, y), &self.title, TextStyle::new(TITLE, INK).bold());
        for line in &self.lines {
            for part in measure::wrapped(line, LINE, width - 2.0 * MARGIN) {
                y += LINE * 1.5;
                svg.text((MARGIN, y), &part, TextStyle::new(LINE, FAINT_INK));
            }
        }
        y += LINE * 2.4;
        for (head, &left) in self.columns.iter().zip(lefts) {
            svg.text((left, y), head, TextStyle::new(LINE, FAINT_INK).bold());
        }
        y += 7.0;
        let (x1, x2, y) = (n(MARGIN), n(width - MARGIN), y);
        svg.element(
            "line",
            &[("x1", &x1), ("x2", &x2), ("y1", &n(y)), ("y2", &n(y)), ("stroke", &GRID)],
        );
        y + 12.0
    }

    fn draw_edges(&self, svg: &mut Svg, frames: &[Frame]) {
        // Kept edges last, so that nothing crosses over them.
        let kept = |node: &TreeNode| node.state.is_kept();
        let (over, under): (Vec<_>, Vec<_>) =
            self.nodes.iter().zip(frames).partition(|(node, _)| kept(node));
        for (node, frame) in under.into_iter().chain(over) {
            let Some(parent) = node.parent else { continue };
            let from = &frames[parent];
            let (x1, y1) = (from.right(), from.middle());
            let (x2, y2) = (frame.x, frame.middle());
            let bend = (x2 - x1) * 0.5;
            let path = format!(
                "M{} {}C{} {} {} {} {} {}",
                n(x1),
                n(y1),
                n(x1 + bend),
                n(y1),
                n(x2 - bend),
                n(y2),
                n(x2),
                n(y2)
            );
            let colour = node.state.stroke();
            if kept(node) {
                svg.element(
                    "path",
                    &[
                        ("d", &path),
                        ("fill", &"none"),
                        ("stroke", &colour),
                        ("stroke-width", &n(edge_width(node) + 7.0)),
                        ("stroke-opacity", &"0.18"),
                    ],
                );
            }
            svg.element(
                "path",
                &[
                    ("d", &path),
                    ("fill", &"none"),
                    ("stroke", &colour),
                    ("stroke-width", &n(edge_width(node))),
                    ("stroke-dasharray", &if node.p.is_some() { "none" } else { "2 4" }),
                ],
            );
        }
    }

    /// States that occur, in order.
    fn legend(&self) -> Vec<State> {
        let present = |state: &State| self.nodes.iter().any(|node| node.state == *state);
        State::ALL.into_iter().filter(present).collect()
    }
}

/// Width of the edge to a node; a dotted one where no probability is known.
fn edge_width(node: &TreeNode) -> f64 {
    1.0 + 6.0 * f64::from(node.p.unwrap_or(0.08).clamp(0.0, 1.0))
}

fn draw_node(svg: &mut Svg, node: &TreeNode, frame: Frame, text: &str) {
    let state = node.state;
    svg.open("g", &[]);
    svg.title(&node.details);
    draw_box(svg, state, frame);
    draw_sign(svg, state, frame.x + SIGN / 2.0 + 1.0, frame.middle());
    let x = frame.x + SIGN;
    let ink = if state == State::Unreached { FAINT_INK } else { INK };
    let token = TextStyle {
        // A stroke through a comma would hide it.
        strike: state == State::Rejected && node.text.chars().any(char::is_alphanumeric),
        bold: state.is_kept(),
        ..TextStyle::new(TOKEN, ink).mono()
    };
    let baseline = if node.caption.is_empty() { frame.middle() + 4.5 } else { frame.y + 16.0 };
    svg.text((x, baseline), text, token);
    if !node.caption.is_empty() {
        svg.text((x, frame.y + 29.5), &node.caption, TextStyle::new(CAPTION, FAINT_INK));
    }
    svg.close("g");
}

/// The outline: round for what was kept, cut corners for what the target chose itself, square for
/// the rest.
fn draw_box(svg: &mut Svg, state: State, frame: Frame) {
    let width = if state.is_kept() { "2.2" } else { "1.3" };
    let radius = match state {
        State::Root => BOX_HEIGHT / 2.0,
        State::Accepted => 9.0,
        _ => 1.5,
    };
    let looks: [(&str, &dyn std::fmt::Display); 4] = [
        ("fill", &state.fill()),
        ("stroke", &state.stroke()),
        ("stroke-width", &width),
        ("stroke-dasharray", &state.dashes()),
    ];
    if state == State::Bonus {
        let (l, r, t, b, c) = (frame.x, frame.right(), frame.y, frame.y + BOX_HEIGHT, 9.0);
        let corners = [
            (l + c, t),
            (r - c, t),
            (r, t + c),
            (r, b - c),
            (r - c, b),
            (l + c, b),
            (l, b - c),
            (l, t + c),
        ];
        let points = corners.map(|(x, y)| format!("{},{}", n(x), n(y))).join(" ");
        let mut attributes: Vec<(&str, &dyn std::fmt::Display)> = vec![("points", &points)];
        attributes.extend(looks);
        svg.element("polygon", &attributes);
        return;
    }
    let (x, y, w, h, r) = (n(frame.x), n(frame.y), n(frame.width), n(BOX_HEIGHT), n(radius));
    let mut attributes: Vec<(&str, &dyn std::fmt::Display)> =
        vec![("x", &x), ("y", &y), ("width", &w), ("height", &h), ("rx", &r)];
    attributes.extend(looks);
    svg.element("rect", &attributes);
}

/// The sign of a state around a point.
fn draw_sign(svg: &mut Svg, state: State, x: f64, y: f64) {
    let path = match state {
        State::Root => "M-3.5 -4.5L4.5 0L-3.5 4.5Z",
        State::Accepted => "M-5 0.5L-1.5 4L5 -4",
        State::Bonus => "M0 -6L1.6 -1.6L6 0L1.6 1.6L0 6L-1.6 1.6L-6 0L-1.6 -1.6Z",
        State::Rejected => "M-4 -4L4 4M4 -4L-4 4",
        State::BelowThreshold => "M-5 -3.5L5 -3.5L0 5Z",
        State::Outrun => "M-5 -4L-1 0L-5 4M0 -4L4 0L0 4",
        State::Unreached => "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0",
    };
    let solid = matches!(state, State::Root | State::Bonus | State::BelowThreshold);
    svg.element(
        "path",
        &[
            ("d", &path),
            ("transform", &format!("translate({} {})", n(x), n(y))),
            ("fill", &if solid { state.stroke() } else { "none" }),
            ("stroke", &state.stroke()),
            ("stroke-width", &if solid { "0" } else { "2" }),
            ("stroke-linecap", &"round"),
            ("stroke-linejoin", &"round"),
        ],
    );
}

/// States and what the edges say, wrapped to the width; gives the bottom.
fn draw_legend(svg: &mut Svg, states: &[State], top: f64, width: f64) -> f64 {
    const HEIGHT: f64 = 22.0;
    let (x1, x2) = (n(MARGIN), n(width - MARGIN));
    svg.element(
        "line",
        &[("x1", &x1), ("x2", &x2), ("y1", &n(top)), ("y2", &n(top)), ("stroke", &GRID)],
    );
    let (mut x, mut y) = (MARGIN, top + 20.0);
    for &state in states {
        let item = SIGN + measure::sans(state.words(), LINE) + 10.0;
        if x + item > width - MARGIN {
            (x, y) = (MARGIN, y + HEIGHT);
        }
        draw_sign(svg, state, x + 8.0, y - 4.0);
        svg.text((x + SIGN - 2.0, y), state.words(), TextStyle::new(LINE, INK));
        x += item;
    }
    let edges = "Edges are as wide as the draft's probability; dotted: none known.";
    for line in measure::wrapped(edges, CAPTION + 0.5, width - 2.0 * MARGIN) {
        y += HEIGHT * 0.86;
        svg.text((MARGIN, y), &line, TextStyle::new(CAPTION + 0.5, FAINT_INK));
    }
    y
}

/// Heads of columns by depth, for callers that number sources by depth.
pub(super) fn column_heads(names: BTreeMap<usize, Vec<String>>) -> Vec<String> {
    let last = names.keys().next_back().map_or(0, |&depth| depth + 1);
    (0..last).map(|depth| names.get(&depth).map_or_else(String::new, |n| n.join(", "))).collect()
}
