//! A strip of bars over all rounds, to see where things happen and to scrub over.
//!
//! Bars read running sums, so that a strip over ten thousand rounds costs as much as one over a
//! hundred: one subtraction a bar.

use std::ops::Range;

use egui::{EventFilter, Key, Modifiers, Painter, Rangef, Rect, Sense, Stroke, Ui, WidgetInfo};

use crate::{
    state::Cx,
    tokens::{self, Palette},
    trace_log::TraceLog,
    words,
};

/// Widest bar.
const BAR: f32 = 12.0;
/// Narrowest bar; below it one bar stands for several rounds.
const NARROW: f32 = 3.0;

/// Draws bars.
pub(crate) type Paint<'a> = &'a dyn Fn(&Painter, &Palette, &TraceLog, &Strip);

/// A strip with the cursor of the round on screen; a slider for the keyboard and screen readers.
pub(crate) fn strip_ui(
    ui: &mut Ui,
    cx: &mut Cx<'_>,
    shown: usize,
    (height, name): (f32, &str),
    bars: Paint<'_>,
) {
    let size = egui::vec2(ui.available_width(), height);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
    let log = cx.state.trace();
    let rounds = log.rounds.len();
    let strip = Strip::new(rect, rounds);
    if ui.is_rect_visible(rect) {
        let palette = tokens::palette(ui);
        ui.painter().rect_filled(rect, tokens::RADIUS_SMALL, palette.well);
        bars(ui.painter(), &palette, log, &strip);
        cursor(ui.painter(), &palette, log, &strip, shown);
    }
    response.widget_info(|| WidgetInfo::slider(true, (shown + 1) as f64, name));
    if response.has_focus() {
        let arrows = EventFilter { horizontal_arrows: true, ..EventFilter::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, arrows));
        let key = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        if key(Key::ArrowLeft) {
            cx.state.explorer.show(shown.saturating_sub(1));
        }
        if key(Key::ArrowRight) {
            cx.state.explorer.show((shown + 1).min(rounds - 1));
        }
    }
    let over = response.hover_pos().map(|pos| strip.round(pos.x));
    if let Some(pos) = response.interact_pointer_pos()
        && (response.clicked() || response.dragged())
    {
        cx.state.explorer.show(strip.round(pos.x));
    }
    if let Some(n) = over {
        let outcome = &cx.state.trace().rounds[n].outcome;
        let times = &outcome.times;
        let text = format!(
            "Round {}: {}, {} of {} candidates accepted\n{:.1} ms: draft {:.1}, verify \
             {:.1}, commit {:.1}, host {:.1}",
            n + 1,
            words::tokens(outcome.tokens()),
            outcome.accepted(),
            outcome.drafted(),
            times.total_ms(),
            times.draft_ms,
            times.verify_ms,
            times.commit_ms,
            times.host_ms
        );
        response.on_hover_text_at_pointer(text);
    }
}

/// Where answers begin, unless they are too many to tell apart; and the round on screen.
fn cursor(painter: &Painter, palette: &Palette, log: &TraceLog, strip: &Strip, shown: usize) {
    let rect = strip.rect;
    if log.answers.len() < (rect.width() / 8.0) as usize {
        for span in log.answers.iter().skip(1) {
            let x = strip.x(span.first) - strip.width / 2.0;
            painter.vline(x, rect.y_range(), Stroke::new(1.0, palette.weak));
        }
    }
    painter.vline(strip.x(shown), rect.y_range(), Stroke::new(2.0, palette.text));
}

/// Rounds and places of a strip.
pub(crate) struct Strip {
    pub(crate) rect: Rect,
    rounds: usize,
    /// Bars; each stands for one round, or for several where there is no room.
    bars: usize,
    /// Width of a bar with its gap.
    width: f32,
}

impl Strip {
    fn new(rect: Rect, rounds: usize) -> Self {
        let most = ((rect.width() / NARROW) as usize).max(1);
        let bars = rounds.min(most).max(1);
        let width = (rect.width() / bars as f32).min(BAR);
        Self { rect, rounds, bars, width }
    }

    /// Rounds of a bar.
    fn range(&self, bar: usize) -> Range<usize> {
        bar * self.rounds / self.bars..(bar + 1) * self.rounds / self.bars
    }

    /// Places of bars, each with its rounds.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (Rangef, Range<usize>)> {
        (0..self.bars).map(|bar| {
            let left = self.rect.left() + bar as f32 * self.width;
            let right = left + (self.width - 1.0).max(1.0);
            (Rangef::new(left, right), self.range(bar))
        })
    }

    /// The round at a place; the nearest one beyond the ends.
    fn round(&self, x: f32) -> usize {
        let along = ((x - self.rect.left()) / (self.width * self.bars as f32)).clamp(0.0, 1.0);
        ((f64::from(along) * self.rounds as f64) as usize).min(self.rounds.saturating_sub(1))
    }

    /// The middle of a round.
    fn x(&self, round: usize) -> f32 {
        let along = (round as f64 + 0.5) / self.rounds.max(1) as f64;
        self.rect.left() + (along * f64::from(self.width) * self.bars as f64) as f32
    }
}

#[cfg(test)]
mod tests {
    use egui::{pos2, vec2};

    use super::*;

    #[test]
    fn every_round_is_in_one_bar_and_is_found_again_where_it_stands() {
        for rounds in [1, 7, 50, 199, 200, 201, 10_000] {
            let strip = Strip::new(Rect::from_min_size(pos2(20.0, 0.0), vec2(600.0, 40.0)), rounds);
            let mut next = 0;
            for bar in 0..strip.bars {
                assert_eq!(strip.range(bar).start, next);
                next = strip.range(bar).end;
            }
            assert_eq!(next, rounds);
            for n in (0..rounds).step_by(1 + rounds / 97) {
                let near = strip.round(strip.x(n)).abs_diff(n);
                assert!(near <= rounds / 600, "round {n} of {rounds} is found {near} beside it");
            }
            assert_eq!((strip.round(-1e9), strip.round(1e9)), (0, rounds - 1));
        }
    }
}
