//! Pan and zoom of the tree.

use egui::{Pos2, Rect, Ui, Vec2};

/// Smallest and largest scale.
const ZOOM: std::ops::RangeInclusive<f32> = 0.15..=4.0;
/// Smallest scale that is chosen without being asked: below it texts are hard to read.
const READABLE: f32 = 0.75;
/// Room above and below what must be in sight.
const MARGIN: f32 = 12.0;
/// One step of the buttons.
pub(super) const STEP: f32 = 1.25;

/// Where the picture is in its panel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Screen points a point of the picture.
    pub zoom: f32,
    /// Corner of the picture, from that of the panel.
    pub pan: Vec2,
}

impl View {
    /// A place of the picture on screen.
    pub(super) fn at(&self, panel: Rect, place: Pos2) -> Pos2 {
        panel.min + self.pan + self.zoom * place.to_vec2()
    }

    /// Zooms by a factor around a point of the panel that stays where it is.
    fn zoomed(self, factor: f32, around: Vec2) -> Self {
        let zoom = (self.zoom * factor).clamp(*ZOOM.start(), *ZOOM.end());
        let pan = around - (around - self.pan) * (zoom / self.zoom);
        Self { zoom, pan }
    }
}

/// How the view is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Camera {
    /// As large as fits and is readable; the kept path in sight.
    #[default]
    Auto,
    /// All of it, however small.
    Fit,
    /// As the user left it.
    Held(View),
}

impl Camera {
    /// The view for a picture of `size` in a panel of `room`; `path` are the heights of the kept
    /// nodes, the root's first.
    pub fn view(&self, size: Vec2, room: Vec2, path: &[f32]) -> View {
        let whole = (room.x / size.x).min(room.y / size.y);
        match self {
            Self::Held(view) => *view,
            Self::Fit => {
                let zoom = whole.clamp(*ZOOM.start(), 1.5);
                View { zoom, pan: ((room - size * zoom) * 0.5).max(Vec2::ZERO) }
            }
            Self::Auto => {
                let zoom = whole.clamp(READABLE, 1.0);
                let spare = room.y - size.y * zoom;
                // A picture that is too high stands so that the kept path is in the middle, or its
                // root where that is too high as well.
                let root = path.first().copied().unwrap_or(size.y * 0.5);
                let (top, bottom) =
                    path.iter().fold((root, root), |(top, bottom), &y| (top.min(y), bottom.max(y)));
                let fits = (bottom - top) * zoom < room.y - 2.0 * MARGIN;
                let middle = if fits { (top + bottom) * 0.5 } else { root };
                let y = match spare >= 0.0 {
                    true => spare * 0.5,
                    false => (room.y * 0.5 - middle * zoom).clamp(spare, 0.0),
                };
                View { zoom, pan: egui::vec2(0.0, y) }
            }
        }
    }

    /// Takes drags, wheel and pinches over the panel.
    pub(super) fn interact(&mut self, ui: &Ui, response: &egui::Response, view: View) {
        let panel = response.rect;
        let mut moved = view;
        if response.dragged() {
            moved.pan += response.drag_delta();
        }
        if let Some(pointer) = ui.input(|input| input.pointer.latest_pos())
            && response.contains_pointer()
        {
            let (factor, scroll) =
                ui.input(|input| (input.zoom_delta(), input.smooth_scroll_delta()));
            if factor != 1.0 {
                moved = moved.zoomed(factor, pointer - panel.min);
            } else if scroll != Vec2::ZERO {
                moved.pan += scroll;
            }
        }
        if moved != view {
            *self = Self::Held(moved);
        }
    }

    /// Zooms around the middle of a panel.
    pub(super) fn zoom(&mut self, view: View, factor: f32, room: Vec2) {
        *self = Self::Held(view.zoomed(factor, room * 0.5));
    }
}

#[cfg(test)]
mod tests {
    use egui::{pos2, vec2};

    use super::*;

    #[test]
    fn fitting_shows_all_of_any_picture() {
        for (w, h) in [(100.0, 50.0), (700.0, 1100.0), (3000.0, 200.0)] {
            let (size, room) = (vec2(w, h), vec2(540.0, 260.0));
            let view = Camera::Fit.view(size, room, &[h / 2.0]);
            let panel = Rect::from_min_size(pos2(10.0, 20.0), room);
            let far = view.at(panel, pos2(w, h));
            assert!(panel.expand(0.5).contains(far), "{view:?} puts the far corner at {far:?}");
            assert!(panel.expand(0.5).contains(view.at(panel, Pos2::ZERO)));
        }
    }

    #[test]
    fn a_high_picture_keeps_its_path_in_sight_or_at_least_its_root() {
        let (size, room) = (vec2(400.0, 1500.0), vec2(500.0, 200.0));
        for path in [&[0.0][..], &[700.0], &[1500.0], &[700.0, 560.0, 600.0], &[20.0, 240.0]] {
            let view = Camera::Auto.view(size, room, path);
            for place in path {
                let y = view.pan.y + place * view.zoom;
                assert!((0.0..=room.y).contains(&y), "{place} of {path:?} is at {y}");
            }
        }
        let view = Camera::Auto.view(size, room, &[700.0, 10.0]);
        let y = view.pan.y + 700.0 * view.zoom;
        assert!((0.0..=room.y).contains(&y), "the root is at {y}");
    }

    #[test]
    fn zooming_keeps_the_point_below_the_pointer() {
        let view = View { zoom: 1.0, pan: vec2(30.0, -20.0) };
        let panel = Rect::from_min_size(Pos2::ZERO, vec2(500.0, 300.0));
        let place = pos2(170.0, 120.0);
        let before = view.at(panel, place);
        let after = view.zoomed(1.7, before.to_vec2()).at(panel, place);
        assert!((before - after).length() < 1e-3, "{before:?} {after:?}");
        assert_eq!(view.zoomed(1e9, Vec2::ZERO).zoom, 4.0);
    }
}
