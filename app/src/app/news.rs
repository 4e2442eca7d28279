//! What the threads said since the last frame.

use std::time::Instant;

use coppice::check::report::Report;
use egui::Context;

use super::{
    App,
    files::{Picked, Purpose, Scope},
};
use crate::{
    history::{Asked, HistoryNews},
    problem::Problem,
    state::{Action, ModelState, Phase, Running},
    worker::{Checking, News},
};

impl App {
    /// Takes all news in.
    pub(super) fn take_news(&mut self, ctx: &Context) {
        for news in self.worker.news() {
            self.take(ctx, news);
        }
        for news in self.history.as_ref().map(|history| history.news()).unwrap_or_default() {
            self.take_history(ctx, news);
        }
        for picked in self.dialogs.take() {
            self.take_file(ctx, picked);
        }
    }

    fn take(&mut self, ctx: &Context, news: News) {
        match news {
            News::Loaded(info) => {
                self.state.status = format!("{} is ready", info.name);
                let notes = info.notes.clone();
                self.state.settings.remember_model(&info.path);
                self.state.model = ModelState::Ready(info);
                self.state.chat_problem = None;
                self.state.composer.focus = true;
                self.state.composer.counted = (0, 0);
                for note in notes {
                    self.state.notify(note, None);
                }
            }
            News::LoadFailed(problem) => {
                self.state.status = format!("The model could not be loaded: {}", problem.what);
                let path = self.model_path().map(Into::into).unwrap_or_default();
                self.state.model = ModelState::Failed { path, problem };
            }
            News::Unloaded => {
                self.state.status = "The model is unloaded".into();
                self.state.cache = None;
                self.state.model = ModelState::Absent;
            }
            News::Begun { header, prompt_ids } => {
                if let Some(writing) = &mut self.state.writing {
                    writing.prompt_tokens = prompt_ids.len();
                    self.state.live.begin(writing.message, *header, prompt_ids);
                }
            }
            News::Prompt { .. } => {
                if let Some(writing) = &mut self.state.writing {
                    writing.prompt_done = Some(Instant::now());
                }
            }
            News::Text(text) => self.grow(&text),
            News::Round(round) => {
                if let Some(writing) = &mut self.state.writing {
                    writing.tokens += round.outcome.tokens();
                    if writing.phase == Phase::Prompt {
                        writing.phase = Phase::Answer;
                    }
                }
                self.state.live.push(round);
            }
            News::Cache(map) => self.state.cache = Some(map),
            News::Lane { lane, news } => self.state.compare.take(lane, news),
            News::Compared(done) => {
                self.state.compare.end(done);
                let verdict = self.state.compare.verdict();
                self.state.status = verdict.unwrap_or_else(|| "The comparison ended".into());
            }
            News::Done(answer) => self.finish(&answer),
            News::GenerateFailed(problem) => {
                if self.state.writing.is_some() {
                    self.fail(problem);
                } else if self.state.compare.running.is_some() {
                    self.state.compare.end(Err(problem));
                } else {
                    self.state.chat_problem = Some(problem);
                }
            }
            News::Pull(state) => {
                if let Some(pull) = &mut self.state.pull {
                    pull.state = state;
                }
            }
            News::Pulled { model, done } => self.pulled(ctx, &model, done),
            News::Estimated { model, need } => {
                self.state.needs.insert(model, Some(need));
            }
            News::Devices(list) => {
                self.state.devices.listing = false;
                self.state.devices.list = Some(list);
            }
            News::TraceRead(Ok(trace)) => self.show_trace(*trace),
            News::TraceSaved(Ok(path)) => {
                self.state.notify(format!("Written to {}", path.display()), None);
            }
            News::TraceRead(Err(problem)) | News::TraceSaved(Err(problem)) => {
                self.state.status = format!("Failed: {}", problem.what);
                self.state.notify(problem.report(), None);
            }
            News::Checking(Checking::Case { done, total, name }) => {
                self.state.devices.running = Some(Running { done, total, case: name });
            }
            News::Checking(Checking::Row(row)) => self.state.devices.rows.push(*row),
            News::Checked(done) => self.checked(done),
        }
    }

    fn checked(&mut self, done: Result<Box<Report>, Problem>) {
        let devices = &mut self.state.devices;
        devices.running = None;
        match done {
            Ok(report) => {
                let end = if report.interrupted { "stopped" } else { "done" };
                let summary = crate::panels::devices::summary(&devices.rows);
                self.state.status = format!("Check of {} {end}: {summary}", devices.device);
                devices.report = Some(report);
            }
            Err(problem) => {
                self.state.status = format!("Check failed: {}", problem.what);
                devices.problem = Some(problem);
            }
        }
    }

    fn pulled(
        &mut self,
        ctx: &Context,
        model: &str,
        done: Result<Option<std::path::PathBuf>, Problem>,
    ) {
        self.state.pull = None;
        match done {
            Ok(Some(path)) => {
                self.state.status = format!("{model} is here");
                self.act(ctx, Action::LoadModel(path));
            }
            Ok(None) => self.state.status = "Download stopped; it goes on where it ended".into(),
            Err(problem) => {
                self.state.status = format!("Download failed: {}", problem.what);
                self.state.model = ModelState::Failed { path: model.into(), problem };
            }
        }
    }

    fn take_history(&mut self, ctx: &Context, news: HistoryNews) {
        match news {
            HistoryNews::Listed(chats) => {
                // What was written here since is newer.
                let open = self.state.conversation.chat.clone();
                self.state.chats = chats;
                if let Some(known) = self.state.chats.iter_mut().find(|chat| chat.id == open.id) {
                    *known = open;
                }
            }
            HistoryNews::Opened(conversation) => {
                let wanted = self.state.opening.filter(|(id, _)| *id == conversation.chat.id);
                if let Some((_, message)) = wanted {
                    self.state.opening = None;
                    self.show(*conversation, message);
                }
            }
            HistoryNews::Gone(id) => {
                self.state.opening = self.state.opening.filter(|(wanted, _)| *wanted != id);
            }
            HistoryNews::Found { query, hits } => {
                self.state.search.answered = query;
                self.state.search.hits = hits;
            }
            HistoryNews::Saved => self.state.unsaved = None,
            HistoryNews::Unsaved(problem) => {
                self.state.status = format!("Not saved: {}", problem.what);
                self.state.unsaved = Some(problem);
            }
            HistoryNews::Exported(path) => {
                self.state.notify(format!("Written to {}", path.display()), None);
            }
            HistoryNews::Imported(chats) => {
                let text = match chats {
                    1 => "1 chat imported".to_owned(),
                    n => format!("{n} chats imported"),
                };
                self.state.notify(text, None);
                if let Some(history) = &self.history {
                    history.ask(Asked::List);
                }
            }
            HistoryNews::Failed(problem) => {
                self.state.opening = None;
                self.state.notify(problem.report(), None);
            }
        }
        ctx.request_repaint();
    }

    fn take_file(&mut self, ctx: &Context, picked: Picked) {
        let (purpose, path) = match picked {
            Picked::File(purpose, path) => (purpose, path),
            Picked::NoDialog(asked) => {
                self.state.asked_path = Some(asked);
                return;
            }
            Picked::Exists(path) => {
                if let Some(asked) = &mut self.state.asked_path {
                    asked.replaces = Some(path);
                }
                return;
            }
        };
        self.state.asked_path = None;
        match purpose {
            Purpose::OpenModel => self.act(ctx, Action::LoadModel(path)),
            Purpose::OpenTrace => self.act(ctx, Action::OpenTrace(path)),
            Purpose::SaveTrace => self.worker.save_trace(self.state.trace().clone(), path),
            Purpose::ExportTrace(export) => self.act(ctx, Action::ExportTrace(export, path)),
            Purpose::Import => {
                if let Some(history) = &self.history {
                    history.ask(Asked::Import(path));
                }
            }
            Purpose::Export(format, scope) => {
                let only = match scope {
                    Scope::Open => Some(self.state.conversation.chat.id),
                    Scope::All => None,
                };
                if let Some(history) = &self.history {
                    history.ask(Asked::Export(only, format, path));
                }
            }
        }
    }
}
