//! Ctrl-C: the first stops the answer, the second leaves.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use super::INTERRUPTED;

/// Flag that Ctrl-C raises; whoever generates looks at it at each step and lowers it.
///
/// The handler of a process is global by nature, hence the one static here.
pub(super) fn flag() -> anyhow::Result<Arc<AtomicBool>> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(flag.clone());
    }
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })?;
    Ok(FLAG.get_or_init(|| flag).clone())
}
