//! Everything without a pointer.

use std::{collections::BTreeSet, sync::Arc};

use coppice_app::{app::Start, layout::View, settings::Theme};
use egui::{Color32, Key, Modifiers, Shape};
use egui_kittest::kittest::Queryable as _;

use crate::common::{AppHarness, Fake, app, ready, say, settle, start, texts};

const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);

fn press(harness: &mut AppHarness, modifiers: Modifiers, key: Key) {
    harness.key_press_modifiers(modifiers, key);
    harness.step();
    harness.step();
}

/// Opens the palette and chooses from it, all in one frame: a slow one gets all of it at once.
fn choose_at_once(harness: &mut AppHarness, command: &str) {
    let key = |key, modifiers| egui::Event::Key {
        key,
        physical_key: None,
        pressed: true,
        repeat: false,
        modifiers,
    };
    let events = [
        key(Key::P, CTRL_SHIFT),
        egui::Event::Text(command.into()),
        key(Key::Enter, Modifiers::NONE),
    ];
    harness.input_mut().events.extend(events);
    harness.step();
}

fn write(harness: &mut AppHarness, text: &str) {
    harness.event(egui::Event::Text(text.into()));
    harness.step();
}

#[test]
fn a_conversation_needs_no_pointer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    // The text field has the keyboard from the start.
    write(&mut harness, "hello");
    press(&mut harness, Modifiers::SHIFT, Key::Enter);
    write(&mut harness, "world");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    settle(&mut harness);
    assert_eq!(texts(&harness)[0], "hello\nworld");
    press(&mut harness, CTRL, Key::R);
    settle(&mut harness);
    harness.get_by_label("2/2");
    press(&mut harness, Modifiers::ALT, Key::ArrowLeft);
    harness.get_by_label("1/2");
    press(&mut harness, Modifiers::ALT, Key::ArrowRight);
    harness.get_by_label("2/2");
    // Edit what was asked.
    press(&mut harness, Modifiers::ALT, Key::ArrowUp);
    harness.step();
    press(&mut harness, CTRL, Key::A);
    write(&mut harness, "changed");
    press(&mut harness, CTRL, Key::Enter);
    settle(&mut harness);
    assert_eq!(texts(&harness), ["changed", "You said: changed"]);
    press(&mut harness, CTRL, Key::N);
    assert!(app(&harness).state.conversation.is_empty());
    press(&mut harness, CTRL, Key::Num2);
    assert_eq!(app(&harness).state.settings.view, View::Explore);
    press(&mut harness, CTRL, Key::Num1);
    press(&mut harness, CTRL, Key::B);
    assert!(!app(&harness).state.settings.sidebar);
}

#[test]
fn the_palette_finds_and_runs_commands() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    press(&mut harness, CTRL_SHIFT, Key::P);
    assert!(app(&harness).state.palette.open);
    write(&mut harness, "dark");
    harness.step();
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert!(!app(&harness).state.palette.open);
    assert_eq!(app(&harness).state.settings.theme, Theme::Dark);
    // What is typed then is meant for the message.
    write(&mut harness, "hi");
    assert_eq!(app(&harness).state.composer.text, "hi");
    press(&mut harness, CTRL_SHIFT, Key::P);
    press(&mut harness, Modifiers::NONE, Key::ArrowDown);
    press(&mut harness, Modifiers::NONE, Key::ArrowUp);
    press(&mut harness, Modifiers::NONE, Key::Escape);
    assert!(!app(&harness).state.palette.open, "Escape closes it");
    // A command that cannot run now stays where it is.
    press(&mut harness, CTRL_SHIFT, Key::P);
    write(&mut harness, "stop answer");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert!(app(&harness).state.palette.open);
}

#[test]
fn recorded_rounds_are_stepped_through_without_a_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = Start { demo: true, ..Start::default() };
    let mut harness = start(folder.path(), &Arc::new(Fake::default()), with);
    let round = |harness: &AppHarness| {
        let state = &app(harness).state;
        state.explorer.round(state.trace().rounds.len())
    };
    assert_eq!(round(&harness), Some(0));
    assert!(harness.query_all_by_label_contains("Node ").count() > 10, "nodes have names");
    harness.get_by_label("Next round").click();
    harness.step();
    harness.step();
    assert_eq!(round(&harness), Some(1));
    harness.get_by_label("Previous round").click();
    harness.step();
    harness.step();
    assert_eq!(round(&harness), Some(0));
    harness.get_by_label("Follow").click();
    harness.step();
    harness.step();
    assert!(app(&harness).state.explorer.is_following());
}

#[test]
fn sizes_and_themes_have_keys_and_are_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    for _ in 0..20 {
        press(&mut harness, CTRL, Key::Plus);
    }
    assert_eq!(app(&harness).state.settings.scale, 2.0);
    say(&mut harness, "large");
    drop(harness);
    let harness = ready(folder.path(), &fake);
    assert_eq!(app(&harness).state.settings.scale, 2.0);
}

#[test]
fn an_input_method_writes_into_the_message() {
    use egui::ImeEvent;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    let ime = |harness: &mut AppHarness, event| {
        harness.event(egui::Event::Ime(event));
        harness.step();
    };
    for text in ["´", "é", ""] {
        ime(&mut harness, ImeEvent::Preedit { text: text.into(), active_range_chars: None });
    }
    ime(&mut harness, ImeEvent::Commit("é".into()));
    assert_eq!(app(&harness).state.composer.text, "é");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    settle(&mut harness);
    assert_eq!(texts(&harness), ["é", "You said: é"]);
}

#[test]
fn what_is_typed_behind_a_shortcut_belongs_to_what_it_opens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    choose_at_once(&mut harness, "dark theme");
    harness.step();
    let state = &app(&harness).state;
    assert_eq!((state.composer.text.as_str(), state.palette.open), ("", false));
    assert_eq!(state.settings.theme, Theme::Dark);
}

#[test]
fn the_palette_gives_the_keyboard_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    say(&mut harness, "first");
    press(&mut harness, Modifiers::ALT, Key::ArrowUp);
    harness.step();
    press(&mut harness, CTRL_SHIFT, Key::P);
    write(&mut harness, "dark theme");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    // What is typed still belongs to the message that is edited.
    press(&mut harness, CTRL, Key::A);
    write(&mut harness, "second");
    press(&mut harness, CTRL, Key::Enter);
    settle(&mut harness);
    assert_eq!(texts(&harness)[0], "second");
    assert_eq!(app(&harness).state.composer.text, "");
}

/// Colours of all texts of the last frame.
fn text_colors(harness: &AppHarness) -> BTreeSet<[u8; 4]> {
    fn add(shape: &Shape, colors: &mut BTreeSet<[u8; 4]>) {
        match shape {
            Shape::Vec(shapes) => shapes.iter().for_each(|shape| add(shape, colors)),
            Shape::Text(text) => {
                let sections = text.galley.job.sections.iter().map(|s| s.format.color);
                let own = sections.map(|color| match color {
                    Color32::PLACEHOLDER => text.fallback_color,
                    color => color,
                });
                colors
                    .extend(own.map(|color| text.override_text_color.unwrap_or(color).to_array()));
            }
            _ => {}
        }
    }
    let mut colors = BTreeSet::new();
    harness.output().shapes.iter().for_each(|clipped| add(&clipped.shape, &mut colors));
    colors
}

#[test]
fn no_frame_mixes_two_themes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    say(&mut harness, "first");
    press(&mut harness, CTRL, Key::Num2);
    assert_eq!(app(&harness).state.settings.view, View::Explore);
    // The colours of the frame of the choice, and of a later one.
    let mut choose = |theme: &str| {
        choose_at_once(&mut harness, theme);
        let first = text_colors(&harness);
        harness.run_steps(3);
        (first, text_colors(&harness))
    };
    let (_, light) = choose("light theme");
    let (first, dark) = choose("dark theme");
    assert_ne!(light, dark);
    assert_eq!(first, dark);
}

#[test]
fn an_edit_keeps_the_keyboard_while_the_window_changes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    for n in 0..12 {
        say(&mut harness, &format!("message {n}"));
    }
    press(&mut harness, Modifiers::ALT, Key::ArrowUp);
    harness.step();
    press(&mut harness, CTRL, Key::A);
    write(&mut harness, "one");
    // Fewer messages are drawn above it now.
    harness.set_size(egui::vec2(700.0, 400.0));
    harness.step();
    harness.step();
    write(&mut harness, " two");
    let state = &app(&harness).state;
    assert_eq!(state.editing.as_ref().map(|editing| editing.text.as_str()), Some("one two"));
    assert_eq!(state.composer.text, "");
}

#[test]
fn escape_closes_what_a_command_ran_above() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    press(&mut harness, Modifiers::NONE, Key::F1);
    press(&mut harness, CTRL_SHIFT, Key::P);
    write(&mut harness, "dark theme");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    let state = &app(&harness).state;
    assert!(state.shortcuts_open && !state.palette.open);
    press(&mut harness, Modifiers::NONE, Key::Escape);
    assert!(!app(&harness).state.shortcuts_open);
    press(&mut harness, CTRL, Key::K);
    write(&mut harness, "hazel");
    assert_eq!(app(&harness).state.search.query, "hazel");
}
