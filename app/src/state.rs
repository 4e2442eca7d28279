//! What the window shows: plain data that panels read and change.
//!
//! Whatever needs another thread is asked for with an [`Action`]; the app carries them out after the
//! frame is drawn.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use coppice::{backend::AdapterReport, check::report::Report};

use crate::{
    app::AskedPath,
    command::Command,
    compare::Compare,
    export::Export,
    history::{Chat, ChatId, Conversation, Figures, Hit, Message, MessageId},
    panels::{
        WhatIf,
        chat::ChatView,
        devices::{Column, Order},
    },
    problem::Problem,
    settings::Settings,
    trace_log::TraceLog,
    tree_view::Explorer,
    worker::{CacheMap, CheckKind, CheckRow, MemoryNeed, ModelInfo, PullState},
};

/// How long a notice stays.
pub const NOTICE: Duration = Duration::from_secs(8);

/// What a panel asks for.
#[derive(Clone, Debug)]
pub enum Action {
    /// A command, as from the menu.
    Run(Command),
    /// Send a message of the user.
    Send(String),
    /// Answer the message again.
    Regenerate(MessageId),
    /// Go on with an answer.
    Continue(MessageId),
    /// Replace a message by an edited one; of the user: answer it.
    SubmitEdit(MessageId, String),
    /// Show the branch of a message.
    Select(MessageId),
    /// Copy the conversation up to a message into one of its own.
    Branch(MessageId),
    /// Put a message and all below it away.
    Delete(MessageId),
    /// Write the open conversation's title or system prompt.
    SaveChat,
    /// Open a conversation, and show a message of it.
    OpenChat(ChatId, Option<MessageId>),
    /// Rename a conversation.
    RenameChat(ChatId, String),
    /// Put a conversation away.
    DeleteChat(ChatId),
    /// Bring it back.
    RestoreChat(ChatId),
    /// Erase it for good.
    EraseChat(ChatId),
    /// Look for a text in all conversations.
    Search(String),
    /// Load a model.
    LoadModel(PathBuf),
    /// Ask what a model needs.
    Estimate(PathBuf),
    /// Fetch a model and load it.
    Pull(String),
    /// Stop fetching.
    CancelPull,
    /// Free the model.
    Unload,
    /// Try to save again.
    RetrySave,
    /// Take back what a notice offers to.
    Undo(Undo),
    /// Open a trace file.
    OpenTrace(PathBuf),
    /// Show the session's own rounds again.
    CloseTrace,
    /// Take the path that was typed.
    TakePath,
    /// Write rounds for other programs.
    ExportTrace(Export, PathBuf),
    /// Show a round in the explorer.
    ShowRound(usize),
    /// Check a device.
    Check(String, CheckKind),
    /// Stop the check.
    CancelCheck,
    /// Measure two ways to draft.
    Compare,
    /// Stop measuring.
    StopCompare,
    /// Close a problem.
    Dismiss,
}

/// What can be taken back.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo {
    /// Put messages back.
    Messages(ChatId, Vec<Message>),
    /// Bring a conversation back.
    Chat(ChatId),
}

/// The model.
#[derive(Debug, Default)]
pub enum ModelState {
    /// There is none.
    #[default]
    Absent,
    /// It is being loaded.
    Loading {
        /// File or folder.
        path: PathBuf,
        /// Since when.
        since: Instant,
    },
    /// It is ready.
    Ready(Box<ModelInfo>),
    /// It could not be loaded.
    Failed {
        /// File or folder.
        path: PathBuf,
        /// Why.
        problem: Problem,
    },
}

impl ModelState {
    /// The model, if it is ready.
    pub fn ready(&self) -> Option<&ModelInfo> {
        match self {
            Self::Ready(info) => Some(info),
            _ => None,
        }
    }
}

/// What an answer is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The prompt is being computed.
    Prompt,
    /// Tokens come.
    Answer,
    /// It is to stop.
    Stopping,
}

/// An answer that is being written.
#[derive(Debug)]
pub struct Writing {
    /// The message.
    pub message: MessageId,
    /// Its conversation, while another one is on screen.
    pub elsewhere: Option<Box<Conversation>>,
    /// What it is at.
    pub phase: Phase,
    /// When it was asked for.
    pub since: Instant,
    /// When the prompt was done.
    pub prompt_done: Option<Instant>,
    /// Tokens so far.
    pub tokens: usize,
    /// Tokens of the prompt; 0 until they are known.
    pub prompt_tokens: usize,
    /// When the text so far was handed to the history.
    pub kept: Instant,
    /// Figures so far.
    pub figures: Figures,
}

impl Writing {
    /// Tokens a second so far.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.prompt_done?.elapsed().as_secs_f64();
        (self.tokens > 1 && seconds > 0.05).then(|| self.tokens as f64 / seconds)
    }
}

/// A message that is being edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editing {
    /// The message.
    pub message: MessageId,
    /// Its new text.
    pub text: String,
    /// Put the cursor there in the next frame.
    pub focus: bool,
}

/// Where messages are written.
#[derive(Clone, Debug, Default)]
pub struct Composer {
    /// Text.
    pub text: String,
    /// Put the cursor there in the next frame.
    pub focus: bool,
    /// The text that was counted last, by length, and its tokens.
    pub counted: (usize, usize),
}

/// A search through all conversations.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// What is looked for.
    pub query: String,
    /// What was found for it.
    pub hits: Vec<Hit>,
    /// The query that `hits` belong to.
    pub answered: String,
    /// Put the cursor there in the next frame.
    pub focus: bool,
}

/// A download.
#[derive(Clone, Debug)]
pub struct Pulling {
    /// The model as asked for.
    pub model: String,
    /// How far it is.
    pub state: PullState,
    /// Since when.
    pub since: Instant,
}

/// The devices panel.
#[derive(Debug, Default)]
pub struct Devices {
    /// Devices; absent until they were listed.
    pub list: Option<Result<Vec<AdapterReport>, Problem>>,
    /// They are being listed.
    pub listing: bool,
    /// The check that runs.
    pub running: Option<Running>,
    /// Selector of the device that was checked last.
    pub device: String,
    /// What it was checked for.
    pub kind: CheckKind,
    /// What was tried.
    pub rows: Vec<CheckRow>,
    /// The report of a check that ended.
    pub report: Option<Box<Report>>,
    /// Why it could not run.
    pub problem: Option<Problem>,
    /// Column to sort by, and downwards.
    pub sort: (Column, bool),
    /// Show only what did not pass.
    pub only_faults: bool,
    /// Order of the rows on screen.
    pub order: Order,
}

/// A check that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Cases done.
    pub done: usize,
    /// Cases in all; 0 until they are known.
    pub total: usize,
    /// The case that runs.
    pub case: String,
}

/// A short notice at the bottom.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Text.
    pub text: String,
    /// What can be taken back.
    pub undo: Option<Undo>,
    /// When it goes.
    pub until: Instant,
}

/// The command palette.
#[derive(Clone, Debug, Default)]
pub struct PaletteState {
    /// It is open.
    pub open: bool,
    /// What is typed.
    pub query: String,
    /// Chosen entry.
    pub chosen: usize,
    /// What had the keyboard before, and gets it back.
    pub before: Option<egui::Id>,
}

/// What the window shows.
pub struct State {
    /// What is remembered.
    pub settings: Settings,
    /// The model.
    pub model: ModelState,
    /// A download.
    pub pull: Option<Pulling>,
    /// What models need, by path; absent while they are read.
    pub needs: BTreeMap<PathBuf, Option<Result<MemoryNeed, Problem>>>,
    /// All conversations, newest first.
    pub chats: Vec<Chat>,
    /// The search.
    pub search: Search,
    /// Rename this conversation, in this text field.
    pub renaming: Option<(ChatId, String)>,
    /// The conversation on screen.
    pub conversation: Conversation,
    /// The conversation that was asked for and is on its way, with the message to show.
    pub opening: Option<(ChatId, Option<MessageId>)>,
    /// Scroll to this message in the next frame.
    pub scroll_to: Option<MessageId>,
    /// Where messages are written.
    pub composer: Composer,
    /// The message that is being edited.
    pub editing: Option<Editing>,
    /// The answer that is being written.
    pub writing: Option<Writing>,
    /// What went wrong in the chat, below the last message.
    pub chat_problem: Option<Problem>,
    /// What could not be saved.
    pub unsaved: Option<Problem>,
    /// Rounds of this session.
    pub live: TraceLog,
    /// Rounds of a file, shown in their place.
    pub opened: Option<TraceLog>,
    /// Where the explorer is.
    pub explorer: Explorer,
    /// What recorded rounds would give with other trees.
    pub what_if: WhatIf,
    /// Two ways to draft, side by side.
    pub compare: Compare,
    /// Pages of the cache after the newest round.
    pub cache: Option<CacheMap>,
    /// The devices panel.
    pub devices: Devices,
    /// Notices, oldest first.
    pub notices: Vec<Notice>,
    /// What is going on, for the status bar and screen readers.
    pub status: String,
    /// The command palette.
    pub palette: PaletteState,
    /// The path that is asked for within the window.
    pub asked_path: Option<AskedPath>,
    /// The settings window is open.
    pub settings_open: bool,
    /// The list of shortcuts is open.
    pub shortcuts_open: bool,
    /// The model on this disk that a first start can use at once.
    pub found_default: Option<PathBuf>,
    /// The model is held after each round.
    pub stepping: bool,
    /// What drawing the conversation remembers.
    pub chat_view: ChatView,
}

impl State {
    /// The state of a first frame.
    pub fn new(settings: Settings) -> Self {
        let conversation = Conversation::new(Chat::new(settings.system.clone()), []);
        Self {
            settings,
            model: ModelState::Absent,
            pull: None,
            needs: BTreeMap::new(),
            chats: Vec::new(),
            search: Search::default(),
            renaming: None,
            conversation,
            opening: None,
            scroll_to: None,
            composer: Composer { focus: true, ..Composer::default() },
            editing: None,
            writing: None,
            chat_problem: None,
            unsaved: None,
            live: TraceLog::default(),
            opened: None,
            explorer: Explorer::default(),
            what_if: WhatIf::default(),
            compare: Compare::default(),
            cache: None,
            devices: Devices::default(),
            notices: Vec::new(),
            status: "Ready".into(),
            palette: PaletteState::default(),
            asked_path: None,
            settings_open: false,
            shortcuts_open: false,
            found_default: None,
            stepping: false,
            chat_view: ChatView::default(),
        }
    }

    /// Whether something lies over the panels and has the keyboard.
    pub fn is_covered(&self) -> bool {
        self.palette.open || self.settings_open || self.shortcuts_open || self.asked_path.is_some()
    }

    /// The rounds that the explorer shows.
    pub fn trace(&self) -> &TraceLog {
        self.opened.as_ref().unwrap_or(&self.live)
    }

    /// The conversation of the answer that is being written.
    pub fn writing_conversation(&mut self) -> Option<&mut Conversation> {
        let writing = self.writing.as_mut()?;
        Some(match &mut writing.elsewhere {
            Some(conversation) => conversation,
            None => &mut self.conversation,
        })
    }

    /// The message on screen that is being written.
    pub fn written_here(&self) -> Option<MessageId> {
        let writing = self.writing.as_ref()?;
        writing.elsewhere.is_none().then_some(writing.message)
    }

    /// Tells the user something for a while.
    pub fn notify(&mut self, text: impl Into<String>, undo: Option<Undo>) {
        const MOST: usize = 3;
        self.notices.push(Notice { text: text.into(), undo, until: Instant::now() + NOTICE });
        if self.notices.len() > MOST {
            self.notices.remove(0);
        }
    }

    /// Whether a command can be run now; menus and palette grey the others.
    pub fn can(&self, command: Command) -> bool {
        let last = || self.conversation.chat.head.and_then(|head| self.conversation.get(head));
        let idle = self.writing.is_none()
            && self.compare.running.is_none()
            && self.model.ready().is_some();
        match command {
            Command::DefaultModel => self.pull.is_none(),
            Command::StopAnswer => self.writing.is_some(),
            Command::Regenerate => idle && last().is_some(),
            Command::Continue => {
                idle && last().is_some_and(|last| last.role == crate::history::Role::Assistant)
            }
            Command::EditLast
            | Command::CopyLast
            | Command::PreviousBranch
            | Command::NextBranch
            | Command::ExportMarkdown
            | Command::ExportJson
            | Command::DeleteChat => !self.conversation.is_empty(),
            Command::SaveTrace => self.trace().header.is_some(),
            Command::PlayRounds
            | Command::FindToken
            | Command::FitTree
            | Command::ExportTreeSvg
            | Command::ExportTreePng
            | Command::ExportRounds
            | Command::ExportNodes => !self.trace().rounds.is_empty(),
            Command::StepRound => self.stepping && self.writing.is_some(),
            Command::CopyDeviceReport => matches!(self.devices.list, Some(Ok(_))),
            _ => true,
        }
    }
}

/// What panels work with.
pub struct Cx<'a> {
    /// The state.
    pub state: &'a mut State,
    /// What they ask for.
    pub actions: &'a mut Vec<Action>,
}

impl Cx<'_> {
    /// Asks for an action.
    pub fn ask(&mut self, action: Action) {
        self.actions.push(action);
    }
}
