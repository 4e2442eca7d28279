//! Carrying out what panels and commands asked for.

use std::{path::PathBuf, time::Instant};

use egui::Context;

use super::{
    App,
    answer::Begin,
    files::{Purpose, Scope, file_name},
};
use crate::{
    command::Command,
    demo,
    export::Export,
    history::{Asked, Chat, ChatId, Conversation, ExportFormat, Message, MessageId, Role, now_ms},
    layout::View,
    settings::Theme,
    state::{Action, Devices, Editing, ModelState, Pulling, Running, Undo},
    trace_log::TraceLog,
    tree_view::timeline,
    worker::{LoadRequest, PullState},
};

/// Steps of the scale.
const ZOOM: f32 = 0.1;

impl App {
    /// Carries out an action.
    pub fn act(&mut self, ctx: &Context, action: Action) {
        match action {
            Action::Run(command) => self.run(ctx, command),
            Action::Send(text) => self.send(&text),
            Action::Regenerate(id) => self.regenerate(id),
            Action::Continue(id) => {
                if self.can_answer() {
                    self.select(id);
                    self.answer(Begin::Continue(id));
                }
            }
            Action::SubmitEdit(id, text) => self.submit_edit(id, &text),
            Action::Select(id) => self.select(id),
            Action::Branch(id) => self.branch(id),
            Action::Delete(id) => self.delete(id),
            Action::SaveChat => {
                if !self.state.conversation.is_empty() {
                    self.keep(&[]);
                }
            }
            Action::OpenChat(id, message) => self.open_chat(id, message),
            Action::RenameChat(id, title) => self.change_chat(id, |chat| chat.title = title),
            Action::DeleteChat(id) => {
                self.change_chat(id, |chat| chat.deleted = true);
                if self.state.conversation.chat.id == id {
                    self.new_chat();
                }
                self.state.notify("Chat deleted", Some(Undo::Chat(id)));
            }
            Action::RestoreChat(id) => self.change_chat(id, |chat| chat.deleted = false),
            Action::EraseChat(id) => {
                self.state.chats.retain(|chat| chat.id != id);
                self.history_ask(Asked::Erase(id));
            }
            Action::Search(query) => self.history_ask(Asked::Search(query)),
            Action::LoadModel(path) => self.load(path),
            Action::Estimate(path) => {
                if !self.state.needs.contains_key(&path) {
                    self.state.needs.insert(path.clone(), None);
                    let request = self.load_request(path);
                    self.worker.estimate(request);
                }
            }
            Action::Pull(model) => {
                self.state.status = format!("Downloading {model}");
                let state = PullState { name: model.clone(), ..PullState::default() };
                self.worker.pull(&model);
                self.state.pull = Some(Pulling { model, state, since: Instant::now() });
            }
            Action::CancelPull => self.worker.cancel_pull(),
            Action::Unload => self.worker.unload(),
            Action::RetrySave => {
                if let Some(history) = &self.history {
                    history.retry();
                }
            }
            Action::Undo(undo) => self.undo(undo),
            Action::OpenTrace(path) => {
                self.state.status = format!("Reading {}", path.display());
                self.worker.read_trace(path);
            }
            Action::CloseTrace => {
                self.state.opened = None;
                self.state.explorer = Default::default();
            }
            Action::ExportTrace(export, path) => {
                let trace = self.state.trace().clone();
                if let Some(shown) = self.state.explorer.round(trace.rounds.len()) {
                    self.worker.export_trace((trace, shown), export, path);
                }
            }
            Action::ShowRound(round) => {
                self.state.explorer.show(round);
                self.state.settings.view = View::Explore;
            }
            Action::Check(selector, kind) => {
                let list = self.state.devices.list.take();
                let only_faults = self.state.devices.only_faults;
                self.state.status = format!("Checking {selector}");
                self.worker.check(&selector, kind);
                self.state.devices = Devices {
                    list,
                    only_faults,
                    running: Some(Running::default()),
                    device: selector,
                    kind,
                    ..Devices::default()
                };
            }
            Action::CancelCheck => {
                self.state.status = "Stopping the check".into();
                self.worker.cancel_check();
            }
            Action::TakePath => {
                if let Some(asked) = &self.state.asked_path
                    && let Some(path) = asked.path()
                {
                    self.dialogs.typed(asked.purpose, path, asked.replaces.as_deref());
                }
            }
            Action::Compare => self.compare(),
            Action::StopCompare => self.worker.stop(),
            Action::Dismiss => self.state.chat_problem = None,
        }
    }

    fn ask_file(&self, purpose: Purpose, name: &str) {
        self.dialogs.ask(purpose, name, self.state.settings.native_dialogs);
    }

    fn history_ask(&self, asked: Asked) {
        if let Some(history) = &self.history {
            history.ask(asked);
        }
    }

    fn run(&mut self, ctx: &Context, command: Command) {
        if !self.state.can(command) {
            return;
        }
        let settings = &mut self.state.settings;
        match command {
            Command::NewChat => self.new_chat(),
            Command::SearchChats => {
                settings.sidebar = true;
                self.state.search.focus = true;
            }
            Command::ImportChats => self.ask_file(Purpose::Import, ""),
            Command::ExportMarkdown => self.export(ExportFormat::Markdown, Scope::Open),
            Command::ExportJson => self.export(ExportFormat::Json, Scope::Open),
            Command::ExportAllJson => self.export(ExportFormat::Json, Scope::All),
            Command::DeleteChat => {
                self.act(ctx, Action::DeleteChat(self.state.conversation.chat.id));
            }
            Command::OpenModel => self.ask_file(Purpose::OpenModel, ""),
            Command::DefaultModel => {
                let name = coppice::hub::DEFAULT_MODEL;
                let action = match self.worker.find_model(name) {
                    Some(path) => Action::LoadModel(path),
                    None => Action::Pull(name.into()),
                };
                self.act(ctx, action);
            }
            Command::OpenTrace => self.ask_file(Purpose::OpenTrace, ""),
            Command::SaveTrace => {
                let name = file_name(&self.state.conversation.chat.title, "jsonl");
                self.ask_file(Purpose::SaveTrace, &name);
            }
            Command::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            Command::StopAnswer => self.stop(),
            Command::Regenerate => {
                if let Some(head) = self.state.conversation.chat.head {
                    self.regenerate(head);
                }
            }
            Command::Continue => {
                if let Some(head) = self.state.conversation.chat.head {
                    self.act(ctx, Action::Continue(head));
                }
            }
            Command::EditLast => {
                if let Some(message) = self.last(Role::User) {
                    let (message, text) = (message.id, message.content.clone());
                    self.state.editing = Some(Editing { message, text, focus: true });
                }
            }
            Command::CopyLast => {
                if let Some(message) = self.last(Role::Assistant) {
                    ctx.copy_text(message.content.clone());
                    self.state.notify("Answer copied", None);
                }
            }
            Command::FocusComposer => self.state.composer.focus = true,
            Command::PreviousBranch => self.turn(-1),
            Command::NextBranch => self.turn(1),
            Command::ToggleSidebar => settings.sidebar ^= true,
            Command::ToggleSampling => settings.sampling_panel ^= true,
            Command::ToggleTokens => settings.tokens ^= true,
            Command::ViewChat | Command::ViewExplore => {
                settings.view = command.view().unwrap_or_default();
            }
            Command::ViewDevices => {
                settings.view = View::Devices;
                self.list_devices();
            }
            Command::ResetLayout => settings.layouts.reset(settings.view),
            Command::Palette => self.state.palette = crate::palette::opened(ctx),
            Command::Settings => self.state.settings_open ^= true,
            Command::Shortcuts => self.state.shortcuts_open ^= true,
            Command::ThemeSystem => settings.theme = Theme::System,
            Command::ThemeLight => settings.theme = Theme::Light,
            Command::ThemeDark => settings.theme = Theme::Dark,
            Command::ZoomIn => settings.scale = (settings.scale + ZOOM).min(2.0),
            Command::ZoomOut => settings.scale = (settings.scale - ZOOM).max(1.0),
            Command::ZoomReset => settings.scale = 1.0,
            Command::ToggleStepping => {
                self.state.stepping ^= true;
                self.worker.pace().set_stepping(self.state.stepping);
            }
            Command::StepRound => self.worker.pace().step(),
            Command::PlayDemo => {
                let trace = demo::trace();
                self.show_trace(trace);
            }
            Command::PlayRounds => {
                let now = ctx.input(|input| input.time);
                let state = &mut self.state;
                let log = state.opened.as_ref().unwrap_or(&state.live);
                timeline::toggle(&mut state.explorer, log, now);
                state.settings.view = View::Explore;
            }
            Command::FindToken => {
                settings.view = View::Explore;
                self.state.explorer.find_focus = true;
            }
            Command::FitTree => self.state.explorer.fit(),
            Command::ExportTreeSvg => self.export_trace(Export::TreeSvg, "tree"),
            Command::ExportTreePng => self.export_trace(Export::TreePng, "tree"),
            Command::ExportRounds => self.export_trace(Export::Rounds, "rounds"),
            Command::ExportNodes => self.export_trace(Export::Nodes, "nodes"),
            Command::RefreshDevices => {
                self.state.devices.list = None;
                self.list_devices();
            }
            Command::CopyDeviceReport => {
                ctx.copy_text(crate::panels::devices::report(&self.state.devices));
                self.state.notify("Report copied", None);
            }
        }
    }

    fn list_devices(&mut self) {
        let devices = &mut self.state.devices;
        if devices.list.is_none() && !devices.listing {
            devices.listing = true;
            self.worker.list_devices();
        }
    }

    fn export(&self, format: ExportFormat, scope: Scope) {
        let extension = match format {
            ExportFormat::Json => "json",
            ExportFormat::Markdown => "md",
        };
        let title = match scope {
            Scope::Open => self.state.conversation.chat.title.as_str(),
            Scope::All => "coppice chats",
        };
        self.ask_file(Purpose::Export(format, scope), &file_name(title, extension));
    }

    fn export_trace(&self, export: Export, name: &str) {
        self.ask_file(Purpose::ExportTrace(export), &file_name(name, export.extension()));
    }

    fn last(&self, role: Role) -> Option<&Message> {
        let conversation = &self.state.conversation;
        let path = conversation.path().into_iter().rev();
        path.filter_map(|id| conversation.get(id)).find(|message| message.role == role)
    }

    pub(super) fn show_trace(&mut self, trace: TraceLog) {
        self.state.status = format!("{} rounds", trace.rounds.len());
        for note in trace.notes.clone() {
            self.state.notify(note, None);
        }
        self.state.opened = Some(trace);
        self.state.explorer = Default::default();
        self.state.explorer.show(0);
        self.state.settings.view = View::Explore;
    }

    fn load_request(&self, model: PathBuf) -> LoadRequest {
        let settings = &self.state.settings;
        LoadRequest {
            model,
            device: settings.device.clone(),
            context: settings.context,
            drafting: settings.drafting.clone(),
        }
    }

    fn load(&mut self, path: PathBuf) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.state.status = format!("Loading {name}");
        self.state.model = ModelState::Loading { path: path.clone(), since: Instant::now() };
        self.worker.load(self.load_request(path));
    }

    /// Leaves the conversation on screen; one that is being answered goes on.
    fn leave(&mut self) -> Conversation {
        let next = Conversation::new(Chat::new(self.state.settings.system.clone()), []);
        let left = std::mem::replace(&mut self.state.conversation, next);
        self.state.editing = None;
        self.state.chat_problem = None;
        if let Some(writing) = &mut self.state.writing
            && writing.elsewhere.is_none()
        {
            writing.elsewhere = Some(Box::new(left.clone()));
        }
        left
    }

    /// Puts a conversation on screen.
    pub(super) fn show(&mut self, conversation: Conversation, message: Option<MessageId>) {
        self.leave();
        self.state.conversation = conversation;
        if let Some(message) = message.filter(|id| self.state.conversation.get(*id).is_some()) {
            let path = self.state.conversation.path();
            if !path.contains(&message) {
                self.state.conversation.select(message);
            }
        }
        self.state.scroll_to = message.or(self.state.conversation.chat.head);
        self.state.composer.focus = true;
    }

    fn new_chat(&mut self) {
        self.leave();
        self.state.opening = None;
        self.state.composer.focus = true;
        if self.state.settings.view == View::Devices {
            self.state.settings.view = View::Chat;
        }
    }

    fn open_chat(&mut self, id: ChatId, message: Option<MessageId>) {
        if self.state.settings.view == View::Devices {
            self.state.settings.view = View::Chat;
        }
        if self.state.conversation.chat.id == id {
            if let Some(message) = message {
                self.select(message);
                self.state.scroll_to = Some(message);
            }
            return;
        }
        let elsewhere = self.state.writing.as_mut().and_then(|writing| {
            let here = writing.elsewhere.as_ref().is_some_and(|there| there.chat.id == id);
            if here { writing.elsewhere.take() } else { None }
        });
        match elsewhere {
            Some(conversation) => {
                // It comes back while its answer is being written, so `leave` must not move it.
                let writing = self.state.writing.take();
                self.show(*conversation, message);
                self.state.writing = writing;
            }
            None if self.history.is_some() => {
                self.state.opening = Some((id, message));
                self.history_ask(Asked::Open(id));
            }
            None => {}
        }
    }

    fn change_chat(&mut self, id: ChatId, change: impl FnOnce(&mut Chat)) {
        let Some(known) = self.state.chats.iter_mut().find(|chat| chat.id == id) else { return };
        change(known);
        let mut chat = known.clone();
        if self.state.conversation.chat.id == id {
            chat.head = self.state.conversation.chat.head;
            self.state.conversation.chat = chat.clone();
        }
        if let Some(writing) = &mut self.state.writing
            && let Some(there) = &mut writing.elsewhere
            && there.chat.id == id
        {
            chat.head = there.chat.head;
            there.chat = chat.clone();
        }
        self.history_ask(Asked::Put(Box::new(chat), Vec::new()));
    }

    fn select(&mut self, id: MessageId) {
        if self.state.conversation.path().contains(&id) {
            return;
        }
        self.state.conversation.select(id);
        self.keep(&[]);
    }

    /// Shows the branch beside the last message that has any.
    fn turn(&mut self, places: isize) {
        let conversation = &self.state.conversation;
        let path = conversation.path();
        let fork = path.iter().rev().find(|id| conversation.siblings(**id).len() > 1);
        let next = fork.and_then(|id| conversation.sibling(*id, places));
        if let Some(next) = next {
            self.select(next);
        }
    }

    fn regenerate(&mut self, id: MessageId) {
        let conversation = &self.state.conversation;
        let Some(message) = conversation.get(id) else { return };
        // To regenerate a question is to answer it again.
        let parent = match message.role {
            Role::Assistant => message.parent,
            Role::User => Some(message.id),
        };
        self.answer(Begin::New(parent));
    }

    fn submit_edit(&mut self, id: MessageId, text: &str) {
        let Some(message) = self.state.conversation.get(id).cloned() else { return };
        let text = text.trim();
        if text.is_empty() || text == message.content.trim() {
            self.state.editing = None;
            return;
        }
        if message.role == Role::User && !self.can_answer() {
            return;
        }
        self.state.editing = None;
        let edited = Message::new(message.parent, message.role, text);
        let id = self.state.conversation.add(edited);
        self.keep(&[id]);
        if message.role == Role::User {
            self.answer(Begin::New(Some(id)));
        }
    }

    fn branch(&mut self, id: MessageId) {
        let branch = self.state.conversation.branch(id);
        self.show(branch, None);
        let ids: Vec<_> = self.state.conversation.messages().map(|message| message.id).collect();
        self.keep(&ids);
        self.state.notify("This is a chat of its own now", None);
    }

    fn delete(&mut self, id: MessageId) {
        let written = self.state.written_here();
        let removed = self.state.conversation.remove(id);
        if removed.is_empty() {
            return;
        }
        if written.is_some_and(|written| removed.iter().any(|message| message.id == written)) {
            self.stop();
        }
        let chat = &mut self.state.conversation.chat;
        chat.updated_ms = now_ms();
        let chat = chat.clone();
        let ids = removed.iter().map(|message| message.id).collect();
        self.history_ask(Asked::Remove(Box::new(chat.clone()), ids));
        let text = match removed.len() {
            1 => "Message deleted".to_owned(),
            n => format!("{n} messages deleted"),
        };
        self.state.notify(text, Some(Undo::Messages(chat.id, removed)));
    }

    fn undo(&mut self, undo: Undo) {
        self.state.notices.retain(|notice| notice.undo.as_ref() != Some(&undo));
        match undo {
            Undo::Chat(id) => {
                self.change_chat(id, |chat| chat.deleted = false);
                self.open_chat(id, None);
            }
            Undo::Messages(chat, messages) if self.state.conversation.chat.id == chat => {
                let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
                self.state.conversation.restore(messages);
                self.keep(&ids);
            }
            Undo::Messages(id, messages) => {
                if let Some(chat) = self.state.chats.iter().find(|chat| chat.id == id) {
                    self.history_ask(Asked::Put(Box::new(chat.clone()), messages));
                }
                self.open_chat(id, None);
            }
        }
    }
}
