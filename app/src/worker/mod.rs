//! The thread that owns the engine, and the two ways between it and the window.
//!
//! Jobs go to the thread through a short bounded channel: the window disables what cannot be asked
//! for while a job runs, so a full channel is a fault and is reported, never waited for. News come
//! back through a [`Mailbox`] that joins pieces of text, so that neither side ever waits for the
//! other: a window that is hidden costs memory of one answer, not speed. Downloads, device lists and
//! checks of devices run on threads of their own and use the same mailbox.

mod check;
mod engine;
mod machine;
mod mailbox;
mod pace;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use coppice::engine::StopReason;

pub use check::CHECKER;
pub use engine::LocalMachine;
pub use machine::{
    Answer, CacheMap, ChatRequest, CheckKind, CheckRow, Checking, Drafting, Happening, LoadRequest,
    Loaded, Machine, MemoryNeed, ModelInfo, TokenCounter, TreeSize, looks_like_model,
};
pub use mailbox::{LaneNews, Mailbox, News, PullState, Waker};
pub use pace::Pace;

use crate::{export::Export, problem::Problem, trace_log::TraceLog};

/// Jobs that may wait: load and generate, and room for impatience.
const JOBS: usize = 8;
/// How long closing waits for a step of the model to end.
const CLOSING: Duration = Duration::from_secs(3);

/// What the window asks of the thread.
enum Job {
    Load(Box<LoadRequest>),
    Unload,
    Generate(Box<ChatRequest>),
    Compare(Box<[ChatRequest; 2]>),
    Quit,
}

/// The window's end.
pub struct Worker {
    machine: Arc<dyn Machine>,
    jobs: SyncSender<Job>,
    mailbox: Arc<Mailbox>,
    pace: Arc<Pace>,
    cancel: Arc<AtomicBool>,
    cancel_pull: Arc<AtomicBool>,
    cancel_check: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread; `waker` is called after news, at most every 16 ms.
    ///
    /// # Errors
    /// A system without room for a thread.
    pub fn start(machine: Arc<dyn Machine>, waker: Waker) -> std::io::Result<Self> {
        let (jobs, inbox) = sync_channel(JOBS);
        let mailbox = Arc::new(Mailbox::new(waker));
        let pace = Arc::new(Pace::default());
        let cancel = Arc::new(AtomicBool::new(false));
        let run = Run {
            machine: machine.clone(),
            mailbox: mailbox.clone(),
            pace: pace.clone(),
            cancel: cancel.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("coppice-engine".into())
            .spawn(move || run.until_quit(&inbox))?;
        Ok(Self {
            machine,
            jobs,
            mailbox,
            pace,
            cancel,
            cancel_pull: Arc::default(),
            cancel_check: Arc::default(),
            thread: Some(thread),
        })
    }

    /// All news since the last call.
    pub fn news(&self) -> Vec<News> {
        self.mailbox.take()
    }

    /// Where rounds can be held.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Loads a model in place of the one there is.
    pub fn load(&self, request: LoadRequest) {
        self.stop();
        self.send(Job::Load(Box::new(request)));
    }

    /// Frees the model.
    pub fn unload(&self) {
        self.stop();
        self.send(Job::Unload);
    }

    /// Generates an answer; news tell what comes of it.
    pub fn generate(&self, request: ChatRequest) {
        self.cancel.store(false, Ordering::SeqCst);
        self.send(Job::Generate(Box::new(request)));
    }

    /// Measures two requests, one after the other; news tell what comes of each.
    pub fn compare(&self, requests: [ChatRequest; 2]) {
        self.cancel.store(false, Ordering::SeqCst);
        self.send(Job::Compare(Box::new(requests)));
    }

    /// Stops the answer after the round that runs.
    pub fn stop(&self) {
        self.cancel.store(true, Ordering::SeqCst);
        self.pace.wake();
    }

    fn send(&self, job: Job) {
        let problem = match self.jobs.try_send(job) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => Problem::new(
                "the engine is busy with earlier requests",
                "wait until they are done, or stop the answer",
            ),
            Err(TrySendError::Disconnected(_)) => Problem::new(
                "the engine's thread has ended",
                "start the app again; your conversations are saved",
            ),
        };
        self.mailbox.post(News::GenerateFailed(problem));
    }

    /// Where a model is on this disk.
    pub fn find_model(&self, model: &str) -> Option<std::path::PathBuf> {
        self.machine.find(model)
    }

    /// Fetches a model in the background.
    pub fn pull(&self, model: &str) {
        self.cancel_pull.store(false, Ordering::SeqCst);
        let (machine, model) = (self.machine.clone(), model.to_owned());
        let (mailbox, cancel) = (self.mailbox.clone(), self.cancel_pull.clone());
        self.aside("coppice-pull", move || {
            let mut report = |state| mailbox.post(News::Pull(state));
            let done = machine.pull(&model, &cancel, &mut report);
            mailbox.post(News::Pulled { model, done });
        });
    }

    /// Stops the download; what is there is kept for the next try.
    pub fn cancel_pull(&self) {
        self.cancel_pull.store(true, Ordering::SeqCst);
    }

    /// Reads what a model file needs before it is loaded.
    pub fn estimate(&self, request: LoadRequest) {
        let (machine, mailbox) = (self.machine.clone(), self.mailbox.clone());
        self.aside("coppice-estimate", move || {
            let need = machine.estimate(&request);
            mailbox.post(News::Estimated { model: request.model, need });
        });
    }

    /// Reads a trace file in the background.
    pub fn read_trace(&self, path: std::path::PathBuf) {
        let mailbox = self.mailbox.clone();
        self.aside("coppice-trace", move || {
            mailbox.post(News::TraceRead(TraceLog::open(&path).map(Box::new)));
        });
    }

    /// Writes a trace file in the background.
    pub fn save_trace(&self, trace: TraceLog, path: std::path::PathBuf) {
        let mailbox = self.mailbox.clone();
        self.aside("coppice-trace", move || {
            mailbox.post(News::TraceSaved(trace.save(&path).map(|()| path)));
        });
    }

    /// Writes rounds for other programs in the background.
    pub fn export_trace(
        &self,
        (trace, shown): (TraceLog, usize),
        export: Export,
        path: std::path::PathBuf,
    ) {
        let mailbox = self.mailbox.clone();
        self.aside("coppice-export", move || {
            let written = export.write(&trace, shown, &path);
            mailbox.post(News::TraceSaved(written.map(|()| path)));
        });
    }

    /// Lists devices in the background.
    pub fn list_devices(&self) {
        let (machine, mailbox) = (self.machine.clone(), self.mailbox.clone());
        self.aside("coppice-devices", move || mailbox.post(News::Devices(machine.devices())));
    }

    /// Checks a device in the background.
    pub fn check(&self, selector: &str, kind: CheckKind) {
        self.cancel_check.store(false, Ordering::SeqCst);
        let (machine, selector) = (self.machine.clone(), selector.to_owned());
        let (mailbox, cancel) = (self.mailbox.clone(), self.cancel_check.clone());
        self.aside("coppice-check", move || {
            let mut on = |checking| mailbox.post(News::Checking(checking));
            let done = machine.check(&selector, kind, &cancel, &mut on);
            mailbox.post(News::Checked(done));
        });
    }

    /// Ends the check after the case that runs.
    pub fn cancel_check(&self) {
        self.cancel_check.store(true, Ordering::SeqCst);
    }

    fn aside(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
        if let Err(error) = spawned {
            self.mailbox.post(News::GenerateFailed(Problem::new(
                format!("cannot start a thread for {name}: {error}"),
                "close other programs and try again",
            )));
        }
    }
}

impl Drop for Worker {
    /// Asks the thread to end and gives a running step a moment to; a step that takes longer is
    /// abandoned with the process, as nothing of the user's is in it.
    fn drop(&mut self) {
        self.stop();
        self.cancel_pull();
        self.cancel_check();
        let _ = self.jobs.try_send(Job::Quit);
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + CLOSING;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

fn no_model() -> Problem {
    Problem::new("no model is loaded", "choose one from the model menu")
}

/// The thread's end.
struct Run {
    machine: Arc<dyn Machine>,
    mailbox: Arc<Mailbox>,
    pace: Arc<Pace>,
    cancel: Arc<AtomicBool>,
}

impl Run {
    fn until_quit(&self, inbox: &Receiver<Job>) {
        let mut model: Option<Box<dyn Loaded>> = None;
        while let Ok(job) = inbox.recv() {
            match job {
                Job::Quit => break,
                Job::Unload => {
                    model = None;
                    self.mailbox.post(News::Unloaded);
                }
                Job::Load(request) => {
                    // Never two models in memory at once.
                    drop(model.take());
                    match self.machine.load(&request) {
                        Ok(loaded) => {
                            self.mailbox.post(News::Loaded(Box::new(loaded.info())));
                            model = Some(loaded);
                        }
                        Err(problem) => self.mailbox.post(News::LoadFailed(problem)),
                    }
                }
                Job::Generate(request) => match &mut model {
                    Some(model) => self.generate(&mut **model, &request),
                    None => self.mailbox.post(News::GenerateFailed(no_model())),
                },
                Job::Compare(requests) => {
                    let done = match &mut model {
                        Some(model) => self.compare(&mut **model, &requests),
                        None => Err(no_model()),
                    };
                    self.mailbox.post(News::Compared(done));
                }
            }
        }
    }

    fn compare(&self, model: &mut dyn Loaded, requests: &[ChatRequest; 2]) -> Result<(), Problem> {
        for (lane, request) in requests.iter().enumerate() {
            let post = |news| self.mailbox.post(News::Lane { lane, news });
            let mut started = Instant::now();
            let mut on = |happening: Happening| match happening {
                Happening::Prompt { .. } => started = Instant::now(),
                Happening::Round(round) => {
                    post(LaneNews::Round { ms: started.elapsed().as_secs_f64() * 1e3, round });
                }
                Happening::Text(text) => post(LaneNews::Text(text)),
                Happening::Begun { .. } | Happening::Cache(_) => {}
            };
            let answer = model.generate(request, &self.cancel, &mut on)?;
            if answer.stop_reason == StopReason::Cancelled {
                return Err(Problem::new("the comparison was stopped", "run it again"));
            }
            post(LaneNews::Done(Box::new(answer.timings)));
        }
        Ok(())
    }

    fn generate(&self, model: &mut dyn Loaded, request: &ChatRequest) {
        let mut on = |happening: Happening| match happening {
            Happening::Begun { header, prompt_ids } => {
                self.mailbox.post(News::Begun { header, prompt_ids });
            }
            Happening::Prompt { tokens } => self.mailbox.post(News::Prompt { tokens }),
            Happening::Text(text) => self.mailbox.post_text(&text),
            Happening::Cache(map) => self.mailbox.post(News::Cache(map)),
            Happening::Round(round) => {
                self.mailbox.post(News::Round(round));
                self.pace.hold(&self.cancel);
            }
        };
        match model.generate(request, &self.cancel, &mut on) {
            Ok(answer) => self.mailbox.post(News::Done(Box::new(answer))),
            Err(problem) => self.mailbox.post(News::GenerateFailed(problem)),
        }
    }
}
