//! `coppice-app`: the window, or a picture of it.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::anyhow;
use clap::{Parser, ValueEnum};
use coppice_app::{
    app::{App, Paths, Start},
    headless::{self, Canvas},
    layout::View,
    settings::{Settings, Theme},
    state::ModelState,
    worker::LocalMachine,
};

/// Longest wait for a state to be drawn.
const PATIENCE: Duration = Duration::from_secs(120);

/// Talk to a local model, and see the candidate trees that make it fast.
#[derive(Parser)]
#[command(name = "coppice-app", version)]
struct Args {
    /// Model file or folder to load; the one used last by default
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Show the recorded demonstration, without a model
    #[arg(long)]
    demo: bool,
    /// Show the rounds of a trace file
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    trace: Option<PathBuf>,
    /// Begin in this view
    #[arg(long)]
    view: Option<ViewName>,
    /// Write a picture of the first view and end, without a display
    #[arg(long, value_name = "FILE")]
    screenshot: Option<PathBuf>,
    /// Size of the picture in points
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = size)]
    size: [f32; 2],
    /// Theme of the picture
    #[arg(long, value_name = "THEME")]
    theme: Option<ThemeName>,
    /// Folder of history and settings; in the user's data folder by default
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Load no model
    #[arg(long, conflicts_with = "model")]
    idle: bool,
    /// Check devices as standard input asks; the app starts itself so
    #[arg(long, hide = true)]
    check_worker: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ViewName {
    Chat,
    Explore,
    Devices,
}

#[derive(Clone, Copy, ValueEnum)]
enum ThemeName {
    Light,
    Dark,
}

fn size(text: &str) -> Result<[f32; 2], String> {
    let wanted = || format!("`{text}`: wanted WIDTHxHEIGHT, such as 1280x800");
    let (width, height) = text.split_once('x').ok_or_else(wanted)?;
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| (200..=8192).contains(n));
    let size = number(width).zip(number(height)).ok_or_else(wanted)?;
    Ok([size.0.into(), size.1.into()])
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody may be listening.
            let _ = writeln!(std::io::stderr(), "coppice-app: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    if args.check_worker {
        let (input, output) = (std::io::stdin().lock(), std::io::stdout());
        return Ok(coppice::check::worker::serve(input, output)?);
    }
    let paths = match &args.data {
        Some(folder) => Paths::in_folder(folder),
        None => Paths::of_user()?,
    };
    let start = Start {
        model: args.model.clone(),
        trace: args.trace.clone(),
        demo: args.demo,
        view: args.view.map(|view| match view {
            ViewName::Chat => View::Chat,
            ViewName::Explore => View::Explore,
            ViewName::Devices => View::Devices,
        }),
        idle: args.idle,
    };
    match &args.screenshot {
        Some(file) => picture(&args, &paths, &start, file),
        None => window(&paths, start),
    }
}

fn picture(
    args: &Args,
    paths: &Paths,
    start: &Start,
    file: &std::path::Path,
) -> anyhow::Result<()> {
    let ctx = headless::context();
    let mut app = App::new(&ctx, Arc::new(LocalMachine::default()), paths, start)?;
    app.state.settings.theme = match args.theme {
        Some(ThemeName::Light) => Theme::Light,
        Some(ThemeName::Dark) => Theme::Dark,
        None => app.state.settings.theme,
    };
    let canvas = Canvas { points: args.size.into(), scale: app.state.settings.scale };
    let devices = app.state.settings.view == View::Devices;
    let done = |app: &App| {
        let loading = matches!(app.state.model, ModelState::Loading { .. });
        !loading && app.state.opening.is_none() && (!devices || app.state.devices.list.is_some())
    };
    headless::screenshot(&mut app, &ctx, canvas, PATIENCE, done, file)
}

fn window(paths: &Paths, start: Start) -> anyhow::Result<()> {
    let (settings, _) = Settings::load(&paths.settings);
    let icon = eframe::icon_data::from_png_bytes(include_bytes!("../assets/icon-256.png"))?;
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_app_id("coppice")
            .with_title("Coppice")
            .with_icon(icon)
            .with_inner_size(settings.window.unwrap_or([1280.0, 800.0]))
            .with_min_inner_size([480.0, 360.0])
            .with_drag_and_drop(true),
        renderer: eframe::Renderer::Wgpu,
        ..eframe::NativeOptions::default()
    };
    let paths = paths.clone();
    let made = move |cc: &eframe::CreationContext<'_>| {
        let app = App::new(&cc.egui_ctx, Arc::new(LocalMachine::default()), &paths, &start)?;
        Ok::<Box<dyn eframe::App>, Box<dyn std::error::Error + Send + Sync>>(Box::new(app))
    };
    eframe::run_native("Coppice", options, Box::new(made)).map_err(|error| anyhow!("{error}"))
}
