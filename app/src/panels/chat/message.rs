//! One message: who, what, how it came about, what can be done with it.

use egui::{
    Align, Button, CornerRadius, Frame, Id, Key, Margin, Modifiers, RichText, TextEdit, Ui,
    WidgetInfo,
};

use super::tokens_view;
use crate::{
    history::{Figures, Message, MessageId, MessageState, Role},
    markdown::{Cache, blocks_ui},
    state::{Action, Cx, Editing, Phase},
    tokens, words,
};

/// Opacity of what can be done with a message that the pointer is not over.
const QUIET: f32 = 0.55;

pub(super) fn message_ui(
    ui: &mut Ui,
    cx: &mut Cx<'_>,
    cache: &mut Cache,
    id: MessageId,
    last: bool,
) {
    let Some(message) = cx.state.conversation.get(id).cloned() else { return };
    let palette = tokens::palette(ui);
    let fill = match message.role {
        Role::User => palette.user,
        Role::Assistant => egui::Color32::TRANSPARENT,
    };
    let margin = match message.role {
        Role::User => Margin::symmetric(12, 8),
        Role::Assistant => Margin::symmetric(12, 2),
    };
    let shown = Frame::new()
        .fill(fill)
        .corner_radius(CornerRadius::same(tokens::RADIUS))
        .inner_margin(margin)
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            head_ui(ui, cx, &message);
            if cx.state.editing.as_ref().is_some_and(|editing| editing.message == id) {
                edit_ui(ui, cx, &message);
            } else {
                content_ui(ui, cx, cache, &message);
            }
        });
    let over = ui.rect_contains_pointer(shown.response.rect.expand2(egui::vec2(0.0, 16.0)));
    ui.scope(|ui| {
        if !over && !last {
            ui.set_opacity(QUIET);
        }
        ui.horizontal_wrapped(|ui| actions_ui(ui, cx, &message));
        if let Some(figures) =
            message.figures.as_ref().filter(|_| cx.state.written_here() != Some(id))
        {
            // Below the text, not below the buttons.
            let frame = Frame::new().inner_margin(Margin { left: 12, ..Margin::ZERO });
            frame.show(ui, |ui| {
                ui.horizontal_wrapped(|ui| figures_ui(ui, cx, id, figures));
            });
        }
    });
}

fn head_ui(ui: &mut Ui, cx: &Cx<'_>, message: &Message) {
    let palette = tokens::palette(ui);
    let who = match (message.role, &message.figures) {
        (Role::User, _) => "You".to_owned(),
        (Role::Assistant, Some(figures)) => figures.model.clone(),
        (Role::Assistant, None) => match cx.state.written_here() {
            Some(id) if id == message.id => {
                cx.state.writing.as_ref().map(|w| w.figures.model.clone()).unwrap_or_default()
            }
            _ => "Assistant".into(),
        },
    };
    // What does not fit would make the whole message wider than its column.
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(who).size(tokens::SMALL).color(palette.weak).strong());
        let state = match message.state {
            MessageState::Complete | MessageState::Writing => return,
            MessageState::Stopped => "stopped",
            MessageState::Interrupted => "interrupted when the app ended",
            MessageState::Failed => "failed here",
        };
        ui.label(RichText::new(state).size(tokens::SMALL).color(palette.warning));
    });
}

fn content_ui(ui: &mut Ui, cx: &mut Cx<'_>, cache: &mut Cache, message: &Message) {
    let palette = tokens::palette(ui);
    let tokens = message.role == Role::Assistant && cx.state.settings.tokens;
    if tokens && tokens_view::tokens_ui(ui, cx, message) {
        return;
    }
    match message.role {
        // What a person typed is shown as typed.
        Role::User => {
            ui.add(egui::Label::new(&message.content).wrap());
        }
        Role::Assistant if !message.content.is_empty() => {
            let blocks = cache.blocks(message.id, &message.content);
            ui.scope(|ui| blocks_ui(ui, blocks));
        }
        Role::Assistant => {
            let text = match (&cx.state.writing, message.state) {
                (Some(writing), MessageState::Writing) => match writing.phase {
                    Phase::Prompt if writing.prompt_tokens > 0 => {
                        format!("Reading {} tokens…", writing.prompt_tokens)
                    }
                    Phase::Prompt => "Reading…".into(),
                    Phase::Answer => "…".into(),
                    Phase::Stopping => "Stopping…".into(),
                },
                _ => "(empty)".into(),
            };
            ui.label(RichText::new(text).color(palette.weak));
        }
    }
}

fn edit_ui(ui: &mut Ui, cx: &mut Cx<'_>, message: &Message) {
    let Some(Editing { text, focus, .. }) = &mut cx.state.editing else { return };
    let (submit, cancel) = ui.input_mut(|input| {
        (
            input.consume_key(Modifiers::COMMAND, Key::Enter),
            input.consume_key(Modifiers::NONE, Key::Escape),
        )
    });
    // By the message: ids by place change with the messages that are drawn above it.
    let field = TextEdit::multiline(text)
        .id(Id::unique("edit-message").with(message.id))
        .desired_width(f32::INFINITY)
        .desired_rows(2);
    let field = ui.add(field);
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, "Edit message"));
    if std::mem::take(focus) {
        field.request_focus();
        field.scroll_to_me(Some(Align::Center));
    }
    let text = text.clone();
    ui.horizontal_wrapped(|ui| {
        let (name, hint) = match message.role {
            Role::User => ("Send edited", "Keeps the old message as a branch (Ctrl+Enter)"),
            Role::Assistant => ("Save edited", "Keeps the old answer as a branch (Ctrl+Enter)"),
        };
        if ui.button(name).on_hover_text(hint).clicked() || submit {
            cx.ask(Action::SubmitEdit(message.id, text));
        }
        if ui.button("Cancel").clicked() || cancel {
            cx.state.editing = None;
        }
    });
}

/// A small button with a name of its own for screen readers.
fn small(ui: &mut Ui, text: &str, name: &str, hint: &str, enabled: bool) -> bool {
    let button =
        Button::new(RichText::new(text).size(tokens::SMALL)).frame_when_inactive(false).small();
    let response = ui.add_enabled(enabled, button);
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, enabled, name));
    let response = if hint.is_empty() { response } else { response.on_hover_text(hint) };
    response.clicked()
}

fn actions_ui(ui: &mut Ui, cx: &mut Cx<'_>, message: &Message) {
    ui.spacing_mut().item_spacing.x = 2.0;
    let id = message.id;
    branches_ui(ui, cx, id);
    let written = cx.state.written_here() == Some(id);
    if written {
        if small(ui, "■ Stop", "Stop answer", "Esc", true) {
            cx.ask(Action::Run(crate::command::Command::StopAnswer));
        }
        return;
    }
    let whose = match message.role {
        Role::User => "message",
        Role::Assistant => "answer",
    };
    if small(ui, "Copy", &format!("Copy {whose}"), "As Markdown", true) {
        ui.copy_text(message.content.clone());
        cx.state.notify("Copied", None);
    }
    if small(ui, "Edit", &format!("Edit {whose}"), "", true) {
        let text = message.content.clone();
        cx.state.editing = Some(Editing { message: id, text, focus: true });
    }
    if message.role == Role::Assistant {
        let idle = cx.state.writing.is_none() && cx.state.model.ready().is_some();
        if small(ui, "Regenerate", "Regenerate answer", "Keeps this answer as a branch", idle) {
            cx.ask(Action::Regenerate(id));
        }
        if small(ui, "Continue", "Continue answer", "Goes on where it ended", idle) {
            cx.ask(Action::Continue(id));
        }
    }
    if small(ui, "Branch", "Branch into a new chat", "A chat of its own up to here", true) {
        cx.ask(Action::Branch(id));
    }
    if small(ui, "Delete", &format!("Delete {whose}"), "With all below it; can be undone", true) {
        cx.ask(Action::Delete(id));
    }
}

/// `‹ 2/3 ›` where there are several.
fn branches_ui(ui: &mut Ui, cx: &mut Cx<'_>, id: MessageId) {
    let siblings = cx.state.conversation.siblings(id);
    if siblings.len() < 2 {
        return;
    }
    let at = siblings.iter().position(|&sibling| sibling == id).unwrap_or(0);
    if small(ui, "‹", "Previous branch", "Alt+Left", at > 0) {
        cx.ask(Action::Select(siblings[at - 1]));
    }
    ui.label(RichText::new(format!("{}/{}", at + 1, siblings.len())).size(tokens::SMALL));
    if small(ui, "›", "Next branch", "Alt+Right", at + 1 < siblings.len()) {
        cx.ask(Action::Select(siblings[at + 1]));
    }
}

/// Speed and acceptance, which stay with the message.
fn figures_ui(ui: &mut Ui, cx: &mut Cx<'_>, id: MessageId, figures: &Figures) {
    let palette = tokens::palette(ui);
    let mut text = format!(
        "{:.1} tokens/s · {:.0} ms to first · {}",
        figures.tokens_per_second,
        figures.first_token_ms,
        words::tokens(figures.tokens)
    );
    if figures.drafted > 0 {
        text.push_str(&format!(
            " · {} of {} drafted accepted · {:.2} a round",
            figures.accepted, figures.drafted, figures.tokens_per_round
        ));
    }
    let label = egui::Label::new(RichText::new(text).size(tokens::SMALL).color(palette.weak));
    let rounds = cx.state.live.rounds_of(id).filter(|rounds| !rounds.is_empty());
    let response = ui.add(label);
    response.on_hover_ui(|ui| details_ui(ui, figures));
    if let Some(rounds) = rounds
        && small(ui, "Rounds", "Show rounds of this answer", "In the tree explorer", true)
    {
        cx.ask(Action::CloseTrace);
        cx.ask(Action::ShowRound(rounds.start));
    }
}

fn details_ui(ui: &mut Ui, figures: &Figures) {
    let sampler = &figures.sampler;
    let rows = [
        ("Model", figures.model.clone()),
        ("Device", figures.device.clone()),
        ("Drafting", figures.method.clone()),
        ("Ended by", figures.stop_reason.clone().unwrap_or_else(|| "failure".into())),
        ("Prompt", format!("{} tokens", figures.prompt_tokens)),
        ("Context", format!("{} of {} tokens", figures.context_used, figures.context)),
        ("Rounds", format!("{}, {:.2} tokens each", figures.rounds, figures.tokens_per_round)),
        ("Drafted", format!("{} accepted of {}", figures.accepted, figures.drafted)),
        ("Temperature", format!("{:.2}", sampler.temperature)),
        ("Seed", sampler.seed.to_string()),
    ];
    egui::Grid::new("details").num_columns(2).spacing([12.0, 2.0]).show(ui, |ui| {
        for (name, value) in rows {
            ui.weak(name);
            ui.label(value);
            ui.end_row();
        }
    });
}
