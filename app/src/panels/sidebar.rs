//! The list of conversations, and the search through all of them.

use egui::{Align, Button, Key, Layout, Modifiers, RichText, ScrollArea, TextEdit, Ui, WidgetInfo};

use crate::{
    command::{Command, keys_text},
    history::{Chat, ChatId, now_ms},
    state::{Action, Cx},
    tokens,
};

/// Milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;

pub(super) fn sidebar_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.horizontal(|ui| {
        ui.strong("Chats");
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let keys = Command::NewChat.shortcut().map(|keys| keys_text(ui.ctx(), &keys));
            let new = ui.button("New chat").on_hover_text(keys.unwrap_or_default());
            if new.clicked() {
                cx.ask(Action::Run(Command::NewChat));
            }
        });
    });
    search_ui(ui, cx);
    ui.add_space(4.0);
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        if cx.state.search.query.trim().is_empty() {
            chats_ui(ui, cx);
        } else {
            hits_ui(ui, cx);
        }
    });
}

fn search_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let search = &mut cx.state.search;
    let field = TextEdit::singleline(&mut search.query)
        .hint_text("Search all chats")
        .desired_width(f32::INFINITY);
    let field = ui.add(field);
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, "Search all chats"));
    if std::mem::take(&mut search.focus) {
        field.request_focus();
    }
    if field.has_focus() && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
        search.query.clear();
        field.surrender_focus();
    }
    if field.changed() {
        let query = search.query.clone();
        cx.ask(Action::Search(query));
    }
}

fn hits_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let palette = tokens::palette(ui);
    let search = &cx.state.search;
    if search.hits.is_empty() && search.answered == search.query {
        ui.weak("Nothing found");
    }
    let mut open = None;
    for hit in &search.hits {
        let mut text = egui::text::LayoutJob::default();
        let format =
            |size, color| egui::TextFormat::simple(egui::FontId::proportional(size), color);
        text.append(&hit.title, 0.0, format(tokens::BODY, palette.text));
        text.append(&format!("\n{}", hit.excerpt), 0.0, format(tokens::SMALL, palette.weak));
        let row = Button::selectable(false, text).wrap();
        if ui.add_sized([ui.available_width(), 0.0], row).clicked() {
            open = Some(Action::OpenChat(hit.chat, Some(hit.message)));
        }
    }
    cx.actions.extend(open);
}

fn chats_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let (kept, away): (Vec<Chat>, Vec<Chat>) =
        cx.state.chats.iter().cloned().partition(|chat| !chat.deleted);
    if kept.is_empty() {
        ui.weak("Your chats appear here");
    }
    let now = now_ms();
    let mut group = "";
    for chat in &kept {
        let this = age(now - chat.updated_ms);
        if this != group {
            group = this;
            ui.add_space(4.0);
            ui.label(RichText::new(group).size(tokens::SMALL).weak());
        }
        row_ui(ui, cx, chat);
    }
    if !away.is_empty() {
        ui.add_space(8.0);
        egui::CollapsingHeader::new(format!("Deleted ({})", away.len())).show(ui, |ui| {
            for chat in &away {
                away_ui(ui, cx, chat);
            }
        });
    }
}

const fn age(ms: i64) -> &'static str {
    match ms / DAY {
        ..=0 => "Last 24 hours",
        1..=6 => "Last 7 days",
        7..=29 => "Last 30 days",
        _ => "Older",
    }
}

fn row_ui(ui: &mut Ui, cx: &mut Cx<'_>, chat: &Chat) {
    if cx.state.renaming.as_ref().is_some_and(|(id, _)| *id == chat.id) {
        rename_ui(ui, cx, chat.id);
        return;
    }
    let current = cx.state.conversation.chat.id == chat.id;
    let title = if chat.title.is_empty() { "New chat" } else { &chat.title };
    let answering = cx.state.writing.as_ref().is_some_and(|writing| match &writing.elsewhere {
        Some(there) => there.chat.id == chat.id,
        None => current,
    });
    let mark = if answering { "● " } else { "" };
    let button = Button::selectable(current, format!("{mark}{title}"))
        .truncate()
        .min_size(egui::vec2(ui.available_width(), 0.0));
    let row = ui.add(button);
    if row.clicked() {
        cx.ask(Action::OpenChat(chat.id, None));
    }
    if row.double_clicked() {
        cx.state.renaming = Some((chat.id, chat.title.clone()));
    }
    row.context_menu(|ui| {
        if ui.button("Rename").clicked() {
            cx.state.renaming = Some((chat.id, chat.title.clone()));
        }
        if ui.button("Delete").clicked() {
            cx.ask(Action::DeleteChat(chat.id));
        }
    });
    if row.has_focus() && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Delete)) {
        cx.ask(Action::DeleteChat(chat.id));
    }
    if row.has_focus() && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::F2)) {
        cx.state.renaming = Some((chat.id, chat.title.clone()));
    }
}

fn rename_ui(ui: &mut Ui, cx: &mut Cx<'_>, id: ChatId) {
    let Some((_, title)) = &mut cx.state.renaming else { return };
    let field = ui.add(TextEdit::singleline(title).desired_width(f32::INFINITY));
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, "Title of the chat"));
    let escape = ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape));
    if escape {
        cx.state.renaming = None;
    } else if field.lost_focus() {
        let title = title.trim().to_owned();
        cx.state.renaming = None;
        if !title.is_empty() {
            cx.ask(Action::RenameChat(id, title));
        }
    } else {
        field.request_focus();
    }
}

fn away_ui(ui: &mut Ui, cx: &mut Cx<'_>, chat: &Chat) {
    let title = if chat.title.is_empty() { "New chat" } else { &chat.title };
    ui.add(egui::Label::new(title).truncate());
    ui.horizontal(|ui| {
        if ui.small_button("Restore").clicked() {
            cx.ask(Action::RestoreChat(chat.id));
        }
        if ui.small_button("Erase for good").clicked() {
            cx.ask(Action::EraseChat(chat.id));
        }
    });
}
