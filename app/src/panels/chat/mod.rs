//! The conversation: messages, what went wrong, the text field.

mod composer;
mod message;
mod tokens_view;
mod welcome;

use std::collections::HashMap;

use egui::{Align, Frame, Margin, Panel, Rect, ScrollArea, Ui, UiBuilder};

use super::problem_ui;
use crate::{
    command::Command,
    history::{MessageId, Role},
    markdown::Cache,
    state::{Action, Cx},
    tokens,
};

/// Guess of the height of a message that was never drawn.
const GUESS: f32 = 120.0;
/// Messages that are measured a frame although they are out of sight.
const MEASURED: usize = 12;
/// Kept around what is in sight, so that scrolling shows no gaps.
const MARGIN: f32 = 200.0;
/// Taller than any message.
const TALL: f32 = 1e6;

/// What drawing remembers between frames.
#[derive(Debug, Default)]
pub struct ChatView {
    cache: Cache,
    /// Height of each message, with the width and length of text it was measured at.
    heights: HashMap<MessageId, (f32, u32, usize)>,
    /// Whether those are heights of tokens.
    tokens: bool,
}

/// Draws the conversation.
pub fn chat_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let frame = Frame::new().inner_margin(Margin::symmetric(0, 10));
    Panel::bottom("composer")
        .frame(frame)
        .show_separator_line(false)
        .show(ui, |ui| composer::composer_ui(ui, cx));
    let empty = cx.state.conversation.is_empty();
    if cx.state.opening.is_some() {
        ui.centered_and_justified(|ui| ui.spinner());
    } else if empty {
        welcome::welcome_ui(ui, cx);
    } else {
        messages_ui(ui, cx);
    }
}

/// Draws within a column that reads well.
fn column_ui<R>(ui: &mut Ui, add: impl FnOnce(&mut Ui) -> R) -> R {
    let rect = ui.available_rect_before_wrap().shrink2(egui::vec2(column(ui), 0.0));
    ui.scope_builder(UiBuilder::new().max_rect(rect), add).inner
}

/// Left and right margin that keep lines readable in a wide window.
fn column(ui: &Ui) -> f32 {
    ((ui.available_width() - tokens::READING_WIDTH) / 2.0).max(14.0)
}

fn messages_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let mut view = std::mem::take(&mut cx.state.chat_view);
    if std::mem::replace(&mut view.tokens, cx.state.settings.tokens) != cx.state.settings.tokens {
        view.heights.clear();
    }
    let path = cx.state.conversation.path();
    let scroll_to = cx.state.scroll_to.take();
    let side = column(ui);
    ScrollArea::vertical()
        .id_salt(("messages", cx.state.conversation.chat.id))
        .auto_shrink([false, false])
        .stick_to_bottom(true)
        .show_viewport(ui, |ui, viewport| {
            let width = ui.available_width();
            let top = ui.max_rect().top();
            let mut measured = 0;
            let mut y = tokens::GAP;
            for (n, id) in path.iter().enumerate() {
                let length = cx.state.conversation.get(*id).map_or(0, |m| m.content.len());
                let editing =
                    cx.state.editing.as_ref().is_some_and(|editing| editing.message == *id);
                let known = view
                    .heights
                    .get(id)
                    .copied()
                    .filter(|(_, w, l)| (*w, *l) == (width as u32, length) && !editing);
                let height = known.map_or(GUESS + length as f32 * 0.25, |(height, ..)| height);
                let seen = y + height >= viewport.min.y - MARGIN && y <= viewport.max.y + MARGIN;
                let wanted = scroll_to == Some(*id);
                let unknown = known.is_none() && measured < MEASURED;
                // What is edited keeps the keyboard only while it is drawn.
                let drawn = seen || wanted || unknown || editing;
                let height = if drawn {
                    measured += usize::from(!seen);
                    let at = Rect::from_min_size(
                        egui::pos2(ui.max_rect().left() + side, top + y),
                        egui::vec2((width - 2.0 * side).max(80.0), TALL),
                    );
                    let builder = UiBuilder::new().id_salt(*id).max_rect(at);
                    let shown = ui.scope_builder(builder, |ui| {
                        message::message_ui(ui, cx, &mut view.cache, *id, n + 1 == path.len());
                    });
                    if wanted {
                        ui.scroll_to_rect(shown.response.rect, Some(Align::Min));
                    }
                    let height = shown.response.rect.height();
                    view.heights.insert(*id, (height, width as u32, length));
                    height
                } else {
                    height
                };
                if known.is_none() && !drawn {
                    ui.ctx().request_repaint();
                }
                y += height + tokens::GAP;
            }
            let at = Rect::from_min_size(
                egui::pos2(ui.max_rect().left() + side, top + y),
                egui::vec2((width - 2.0 * side).max(80.0), TALL),
            );
            let foot = ui.scope_builder(UiBuilder::new().id_salt("foot").max_rect(at), |ui| {
                foot_ui(ui, cx);
            });
            let end = top + y + foot.response.rect.height();
            ui.expand_to_include_y(end);
        });
    cx.state.chat_view = view;
}

/// Below the last message: what went wrong, or an answer that is missing.
fn foot_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if cx.state.chat_problem.is_some() {
        chat_problem_ui(ui, cx);
        return;
    }
    let conversation = &cx.state.conversation;
    let last = conversation.chat.head.and_then(|head| conversation.get(head));
    let unanswered = last.is_some_and(|last| last.role == Role::User);
    let idle = cx.state.writing.is_none() && cx.state.model.ready().is_some();
    if unanswered && idle && ui.button("Answer this").clicked() {
        cx.ask(Action::Run(Command::Regenerate));
    }
}

/// What went wrong in the chat, with what can be done.
fn chat_problem_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let Some(problem) = cx.state.chat_problem.clone() else { return };
    let can = cx.state.can(Command::Regenerate);
    let model = cx.state.settings.model.clone();
    let lost = problem.what.contains("lost");
    problem_ui(ui, &problem, |ui| {
        if can && ui.button("Try again").clicked() {
            cx.actions.push(Action::Run(Command::Regenerate));
        }
        if let Some(model) = model.filter(|_| lost)
            && ui.button("Load the model again").clicked()
        {
            cx.actions.push(Action::LoadModel(model));
        }
        if ui.button("Close").clicked() {
            cx.actions.push(Action::Dismiss);
        }
    });
}
