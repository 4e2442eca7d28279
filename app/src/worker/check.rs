//! Checks of devices: the library's op table and measurements, in processes of their own.
//!
//! A driver that crashes or hangs takes its process along, never the window and what is said in it.

use std::{
    cell::RefCell, path::PathBuf, process::Command, sync::atomic::AtomicBool, time::Duration,
};

use coppice::{
    backend::Peaks,
    check::{
        isolate::{Isolated, Ran, Runner},
        perf::Timing,
        plan::{self, Event, Modes, Plan},
        report::{Measured, Report},
        target::Target,
        work::{Done, Work},
    },
    engine::DeviceSpec,
};

use super::machine::{CheckKind, CheckRow, Checking};
use crate::problem::Problem;

/// Argument that makes the app's binary a process that checks devices, without a window.
pub const CHECKER: &str = "--check-worker";

/// What was measured last; reports have it only at their end.
#[derive(Default)]
struct Seen {
    peaks: Option<Peaks>,
    timing: Option<Timing>,
}

/// Does tasks in another process and notes what they measured.
struct Watched<'a> {
    inner: Isolated,
    seen: &'a RefCell<Seen>,
}

impl Runner for Watched<'_> {
    fn run(&mut self, target: &Target, work: &Work, limit: Duration) -> Ran {
        let ran = self.inner.run(target, work, limit);
        let mut seen = self.seen.borrow_mut();
        match &ran {
            Ran::Done(Done::Peaks { peaks, .. }) => seen.peaks = Some(*peaks),
            Ran::Done(Done::Timing(timing)) => seen.timing = Some(timing.clone()),
            _ => {}
        }
        ran
    }
}

/// Checks a device; `program` is this one if absent.
pub(super) fn check(
    program: Option<PathBuf>,
    selector: &str,
    kind: CheckKind,
    cancel: &AtomicBool,
    on: &mut dyn FnMut(Checking),
) -> Result<Box<Report>, Problem> {
    let program = match program {
        Some(program) => program,
        None => std::env::current_exe().map_err(|error| {
            Problem::new(
                format!("cannot find this program: {error}"),
                "start the app by its full path",
            )
        })?,
    };
    let device: DeviceSpec = selector.parse()?;
    let plan = Plan {
        modes: Modes {
            correctness: kind == CheckKind::Results,
            perf: kind == CheckKind::Speed,
            support: false,
        },
        devices: Some(vec![device]),
        ..Plan::default()
    };
    let seen = RefCell::new(Seen::default());
    let inner = Isolated::new(move || {
        let mut command = Command::new(&program);
        command.arg(CHECKER);
        command
    });
    let mut runner = Watched { inner, seen: &seen };
    let mut tell = |event: Event<'_>| match event {
        Event::Task { done, total, name, .. } => {
            on(Checking::Case { done, total, name: name.to_owned() });
        }
        Event::Record(record) => {
            let mut seen = seen.borrow_mut();
            let timing = seen.timing.take().filter(|timing| timing.case == record.name);
            let measured = timing.map(|t| Measured::new(selector, t, seen.peaks.as_ref()));
            on(Checking::Row(Box::new(CheckRow { record: record.clone(), measured })));
        }
    };
    Ok(Box::new(plan::run(&plan, &mut runner, cancel, &mut tell)?))
}
