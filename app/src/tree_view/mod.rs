//! The explorer: which round is shown, and its tree.

mod camera;
mod find;
mod layout;
mod look;
mod paint;
mod picture;
pub mod play;
pub(crate) mod strip;
mod svg;
pub mod timeline;

use std::sync::Arc;

use coppice::spec::trace::TraceRound;
use egui::{Button, RichText, ScrollArea, Sense, TextEdit, Ui};

use self::{camera::Camera, picture::Picture, play::Playing};
use crate::{
    panels::{Stretch, no_rounds_ui},
    state::{Action, Cx},
    tokens,
    trace_log::Origin,
    words,
};

pub(crate) use self::look::path_p;
pub use self::{look::source as source_name, svg::svg};

/// Most cards that are kept in sight.
const PINS: usize = 4;

/// Where the explorer is.
#[derive(Clone, Debug, PartialEq)]
pub struct Explorer {
    /// The round on screen; the newest one while following.
    round: Option<usize>,
    /// The round that the pointer is over in the chat.
    pub hovered: Option<usize>,
    /// A playback that runs.
    playing: Option<Playing>,
    /// Speed of playback, as a share of the recorded one.
    speed: f64,
    /// Pan and zoom.
    camera: Camera,
    /// What is looked for in trees.
    pub find: String,
    /// Put the cursor there in the next frame.
    pub find_focus: bool,
    /// Rounds that rates of acceptance are of.
    pub stretch: Stretch,
    /// Nodes whose cards stay, as (round, node).
    pins: Vec<(usize, usize)>,
}

impl Default for Explorer {
    fn default() -> Self {
        Self {
            round: None,
            hovered: None,
            playing: None,
            speed: play::FIRST_SPEED,
            camera: Camera::default(),
            find: String::new(),
            find_focus: false,
            stretch: Stretch::default(),
            pins: Vec::new(),
        }
    }
}

impl Explorer {
    /// Shows a round and stops following and playing.
    pub fn show(&mut self, round: usize) {
        self.round = Some(round);
        self.playing = None;
    }

    /// Shows the newest round, whichever that is.
    pub fn follow(&mut self) {
        self.round = None;
        self.playing = None;
    }

    /// Whether the newest round is shown as it comes.
    pub fn is_following(&self) -> bool {
        self.round.is_none()
    }

    /// Whether rounds are being played.
    pub fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// The round on screen, of so many.
    pub fn round(&self, rounds: usize) -> Option<usize> {
        let newest = rounds.checked_sub(1)?;
        Some(self.round.map_or(newest, |round| round.min(newest)))
    }

    /// Shows the whole tree.
    pub fn fit(&mut self) {
        self.camera = Camera::Fit;
    }

    /// Keeps a node's card in sight, or lets it go.
    pub fn toggle_pin(&mut self, round: usize, node: usize) {
        let pin = (round, node);
        if self.pins.contains(&pin) {
            self.pins.retain(|known| *known != pin);
        } else {
            self.pins.push(pin);
            let surplus = self.pins.len().saturating_sub(PINS);
            self.pins.drain(..surplus);
        }
    }
}

/// Draws the tree of the round on screen.
pub fn tree_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let log = cx.state.opened.as_ref().unwrap_or(&cx.state.live);
    timeline::tick(ui, &mut cx.state.explorer, log);
    let rounds = cx.state.trace().rounds.len();
    let Some(shown) = cx.state.explorer.round(rounds) else {
        no_rounds_ui(ui, cx);
        return;
    };
    origin_ui(ui, cx);
    timeline::timeline_ui(ui, cx, shown);
    // The strip may have moved on.
    let Some(shown) = cx.state.explorer.round(rounds) else { return };
    let Some(round) = cx.state.trace().rounds.get(shown).cloned() else { return };
    let outcome = &round.outcome;
    ui.horizontal(|ui| {
        ui.label(format!(
            "{} of {} candidates accepted, {} in {:.1} ms by {}",
            outcome.accepted(),
            outcome.drafted(),
            words::tokens(outcome.tokens()),
            outcome.times.total_ms(),
            outcome.method.name()
        ));
        let adds = RichText::new(format!("adds {:?}", round.added_text())).weak();
        ui.add(egui::Label::new(adds).truncate());
    });
    let zoom = tools_ui(ui, cx, shown, &round);
    pins_ui(ui, cx);
    canvas_ui(ui, cx, (shown, &round), zoom);
}

/// What is shown, where that is not this session.
fn origin_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let text = match &cx.state.trace().origin {
        Origin::Live => return,
        Origin::Demo => "The demonstration: recorded rounds".to_owned(),
        Origin::File(path) => format!("Recorded rounds of {}", path.display()),
    };
    ui.horizontal(|ui| {
        let close = ui.button("Back to this session");
        ui.add(egui::Label::new(RichText::new(text).weak()).truncate());
        if close.clicked() {
            cx.ask(Action::CloseTrace);
        }
    });
}

/// Legend, zoom and search; gives the factor that was asked for.
fn tools_ui(ui: &mut Ui, cx: &mut Cx<'_>, shown: usize, round: &TraceRound) -> Option<f32> {
    let mut zoom = None;
    ui.horizontal_wrapped(|ui| {
        let button = |ui: &mut Ui, text: &str, name: &str| {
            let response = ui.button(text).on_hover_text(name);
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, name));
            response.clicked()
        };
        if button(ui, "−", "Smaller tree") {
            zoom = Some(1.0 / camera::STEP);
        }
        if button(ui, "+", "Larger tree") {
            zoom = Some(camera::STEP);
        }
        if ui.button("Fit").on_hover_text("Show the whole tree").clicked() {
            cx.state.explorer.fit();
        }
        if cx.state.explorer.camera != Camera::Auto && ui.button("Reset view").clicked() {
            cx.state.explorer.camera = Camera::Auto;
        }
        find_ui(ui, cx, shown, round);
        paint::legend_ui(ui);
    });
    zoom
}

fn find_ui(ui: &mut Ui, cx: &mut Cx<'_>, shown: usize, round: &TraceRound) {
    let explorer = &mut cx.state.explorer;
    let field =
        TextEdit::singleline(&mut explorer.find).hint_text("Find a token").desired_width(110.0);
    let field = ui.add(field);
    field.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, "Find a token"));
    if std::mem::take(&mut explorer.find_focus) {
        field.request_focus();
    }
    let enter = field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
    if explorer.find.is_empty() {
        return;
    }
    let query = explorer.find.clone();
    ui.weak(format!("{} here", find::nodes(round, &query).len()));
    let mut go = enter.then_some(true);
    let mut step = |ui: &mut Ui, text: &str, name: &str, forwards: bool| {
        let response = ui.add(Button::new(text).small()).on_hover_text(name);
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, name));
        if response.clicked() {
            go = Some(forwards);
        }
    };
    step(ui, "‹", "Previous round with a match", false);
    step(ui, "›", "Next round with a match", true);
    let Some(forwards) = go else { return };
    match find::round(&cx.state.trace().rounds, shown, &query, forwards) {
        Some(found) => cx.state.explorer.show(found),
        None => {
            let place = if forwards { "after" } else { "before" };
            cx.state.notify(format!("No round {place} this one has {query:?}"), None);
        }
    }
}

/// The tree itself.
fn canvas_ui(
    ui: &mut Ui,
    cx: &mut Cx<'_>,
    (shown, round): (usize, &Arc<TraceRound>),
    zoom: Option<f32>,
) {
    let picture = Picture::of(round);
    let room = ui.available_size().max(egui::vec2(60.0, 60.0));
    let (panel, response) = ui.allocate_exact_size(room, Sense::click_and_drag());
    let kept = |n: &u32| picture.spots.iter().find(|spot| spot.node == Some(*n as usize));
    let path: Vec<f32> = round.outcome.path.iter().filter_map(kept).map(|spot| spot.at.y).collect();
    let explorer = &mut cx.state.explorer;
    let view = explorer.camera.view(picture.size, room, &path);
    match zoom {
        Some(factor) => explorer.camera.zoom(view, factor, room),
        None => explorer.camera.interact(ui, &response, view),
    }
    if response.double_clicked() {
        explorer.camera = Camera::Auto;
    }
    let view = explorer.camera.view(picture.size, room, &path);
    let mut marked = find::nodes(round, &explorer.find);
    marked.extend(explorer.pins.iter().filter(|pin| pin.0 == shown).map(|pin| pin.1));
    if let Some(node) = paint::picture_ui(ui, panel, (&picture, view), round, &marked) {
        cx.state.explorer.toggle_pin(shown, node);
    }
}

/// Cards that stay while other rounds are on screen.
fn pins_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if cx.state.explorer.pins.is_empty() {
        return;
    }
    let palette = tokens::palette(ui);
    let frame = egui::Frame::new().inner_margin(egui::Margin::symmetric(0, 4));
    egui::Panel::bottom("pins").frame(frame).resizable(false).show(ui, |ui| {
        ScrollArea::horizontal().show(ui, |ui| {
            ui.horizontal_top(|ui| {
                for (round, node) in cx.state.explorer.pins.clone() {
                    let Some(pinned) = cx.state.trace().rounds.get(round).cloned() else {
                        continue;
                    };
                    if node >= pinned.outcome.nodes.len() {
                        continue;
                    }
                    let card = egui::Frame::new()
                        .fill(palette.surface)
                        .stroke(egui::Stroke::new(1.0, palette.outline))
                        .corner_radius(tokens::RADIUS_SMALL)
                        .inner_margin(6);
                    card.show(ui, |ui| ui.vertical(|ui| pin_ui(ui, cx, &pinned, round, node)));
                }
            });
        });
    });
}

fn pin_ui(ui: &mut Ui, cx: &mut Cx<'_>, pinned: &TraceRound, round: usize, node: usize) {
    ui.horizontal(|ui| {
        if ui.link(format!("Round {}", round + 1)).on_hover_text("Show it").clicked() {
            cx.state.explorer.show(round);
        }
        if ui.small_button("Copy").clicked() {
            let facts = look::facts(pinned, node);
            let lines: Vec<String> =
                facts.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
            ui.copy_text(lines.join("\n"));
        }
        if ui.small_button("Unpin").clicked() {
            cx.state.explorer.toggle_pin(round, node);
        }
    });
    paint::card_ui(ui, pinned, node);
}

/// Draws a round's whole tree, as a file shows it.
pub fn still_ui(ui: &mut Ui, round: &TraceRound) {
    let picture = Picture::of(round);
    let (panel, _) = ui.allocate_exact_size(picture.size, Sense::hover());
    let view = Camera::Fit.view(picture.size, picture.size, &[]);
    let _ = paint::picture_ui(ui, panel, (&picture, view), round, &[]);
}

/// Size of a round's whole tree in points.
pub fn still_size(round: &TraceRound) -> egui::Vec2 {
    Picture::of(round).size
}
