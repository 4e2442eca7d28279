//! A round as geometry: where nodes, edges and texts go at full size. The screen and exported files
//! draw the same picture.

use coppice::spec::trace::TraceRound;
use egui::{Pos2, Vec2, pos2};

use super::{
    layout::{Place, places},
    look::{Look, RADIUS, describe},
};

/// Distance of columns; a token's text stands between them.
const COLUMN: f32 = 112.0;
/// Distance of rows.
const ROW: f32 = 24.0;
/// Longest text beside a node, in characters.
const TEXT: usize = 11;

/// A node.
pub(super) struct Spot {
    /// Index in the round; none for the bonus.
    pub(super) node: Option<usize>,
    pub(super) at: Pos2,
    pub(super) look: Look,
    /// Text beside it, cut to what there is room for.
    pub(super) text: String,
    /// Whole text and figures, for screen readers.
    pub(super) name: String,
}

/// A line from a node to its child.
pub(super) struct Edge {
    pub(super) ends: [Pos2; 2],
    pub(super) kind: EdgeKind,
    pub(super) width: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EdgeKind {
    Kept,
    Other,
    Bonus,
}

/// A round.
pub(super) struct Picture {
    pub(super) spots: Vec<Spot>,
    pub(super) edges: Vec<Edge>,
    pub(super) size: Vec2,
}

impl Picture {
    pub(super) fn of(round: &TraceRound) -> Self {
        let nodes = &round.outcome.nodes;
        let parents: Vec<Option<u32>> = nodes.iter().map(|node| node.parent).collect();
        let last = round.outcome.path.last().map_or(0, |&last| last as usize);
        let (places, bonus, rows) = with_bonus(&parents, last);
        let all = places.iter().chain(&bonus);
        let columns = all.map(|place| place.column).max().unwrap_or(0) + 1;
        let at = |column: usize, row: f32| {
            pos2(RADIUS * 2.0 + column as f32 * COLUMN, (row + 0.8) * ROW)
        };
        let mut edges = Vec::with_capacity(nodes.len());
        for (n, node) in nodes.iter().enumerate() {
            let Some(parent) = node.parent.map(|parent| parent as usize) else { continue };
            let kept = round.outcome.path.contains(&(n as u32));
            edges.push(Edge {
                ends: [&places[parent], &places[n]].map(|place| at(place.column, place.row)),
                kind: if kept { EdgeKind::Kept } else { EdgeKind::Other },
                width: 1.0 + 4.0 * node.draft_p.unwrap_or(0.0).clamp(0.0, 1.0),
            });
        }
        let mut spots = Vec::with_capacity(nodes.len() + 1);
        if let Some(bonus) = bonus {
            let to = at(bonus.column, bonus.row);
            let ends = [at(places[last].column, places[last].row), to];
            edges.push(Edge { ends, kind: EdgeKind::Bonus, width: 1.5 });
            spots.push(Spot {
                node: None,
                at: to,
                look: Look::Bonus,
                text: short(&round.bonus_text),
                name: format!("Bonus {:?}, chosen by the model", round.bonus_text),
            });
        }
        for (n, (node, place)) in nodes.iter().zip(&places).enumerate() {
            spots.push(Spot {
                node: Some(n),
                at: at(place.column, place.row),
                look: Look::of(node.verdict),
                text: short(&round.texts[n]),
                name: describe(node, &round.texts[n]),
            });
        }
        let size = egui::vec2(columns as f32 * COLUMN, (rows as f32 + 1.0) * ROW);
        Self { spots, edges, size }
    }
}

/// Places of nodes, and of a bonus behind the node `last`: a leaf in the middle of that node's
/// children, so that it stands near it however many there are. Gives the number of rows as well.
fn with_bonus(parents: &[Option<u32>], last: usize) -> (Vec<Place>, Option<Place>, usize) {
    let (alone, rows) = places(parents);
    let Some(middle) = alone.get(last).map(|place| place.row) else { return (alone, None, rows) };
    let above = |&child: &usize| parents[child] == Some(last as u32) && alone[child].row <= middle;
    let slot = (last + 1..parents.len()).rfind(above).unwrap_or(last) + 1;
    let moved = |parent: u32| if parent as usize >= slot { parent + 1 } else { parent };
    let mut parents: Vec<_> = parents.iter().map(|parent| parent.map(moved)).collect();
    parents.insert(slot, Some(last as u32));
    let (mut placed, rows) = places(&parents);
    let bonus = placed.remove(slot);
    (placed, Some(bonus), rows)
}

/// What fits beside a node.
fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(TEXT).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.replace('\n', "¶")
}

/// Control points of an edge: it leaves and arrives level.
pub(super) fn bends([from, to]: [Pos2; 2]) -> [Pos2; 4] {
    let middle = egui::vec2((to.x - from.x) * 0.5, 0.0);
    [from, from + middle, to - middle, to]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bonus_stands_near_its_node_and_nothing_overlaps() {
        let mut behind_many = 0;
        for round in &crate::demo::trace().rounds {
            let picture = Picture::of(round);
            let nodes = &round.outcome.nodes;
            let last = *round.outcome.path.last().expect("the root is kept");
            let spot = |node: Option<usize>| {
                picture.spots.iter().find(|spot| spot.node == node).expect("it is drawn").at
            };
            let (bonus, parent) = (spot(None), spot(Some(last as usize)));
            assert_eq!(bonus.x - parent.x, COLUMN);
            let children: Vec<f32> = (0..nodes.len())
                .filter(|&n| nodes[n].parent == Some(last))
                .map(|n| spot(Some(n)).y)
                .collect();
            behind_many += usize::from(children.len() > 4);
            let (low, high) = (parent.y.min(bonus.y), parent.y.max(bonus.y));
            let between = children.iter().filter(|&&y| y > low && y < high).count();
            assert!(between <= 1, "{between} of {} children between", children.len());
            let corner = picture.size.to_pos2();
            for (n, one) in picture.spots.iter().enumerate() {
                assert!(one.at.x < corner.x && one.at.y < corner.y, "{} is outside", one.name);
                for other in &picture.spots[n + 1..] {
                    let apart = (one.at.y - other.at.y).abs() > 0.99 * ROW;
                    assert!(one.at.x != other.at.x || apart, "{} on {}", one.name, other.name);
                }
            }
        }
        assert!(behind_many > 0, "the demonstration has such a round");
    }
}
