//! Opening and scrubbing over a trace of ten thousand rounds; prints figures.
//!
//! `cargo bench -p coppice-app --bench large_trace`. A frame is layout and tessellation of the whole
//! window at 1280 x 800, everything that the processor does for it.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::Context as _;
use coppice_app::{
    app::{App, Paths, Start},
    demo, headless,
    history::MessageId,
    layout::{Pane, View},
    trace_log::TraceLog,
    worker::LocalMachine,
};
use egui::{Pos2, RawInput, Rect, vec2};
use egui_tiles::Tree;

const ROUNDS: usize = 10_000;
/// Frames of each view.
const FRAMES: usize = 200;

/// The demonstration, over and over, in answers of a hundred rounds.
fn write_trace(path: &Path) -> anyhow::Result<u64> {
    let recorded = demo::trace();
    let header = recorded.header.clone().context("the demonstration has a header")?;
    let mut log = TraceLog::default();
    for n in 0..ROUNDS {
        if n % 100 == 0 {
            log.begin(MessageId(n as i64), header.clone(), vec![1, 2, 3]);
        }
        log.push(recorded.rounds[n % recorded.rounds.len()].clone());
    }
    log.save(path).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(std::fs::metadata(path)?.len())
}

/// Draws a frame; gives its milliseconds.
fn frame(app: &mut App, ctx: &egui::Context, second: f64) -> f64 {
    let input = RawInput {
        screen_rect: Some(Rect::from_min_size(Pos2::ZERO, vec2(1280.0, 800.0))),
        time: Some(second),
        ..RawInput::default()
    };
    let started = Instant::now();
    let mut output = ctx.run_ui(input, |ui| {
        app.logic(ui.ctx());
        app.ui(ui);
    });
    let primitives = ctx.tessellate(output.shapes, output.pixels_per_point);
    output.textures_delta.clear();
    std::hint::black_box(primitives.len());
    started.elapsed().as_secs_f64() * 1e3
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("long.jsonl");
    let bytes = write_trace(&path)?;
    println!("trace: {ROUNDS} rounds, {:.1} MB", bytes as f64 / 1e6);
    let ctx = headless::context();
    let paths = Paths::in_folder(folder.path());
    let start = Start { idle: true, view: Some(View::Explore), ..Start::default() };
    let mut app = App::new(&ctx, Arc::new(LocalMachine::default()), &paths, &start)?;
    let mut second = 0.0;
    let mut next = |app: &mut App| {
        second += 1.0 / 60.0;
        frame(app, &ctx, second)
    };
    // Fonts are made in the first frames.
    for _ in 0..5 {
        next(&mut app);
    }
    let started = Instant::now();
    app.act(&ctx, coppice_app::state::Action::OpenTrace(path));
    let mut slowest = 0f64;
    while app.state.trace().rounds.len() < ROUNDS {
        slowest = slowest.max(next(&mut app));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let first = next(&mut app);
    println!(
        "opened and drawn after {:.3} s; the slowest frame meanwhile took {slowest:.1} ms, the first \
         with the trace {first:.1} ms",
        started.elapsed().as_secs_f64()
    );
    for pane in [Pane::Acceptance, Pane::Calibration, Pane::Speed, Pane::WhatIf, Pane::Cache] {
        let layout = &mut app.state.settings.layouts.explore;
        *layout = Tree::new_vertical(egui::Id::unique("bench"), vec![Pane::Tree, pane]);
        // Rounds are judged over some frames.
        let mut judged: Vec<f64> = (0..60).map(|_| next(&mut app)).collect();
        judged.sort_by(f64::total_cmp);
        let mut ms: Vec<f64> = (0..FRAMES)
            .map(|n| {
                app.state.explorer.show((n * 7919) % ROUNDS);
                next(&mut app)
            })
            .collect();
        ms.sort_by(f64::total_cmp);
        println!(
            "scrubbing, {:<12} median {:.2} ms, 99 % {:.2} ms, slowest {:.2} ms a frame; slowest of the \
             first 60 {:.2} ms",
            pane.title(),
            ms[FRAMES / 2],
            ms[FRAMES * 99 / 100],
            ms[FRAMES - 1],
            judged[59]
        );
    }
    Ok(())
}
