//! Views of the explorer over the demonstration: outlines, and what their controls do.

use std::sync::Arc;

use coppice::spec::{
    Method,
    policy::{Between, CurveKey, VerifyCurve},
};
use coppice_app::{
    app::Start,
    layout::{Pane, View},
    state::{Action, ModelState, State},
    worker::{Drafting, ModelInfo},
};
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;
use egui_tiles::Tree;

use crate::{
    common::{AppHarness, Fake, Script, app, ready, settle, start, until},
    outline::outline,
};

const CTRL_SHIFT: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);

fn state(harness: &mut AppHarness) -> &mut State {
    &mut harness.state_mut().app.as_mut().expect("it runs").state
}

fn steps(harness: &mut AppHarness, frames: usize) {
    (0..frames).for_each(|_| harness.step());
}

/// The demonstration with one pane on screen.
fn demo(pane: Pane) -> (tempfile::TempDir, AppHarness) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = Start { demo: true, ..Start::default() };
    let mut harness = start(folder.path(), &Arc::new(Fake::default()), with);
    alone(&mut harness, pane);
    (folder, harness)
}

fn alone(harness: &mut AppHarness, pane: Pane) {
    let state = state(harness);
    state.settings.view = View::Explore;
    state.settings.sidebar = false;
    state.settings.layouts.explore = Tree::new_tabs(egui::Id::unique("alone"), vec![pane]);
    steps(harness, 4);
}

/// A model as the one of the demonstration, with a curve.
fn same_model(harness: &mut AppHarness) {
    let state = state(harness);
    let header = state.trace().header.clone().expect("the demonstration has one");
    let key = CurveKey {
        device: header.device.clone(),
        driver: String::new(),
        model: header.model.clone(),
        heads: None,
        threads: 2,
        program: String::new(),
    };
    let points = vec![(1, 10.0), (8, 13.0), (24, 22.0), (64, 48.0)];
    let curve = VerifyCurve::new(key, 10.0, points, Between::Linear, vec![0.5]).expect("valid");
    state.model = ModelState::Ready(Box::new(ModelInfo {
        name: header.model,
        path: "/models/demo.gguf".into(),
        device: header.device,
        context: 4096,
        memory_bytes: 0,
        methods: vec![Method::Plain, Method::Medusa],
        notes: Vec::new(),
        curve: Some(curve),
        count_tokens: Arc::new(str::len),
    }));
    steps(harness, 3);
}

/// Asks and waits for the answer, whether or not the chat is on screen.
fn tell(harness: &mut AppHarness, text: &str) {
    let ctx = harness.ctx.clone();
    let running = harness.state_mut().app.as_mut().expect("it runs");
    running.act(&ctx, Action::Send(text.into()));
    settle(harness);
}

fn shown(harness: &AppHarness) -> usize {
    let state = &app(harness).state;
    state.explorer.round(state.trace().rounds.len()).expect("there are rounds")
}

#[test]
fn outlines_of_the_views() {
    for (pane, name) in [
        (Pane::Acceptance, "acceptance"),
        (Pane::Calibration, "calibration"),
        (Pane::Speed, "speed"),
        (Pane::WhatIf, "what_if"),
        (Pane::Compare, "side_by_side"),
        (Pane::Cache, "cache"),
    ] {
        let (_folder, mut harness) = demo(pane);
        same_model(&mut harness);
        insta::assert_snapshot!(name, outline(&harness));
    }
}

#[test]
fn the_default_view_has_a_tab_for_each_figure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = Start { demo: true, ..Start::default() };
    let mut harness = start(folder.path(), &Arc::new(Fake::default()), with);
    steps(&mut harness, 3);
    let text = outline(&harness);
    for title in ["Tree", "Acceptance", "Calibration", "Speed", "What if", "Side by side", "Cache"]
    {
        assert!(text.contains(&format!("{title:?}")), "{title} is missing in\n{text}");
    }
}

#[test]
fn rounds_play_at_their_times_and_pause() {
    let (_folder, mut harness) = demo(Pane::Tree);
    assert_eq!(shown(&harness), 0);
    harness.get_by_label("Play").click();
    steps(&mut harness, 2);
    assert!(app(&harness).state.explorer.is_playing());
    until(&mut harness, "rounds go by", |app| {
        app.state.explorer.round(app.state.trace().rounds.len()) > Some(2)
    });
    harness.get_by_label("Pause").click();
    steps(&mut harness, 2);
    let paused = shown(&harness);
    steps(&mut harness, 20);
    assert_eq!(shown(&harness), paused);
    assert!(!app(&harness).state.explorer.is_playing());
    harness.key_press_modifiers(CTRL_SHIFT, Key::Space);
    until(&mut harness, "it plays to its end", |app| !app.state.explorer.is_playing());
    assert_eq!(shown(&harness), app(&harness).state.trace().rounds.len() - 1);
}

#[test]
fn dragging_over_the_strip_scrubs() {
    let (_folder, mut harness) = demo(Pane::Tree);
    let strip = harness.get_by_label("Round on screen").rect();
    let last = app(&harness).state.trace().rounds.len() - 1;
    harness.drag_at(strip.left_center() + egui::vec2(1.0, 0.0));
    harness.step();
    assert_eq!(shown(&harness), 0);
    harness.hover_at(strip.left_center() + egui::vec2(12.0 * last as f32 + 6.0, 0.0));
    steps(&mut harness, 2);
    assert_eq!(shown(&harness), last);
    harness.drop_at(strip.right_center());
    steps(&mut harness, 2);
    harness.key_press(Key::Home);
    steps(&mut harness, 2);
    assert_eq!(shown(&harness), 0);
}

#[test]
fn a_held_view_does_not_stop_the_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    alone(&mut harness, Pane::Tree);
    tell(&mut harness, "one two");
    assert!(app(&harness).state.explorer.is_following());
    harness.get_by_label("Follow").click();
    steps(&mut harness, 2);
    let held = shown(&harness);
    let before = app(&harness).state.live.rounds.len();
    tell(&mut harness, "three four five");
    assert!(app(&harness).state.live.rounds.len() > before, "the model went on");
    assert_eq!(shown(&harness), held);
    harness.get_by_label("Follow").click();
    steps(&mut harness, 2);
    assert_eq!(shown(&harness), app(&harness).state.live.rounds.len() - 1);
}

#[test]
fn stepping_runs_one_round_a_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    harness.key_press_modifiers(CTRL_SHIFT, Key::T);
    steps(&mut harness, 2);
    fake.script(Script::Say("a b c d"));
    let ctx = harness.ctx.clone();
    let running = harness.state_mut().app.as_mut().expect("it runs");
    running.act(&ctx, Action::Send("go".into()));
    until(&mut harness, "the first round ran", |app| app.state.live.rounds.len() == 1);
    for rounds in 2..=4 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        steps(&mut harness, 2);
        assert_eq!(app(&harness).state.live.rounds.len(), rounds - 1, "it is held");
        harness.key_press_modifiers(Modifiers::COMMAND, Key::Space);
        until(&mut harness, "one more ran", |app| app.state.live.rounds.len() == rounds);
    }
    harness.key_press_modifiers(CTRL_SHIFT, Key::T);
    until(&mut harness, "it is let go", |app| app.state.writing.is_none());
}

#[test]
fn tokens_are_found_and_nodes_pinned() {
    let (_folder, mut harness) = demo(Pane::Tree);
    let wanted = {
        let rounds = &app(&harness).state.trace().rounds;
        let text = rounds[9].texts[5].trim().to_owned();
        let has = |n: &usize| {
            rounds[*n].texts.iter().any(|t| t.to_lowercase().contains(&text.to_lowercase()))
        };
        ((1..rounds.len()).find(has).expect("round 9 has it"), text)
    };
    state(&mut harness).explorer.find = wanted.1.clone();
    steps(&mut harness, 2);
    harness.get_by_label("Next round with a match").click();
    steps(&mut harness, 2);
    assert_eq!(shown(&harness), wanted.0, "the next round with {:?}", wanted.1);
    let node = harness.query_all_by_label_contains("Node ").next().expect("nodes have names");
    node.click();
    steps(&mut harness, 3);
    harness.get_by_label("Unpin");
    harness.key_press(Key::ArrowRight);
    steps(&mut harness, 2);
    harness.get_by_label("Unpin");
    harness.get_by_label("Copy").click();
    steps(&mut harness, 2);
    harness.get_by_label("Unpin").click();
    steps(&mut harness, 2);
    assert!(harness.query_by_label("Unpin").is_none());
}

#[test]
fn trees_are_zoomed_and_fitted() {
    let (_folder, mut harness) = demo(Pane::Tree);
    let names = |harness: &AppHarness| harness.query_all_by_label_contains("Node ").count();
    let span = |harness: &AppHarness| {
        let nodes: Vec<_> =
            harness.query_all_by_label_contains("Node ").map(|node| node.rect()).collect();
        nodes.iter().fold(egui::Rect::NOTHING, |all, rect| all.union(*rect))
    };
    let (before, first) = (names(&harness), span(&harness));
    harness.get_by_label("Larger tree").click();
    steps(&mut harness, 2);
    assert!(span(&harness).height() > 1.15 * first.height());
    harness.get_by_label("Fit").click();
    steps(&mut harness, 2);
    let fitted = span(&harness);
    assert!(harness.ctx.content_rect().contains_rect(fitted), "{fitted:?}");
    harness.get_by_label("Reset view").click();
    steps(&mut harness, 2);
    assert_eq!((names(&harness), span(&harness)), (before, first));
}

#[test]
fn other_trees_are_scored_and_faults_named() {
    let (_folder, mut harness) = demo(Pane::WhatIf);
    let recorded = app(&harness).state.what_if.result().expect("it was scored");
    assert_eq!((recorded.low, recorded.high), (recorded.recorded, recorded.recorded));
    let field = harness.get_by_label("Full tree of widths");
    field.focus();
    harness.step();
    harness.get_by_label("Full tree of widths").type_text("3, 2");
    steps(&mut harness, 4);
    let full = app(&harness).state.what_if.result().expect("it was scored");
    assert_eq!(full.rows, 10 * full.rounds, "a root, three, and two each");
    assert!(full.low <= full.high && full.low < recorded.low);
    harness.get_by_label("Full tree of widths").type_text(" x");
    steps(&mut harness, 3);
    harness.get_by_label_contains("wanted widths such as 4, 2, 1");
    harness.get_by_label("Reset").click();
    steps(&mut harness, 3);
    assert_eq!(app(&harness).state.what_if.result(), Some(recorded));
}

#[test]
fn two_runs_are_measured_and_chats_wait_for_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    alone(&mut harness, Pane::Compare);
    let seed = {
        let state = state(&mut harness);
        state.compare.prompt = "count to three".into();
        state.compare.drafting[1] = Drafting { method: Method::Lookup, ..Drafting::default() };
        state.settings.sampling.params.seed
    };
    fake.script(Script::Say("one two three"));
    fake.script(Script::SayUntilStopped("one two"));
    harness.get_by_label("Compare").click();
    until(&mut harness, "the second run goes on", |app| {
        app.state.compare.lanes[1].marks.len() == 2
    });
    assert_eq!(app(&harness).state.compare.lanes[0].text, "one two three");
    let ctx = harness.ctx.clone();
    let running = harness.state_mut().app.as_mut().expect("it runs");
    running.act(&ctx, Action::Send("me too".into()));
    let problem = app(&harness).state.chat_problem.clone().expect("the engine is busy");
    assert!(problem.what.contains("comparison"), "{problem}");
    harness.get_by_label("Stop comparing").click();
    until(&mut harness, "it is stopped", |app| app.state.compare.running.is_none());
    harness.get_by_label_contains("the comparison was stopped");
    harness.get_by_label("Compare").click();
    until(&mut harness, "it is over", |app| app.state.compare.verdict().is_some());
    harness.get_by_label_contains("times as fast as");
    harness.get_by_label_contains("both say the same");
    harness.get_by_label_contains("Run B: ");
    let requests = fake.requests.lock().expect("no test panics holding it").clone();
    let [.., a, b] = requests.as_slice() else { panic!("four runs were asked for") };
    assert_eq!((&a.messages, &a.sampler), (&b.messages, &b.sampler));
    assert_eq!((a.drafting.method, b.drafting.method), (Method::Plain, Method::Lookup));
    assert_eq!(a.sampler.seed, seed);
}

#[test]
fn pages_of_the_cache_follow_an_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    alone(&mut harness, Pane::Cache);
    tell(&mut harness, "hello");
    harness.get_by_label_contains("4 rows staged behind");
    harness.get_by_label(
        "Pages of the cache: 2 of one sequence, 1 shared, 1 kept for later prompts, 4 free",
    );
    harness.get_by_label_contains("2 staged and given back");
}

#[test]
fn problems_of_an_export_are_told_and_files_written() {
    let (folder, mut harness) = demo(Pane::Tree);
    let ctx = harness.ctx.clone();
    for (export, holds) in [
        (coppice_app::export::Export::TreeSvg, "<svg"),
        (coppice_app::export::Export::Rounds, "index,answer"),
        (coppice_app::export::Export::Nodes, "index,answer"),
    ] {
        let path = folder.path().join("out").with_extension(export.extension());
        let running = harness.state_mut().app.as_mut().expect("it runs");
        running.act(&ctx, Action::ExportTrace(export, path.clone()));
        until(&mut harness, "it is written", |_| path.exists());
        assert!(std::fs::read_to_string(&path).expect("readable").starts_with(holds));
        std::fs::remove_file(path).expect("it was there");
    }
    let nowhere = folder.path().join("no/such.csv");
    let running = harness.state_mut().app.as_mut().expect("it runs");
    running.act(&ctx, Action::ExportTrace(coppice_app::export::Export::Rounds, nowhere));
    until(&mut harness, "the problem is told", |app| {
        app.state.notices.iter().any(|notice| notice.text.contains("cannot write"))
    });
}
