//! The bar at the bottom: one live line of what is going on, the context, unsaved work; and notices.

use egui::{Align, Align2, Area, Frame, Id, Layout, Margin, RichText, Ui, accesskit};

use crate::{
    state::{Action, Cx, Phase},
    tokens,
};

/// Space above the bottom that notices keep.
const ABOVE: f32 = 44.0;
/// Room for figures and buttons on the right.
const FIGURES: f32 = 380.0;

pub(super) fn status_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.horizontal(|ui| {
        let busy = cx.state.writing.is_some() || cx.state.devices.running.is_some();
        if busy {
            ui.add(egui::Spinner::new().size(12.0));
        }
        // The one node that speaks by itself: what begins and ends, never single tokens.
        let text = RichText::new(&cx.state.status).size(tokens::SMALL);
        let status = ui.scope(|ui| {
            ui.set_max_width((ui.available_width() - FIGURES).max(60.0));
            ui.add(egui::Label::new(text).truncate())
        });
        let status = status.inner;
        ui.ctx().accesskit_node_builder(status.id, |node| {
            node.set_role(accesskit::Role::Status);
            node.set_live(accesskit::Live::Polite);
        });
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            context_ui(ui, cx);
            speed_ui(ui, cx);
            unsaved_ui(ui, cx);
        });
    });
}

/// How full the context is: with what was counted last, and what is being typed.
fn context_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let Some(info) = cx.state.model.ready() else { return };
    let conversation = &cx.state.conversation;
    let writing = cx.state.writing.as_ref().filter(|writing| writing.elsewhere.is_none());
    let used = match writing {
        Some(writing) => writing.prompt_tokens + writing.tokens,
        None => {
            let path = conversation.path();
            let known = path.iter().rev().filter_map(|id| conversation.get(*id)?.figures.as_ref());
            known.map(|figures| figures.context_used).next().unwrap_or(0)
        }
    };
    let typed = cx.state.composer.counted.1;
    let share = (used + typed) as f32 / info.context.max(1) as f32;
    let palette = tokens::palette(ui);
    let color = if share > 0.9 { palette.danger } else { palette.accent };
    let text = format!("Context {} of {}", used + typed, info.context);
    let hint = format!("{used} tokens in the conversation, {typed} in what you are writing");
    bar_ui(ui, share, color, &hint).on_hover_text(&hint);
    ui.label(RichText::new(text).size(tokens::SMALL).color(palette.weak)).on_hover_text(hint);
}

/// A thin bar; empty at zero, where egui's own shows a dot.
fn bar_ui(ui: &mut Ui, share: f32, color: egui::Color32, name: &str) -> egui::Response {
    let (rect, response) = ui.allocate_exact_size(egui::vec2(70.0, 6.0), egui::Sense::hover());
    let palette = tokens::palette(ui);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ProgressIndicator, true, name));
    ui.painter().rect_filled(rect, 3.0, palette.outline);
    let filled = rect.with_max_x(rect.left() + rect.width() * share.clamp(0.0, 1.0));
    ui.painter().with_clip_rect(filled).rect_filled(rect, 3.0, color);
    response
}

fn speed_ui(ui: &mut Ui, cx: &Cx<'_>) {
    let Some(writing) = &cx.state.writing else { return };
    let palette = tokens::palette(ui);
    let text = match (writing.phase, writing.tokens_per_second()) {
        (Phase::Prompt, _) => {
            ui.ctx().request_repaint_after(std::time::Duration::from_millis(100));
            format!("{:.1} s", writing.since.elapsed().as_secs_f64())
        }
        (_, Some(rate)) => format!("{rate:.1} tokens/s"),
        (_, None) => return,
    };
    ui.label(RichText::new(text).size(tokens::SMALL).color(palette.weak));
}

fn unsaved_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let Some(problem) = cx.state.unsaved.clone() else { return };
    let palette = tokens::palette(ui);
    if ui.button("Save again").clicked() {
        cx.ask(Action::RetrySave);
    }
    let text = RichText::new("▲ Not saved").size(tokens::SMALL).color(palette.danger);
    ui.label(text).on_hover_text(problem.report());
}

/// Short notices above the status bar.
pub(super) fn notices_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let palette = tokens::palette(ui);
    let mut actions = Vec::new();
    let mut closed = None;
    for (n, notice) in cx.state.notices.iter().rev().enumerate() {
        let offset = -(ABOVE + n as f32 * 44.0);
        Area::new(Id::unique("notice").with(n))
            .anchor(Align2::CENTER_BOTTOM, [0.0, offset])
            .order(egui::Order::Foreground)
            .show(ui.ctx(), |ui| {
                Frame::popup(ui.style()).inner_margin(Margin::symmetric(12, 6)).show(ui, |ui| {
                    ui.set_max_width(520.0);
                    ui.horizontal(|ui| {
                        let text = RichText::new(&notice.text).color(palette.text);
                        ui.add(egui::Label::new(text).truncate()).on_hover_text(&notice.text);
                        if let Some(undo) = &notice.undo
                            && ui.button("Undo").clicked()
                        {
                            actions.push(Action::Undo(undo.clone()));
                        }
                        let close = ui.small_button("×");
                        close.widget_info(|| {
                            egui::WidgetInfo::labeled(egui::Role::Button, true, "Close notice")
                        });
                        if close.clicked() {
                            closed = Some(cx.state.notices.len() - 1 - n);
                        }
                    });
                });
            });
    }
    if let Some(at) = closed {
        cx.state.notices.remove(at);
    }
    cx.actions.extend(actions);
}
