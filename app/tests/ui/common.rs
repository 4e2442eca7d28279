//! The app in a harness, over a machine that does as it is told.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use coppice::{
    backend::{AdapterDetails, AdapterKind, AdapterReport, Peaks, Tier},
    check::{
        perf::{Level, Spread, Timing},
        report::{
            Host, Measured, Record, Report, SCHEMA_VERSION, Settings, Status, Suite, Summary, Tool,
        },
    },
    engine::{StopReason, Timings},
    kv::PageUse,
    spec::{
        Method, NodeOutcome, RoundOutcome, Source, StageTimes, Verdict as NodeVerdict,
        trace::{Header, SCHEMA, TraceRound},
    },
};
use coppice_app::{
    app::{App, Paths, Start},
    problem::Problem,
    worker::{
        Answer, CacheMap, ChatRequest, CheckKind, CheckRow, Checking, Happening, LoadRequest,
        Loaded, Machine, MemoryNeed, ModelInfo, PullState,
    },
};
use egui_kittest::Harness;

/// What the next answer does.
#[derive(Clone, Debug)]
pub enum Script {
    /// Says these words, one a round, and ends.
    Say(&'static str),
    /// Says these words, then waits until it is stopped.
    SayUntilStopped(&'static str),
    /// Says these words, then fails.
    Fail(&'static str, &'static str, &'static str),
}

/// A machine for tests.
#[derive(Default)]
pub struct Fake {
    /// Answers to come; then the last message is echoed.
    pub scripts: Mutex<VecDeque<Script>>,
    /// What was asked of the model.
    pub requests: Mutex<Vec<ChatRequest>>,
    /// Where the default model is.
    pub found: Mutex<Option<PathBuf>>,
    /// Let the download go on.
    pub pull_goes_on: AtomicBool,
    /// Let the check of a device end.
    pub check_goes_on: AtomicBool,
    /// The card cannot be opened.
    pub devices_fail: AtomicBool,
}

impl Fake {
    /// Puts an answer in the queue.
    pub fn script(&self, script: Script) {
        self.scripts.lock().expect("no test panics holding it").push_back(script);
    }

    /// The last request.
    pub fn last_request(&self) -> ChatRequest {
        let requests = self.requests.lock().expect("no test panics holding it");
        requests.last().cloned().expect("something was asked")
    }
}

/// The machine as the app sees it.
pub struct FakeMachine(pub Arc<Fake>);

impl Machine for FakeMachine {
    fn find(&self, _model: &str) -> Option<PathBuf> {
        self.0.found.lock().expect("no test panics holding it").clone()
    }

    fn pull(
        &self,
        model: &str,
        cancel: &AtomicBool,
        report: &mut dyn FnMut(PullState),
    ) -> Result<Option<PathBuf>, Problem> {
        let half = PullState {
            name: model.into(),
            done_bytes: 50 << 20,
            total_bytes: 100 << 20,
            note: None,
        };
        report(half);
        while !self.0.pull_goes_on.load(Ordering::SeqCst) {
            if cancel.load(Ordering::SeqCst) {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Some("/models/default.gguf".into()))
    }

    fn estimate(&self, _request: &LoadRequest) -> Result<MemoryNeed, Problem> {
        Ok(MemoryNeed {
            weights_bytes: 94 << 20,
            kv_bytes: 90 << 20,
            scratch_bytes: 16 << 20,
            context: 4096,
            free_bytes: Some(150 << 20),
        })
    }

    fn load(&self, request: &LoadRequest) -> Result<Box<dyn Loaded>, Problem> {
        let name = request.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains("corrupt") {
            let what =
                format!("{}: not a GGUF file, it starts with 7f 45 4c 46", request.model.display());
            return Err(Problem::new(what, "download the file again"));
        }
        Ok(Box::new(FakeModel { fake: self.0.clone(), name, path: request.model.clone() }))
    }

    fn devices(&self) -> Result<Vec<AdapterReport>, Problem> {
        let device = |selector: &str, name: &str, kind| AdapterReport {
            selector: selector.into(),
            name: name.into(),
            api: "vulkan".into(),
            driver: "driver 1.2.3".into(),
            kind,
            tier: Tier::Subgroup,
            f16: true,
            subgroup: Some((32, 32)),
            max_buffer_bytes: 4 << 30,
            max_binding_bytes: 2 << 30,
            workgroup_memory_bytes: 48 << 10,
            details: AdapterDetails::default(),
        };
        Ok(vec![
            device("cpu", "Test processor", AdapterKind::Cpu),
            device("wgpu:0", "Test card", AdapterKind::Discrete),
        ])
    }

    fn check(
        &self,
        selector: &str,
        kind: CheckKind,
        cancel: &AtomicBool,
        on: &mut dyn FnMut(Checking),
    ) -> Result<Box<Report>, Problem> {
        if selector == "wgpu:0" && self.0.devices_fail.load(Ordering::SeqCst) {
            return Err(Problem::new("Test card was lost: unplugged", "plug it in and look again"));
        }
        let rows = [
            ("matmul", "matmul_q4_k_m1", Status::Passed, ""),
            ("rope", "rope_long", Status::Failed, "got 1.5, wanted 1.25"),
            ("matmul", "matmul_f16_m8", Status::Skipped, "no 16-bit floats"),
        ];
        let total = rows.len();
        let mut records = Vec::new();
        for (n, (op, case, status, message)) in rows.into_iter().enumerate() {
            on(Checking::Case { done: n, total, name: case.into() });
            // The last case takes until it is let go.
            while n + 1 == total && !self.0.check_goes_on.load(Ordering::SeqCst) {
                if cancel.load(Ordering::SeqCst) {
                    return Ok(Box::new(report(records, true)));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let record = record(selector, kind, op, case, status, message);
            records.push(record.clone());
            let measured = (kind == CheckKind::Speed).then(|| measured(selector, case, n));
            on(Checking::Row(Box::new(CheckRow { record, measured })));
        }
        Ok(Box::new(report(records, false)))
    }
}

fn record(
    device: &str,
    kind: CheckKind,
    op: &str,
    name: &str,
    status: Status,
    message: &str,
) -> Record {
    Record {
        suite: match kind {
            CheckKind::Results => Suite::Table,
            CheckKind::Speed => Suite::Perf,
        },
        device: device.into(),
        form: "usual".into(),
        op: op.into(),
        name: name.into(),
        status,
        message: message.into(),
        failure: None,
        expected: None,
        variant: "tiled".into(),
        numbers: Vec::new(),
        differences: Vec::new(),
        ms: 10.0,
        replay: None,
    }
}

fn measured(device: &str, case: &str, n: usize) -> Measured {
    let timing = Timing {
        case: case.into(),
        op: "matmul".into(),
        variant: "tiled".into(),
        time: Spread::of(vec![100.0 / (n + 1) as f64]),
        level: Level::of(&[100.0 / (n + 1) as f64]),
        repeats: 8,
        copies: 1,
        bytes: 1_000_000,
        flops: 4_000_000,
    };
    let peaks = Peaks { copy_gb_s: Some(100.0), f32_gflops: Some(1000.0), ..Peaks::default() };
    Measured::new(device, timing, Some(&peaks))
}

fn report(records: Vec<Record>, interrupted: bool) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        host: Host::this(),
        started: "2026-11-21T12:00:00Z".into(),
        seconds: 1.0,
        interrupted,
        settings: Settings {
            modes: vec!["correctness".into()],
            full: false,
            timeout_s: 60.0,
            seed: 0,
            fuzz: 0,
        },
        adapters: Vec::new(),
        missing: Vec::new(),
        records,
        perf: Vec::new(),
        verify_curves: Vec::new(),
        support: Vec::new(),
        baseline: None,
        summary: Summary::default(),
    }
}

struct FakeModel {
    fake: Arc<Fake>,
    name: String,
    path: PathBuf,
}

impl Loaded for FakeModel {
    fn info(&self) -> ModelInfo {
        ModelInfo {
            name: self.name.clone(),
            path: self.path.clone(),
            device: "Test card (vulkan, driver 1.2.3)".into(),
            context: 4096,
            memory_bytes: 200 << 20,
            methods: vec![Method::Plain, Method::Auto],
            notes: Vec::new(),
            curve: None,
            count_tokens: Arc::new(|text| text.split_whitespace().count()),
        }
    }

    fn generate(
        &mut self,
        request: &ChatRequest,
        cancel: &AtomicBool,
        on: &mut dyn FnMut(Happening),
    ) -> Result<Answer, Problem> {
        self.fake.requests.lock().expect("no test panics holding it").push(request.clone());
        let script = self.fake.scripts.lock().expect("no test panics holding it").pop_front();
        let header = Header {
            schema: SCHEMA,
            coppice: "0.1.0".into(),
            model: self.name.clone(),
            device: "Test card".into(),
            method: Method::Medusa,
            acceptance: "greedy".into(),
            sampler: request.sampler.clone(),
            tree: None,
        };
        on(Happening::Begun { header: Box::new(header), prompt_ids: vec![1, 2, 3] });
        on(Happening::Prompt { tokens: 3 });
        let echo = request.messages.last().map(|m| format!("You said: {}", m.content));
        let (text, end) = match script {
            None => (echo.unwrap_or_default(), Ok(false)),
            Some(Script::Say(text)) => (text.to_owned(), Ok(false)),
            Some(Script::SayUntilStopped(text)) => (text.to_owned(), Ok(true)),
            Some(Script::Fail(text, what, hint)) => {
                (text.to_owned(), Err(Problem::new(what, hint)))
            }
        };
        let mut tokens = 0;
        for (n, word) in text.split_inclusive(' ').enumerate() {
            if cancel.load(Ordering::SeqCst) {
                break;
            }
            on(Happening::Cache(pages()));
            on(Happening::Round(Arc::new(round(n as u64, word))));
            on(Happening::Text(word.to_owned()));
            tokens += 2;
        }
        if end? {
            while !cancel.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let stopped = cancel.load(Ordering::SeqCst);
        Ok(Answer {
            stop_reason: if stopped { StopReason::Cancelled } else { StopReason::Eos },
            timings: Timings {
                prompt_n: 3,
                predicted_n: tokens,
                predicted_per_second: 42.0,
                first_token_ms: 12.0,
                draft_n: 3 * tokens / 2,
                draft_n_accepted: tokens / 2,
                rounds_n: tokens / 2,
                tokens_per_round: 2.0,
                ..Timings::default()
            },
            context_used: 3 + tokens,
        })
    }
}

/// A cache with pages in every state.
fn pages() -> CacheMap {
    let page = |held, published| PageUse { held, published };
    let mut pages = vec![page(1, false), page(1, false), page(2, true), page(0, true)];
    pages.resize(8, PageUse::default());
    CacheMap { page_slots: 32, pages }
}

/// A round with an accepted guess, a rejected one, and one below it.
pub fn round(n: u64, word: &str) -> TraceRound {
    let node = |parent: Option<u32>, depth, rank, verdict| NodeOutcome {
        token: depth * 10 + u32::from(rank),
        parent,
        depth,
        source: if depth == 0 { Source::Root } else { Source::Head(depth as u8 - 1) },
        rank,
        draft_p: (depth > 0).then_some(0.5),
        target_p: (depth > 0).then_some(0.6),
        entropy: Some(1.0),
        threshold: None,
        verdict,
    };
    let nodes = vec![
        node(None, 0, 0, NodeVerdict::Root),
        node(Some(0), 1, 0, NodeVerdict::Accepted),
        node(Some(0), 1, 1, NodeVerdict::Rejected { wanted: 10 }),
        node(Some(2), 2, 0, NodeVerdict::Unreached),
    ];
    TraceRound {
        answer: 0,
        texts: vec!["root".into(), word.into(), "no".into(), "never".into()],
        bonus_text: "!".into(),
        outcome: RoundOutcome {
            round: n,
            prefix: 3 + 2 * n,
            method: Method::Medusa,
            nodes,
            path: vec![0, 1],
            bonus: 99,
            expected: None,
            times: StageTimes { draft_ms: 1.0, verify_ms: 9.0, commit_ms: 0.5, host_ms: 0.5 },
        },
    }
}

/// The app, made in its first frame.
pub struct Running {
    /// The app.
    pub app: Option<App>,
    paths: Paths,
    machine: Arc<Fake>,
    start: Start,
}

/// The harness of an app.
pub type AppHarness = Harness<'static, Running>;

/// An app with its files in a folder.
pub fn start(folder: &Path, fake: &Arc<Fake>, start: Start) -> AppHarness {
    sized(folder, fake, start, [1280.0, 800.0])
}

/// An app in a window of a size.
pub fn sized(folder: &Path, fake: &Arc<Fake>, start: Start, size: [f32; 2]) -> AppHarness {
    let running =
        Running { app: None, paths: Paths::in_folder(folder), machine: fake.clone(), start };
    let mut harness = Harness::builder().with_size(size).build_ui_state(
        |ui, running: &mut Running| {
            match &mut running.app {
                Some(app) => {
                    app.logic(ui.ctx());
                    app.ui(ui);
                }
                // Its fonts are there from the next frame on, as in a window.
                None => {
                    let machine = Arc::new(FakeMachine(running.machine.clone()));
                    let app = App::new(ui.ctx(), machine, &running.paths, &running.start);
                    running.app = Some(app.expect("there are threads"));
                }
            }
        },
        running,
    );
    harness.step();
    harness.step();
    harness
}

/// An app with a model that is ready.
pub fn ready(folder: &Path, fake: &Arc<Fake>) -> AppHarness {
    let start_with = Start { model: Some("/models/tiny.gguf".into()), ..Start::default() };
    let mut harness = start(folder, fake, start_with);
    until(&mut harness, "the model is ready", |app| app.state.model.ready().is_some());
    harness
}

/// Draws frames until something is so.
pub fn until(harness: &mut AppHarness, what: &str, so: impl Fn(&App) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        harness.step();
        if harness.state().app.as_ref().is_some_and(&so) {
            break;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    // What is drawn follows what is so.
    for _ in 0..3 {
        harness.step();
    }
}

/// Draws frames until nothing is being written or saved.
pub fn settle(harness: &mut AppHarness) {
    until(harness, "the answer is there", |app| app.state.writing.is_none());
}

/// The app.
pub fn app(harness: &AppHarness) -> &App {
    harness.state().app.as_ref().expect("it was made in the first frame")
}

/// Texts of the branch on screen.
pub fn texts(harness: &AppHarness) -> Vec<String> {
    let conversation = &app(harness).state.conversation;
    let text = |id| conversation.get(id).map(|message| message.content.clone());
    conversation.path().into_iter().filter_map(text).collect()
}

/// Writes into the text field and sends.
pub fn say(harness: &mut AppHarness, text: &str) {
    harness.state_mut().app.as_mut().expect("it is there").state.composer.text = text.into();
    harness.state_mut().app.as_mut().expect("it is there").state.composer.focus = true;
    harness.step();
    harness.step();
    harness.key_press(egui::Key::Enter);
    harness.step();
    settle(harness);
}
