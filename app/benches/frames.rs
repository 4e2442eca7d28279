//! Frame times with 500 messages and trees of 64 nodes on screen while a model writes on other
//! threads; then the frames of a window in which nothing happens.
//!
//! ```sh
//! cargo bench -p coppice-app --bench frames -- model.gguf
//! ```
//!
//! Without a model it takes the default one, if it is on this machine. A frame is what the window's
//! thread does for it: news, layout of the whole window, and its triangles; drawing those is the
//! graphics card's. Ends with 1 if a hundredth of the frames takes 20 ms or more, or if the idle
//! window asks for a frame.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use coppice::spec::Method;
use coppice_app::{
    app::{App, Paths, Start},
    headless,
    history::{Message, Role},
    layout::View,
    state::Action,
    worker::{Drafting, LocalMachine, TreeSize},
};
use egui::{Context, RawInput, Rect, vec2};

/// Messages before the one that is answered.
const MESSAGES: usize = 500;
/// Nodes of the candidate trees.
const NODES: usize = 64;
/// Longest a hundredth of the frames may take: 50 frames a second.
const LIMIT_MS: f64 = 20.0;
/// How long a window is watched in which nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// Longest wait for the model.
const PATIENCE: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("frames: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A window without a display: frames are drawn when they are asked for.
struct Window {
    ctx: Context,
    app: App,
    started: Instant,
    /// When the next frame is due.
    due: Arc<Mutex<Option<Instant>>>,
}

impl Window {
    fn open(app: App, ctx: Context) -> Self {
        let due = Arc::new(Mutex::new(Some(Instant::now())));
        let asked = due.clone();
        ctx.set_request_repaint_callback(move |info| ask(&asked, info.delay));
        Self { ctx, app, started: Instant::now(), due }
    }

    /// Draws a frame; gives the time it took.
    fn frame(&mut self) -> Duration {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(egui::Pos2::ZERO, vec2(1280.0, 800.0))),
            time: Some(self.started.elapsed().as_secs_f64()),
            ..RawInput::default()
        };
        let begun = Instant::now();
        let app = &mut self.app;
        let mut output = self.ctx.run_ui(input, |ui| {
            app.logic(ui.ctx());
            app.ui(ui);
        });
        let triangles = self.ctx.tessellate(output.shapes, output.pixels_per_point);
        let took = begun.elapsed();
        assert!(!triangles.is_empty(), "a window is not empty");
        output.textures_delta.clear();
        let delays = output.viewport_output.values().map(|viewport| viewport.repaint_delay);
        if let Some(delay) = delays.min() {
            ask(&self.due, delay);
        }
        took
    }

    /// Draws the next frame when it is due; `None` if none is asked for within `wait`.
    fn next(&mut self, wait: Duration) -> Option<Duration> {
        let end = Instant::now() + wait;
        loop {
            let now = Instant::now();
            let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
            if due.is_some_and(|due| due <= now) {
                return Some(self.frame());
            }
            if now >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn until(&mut self, what: &str, so: impl Fn(&App) -> bool) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !so(&self.app) {
            self.next(Duration::from_millis(50));
            if let Some(problem) = &self.app.state.chat_problem {
                bail!("{}", problem.report());
            }
            ensure!(Instant::now() < end, "waited in vain until {what}");
        }
        Ok(())
    }
}

fn ask(due: &Mutex<Option<Instant>>, delay: Duration) {
    let Some(at) = Instant::now().checked_add(delay) else { return };
    let mut due = due.lock().unwrap_or_else(PoisonError::into_inner);
    *due = Some(due.map_or(at, |before| before.min(at)));
}

fn run() -> anyhow::Result<bool> {
    let named = std::env::args().skip(1).find(|word| !word.starts_with("--"));
    let model = match named {
        Some(path) => PathBuf::from(path),
        None => coppice::hub::find(&coppice::hub::DEFAULT_MODEL.parse()?)?
            .context("name a model file; `coppice pull smollm2` fetches the default one")?,
    };
    let folder = tempfile::tempdir()?;
    let ctx = headless::context();
    let start = Start { model: Some(model), view: Some(View::Explore), ..Start::default() };
    let machine = Arc::new(LocalMachine::default());
    let mut app = App::new(&ctx, machine, &Paths::in_folder(folder.path()), &start)?;
    let settings = &mut app.state.settings;
    settings.sampling.fixed_seed = true;
    settings.sampling.max_tokens = 400;
    settings.drafting = Drafting {
        method: Method::Medusa,
        tree: TreeSize::Nodes(NODES),
        gate: false,
        ..Drafting::default()
    };
    let mut window = Window::open(app, ctx);
    window.until("the model is ready", |app| app.state.model.ready().is_some())?;
    ask_for_much(&mut window)?;
    let (mut frames, mut most_nodes) = (Vec::new(), 0);
    let begun = Instant::now();
    while window.app.state.writing.is_some() {
        frames.extend(window.next(Duration::from_millis(50)));
        let newest = window.app.state.live.rounds.last();
        most_nodes = most_nodes.max(newest.map_or(0, |round| round.outcome.nodes.len()));
        ensure!(begun.elapsed() < PATIENCE, "the answer does not end");
    }
    let seconds = begun.elapsed().as_secs_f64();
    let shown = window.app.state.conversation.path().len();
    let rounds = window.app.state.live.rounds.len();
    ensure!(shown >= MESSAGES && most_nodes == NODES, "{shown} messages, {most_nodes} nodes");
    let mut ms: Vec<f64> = frames.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    ensure!(ms.len() >= 100, "only {} frames", ms.len());
    let at = |share: f64| ms[((ms.len() - 1) as f64 * share) as usize];
    let build = if cfg!(debug_assertions) { "development" } else { "release" };
    println!(
        "{build} build, {shown} messages, {rounds} rounds of up to {most_nodes} nodes in \
         {seconds:.1} s"
    );
    println!(
        "{} frames: median {:.1} ms, 95 % below {:.1}, 99 % below {:.1}, longest {:.1}; {:.1} % within \
         {LIMIT_MS} ms",
        ms.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
        ms.iter().filter(|time| **time < LIMIT_MS).count() as f64 / ms.len() as f64 * 100.0
    );
    // Notices go after some seconds, and drawing all to its end takes some frames.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        window.next(Duration::from_secs(1));
    }
    let begun = Instant::now();
    let mut idle = 0;
    while begun.elapsed() < IDLE {
        idle += usize::from(window.next(Duration::from_secs(1)).is_some());
    }
    println!("{idle} frames in {} s in which nothing happens", IDLE.as_secs());
    Ok(at(0.99) < LIMIT_MS && idle == 0)
}

/// Asks for a long answer, then puts many messages before it: no small model has room for so many.
fn ask_for_much(window: &mut Window) -> anyhow::Result<()> {
    let ctx = window.ctx.clone();
    window.app.act(&ctx, Action::Send("Write a long story about a hazel coppice.".into()));
    window.until("the answer begins", |app| {
        app.state.writing.as_ref().is_some_and(|writing| writing.tokens > 0)
    })?;
    let conversation = &mut window.app.state.conversation;
    let head = conversation.chat.head;
    let first = *conversation.path().first().context("something was asked")?;
    let text = "Some **bold** words, `code`, and a list:\n\n- hazel\n- ash\n\n```rust\nfn main() {}\n```\n";
    let mut parent = None;
    for n in 0..MESSAGES {
        let role = if n % 2 == 0 { Role::User } else { Role::Assistant };
        parent = Some(conversation.add(Message::new(parent, role, format!("{n}: {text}"))));
    }
    conversation.get_mut(first).context("it was asked")?.parent = parent;
    conversation.chat.head = head;
    // All are measured once, a few in each frame, before the clock starts.
    for _ in 0..2 * MESSAGES / 10 {
        window.frame();
    }
    Ok(())
}
