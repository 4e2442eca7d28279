//! Conversations, as a person leads them.

use std::sync::Arc;

use coppice_app::{
    app::Start,
    history::{Role, Store},
    state::Action,
};
use egui_kittest::kittest::Queryable as _;

use crate::common::{Fake, Script, app, ready, say, settle, sized, start, texts, until};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn a_conversation_with_branches_is_there_after_a_restart() {
    let (folder, fake) = (folder(), Arc::new(Fake::default()));
    let mut harness = ready(folder.path(), &fake);
    fake.script(Script::Say("Hello to you"));
    say(&mut harness, "Hi there");
    assert_eq!(texts(&harness), ["Hi there", "Hello to you"]);
    // The figures stay with the message.
    harness.get_by_label_contains("42.0 tokens/s");
    harness.get_by_label_contains("2.00 a round");

    fake.script(Script::Say("Good day"));
    harness.get_by_label("Regenerate answer").click();
    harness.step();
    settle(&mut harness);
    assert_eq!(texts(&harness), ["Hi there", "Good day"]);
    harness.get_by_label("2/2");
    harness.get_by_label("Previous branch").click();
    until(&mut harness, "the first answer is back", |app| {
        app.state
            .conversation
            .chat
            .head
            .and_then(|id| app.state.conversation.get(id))
            .is_some_and(|message| message.content == "Hello to you")
    });

    harness.get_by_label("Edit message").click();
    harness.step();
    let editing = &mut harness.state_mut().app.as_mut().expect("it runs").state.editing;
    editing.as_mut().expect("it is open").text = "Hi again".into();
    harness.step();
    harness.get_by_label("Send edited").click();
    harness.step();
    settle(&mut harness);
    assert_eq!(texts(&harness), ["Hi again", "You said: Hi again"]);
    drop(harness);

    let mut harness = ready(folder.path(), &fake);
    until(&mut harness, "chats are listed", |app| app.state.chats.len() == 1);
    harness.get_by_label("Hi there").click();
    until(&mut harness, "it is open", |app| !app.state.conversation.is_empty());
    assert_eq!(texts(&harness), ["Hi again", "You said: Hi again"]);
    assert_eq!(app(&harness).state.conversation.messages().count(), 5);
    harness.get_by_label_contains("42.0 tokens/s");
}

#[test]
fn an_answer_that_is_stopped_keeps_its_words() {
    let (folder, fake) = (folder(), Arc::new(Fake::default()));
    let mut harness = ready(folder.path(), &fake);
    fake.script(Script::SayUntilStopped("Once upon a"));
    harness.state_mut().app.as_mut().expect("it runs").state.composer.text = "A story".into();
    harness.step();
    harness.get_by_label("Send").click();
    harness.step();
    until(&mut harness, "words come", |app| {
        let writing = app.state.writing.as_ref();
        writing.is_some_and(|writing| writing.tokens >= 6)
    });
    harness.key_press(egui::Key::Escape);
    harness.step();
    settle(&mut harness);
    assert_eq!(texts(&harness), ["A story", "Once upon a"]);
    harness.get_by_label("stopped");

    // And goes on where it ended.
    fake.script(Script::Say(" time."));
    harness.get_by_label("Continue answer").click();
    harness.step();
    settle(&mut harness);
    assert_eq!(texts(&harness), ["A story", "Once upon a time."]);
    assert_eq!(fake.last_request().prefix, "Once upon a");
    let roles: Vec<_> = fake.last_request().messages.into_iter().map(|m| m.role).collect();
    assert_eq!(roles, ["system", "user"]);
}

#[test]
fn answers_can_be_edited_deleted_and_brought_back() {
    let (folder, fake) = (folder(), Arc::new(Fake::default()));
    let mut harness = ready(folder.path(), &fake);
    say(&mut harness, "one");
    harness.get_by_label("Edit answer").click();
    harness.step();
    let editing = &mut harness.state_mut().app.as_mut().expect("it runs").state.editing;
    editing.as_mut().expect("it is open").text = "better".into();
    harness.step();
    harness.get_by_label("Save edited").click();
    harness.step();
    harness.step();
    assert_eq!(texts(&harness), ["one", "better"]);
    harness.get_by_label("Delete answer").click();
    harness.step();
    harness.step();
    assert_eq!(texts(&harness), ["one", "You said: one"]);
    // A notice is measured before it is seen.
    harness.run_steps(3);
    harness.get_by_label("Undo").click();
    harness.step();
    harness.step();
    assert_eq!(texts(&harness), ["one", "better"]);
}

#[test]
fn a_chat_goes_on_while_another_is_read() {
    let (folder, fake) = (folder(), Arc::new(Fake::default()));
    let mut harness = ready(folder.path(), &fake);
    say(&mut harness, "first chat");
    let first = app(&harness).state.conversation.chat.id;
    harness.get_by_label("New chat").click();
    harness.step();
    fake.script(Script::SayUntilStopped("slowly"));
    harness.state_mut().app.as_mut().expect("it runs").state.composer.text = "second chat".into();
    harness.step();
    harness.get_by_label("Send").click();
    harness.step();
    until(&mut harness, "words come", |app| {
        app.state.writing.as_ref().is_some_and(|writing| writing.tokens > 0)
    });
    let second = app(&harness).state.conversation.chat.id;
    let ctx = harness.ctx.clone();
    let act = |harness: &mut crate::common::AppHarness, action| {
        harness.state_mut().app.as_mut().expect("it runs").act(&ctx, action);
    };
    act(&mut harness, Action::OpenChat(first, None));
    until(&mut harness, "the first is open", |app| app.state.conversation.chat.id == first);
    assert!(app(&harness).state.writing.is_some(), "it goes on");
    act(&mut harness, Action::OpenChat(second, None));
    until(&mut harness, "the second is open", |app| app.state.conversation.chat.id == second);
    harness.key_press(egui::Key::Escape);
    harness.step();
    settle(&mut harness);
    assert_eq!(texts(&harness), ["second chat", "slowly"]);
    // Each is in the file, with its own words.
    drop(harness);
    let store = Store::open(&folder.path().join("history.db")).expect("it is there");
    for (id, wanted) in [(first, "You said: first chat"), (second, "slowly")] {
        let messages = store.messages(id).expect("readable");
        let answer = messages.iter().find(|message| message.role == Role::Assistant);
        assert_eq!(answer.expect("it was answered").content, wanted);
    }
}

#[test]
fn a_first_start_fetches_the_model_and_chats() {
    let (folder, fake) = (folder(), Arc::new(Fake::default()));
    let mut harness = start(folder.path(), &fake, Start::default());
    harness.get_by_label("Download SmolLM2 (94 MiB)").click();
    harness.step();
    until(&mut harness, "the download is half done", |app| {
        app.state.pull.as_ref().is_some_and(|pull| pull.state.done_bytes > 0)
    });
    harness.get_by_label_contains("50 MiB of 100 MiB");
    harness.get_by_label("Stop download").click();
    harness.step();
    until(&mut harness, "it is stopped", |app| app.state.pull.is_none());
    fake.pull_goes_on.store(true, std::sync::atomic::Ordering::SeqCst);
    harness.get_by_label("Download SmolLM2 (94 MiB)").click();
    harness.step();
    until(&mut harness, "the model is ready", |app| app.state.model.ready().is_some());
    assert_eq!(
        app(&harness).state.settings.model.as_deref(),
        Some("/models/default.gguf".as_ref())
    );
    say(&mut harness, "hello");
    assert_eq!(texts(&harness), ["hello", "You said: hello"]);
}

#[test]
fn tokens_show_who_guessed_them_and_lead_to_their_round() {
    let (folder, fake) = (folder(), Arc::new(Fake::default()));
    let mut harness = ready(folder.path(), &fake);
    fake.script(Script::Say("One two"));
    say(&mut harness, "count");
    harness.state_mut().app.as_mut().expect("it runs").state.settings.tokens = true;
    harness.step();
    harness.get_by_label("guessed and accepted");
    harness.get_by_label_contains("round 2, 1 of 3 accepted").click();
    harness.step();
    harness.step();
    let state = &app(&harness).state;
    assert_eq!(state.settings.view, coppice_app::layout::View::Explore);
    assert_eq!(state.explorer.round(state.live.rounds.len()), Some(1));
}

#[test]
fn chats_are_found_by_what_was_said_in_them() {
    let (folder, fake) = (folder(), Arc::new(Fake::default()));
    let mut harness = sized(
        folder.path(),
        &fake,
        Start { model: Some("/models/tiny.gguf".into()), ..Start::default() },
        [900.0, 600.0],
    );
    until(&mut harness, "the model is ready", |app| app.state.model.ready().is_some());
    fake.script(Script::Say("The answer is a hornbeam."));
    say(&mut harness, "Which tree?");
    harness.get_by_label("New chat").click();
    harness.step();
    let ctx = harness.ctx.clone();
    let running = harness.state_mut().app.as_mut().expect("it runs");
    running.state.search.query = "hornb".into();
    running.act(&ctx, Action::Search("hornb".into()));
    until(&mut harness, "it is found", |app| app.state.search.hits.len() == 1);
    harness.get_by_label_contains("a hornbeam").click();
    until(&mut harness, "it is open", |app| !app.state.conversation.is_empty());
    assert_eq!(texts(&harness), ["Which tree?", "The answer is a hornbeam."]);
}
