//! A trace of ten thousand rounds: opened quickly, scrubbed over at the cost of a short one.

use std::{path::Path, sync::Arc, time::Instant};

use coppice_app::{app::Start, demo, history::MessageId, trace_log::TraceLog};

use crate::common::{AppHarness, Fake, app, start, until};

/// A trace of so many rounds in answers of a hundred, as a file.
fn trace(rounds: usize, path: &Path) {
    let recorded = demo::trace();
    let header = recorded.header.clone().expect("the demonstration has one");
    let mut log = TraceLog::default();
    for n in 0..rounds {
        if n % 100 == 0 {
            log.begin(MessageId(n as i64), header.clone(), vec![1, 2, 3]);
        }
        log.push(recorded.rounds[n % recorded.rounds.len()].clone());
    }
    log.save(path).expect("writable");
}

fn opened(folder: &Path, rounds: usize) -> AppHarness {
    let path = folder.join("long.jsonl");
    trace(rounds, &path);
    let with = Start { trace: Some(path), ..Start::default() };
    let mut harness = start(folder, &Arc::new(Fake::default()), with);
    until(&mut harness, "it is open", |app| app.state.trace().rounds.len() == rounds);
    harness
}

/// Shapes of a frame, and its quickest time in milliseconds, while rounds are scrubbed over. Prints
/// the others.
fn scrubbed(harness: &mut AppHarness) -> (usize, f64) {
    let rounds = app(harness).state.trace().rounds.len();
    let (mut shapes, mut all) = (0, Vec::new());
    for n in 0..100 {
        let explorer = &mut harness.state_mut().app.as_mut().expect("it runs").state.explorer;
        explorer.show((n * 7919) % rounds);
        let started = Instant::now();
        harness.step();
        all.push(started.elapsed().as_secs_f64() * 1e3);
        shapes = shapes.max(harness.output().shapes.len());
    }
    all.sort_by(f64::total_cmp);
    println!("{rounds} rounds: {:.2} ms a frame, 99 of 100 below {:.2} ms", all[50], all[98]);
    (shapes, all[0])
}

#[test]
fn ten_thousand_rounds_open_quickly_and_scrub_at_the_cost_of_few() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut short = opened(folder.path(), 1_000);
    let (few, _) = scrubbed(&mut short);
    drop(short);
    let path = folder.path().join("long.jsonl");
    trace(10_000, &path);
    // The quickest of some: what else the machine does is not ours.
    let seconds = (0..3).map(|_| {
        let started = Instant::now();
        let log = TraceLog::open(&path).expect("it was just written");
        assert_eq!((log.rounds.len(), log.answers.len()), (10_000, 100));
        started.elapsed().as_secs_f64()
    });
    let seconds = seconds.fold(f64::INFINITY, f64::min);
    println!("10000 rounds open in {seconds:.3} s");
    // Tests are built for debugging and run beside others; `benches/large_trace.rs` has the figures.
    // What grows with the square of the rounds takes minutes.
    assert!(seconds < 20.0, "{seconds:.2} s to open");
    let mut long = opened(folder.path(), 10_000);
    let (many, ms) = scrubbed(&mut long);
    assert!(many as f64 <= 1.1 * few as f64, "{many} shapes, {few} with a tenth of the rounds");
    assert!(ms < 20.0, "{ms:.1} ms a frame");
}
