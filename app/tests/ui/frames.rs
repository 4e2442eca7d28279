//! Frames: none when nothing happens, quick ones when much is on screen.

use std::{sync::Arc, time::Instant};

use coppice_app::history::{Message, Role};

use crate::common::{Fake, app, ready, say};

#[test]
fn an_idle_window_draws_no_frame() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = ready(folder.path(), &Arc::new(Fake::default()));
    say(&mut harness, "hello");
    for _ in 0..40 {
        harness.step();
    }
    let delay = harness
        .output()
        .viewport_output
        .values()
        .map(|viewport| viewport.repaint_delay)
        .min()
        .expect("there is a window");
    assert!(delay >= std::time::Duration::from_secs(1), "the next frame comes after {delay:?}");
}

#[test]
fn long_conversations_draw_only_what_is_seen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = ready(folder.path(), &Arc::new(Fake::default()));
    say(&mut harness, "hello");
    let text = "Some **bold** words and `code`.\n\n```rust\nfn main() {}\n```\n\n- a\n- b\n";
    let state = &mut harness.state_mut().app.as_mut().expect("it runs").state;
    for n in 0..500 {
        let role = if n % 2 == 0 { Role::User } else { Role::Assistant };
        let parent = state.conversation.chat.head;
        state.conversation.add(Message::new(parent, role, format!("{n}: {text}")));
    }
    // All are measured after a while.
    for _ in 0..80 {
        harness.step();
    }
    // The quickest of some: what else the machine does is not ours.
    let frame = |_| {
        let started = Instant::now();
        harness.step();
        started.elapsed().as_secs_f64() * 1e3
    };
    let ms = (0..20).map(frame).fold(f64::INFINITY, f64::min);
    // Twenty milliseconds is 50 frames a second; tests are built for debugging.
    assert!(ms < 20.0, "{ms:.1} ms a frame");
    assert_eq!(app(&harness).state.conversation.path().len(), 502);
}
