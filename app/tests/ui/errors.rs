//! What goes wrong is shown where it happened, with what to do, and takes nothing along.

use std::{path::Path, sync::Arc};

use coppice_app::{app::Start, history::Store};
use egui_kittest::kittest::Queryable as _;

use crate::common::{Fake, Script, app, ready, say, settle, start, texts, until};

/// A model file that is dropped onto the window.
#[derive(Debug)]
struct Dropped;

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        Path::new("/models/good.gguf")
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        Err("nobody reads a model into memory".into())
    }
}

#[test]
fn without_a_model_the_text_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = start(folder.path(), &fake, Start::default());
    harness.state_mut().app.as_mut().expect("it runs").state.composer.text = "hello".into();
    harness.step();
    harness.get_by_label("Send").click();
    harness.step();
    harness.step();
    harness.get_by_label("no model is loaded");
    harness.get_by_label("Download SmolLM2 (94 MiB)");
    assert_eq!(app(&harness).state.composer.text, "hello");
    assert!(app(&harness).state.conversation.is_empty());
}

#[test]
fn a_corrupt_model_is_named_and_another_can_be_opened() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let with = Start { model: Some("/models/corrupt.gguf".into()), ..Start::default() };
    let mut harness = start(folder.path(), &fake, with);
    until(&mut harness, "loading failed", |app| {
        matches!(app.state.model, coppice_app::state::ModelState::Failed { .. })
    });
    harness.get_by_label_contains("/models/corrupt.gguf: not a GGUF file");
    harness.get_by_label("download the file again");
    harness.get_by_label("Copy error");
    harness.get_by_label("Open another model…");
    assert_eq!(app(&harness).state.settings.model, None, "it is not remembered");
    // A good one dropped onto the window takes its place.
    harness.input_mut().dropped_files.push(Arc::new(Dropped));
    until(&mut harness, "it is ready", |app| app.state.model.ready().is_some());
}

#[test]
fn a_lost_device_keeps_what_was_said_and_offers_to_load_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    let what = "Test card was lost: reset by the driver";
    fake.script(Script::Fail("Half an ", what, "load the model again"));
    say(&mut harness, "go");
    assert_eq!(texts(&harness), ["go", "Half an "]);
    harness.get_by_label("failed here");
    harness.get_by_label(what);
    harness.get_by_label("Load the model again").click();
    harness.step();
    until(&mut harness, "it is ready", |app| app.state.model.ready().is_some());
    // A failure before the first word leaves the question, ready to be asked again.
    fake.script(Script::Fail("", what, "load the model again"));
    say(&mut harness, "more");
    assert_eq!(texts(&harness), ["go", "Half an ", "more"]);
    harness.get_by_label("Try again").click();
    harness.step();
    settle(&mut harness);
    assert_eq!(texts(&harness), ["go", "Half an ", "more", "You said: more"]);
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost_when_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    say(&mut harness, "before");
    until(&mut harness, "it is saved", |app| app.state.unsaved.is_none());
    app(&harness).limit_history_bytes(0);
    fake.script(Script::Say("ok"));
    let long: &'static str = Box::leak("word ".repeat(8_000).into_boxed_str());
    harness.state_mut().app.as_mut().expect("it runs").state.composer.text = long.into();
    harness.step();
    harness.get_by_label("Send").click();
    harness.step();
    settle(&mut harness);
    until(&mut harness, "it cannot be saved", |app| app.state.unsaved.is_some());
    harness.get_by_label("▲ Not saved");
    assert!(app(&harness).state.unsaved.as_ref().is_some_and(|p| p.what.contains("full")));
    app(&harness).limit_history_bytes(1 << 30);
    harness.get_by_label("Save again").click();
    harness.step();
    until(&mut harness, "it is saved", |app| app.state.unsaved.is_none());
    let id = app(&harness).state.conversation.chat.id;
    drop(harness);
    let store = Store::open(&folder.path().join("history.db")).expect("it is there");
    let messages = store.messages(id).expect("readable");
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[2].content, long.trim());
}

#[test]
fn a_history_that_is_none_is_left_alone_and_one_can_chat() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("history.db");
    std::fs::write(&path, "not a database, ".repeat(100)).expect("writable");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    harness.get_by_label("▲ Not saved");
    say(&mut harness, "still");
    assert_eq!(texts(&harness), ["still", "You said: still"]);
    drop(harness);
    assert_eq!(std::fs::read(&path).expect("it is there").len(), 1600);
}
