//! Stepping the model: rounds are held until the user lets one go.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

#[derive(Debug, Default)]
struct Gate {
    stepping: bool,
    permits: u32,
}

/// Holds the engine's thread between rounds while stepping is on.
#[derive(Debug, Default)]
pub struct Pace {
    gate: Mutex<Gate>,
    changed: Condvar,
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, Gate> {
        // Plain data: a panic elsewhere leaves nothing half done.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns stepping on or off; off lets a held round go.
    pub fn set_stepping(&self, on: bool) {
        let mut gate = self.lock();
        gate.stepping = on;
        gate.permits = 0;
        self.changed.notify_all();
    }

    /// Whether rounds are held.
    pub fn is_stepping(&self) -> bool {
        self.lock().stepping
    }

    /// Lets one more round run.
    pub fn step(&self) {
        self.lock().permits += 1;
        self.changed.notify_all();
    }

    /// Makes a held thread look at its cancel flag.
    pub(super) fn wake(&self) {
        let _gate = self.lock();
        self.changed.notify_all();
    }

    /// Called between rounds by the engine's thread.
    pub(super) fn hold(&self, cancel: &AtomicBool) {
        let mut gate = self.lock();
        while gate.stepping && gate.permits == 0 && !cancel.load(Ordering::SeqCst) {
            gate = self.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        gate.permits = gate.permits.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        time::Duration,
    };

    use super::*;

    fn wait_for(count: &AtomicUsize, wanted: usize) {
        for _ in 0..1000 {
            if count.load(Ordering::SeqCst) == wanted {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("{} rounds ran, wanted {wanted}", count.load(Ordering::SeqCst));
    }

    #[test]
    fn one_round_runs_a_step_and_cancelling_lets_go() {
        let (pace, rounds) = (Arc::new(Pace::default()), Arc::new(AtomicUsize::new(0)));
        let cancel = Arc::new(AtomicBool::new(false));
        pace.set_stepping(true);
        let thread = std::thread::spawn({
            let (pace, rounds, cancel) = (pace.clone(), rounds.clone(), cancel.clone());
            move || {
                while !cancel.load(Ordering::SeqCst) {
                    rounds.fetch_add(1, Ordering::SeqCst);
                    pace.hold(&cancel);
                }
            }
        });
        wait_for(&rounds, 1);
        pace.step();
        wait_for(&rounds, 2);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(rounds.load(Ordering::SeqCst), 2, "a round ran without a step");
        cancel.store(true, Ordering::SeqCst);
        pace.wake();
        thread.join().expect("it does not panic");
    }
}
