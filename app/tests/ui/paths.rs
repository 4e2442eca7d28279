//! Files chosen by their path, where the system has no dialogs.

use std::{path::Path, sync::Arc};

use coppice_app::{command::Command, settings::Theme, state::Action};
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;

use crate::common::{AppHarness, Fake, app, ready, say, texts, until};

fn ask(harness: &mut AppHarness, command: Command) {
    let ctx = harness.ctx.clone();
    let running = harness.state_mut().app.as_mut().expect("it runs");
    running.state.settings.native_dialogs = false;
    running.act(&ctx, Action::Run(command));
    until(harness, "a path is asked for", |app| app.state.asked_path.is_some());
}

/// Types a path in place of the one that is proposed.
fn answer(harness: &mut AppHarness, path: &Path) {
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.step();
    harness.event(egui::Event::Text(path.display().to_string()));
    harness.step();
    harness.key_press(Key::Enter);
    harness.step();
}

fn done(harness: &mut AppHarness) {
    until(harness, "it was taken", |app| app.state.asked_path.is_none());
}

#[test]
fn chats_go_out_and_come_back_by_their_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    say(&mut harness, "What is a hornbeam?");
    let (json, text) = (folder.path().join("chat.json"), folder.path().join("chat.md"));
    ask(&mut harness, Command::ExportJson);
    let proposed = &app(&harness).state.asked_path.as_ref().expect("it is asked for").text;
    assert!(proposed.ends_with(".json"), "{proposed}");
    answer(&mut harness, &json);
    done(&mut harness);
    until(&mut harness, "it is written", |_| json.exists());
    ask(&mut harness, Command::ExportMarkdown);
    answer(&mut harness, &text);
    done(&mut harness);
    until(&mut harness, "it is written", |_| text.exists());
    let markdown = std::fs::read_to_string(&text).expect("it is there");
    assert!(markdown.contains("What is a hornbeam?"), "{markdown}");

    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let mut other = ready(elsewhere.path(), &fake);
    ask(&mut other, Command::ImportChats);
    answer(&mut other, &json);
    until(&mut other, "it is listed", |app| {
        app.state.chats.iter().any(|chat| !chat.title.is_empty())
    });
    other.get_by_label("What is a hornbeam?").click();
    until(&mut other, "it is open", |app| !app.state.conversation.is_empty());
    assert_eq!(texts(&other), texts(&harness));
}

#[test]
fn a_file_that_is_there_is_replaced_only_when_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    say(&mut harness, "hello");
    let path = folder.path().join("trace.jsonl");
    std::fs::write(&path, "mine").expect("writable");
    ask(&mut harness, Command::SaveTrace);
    answer(&mut harness, &path);
    until(&mut harness, "it asks", |app| {
        app.state.asked_path.as_ref().is_some_and(|asked| asked.replaces.is_some())
    });
    harness.get_by_label_contains("is there already");
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "mine");
    harness.get_by_label("Replace it").click();
    harness.step();
    done(&mut harness);
    until(&mut harness, "it is written", |_| {
        std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with('{'))
    });
    // And Escape leaves everything as it is.
    ask(&mut harness, Command::SaveTrace);
    harness.key_press(Key::Escape);
    harness.step();
    harness.step();
    assert!(app(&harness).state.asked_path.is_none());
    // What cannot be opened is said.
    ask(&mut harness, Command::OpenTrace);
    answer(&mut harness, Path::new("/no/such.jsonl"));
    until(&mut harness, "it is said", |app| {
        app.state.notices.iter().any(|notice| notice.text.contains("/no/such.jsonl"))
    });
}

#[test]
fn a_command_above_the_question_leaves_it_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    say(&mut harness, "hello");
    ask(&mut harness, Command::SaveTrace);
    let steps = |harness: &mut AppHarness| (0..2).for_each(|_| harness.step());
    harness.key_press_modifiers(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::P);
    steps(&mut harness);
    harness.event(egui::Event::Text("dark theme".into()));
    harness.step();
    harness.key_press(Key::Enter);
    steps(&mut harness);
    let state = &app(&harness).state;
    assert_eq!(state.settings.theme, Theme::Dark);
    assert!(!state.palette.open && state.asked_path.is_some(), "Enter was for the command");
    let path = folder.path().join("trace.jsonl");
    answer(&mut harness, &path);
    until(&mut harness, "it is written", |_| path.exists());
    assert_eq!(app(&harness).state.composer.text, "");
}
