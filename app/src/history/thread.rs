//! The thread that owns the file of conversations.
//!
//! Jobs are done in order. One that fails, because the disk is full, say, stays at the front and all
//! behind it wait: [`History::retry`] goes on from there, so that nothing is skipped. The queue has no
//! limit because it holds what a person typed and may not be dropped.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{
    Chat, ChatId, Conversation, ExportFormat, Hit, Message, MessageId, Store, StoreError, transfer,
};
use crate::problem::Problem;

/// How often a failed job is tried again on its own.
const RETRY: Duration = Duration::from_secs(5);

/// What can be asked of the history.
#[derive(Clone, Debug)]
pub enum Asked {
    /// All conversations.
    List,
    /// A conversation with its messages.
    Open(ChatId),
    /// Messages that contain a text.
    Search(String),
    /// Write a conversation and some of its messages.
    Put(Box<Chat>, Vec<Message>),
    /// Put messages away.
    Remove(Box<Chat>, Vec<MessageId>),
    /// Erase a conversation for good.
    Erase(ChatId),
    /// Write conversations to a file; all where none is named.
    Export(Option<ChatId>, ExportFormat, PathBuf),
    /// Read conversations from a file.
    Import(PathBuf),
}

/// What comes back.
#[derive(Debug)]
pub enum HistoryNews {
    /// All conversations, newest first.
    Listed(Vec<Chat>),
    /// A conversation.
    Opened(Box<Conversation>),
    /// There is no such conversation.
    Gone(ChatId),
    /// What a search found.
    Found {
        /// The query.
        query: String,
        /// Newest first.
        hits: Vec<Hit>,
    },
    /// Everything asked so far is written.
    Saved,
    /// The file could not be written; it is tried again.
    Unsaved(Problem),
    /// A file was written.
    Exported(PathBuf),
    /// So many conversations were read from a file.
    Imported(usize),
    /// Something else failed; nothing was changed.
    Failed(Problem),
}

/// The window's end.
pub struct History {
    jobs: Option<Sender<Job>>,
    news: Arc<Mutex<Vec<HistoryNews>>>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Ask(Asked),
    Retry,
    LimitBytes(u64),
}

impl History {
    /// Opens the file and starts the thread; `wake` is called after news.
    ///
    /// # Errors
    /// A file that cannot be opened, naming it.
    pub fn start(path: &Path, wake: impl Fn() + Send + 'static) -> Result<Self, Problem> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                Problem::new(
                    format!("cannot create {}: {error}", folder.display()),
                    "check who owns the folder above, or set COPPICE_HOME to another",
                )
            })?;
        }
        let store = Store::open(path).map_err(|error| error.problem(path))?;
        let (jobs, inbox) = channel();
        let news = Arc::new(Mutex::new(Vec::new()));
        let end = Thread { store, news: news.clone(), wake: Box::new(wake) };
        let thread = std::thread::Builder::new()
            .name("coppice-history".into())
            .spawn(move || end.run(&inbox))
            .map_err(|error| {
                Problem::new(format!("cannot start a thread: {error}"), "close other programs")
            })?;
        Ok(Self { jobs: Some(jobs), news, thread: Some(thread) })
    }

    /// Asks for something; it is done after everything asked before.
    pub fn ask(&self, asked: Asked) {
        self.send(Job::Ask(asked));
    }

    /// Tries again what could not be written.
    pub fn retry(&self) {
        self.send(Job::Retry);
    }

    /// Limits the file, as a full disk would; for tests of what happens then.
    pub fn limit_bytes(&self, bytes: u64) {
        self.send(Job::LimitBytes(bytes));
    }

    fn send(&self, job: Job) {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            news.push(HistoryNews::Unsaved(Problem::new(
                "the history's thread has ended",
                "copy what you need and start the app again",
            )));
        }
    }

    /// All news since the last call.
    pub fn news(&self) -> Vec<HistoryNews> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for History {
    /// Waits until everything asked is written.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Thread {
    store: Store,
    news: Arc<Mutex<Vec<HistoryNews>>>,
    wake: Box<dyn Fn() + Send>,
}

impl Thread {
    fn run(mut self, inbox: &Receiver<Job>) {
        let mut waiting: VecDeque<Asked> = VecDeque::new();
        loop {
            let job = if waiting.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(RETRY)
            };
            let closing = matches!(job, Err(RecvTimeoutError::Disconnected));
            match job {
                Ok(Job::Ask(asked)) if !waiting.is_empty() && asked.is_write() => {
                    waiting.push_back(asked);
                    continue;
                }
                Ok(Job::Ask(asked)) if !asked.is_write() => self.answer(asked),
                Ok(Job::Ask(asked)) => waiting.push_back(asked),
                Ok(Job::LimitBytes(bytes)) => {
                    if let Err(error) = self.store.limit_bytes(bytes) {
                        self.tell(HistoryNews::Failed(error.problem(self.store.path())));
                    }
                    continue;
                }
                Ok(Job::Retry) | Err(_) => {}
            }
            self.write(&mut waiting);
            if closing {
                return;
            }
        }
    }

    /// Writes what waits, up to the first that fails.
    fn write(&mut self, waiting: &mut VecDeque<Asked>) {
        if waiting.is_empty() {
            return;
        }
        while let Some(asked) = waiting.front() {
            let done = match asked {
                Asked::Put(chat, messages) => self.store.put(chat, messages),
                Asked::Remove(chat, messages) => self.store.remove(chat, messages),
                Asked::Erase(chat) => self.store.erase(*chat),
                _ => Ok(()),
            };
            if let Err(error) = done {
                self.tell(HistoryNews::Unsaved(error.problem(self.store.path())));
                return;
            }
            waiting.pop_front();
        }
        self.tell(HistoryNews::Saved);
    }

    fn answer(&mut self, asked: Asked) {
        let path = self.store.path().to_path_buf();
        let failed = |error: StoreError| error.problem(&path);
        let news = match asked {
            Asked::List => self.store.chats().map(HistoryNews::Listed).map_err(failed),
            Asked::Search(query) => {
                let hits = self.store.search(&query).map_err(failed);
                hits.map(|hits| HistoryNews::Found { query, hits })
            }
            Asked::Open(id) => {
                let chat = self.open(id).map_err(failed);
                chat.map(|chat| match chat {
                    Some(chat) => HistoryNews::Opened(Box::new(chat)),
                    None => HistoryNews::Gone(id),
                })
            }
            Asked::Export(chat, format, to) => {
                let text = self.export(chat, format).map_err(failed);
                let written = text.and_then(|text| transfer::write(&to, &text));
                written.map(|()| HistoryNews::Exported(to))
            }
            Asked::Import(from) => transfer::read(&from).and_then(|chats| {
                self.store.put_all(&chats).map_err(failed)?;
                Ok(HistoryNews::Imported(chats.len()))
            }),
            Asked::Put(..) | Asked::Remove(..) | Asked::Erase(_) => return,
        };
        self.tell(news.unwrap_or_else(HistoryNews::Failed));
    }

    fn open(&self, id: ChatId) -> Result<Option<Conversation>, StoreError> {
        let Some(chat) = self.store.chat(id)? else { return Ok(None) };
        Ok(Some(Conversation::new(chat, self.store.messages(id)?)))
    }

    fn export(&self, only: Option<ChatId>, format: ExportFormat) -> Result<String, StoreError> {
        let chats = self.store.chats()?;
        let wanted = chats.into_iter().filter(|chat| match only {
            Some(id) => chat.id == id,
            None => !chat.deleted,
        });
        let with_messages = wanted.map(|chat| {
            let messages = self.store.messages(chat.id)?;
            Ok((chat, messages))
        });
        let all = with_messages.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(match format {
            ExportFormat::Json => transfer::json(all),
            ExportFormat::Markdown => all
                .into_iter()
                .map(|(chat, messages)| transfer::markdown(&Conversation::new(chat, messages)))
                .collect::<Vec<_>>()
                .join("\n"),
        })
    }

    fn tell(&self, news: HistoryNews) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push(news);
        (self.wake)();
    }
}

impl Asked {
    fn is_write(&self) -> bool {
        matches!(self, Self::Put(..) | Self::Remove(..) | Self::Erase(_))
    }
}
