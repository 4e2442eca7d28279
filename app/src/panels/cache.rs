//! The key/value cache: rows that a round stages and keeps, and who holds the device's pages.

use coppice::kv::{PAGE_SLOTS, PageUse};
use egui::{Color32, Rect, RichText, ScrollArea, Sense, Stroke, StrokeKind, Ui, WidgetInfo};

use crate::{
    cache_view::{RoundPages, Slot},
    state::Cx,
    tokens::{self, Palette},
    worker::CacheMap,
};

/// Side of a position.
const CELL: f32 = 11.0;

/// Draws the panel.
pub fn cache_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let rounds = cx.state.trace().rounds.len();
    let Some(shown) = cx.state.explorer.round(rounds) else {
        super::no_rounds_ui(ui, cx);
        return;
    };
    let round = &cx.state.trace().rounds[shown];
    let live = cx.state.cache.as_ref().filter(|_| cx.state.opened.is_none());
    let page_slots = live.map_or(PAGE_SLOTS, |map| map.page_slots);
    let pages = RoundPages::of(&round.outcome, page_slots);
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        round_ui(ui, &pages, page_slots, shown);
        ui.add_space(8.0);
        match live {
            Some(map) => map_ui(ui, map),
            None => {
                ui.weak(
                    "Who holds the device's pages is shown for answers of this session; a trace does \
                     not have it",
                );
            }
        }
    });
}

fn color(slot: Slot, palette: &Palette) -> Color32 {
    match slot {
        Slot::Committed => palette.pending,
        Slot::Kept => palette.accepted,
        Slot::Moved => palette.bonus,
        Slot::Dropped => palette.rejected,
        Slot::Empty => Color32::TRANSPARENT,
    }
}

/// A position: filled where it stays, crossed where it is given back, so that grey tells them apart.
fn slot_ui(ui: &Ui, rect: Rect, slot: Slot, palette: &Palette) {
    let painter = ui.painter();
    let cell = rect.shrink(1.0);
    match slot {
        Slot::Committed | Slot::Kept => {
            painter.rect_filled(cell, 1.0, color(slot, palette));
        }
        Slot::Moved => {
            painter.rect_filled(cell, 1.0, color(slot, palette));
            painter.circle_filled(cell.center(), 2.0, palette.background);
        }
        Slot::Dropped => {
            let stroke = Stroke::new(1.0, color(slot, palette));
            painter.rect_stroke(cell, 1.0, stroke, StrokeKind::Inside);
            painter.line_segment([cell.left_top(), cell.right_bottom()], stroke);
        }
        Slot::Empty => {
            let stroke = Stroke::new(1.0, palette.outline);
            painter.rect_stroke(cell, 1.0, stroke, StrokeKind::Inside);
        }
    }
}

fn round_ui(ui: &mut Ui, pages: &RoundPages, page_slots: usize, shown: usize) {
    let palette = tokens::palette(ui);
    ui.label(format!(
        "Round {}: {} rows staged behind {} committed positions, {} kept ({} moved); pages given \
         back: {}",
        shown + 1,
        pages.staged,
        pages.prefix,
        pages.kept,
        pages.moved,
        pages.returned
    ));
    ui.horizontal_wrapped(|ui| {
        for slot in Slot::ALL {
            let (rect, _) = ui.allocate_exact_size(egui::Vec2::splat(CELL), Sense::hover());
            slot_ui(ui, rect, slot, &palette);
            ui.label(RichText::new(slot.name()).size(tokens::SMALL).color(palette.weak));
        }
    });
    for (n, page) in pages.pages.iter().enumerate() {
        ui.horizontal(|ui| {
            let number = pages.first + n;
            let from = number * page_slots;
            ui.label(RichText::new(format!("page {}", number + 1)).size(tokens::SMALL).weak());
            let size = egui::vec2(CELL * page.len() as f32, CELL);
            let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
            for (at, slot) in page.iter().enumerate() {
                let min = rect.min + egui::vec2(CELL * at as f32, 0.0);
                let cell = Rect::from_min_size(min, egui::Vec2::splat(CELL));
                slot_ui(ui, cell, *slot, &palette);
            }
            let count = |slot| page.iter().filter(|there| **there == slot).count();
            let counts = Slot::ALL.map(|slot| (count(slot), slot.name()));
            let counts = counts.iter().filter(|(n, _)| *n > 0);
            let counts: Vec<String> = counts.map(|(n, name)| format!("{n} {name}")).collect();
            let name =
                format!("Positions {from} to {}: {}", from + page_slots - 1, counts.join(", "));
            response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, &name));
            response.on_hover_text(&name);
        });
    }
}

/// What a page of the pool is drawn as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    One,
    Shared,
    Kept,
    Free,
}

impl Held {
    const ALL: [(Self, &'static str); 4] = [
        (Self::One, "of one sequence"),
        (Self::Shared, "shared"),
        (Self::Kept, "kept for later prompts"),
        (Self::Free, "free"),
    ];

    fn of(page: PageUse) -> Self {
        match (page.held, page.published) {
            (0, false) => Self::Free,
            (0, true) => Self::Kept,
            (1, false) => Self::One,
            _ => Self::Shared,
        }
    }

    fn paint(self, ui: &Ui, rect: Rect, palette: &Palette) {
        let painter = ui.painter();
        let cell = rect.shrink(1.0);
        match self {
            Self::One => {
                painter.rect_filled(cell, 1.0, palette.accepted);
            }
            Self::Shared => {
                painter.rect_filled(cell, 1.0, palette.bonus);
                painter.circle_filled(cell.center(), 2.0, palette.background);
            }
            Self::Kept => {
                let stroke = Stroke::new(2.0, palette.corrected);
                painter.rect_stroke(cell, 1.0, stroke, StrokeKind::Inside);
            }
            Self::Free => {
                let stroke = Stroke::new(1.0, palette.outline);
                painter.rect_stroke(cell, 1.0, stroke, StrokeKind::Inside);
            }
        }
    }
}

fn map_ui(ui: &mut Ui, map: &CacheMap) {
    let palette = tokens::palette(ui);
    let count = |held| map.pages.iter().filter(|page| Held::of(**page) == held).count();
    ui.label(format!(
        "The device's cache: {} pages of {} positions, after the newest round",
        map.pages.len(),
        map.page_slots
    ));
    ui.horizontal_wrapped(|ui| {
        for (held, name) in Held::ALL {
            let (rect, _) = ui.allocate_exact_size(egui::Vec2::splat(CELL), Sense::hover());
            held.paint(ui, rect, &palette);
            let text = format!("{} {name}", count(held));
            ui.label(RichText::new(text).size(tokens::SMALL).color(palette.weak));
        }
    });
    let columns = ((ui.available_width() / CELL) as usize).max(1);
    let rows = map.pages.len().div_ceil(columns);
    let size = egui::vec2(CELL * columns as f32, CELL * rows as f32);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let place = |n: usize| {
        let at = egui::vec2((n % columns) as f32, (n / columns) as f32) * CELL;
        Rect::from_min_size(rect.min + at, egui::Vec2::splat(CELL))
    };
    for (n, page) in map.pages.iter().enumerate() {
        let cell = place(n);
        if ui.is_rect_visible(cell) {
            Held::of(*page).paint(ui, cell, &palette);
        }
    }
    let name = Held::ALL.map(|(held, name)| format!("{} {name}", count(held))).join(", ");
    response.widget_info(|| {
        WidgetInfo::labeled(egui::Role::Image, true, format!("Pages of the cache: {name}"))
    });
    let over = response.hover_pos().map(|pos| {
        let at = (pos - rect.min) / CELL;
        at.y as usize * columns + (at.x as usize).min(columns - 1)
    });
    if let Some((n, page)) = over.and_then(|n| Some((n, map.pages.get(n)?))) {
        let known = if page.published { ", known to later prompts" } else { "" };
        response.on_hover_text_at_pointer(format!("Page {n}: held by {}{known}", page.held));
    }
}
