//! What is on screen, as screen readers get it.

use std::sync::Arc;

use coppice_app::app::Start;
use egui_kittest::kittest::NodeT as _;

use crate::common::{AppHarness, Fake, Script, ready, say, sized};

/// Roles and names of all nodes that have one, in order.
pub fn outline(harness: &AppHarness) -> String {
    let mut lines = String::new();
    for node in harness.root().children_recursive() {
        let node = node.accesskit_node();
        let name = node.label().or_else(|| node.value()).unwrap_or_default();
        // Runs repeat the texts of the nodes above them.
        if name.trim().is_empty() || node.role() == egui::accesskit::Role::TextRun {
            continue;
        }
        let disabled = if node.is_disabled() { " (disabled)" } else { "" };
        lines.push_str(&format!("{:?} {:?}{disabled}\n", node.role(), name));
    }
    lines
}

#[test]
fn a_first_start_offers_a_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let harness =
        sized(folder.path(), &Arc::new(Fake::default()), Start::default(), [1280.0, 800.0]);
    insta::assert_snapshot!(outline(&harness));
}

#[test]
fn a_chat_with_an_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Arc::new(Fake::default());
    let mut harness = ready(folder.path(), &fake);
    fake.script(Script::Say(
        "# Trees\n\nSome **grow back**:\n\n- hazel\n- ash\n\n```python\nprint('x')\n```",
    ));
    say(&mut harness, "Which?");
    insta::assert_snapshot!(outline(&harness));
}
