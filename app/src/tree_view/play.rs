//! Playing rounds back: which round is on screen is a function of the trace and of time alone.

use crate::trace_log::TraceLog;

/// How fast rounds are played, as (share of the recorded time, name).
pub const SPEEDS: [(f64, &str); 5] =
    [(0.02, "1/50"), (0.05, "1/20"), (0.1, "1/10"), (0.5, "1/2"), (1.0, "1")];
/// The one to begin with: a round of some milliseconds can be seen.
pub const FIRST_SPEED: f64 = 0.05;

/// A playback that runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playing {
    /// Seconds of the window's clock when it began.
    since: f64,
    /// Milliseconds of rounds before the one it began with.
    from_ms: f64,
    /// Milliseconds of rounds a millisecond of the clock.
    speed: f64,
}

/// What a playback shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shown {
    /// This round; the next one comes after so many seconds.
    Round(usize, f64),
    /// It is over.
    End,
}

impl Playing {
    /// Begins with a round at the second `now` of the clock.
    pub fn from(log: &TraceLog, round: usize, now: f64, speed: f64) -> Self {
        Self { since: now, from_ms: log.between(0..round).times.total_ms(), speed }
    }

    /// Goes on at another speed.
    pub fn at_speed(self, now: f64, speed: f64) -> Self {
        Self { since: now, from_ms: self.ms(now), speed }
    }

    fn ms(&self, now: f64) -> f64 {
        self.from_ms + (now - self.since).max(0.0) * 1e3 * self.speed
    }

    /// What is on screen at the second `now`.
    pub fn shown(&self, log: &TraceLog, now: f64) -> Shown {
        let ms = self.ms(now);
        // Sums of decimals: the round it began with must not be missed by their last digit.
        match log.round_at(ms + 1e-6) {
            Some(round) => {
                let end = log.between(0..round + 1).times.total_ms();
                Shown::Round(round, ((end - ms) / 1e3 / self.speed).max(0.0))
            }
            None => Shown::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_follow_each_other_at_their_recorded_times() {
        let log = crate::demo::trace();
        let playing = Playing::from(&log, 2, 10.0, 0.5);
        let Shown::Round(2, wait) = playing.shown(&log, 10.0) else {
            panic!("round 2 comes first")
        };
        let recorded = log.rounds[2].outcome.times.total_ms() / 1e3;
        assert!((wait - 2.0 * recorded).abs() < 1e-6, "{wait} for {recorded} at half the speed");
        assert!(matches!(playing.shown(&log, 10.0 + wait + 1e-6), Shown::Round(3, _)));
        assert!(matches!(playing.shown(&log, 9.0), Shown::Round(2, _)), "clocks may go back");
        assert_eq!(playing.shown(&log, 1e6), Shown::End);
        let faster = playing.at_speed(10.0 + wait / 2.0, 1.0);
        let Shown::Round(2, left) = faster.shown(&log, 10.0 + wait / 2.0) else {
            panic!("half of round 2 is left")
        };
        assert!((left - recorded / 2.0).abs() < 1e-6);
    }
}
