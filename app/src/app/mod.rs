//! The app: state, threads, and the order of a frame.
//!
//! A frame takes news from the threads, reads keys, draws panels, and last carries out what the
//! panels asked for. Nothing in a frame waits: disk, network, dialogs and model have threads of their
//! own, and a frame is drawn only when one of them or the user has something new.

mod act;
mod answer;
mod files;
mod news;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use egui::{Context, Ui};

use self::files::Dialogs;
pub use self::files::{AskedPath, Purpose, Scope};
use crate::{
    history::{Asked, History},
    layout::View,
    panels,
    problem::Problem,
    settings::{Saver, Settings},
    state::{Action, Cx, ModelState, State},
    tokens,
    worker::{Machine, Waker, Worker},
};

/// Where the app keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Conversations.
    pub history: PathBuf,
    /// Settings.
    pub settings: PathBuf,
}

impl Paths {
    /// Files in a folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { history: folder.join("history.db"), settings: folder.join("settings.json") }
    }

    /// `COPPICE_HOME/app`, else the platform's data folder.
    ///
    /// # Errors
    /// A user without a home folder.
    pub fn of_user() -> Result<Self, Problem> {
        Ok(Self::in_folder(&coppice::hub::models_dir()?.with_file_name("app")))
    }
}

/// What the app begins with.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Load this model rather than the one used last.
    pub model: Option<PathBuf>,
    /// Show this trace.
    pub trace: Option<PathBuf>,
    /// Show the demonstration.
    pub demo: bool,
    /// Begin in this view rather than the one used last.
    pub view: Option<View>,
    /// Load no model on its own.
    pub idle: bool,
}

/// The app.
pub struct App {
    /// What the window shows.
    pub state: State,
    worker: Worker,
    history: Option<History>,
    saver: Option<Saver>,
    dialogs: Dialogs,
    /// Reused between frames.
    actions: Vec<Action>,
    /// Frames drawn.
    pub frames: u64,
}

impl App {
    /// Opens history and settings and starts the threads.
    ///
    /// # Errors
    /// A system without room for threads. A history that cannot be opened is a problem on screen,
    /// not an error: one can chat without.
    pub fn new(
        ctx: &Context,
        machine: Arc<dyn Machine>,
        paths: &Paths,
        start: &Start,
    ) -> std::io::Result<Self> {
        tokens::install(ctx);
        // Our own commands do that, and remember it.
        ctx.options_mut(|options| options.zoom_with_keyboard = false);
        let (settings, settings_problem) = Settings::load(&paths.settings);
        let saver = Saver::start(paths.settings.clone(), settings.clone())?;
        let mut state = State::new(settings);
        if let Some(problem) = settings_problem {
            state.notify(problem.report(), None);
        }
        let wake = ctx.clone();
        let history = match History::start(&paths.history, move || wake.request_repaint()) {
            Ok(history) => {
                history.ask(Asked::List);
                Some(history)
            }
            Err(problem) => {
                state.unsaved = Some(problem);
                None
            }
        };
        let wake = ctx.clone();
        let waker: Waker = Box::new(move |wait| match wait {
            Duration::ZERO => wake.request_repaint(),
            wait => wake.request_repaint_after(wait),
        });
        let worker = Worker::start(machine, waker)?;
        let mut app = Self {
            state,
            worker,
            history,
            saver: Some(saver),
            dialogs: Dialogs::new(ctx.clone()),
            actions: Vec::new(),
            frames: 0,
        };
        app.begin(ctx, start);
        Ok(app)
    }

    fn begin(&mut self, ctx: &Context, start: &Start) {
        if let Some(view) = start.view {
            self.state.settings.view = view;
        }
        if let Some(trace) = &start.trace {
            self.act(ctx, Action::OpenTrace(trace.clone()));
        }
        if start.demo {
            self.act(ctx, Action::Run(crate::command::Command::PlayDemo));
        }
        if let Some(chat) = self.state.settings.chat.filter(|_| !start.demo) {
            self.act(ctx, Action::OpenChat(chat, None));
        }
        let known = start.model.clone().or_else(|| self.state.settings.model.clone());
        let known = known.filter(|path| start.model.is_some() || path.exists());
        match known {
            Some(path) if !start.idle && !start.demo => self.act(ctx, Action::LoadModel(path)),
            Some(_) => {}
            None => self.state.found_default = self.worker.find_model(coppice::hub::DEFAULT_MODEL),
        }
    }

    /// Takes news from the threads; also called while the window is hidden.
    pub fn logic(&mut self, ctx: &Context) {
        self.take_news(ctx);
        let now = Instant::now();
        self.state.notices.retain(|notice| notice.until > now);
        if let Some(first) = self.state.notices.iter().map(|notice| notice.until).min() {
            ctx.request_repaint_after(first - now);
        }
    }

    /// Draws a frame and carries out what was asked for in it.
    pub fn ui(&mut self, ui: &mut Ui) {
        self.frames += 1;
        let ctx = ui.ctx().clone();
        // Before anything is drawn: what is typed behind a shortcut belongs to what it opens.
        if !self.state.palette.open {
            for command in crate::command::pressed(&ctx) {
                self.act(&ctx, Action::Run(command));
            }
        }
        self.apply_settings(ui);
        let mut actions = std::mem::take(&mut self.actions);
        actions.extend(dropped_files(&ctx));
        panels::window_ui(ui, &mut Cx { state: &mut self.state, actions: &mut actions });
        for action in actions.drain(..) {
            self.act(&ctx, action);
        }
        self.actions = actions;
        self.remember(&ctx);
    }

    fn apply_settings(&self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        let settings = &self.state.settings;
        let theme = settings.theme.preference();
        if ctx.options(|options| options.theme_preference) != theme {
            ctx.set_theme(theme);
            // The frame began in the old colours.
            ui.reset_style();
        }
        if ctx.zoom_factor() != settings.scale {
            ctx.set_zoom_factor(settings.scale);
        }
    }

    fn remember(&mut self, ctx: &Context) {
        let rect = ctx.input(|input| input.viewport().inner_rect);
        if let Some(rect) = rect.filter(|rect| rect.is_positive()) {
            self.state.settings.window = Some([rect.width(), rect.height()]);
        }
        let conversation = &self.state.conversation;
        if self.state.opening.is_none() {
            let said = !conversation.is_empty();
            self.state.settings.chat = said.then_some(conversation.chat.id);
        }
        // While something is dragged, settings change with every frame.
        if !ctx.input(|input| input.pointer.any_down())
            && let Some(saver) = &mut self.saver
        {
            saver.save(&self.state.settings);
        }
    }

    /// The model that is loaded or is being loaded.
    pub fn model_path(&self) -> Option<&Path> {
        match &self.state.model {
            ModelState::Absent => None,
            ModelState::Loading { path, .. } | ModelState::Failed { path, .. } => Some(path),
            ModelState::Ready(info) => Some(&info.path),
        }
    }

    /// Limits the history's file, as a full disk would; for tests of what happens then.
    pub fn limit_history_bytes(&self, bytes: u64) {
        if let Some(history) = &self.history {
            history.limit_bytes(bytes);
        }
    }
}

/// Files dropped onto the window: a model, a trace.
fn dropped_files(ctx: &Context) -> Vec<Action> {
    let files = ctx.input(|input| input.raw.dropped_files.clone());
    let action = |path: PathBuf| {
        let is_trace = path.extension().is_some_and(|extension| extension == "jsonl");
        if is_trace { Action::OpenTrace(path) } else { Action::LoadModel(path) }
    };
    files.iter().map(|file| action(file.path().to_path_buf())).collect()
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.logic(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.ui(ui);
    }

    fn on_exit(&mut self) {
        self.close();
    }
}
