//! PyTorch beside us: the same shape, in the way that its users write it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::report::Peer;
use crate::{cli::low_spec::BenchSuite, model::Published};

const SCRIPT: &str = include_str!("peer.py");

/// Runs the script; gives its figures, or why there are none.
pub(super) fn run(python: &str, shape: Published, args: &BenchSuite) -> Result<Peer, String> {
    let c = shape.config();
    let settings = serde_json::json!({
        "shape": shape.name, "layers": c.n_layers, "width": c.d_model, "heads": c.n_heads,
        "kv_heads": c.n_kv_heads, "feed_forward": c.d_ff, "vocab": c.vocab,
        "depth": args.depth, "prompt": args.prompt, "repeat": args.repeat,
    });
    let mut child = Command::new(python)
        .args(["-", &settings.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{python} cannot be started: {e}"))?;
    let mut stdin = child.stdin.take().ok_or_else(|| format!("{python} takes no input"))?;
    // The interpreter reads to the end before it runs anything.
    stdin.write_all(SCRIPT.as_bytes()).map_err(|e| format!("{python} takes no script: {e}"))?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|e| format!("{python} does not end: {e}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(format!("{python} fails: {last}"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(line).map_err(|e| format!("{python} gives no figures: {e}"))
}
