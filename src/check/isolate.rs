//! Tasks in a process of their own, so that a hang, a crash or a lost device ends one task and not the
//! run: the next one gets a fresh process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    outcome::Outcome,
    target::Target,
    work::{Done, Work},
    worker::{MARK, Task, Workbench},
};

/// Bytes kept of what a worker prints on stderr.
const TAIL_BYTES: usize = 4096;
/// A limit is waited for in parts of this length.
const PART: Duration = Duration::from_millis(200);

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ran {
    /// It was answered.
    Done(Done),
    /// No answer came in time; the process was ended.
    Timeout,
    /// The process ended without an answer.
    Crashed {
        /// Signal or exit code.
        how: String,
        /// The end of what it printed on stderr.
        stderr: String,
    },
}

/// Somebody who does tasks.
pub trait Runner {
    /// Does a task, or gives it up after `limit`.
    fn run(&mut self, target: &Target, work: &Work, limit: Duration) -> Ran;
}

/// Does tasks in this process, without any protection; for callers that are a worker themselves.
#[derive(Default)]
pub struct InProcess {
    bench: Workbench,
}

impl Runner for InProcess {
    fn run(&mut self, target: &Target, work: &Work, _limit: Duration) -> Ran {
        Ran::Done(self.bench.run(&Task { target: target.clone(), work: work.clone() }))
    }
}

/// Does tasks in a child process, one at a time. It is started when first needed, again after it has
/// died, lost its device or was given up, and for each target anew.
pub struct Isolated {
    command: Box<dyn Fn() -> Command + Send>,
    worker: Option<(Target, Worker)>,
    started: usize,
}

struct Worker {
    process: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    tail: Arc<Mutex<Vec<u8>>>,
    stderr: Option<thread::JoinHandle<()>>,
}

impl Isolated {
    /// Workers are started with `command`, which must end up in [`super::worker::serve`] on its
    /// standard streams.
    pub fn new(command: impl Fn() -> Command + Send + 'static) -> Self {
        Self { command: Box::new(command), worker: None, started: 0 }
    }

    /// Processes started so far.
    pub fn started(&self) -> usize {
        self.started
    }

    fn worker(&mut self, target: &Target) -> std::io::Result<&mut Worker> {
        if self.worker.as_ref().is_none_or(|(of, _)| of != target) {
            self.worker = None;
            self.started += 1;
            let worker = Worker::start((self.command)())?;
            self.worker = Some((target.clone(), worker));
        }
        let (_, worker) = self.worker.as_mut().expect("started above");
        Ok(worker)
    }
}

impl Runner for Isolated {
    fn run(&mut self, target: &Target, work: &Work, limit: Duration) -> Ran {
        let task = Task { target: target.clone(), work: work.clone() };
        let ran = match self.worker(target) {
            Ok(worker) => worker.run(&task, limit),
            Err(error) => {
                Ran::Crashed { how: format!("it does not start: {error}"), stderr: String::new() }
            }
        };
        let lost = |outcome: &Outcome| matches!(outcome, Outcome::Lost { .. });
        let spent = match &ran {
            Ran::Done(Done::Case(done)) => lost(&done.outcome),
            Ran::Done(Done::Probe(probe)) => lost(&probe.outcome),
            Ran::Done(Done::Error { lost, .. }) => *lost,
            Ran::Done(_) => false,
            Ran::Timeout | Ran::Crashed { .. } => true,
        };
        if spent {
            self.worker = None;
        }
        ran
    }
}

impl Worker {
    fn start(mut command: Command) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let gone = || std::io::Error::other("a stream of the worker is missing");
        let input = process.stdin.take().ok_or_else(gone)?;
        let output = process.stdout.take().ok_or_else(gone)?;
        let mut errors = process.stderr.take().ok_or_else(gone)?;
        let (send, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let tail = Arc::new(Mutex::new(Vec::new()));
        let kept = tail.clone();
        let stderr = thread::spawn(move || {
            let mut part = [0; 1024];
            while let Ok(n @ 1..) = errors.read(&mut part) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&part[..n]);
                let over = kept.len().saturating_sub(TAIL_BYTES);
                kept.drain(..over);
            }
        });
        Ok(Self { process, input, answers, tail, stderr: Some(stderr) })
    }

    fn run(&mut self, task: &Task, limit: Duration) -> Ran {
        let line = serde_json::to_string(task).expect("tasks are plain data");
        if writeln!(self.input, "{line}").and_then(|()| self.input.flush()).is_err() {
            return self.crashed();
        }
        let mut left = limit;
        loop {
            let (started, part) = (Instant::now(), left.min(PART));
            let answer = self.answers.recv_timeout(part);
            // While this process stood still, as in a suspended machine, so did the worker: of a part
            // that took longer than it was to, the rest is not the task's.
            left -= started.elapsed().min(part);
            match answer {
                Ok(line) => {
                    // Everything else was printed by a driver.
                    let Some(answer) = line.strip_prefix(MARK) else { continue };
                    return match serde_json::from_str(answer) {
                        Ok(done) => Ran::Done(done),
                        Err(error) => Ran::Done(Done::Error {
                            message: format!("the worker's answer cannot be read: {error}"),
                            lost: false,
                            unsupported: false,
                        }),
                    };
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Ran::Timeout,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.crashed(),
            }
        }
    }

    /// Its streams are closed: how it ended.
    fn crashed(&mut self) -> Ran {
        let how = match self.process.wait() {
            Ok(status) => describe(status),
            Err(error) => format!("it cannot be waited for: {error}"),
        };
        if let Some(stderr) = self.stderr.take() {
            // It ends with the stream.
            let _ = stderr.join();
        }
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        Ran::Crashed { how, stderr: String::from_utf8_lossy(&tail).trim().into() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left to be told.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            let name = match signal {
                4 => " (SIGILL)",
                6 => " (SIGABRT)",
                7 => " (SIGBUS)",
                8 => " (SIGFPE)",
                9 => " (SIGKILL, perhaps for want of memory)",
                11 => " (SIGSEGV)",
                _ => "",
            };
            return format!("ended by signal {signal}{name}");
        }
    }
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "ended".into(),
    }
}
