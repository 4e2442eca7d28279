//! The picture on screen: nodes with names, cards and searches, at any scale.

use coppice::spec::trace::TraceRound;
use egui::{
    Color32, FontId, Painter, Pos2, Rect, Sense, Stroke, TextFormat, Ui, Vec2, WidgetInfo,
    text::LayoutJob,
};

use super::{
    camera::View,
    look::{Look, RADIUS, facts},
    picture::{Edge, EdgeKind, Picture, Spot, bends},
};
use crate::tokens::{self, Palette};

/// Narrowest panel with a legend of its own.
const WIDE: f32 = 560.0;
/// Smallest text that is drawn.
const SMALLEST: f32 = 5.0;

/// What the shapes mean; where there is little room, for the pointer over a word.
pub(super) fn legend_ui(ui: &mut Ui) {
    if ui.max_rect().width() < WIDE {
        ui.weak("Legend").on_hover_ui(|ui| {
            for (look, name) in Look::ALL {
                ui.horizontal(|ui| entry_ui(ui, look, name));
            }
        });
    } else {
        ui.spacing_mut().item_spacing.x = 4.0;
        Look::ALL.into_iter().for_each(|(look, name)| entry_ui(ui, look, name));
    }
}

fn entry_ui(ui: &mut Ui, look: Look, name: &str) {
    let palette = tokens::palette(ui);
    let size = Vec2::splat(2.0 * RADIUS + 4.0);
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    look.paint(ui.painter(), rect.center(), 1.0, &palette);
    ui.label(egui::RichText::new(name).size(tokens::SMALL).color(palette.weak));
}

/// Draws a picture in a panel; gives the node that was clicked. Nodes of `marked` are ringed.
pub(super) fn picture_ui(
    ui: &mut Ui,
    panel: Rect,
    (picture, view): (&Picture, View),
    round: &TraceRound,
    marked: &[usize],
) -> Option<usize> {
    let palette = tokens::palette(ui);
    let mut ui = ui.new_child(egui::UiBuilder::new().id_salt("picture").max_rect(panel));
    // Nodes beyond the panel must neither be drawn nor be clicked.
    ui.shrink_clip_rect(panel);
    let ui = &mut ui;
    let painter = ui.painter().clone();
    for edge in &picture.edges {
        paint_edge(&painter, edge, panel, view, &palette);
    }
    let mut clicked = None;
    for spot in &picture.spots {
        let at = view.at(panel, spot.at);
        if let Some(node) = spot.node
            && marked.contains(&node)
        {
            let ring = Stroke::new(2.0, palette.accent);
            painter.circle_stroke(at, RADIUS * view.zoom + 4.0, ring);
        }
        let response = spot_ui(ui, &painter, spot, at, view.zoom);
        match spot.node {
            Some(node) => {
                if response.clicked() {
                    clicked = Some(node);
                }
                response.on_hover_ui(|ui| {
                    card_ui(ui, round, node);
                    ui.weak("Click to pin");
                });
            }
            None => {
                response.on_hover_text(&spot.name);
            }
        }
    }
    clicked
}

fn paint_edge(painter: &Painter, edge: &Edge, panel: Rect, view: View, palette: &Palette) {
    let color = match edge.kind {
        EdgeKind::Kept => palette.accepted,
        EdgeKind::Other => palette.outline,
        EdgeKind::Bonus => palette.bonus,
    };
    let points = bends(edge.ends.map(|end| view.at(panel, end)));
    let stroke = Stroke::new((edge.width * view.zoom).max(0.75), color);
    painter.add(egui::epaint::CubicBezierShape::from_points_stroke(
        points,
        false,
        Color32::TRANSPARENT,
        stroke,
    ));
}

fn spot_ui(ui: &mut Ui, painter: &Painter, spot: &Spot, at: Pos2, zoom: f32) -> egui::Response {
    let palette = tokens::palette(ui);
    let mut rect = Rect::from_center_size(at, Vec2::splat(2.0 * RADIUS * zoom));
    if 11.5 * zoom >= SMALLEST {
        let struck = if spot.look == Look::Rejected { 1.0 } else { 0.0 };
        let color = if spot.look == Look::Unreached { palette.weak } else { palette.text };
        let format = TextFormat {
            font_id: FontId::monospace(11.5 * zoom),
            color,
            strikethrough: Stroke::new(struck, palette.rejected),
            ..TextFormat::default()
        };
        let mut job = LayoutJob::default();
        job.append(&spot.text, 0.0, format);
        let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
        let corner = at + egui::vec2((RADIUS + 4.0) * zoom, -galley.size().y / 2.0);
        let ground = Rect::from_min_size(corner, galley.size());
        rect = rect.union(ground);
        // The text stands on the edge that goes on behind it.
        painter.rect_filled(ground.expand(1.0), 2.0, palette.background.gamma_multiply(0.85));
        painter.galley(corner, galley, color);
    }
    spot.look.paint(painter, at, zoom, &palette);
    // By its place among the nodes, so that it stays the same while the view moves.
    let id = ui.scope_id().with(("node", spot.node));
    let response = ui.interact(rect, id, Sense::click());
    let role = if spot.node.is_some() { egui::Role::Button } else { egui::Role::Label };
    response.widget_info(|| WidgetInfo::labeled(role, true, &spot.name));
    response
}

/// All that is known of a node.
pub(super) fn card_ui(ui: &mut Ui, round: &TraceRound, n: usize) {
    egui::Grid::new(("card", round.answer, round.outcome.round, n))
        .num_columns(2)
        .spacing([12.0, 2.0])
        .show(ui, |ui| {
            for (name, value) in facts(round, n) {
                ui.weak(name);
                ui.label(value);
                ui.end_row();
            }
        });
}
