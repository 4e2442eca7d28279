//! News from the engine's thread, joined where they can be, and the throttled wake-up.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use coppice::{
    backend::AdapterReport,
    check::report::Report,
    engine::Timings,
    spec::trace::{Header, TraceRound},
};

use super::machine::{Answer, CacheMap, Checking, MemoryNeed, ModelInfo};
use crate::{problem::Problem, trace_log::TraceLog};

/// Shortest time between two wake-ups: a frame at 60 a second.
const FRAME: Duration = Duration::from_millis(16);

/// How far a download is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullState {
    /// File.
    pub name: String,
    /// Bytes there.
    pub done_bytes: u64,
    /// Bytes of the whole file; 0 while unknown.
    pub total_bytes: u64,
    /// What else the downloader says, such as why another origin is tried.
    pub note: Option<String>,
}

/// What happened in a run of a comparison.
#[derive(Debug)]
pub enum LaneNews {
    /// A round is over.
    Round {
        /// Milliseconds of the wall clock since the prompt was computed.
        ms: f64,
        /// The round.
        round: Arc<TraceRound>,
    },
    /// More text.
    Text(String),
    /// The run is over.
    Done(Box<Timings>),
}

/// What happened on another thread.
#[derive(Debug)]
pub enum News {
    /// A model is ready.
    Loaded(Box<ModelInfo>),
    /// A model could not be loaded.
    LoadFailed(Problem),
    /// The model is gone.
    Unloaded,
    /// An answer begins.
    Begun {
        /// What runs, as traces say it.
        header: Box<Header>,
        /// Ids of the prompt.
        prompt_ids: Vec<u32>,
    },
    /// The prompt is computed.
    Prompt {
        /// Its tokens.
        tokens: usize,
    },
    /// More text of the answer.
    Text(String),
    /// A round is over.
    Round(Arc<TraceRound>),
    /// Pages of the cache after the newest round.
    Cache(CacheMap),
    /// A run of a comparison goes on.
    Lane {
        /// Which of the two.
        lane: usize,
        /// What happened.
        news: LaneNews,
    },
    /// A comparison ended.
    Compared(Result<(), Problem>),
    /// The answer is complete.
    Done(Box<Answer>),
    /// The answer failed.
    GenerateFailed(Problem),
    /// A download goes on.
    Pull(PullState),
    /// A download ended.
    Pulled {
        /// The model as asked for.
        model: String,
        /// Where it is; `Ok(None)` if it was cancelled.
        done: Result<Option<PathBuf>, Problem>,
    },
    /// What a model needs.
    Estimated {
        /// The model as asked for.
        model: PathBuf,
        /// Its need.
        need: Result<MemoryNeed, Problem>,
    },
    /// Devices of this machine.
    Devices(Result<Vec<AdapterReport>, Problem>),
    /// A trace file was read.
    TraceRead(Result<Box<TraceLog>, Problem>),
    /// A trace file was written.
    TraceSaved(Result<PathBuf, Problem>),
    /// The check of a device goes on.
    Checking(Checking),
    /// The check of a device ended; what was tried, or why nothing could be.
    Checked(Result<Box<Report>, Problem>),
}

/// Called to have a frame drawn, now or after a while.
pub type Waker = Box<dyn Fn(Duration) + Send + Sync>;

struct Inner {
    news: Vec<News>,
    woken: Option<Instant>,
}

/// Where threads leave news for the window.
pub struct Mailbox {
    inner: Mutex<Inner>,
    waker: Waker,
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new(waker: Waker) -> Self {
        Self { inner: Mutex::new(Inner { news: Vec::new(), woken: None }), waker }
    }

    /// Leaves news.
    pub fn post(&self, news: News) {
        self.with(|all| match (all.last_mut(), news) {
            // Only the newest state of a download or a check counts.
            (Some(News::Pull(last)), News::Pull(state)) => *last = state,
            (
                Some(News::Checking(last @ Checking::Case { .. })),
                News::Checking(case @ Checking::Case { .. }),
            ) => *last = case,
            (Some(News::Cache(last)), News::Cache(map)) => *last = map,
            (_, news) => all.push(news),
        });
    }

    /// Leaves text, joined with text that waits.
    pub fn post_text(&self, text: &str) {
        self.with(|all| match all.last_mut() {
            Some(News::Text(waiting)) => waiting.push_str(text),
            _ => all.push(News::Text(text.to_owned())),
        });
    }

    fn with(&self, change: impl FnOnce(&mut Vec<News>)) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut inner.news);
        let now = Instant::now();
        let wait = match inner.woken {
            // A wake-up in the future is on its way already.
            Some(at) if at > now => return,
            Some(at) => FRAME.saturating_sub(now - at),
            None => Duration::ZERO,
        };
        inner.woken = Some(now + wait);
        drop(inner);
        (self.waker)(wait);
    }

    /// All news, oldest first.
    pub fn take(&self) -> Vec<News> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut inner.news)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn text_is_joined_and_the_window_woken_once_a_frame() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = wakes.clone();
        let waker: Waker = Box::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let mailbox = Mailbox::new(waker);
        let started = Instant::now();
        for _ in 0..10_000 {
            mailbox.post_text("ab");
        }
        let frames = started.elapsed().as_millis() as usize / FRAME.as_millis() as usize;
        assert!(
            wakes.load(Ordering::SeqCst) <= frames + 2,
            "{} wake-ups",
            wakes.load(Ordering::SeqCst)
        );
        let news = mailbox.take();
        assert!(matches!(news.as_slice(), [News::Text(text)] if text.len() == 20_000));
        assert!(mailbox.take().is_empty());
    }

    #[test]
    fn only_the_newest_state_of_a_download_waits() {
        let mailbox = Mailbox::new(Box::new(|_| ()));
        for done_bytes in 0..100 {
            mailbox.post(News::Pull(PullState { done_bytes, ..PullState::default() }));
        }
        let news = mailbox.take();
        assert!(matches!(news.as_slice(), [News::Pull(state)] if state.done_bytes == 99));
    }
}
