//! Never slower: plain steps where speculation does not pay.
//!
//! The currency is the *excess* of a speculative round: its milliseconds less what its tokens would
//! have cost plainly where the text is. What plain steps cost is known from *probes*, plain rounds
//! between speculative ones, and from rounds in which the proposer has no guess: these are plain
//! steps, and only the asking is excess. Steps behind a long text cost more than behind a short one,
//! so where none was timed near, as at the start of another prompt, two or three are probes.
//!
//! * **On.** Excess is summed, never below zero (Page's cumulative sum test for a change). When it
//!   reaches the price of [`ALLOWANCE`] plain steps, speculation is off. So it may be slow for a
//!   while, as after a few unlucky rounds, but not for long; where it pays, the sum stays near zero.
//!   Every [`PROBE_EVERY`]th round is a probe, which costs at most 1 / 48 of the time, as a round is
//!   no faster than a plain step.
//! * **Off.** After a rest speculation gets a trial of [`TRIAL`] rounds. It is on again if these were
//!   faster than plain steps by [`MARGIN`]; the trial ends early if it falls behind by
//!   [`TRIAL_ALLOWANCE`] plain steps. The rest doubles with each failed trial and each switch to
//!   off, until speculation has been on for [`STEADY`] rounds; and it is never so short that the
//!   trial before it lost more than [`TRIAL_SHARE`] of its time.
//!
//! So against the better of the two the loss is at most 8 plain steps and a round for each time that
//! speculation turns slow, and beside that at most 2.1 % while on (probes) and 2 % while off
//! (trials). The margin and the sum from zero are the hysteresis.
//!
//! Times are noisy: another program may take the processor. So a sample counts for at most twice
//! what is usual, and the first round of each kind, which may compile and allocate, does not count.

use serde::{Deserialize, Serialize};

use super::price::PlainPrice;

/// Excess, in plain steps, at which speculation is switched off.
const ALLOWANCE: f64 = 8.0;
/// Rounds from one probe to the next.
const PROBE_EVERY: u32 = 48;
/// Rounds of a trial.
const TRIAL: u32 = 16;
/// Excess, in plain steps, at which a trial ends early.
const TRIAL_ALLOWANCE: f64 = 4.0;
/// Share of its time by which a trial must beat plain steps.
const MARGIN: f64 = 0.05;
/// Plain steps from the first switch to off to the trial.
const REST: f64 = 64.0;
/// Most plain steps between trials, but for what [`TRIAL_SHARE`] asks.
const MAX_REST: f64 = 512.0;
/// Rounds after which a restart was right, so that the next rest is short again.
const STEADY: u32 = 256;
/// Most of the time of a rest that the trial before it may have lost.
const TRIAL_SHARE: f64 = 0.02;
/// Least weight of a new sample in a running mean.
const WEIGHT: f64 = 0.1;

/// What a round is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The root alone.
    Plain,
    /// As the proposer drafts.
    Speculative,
}

/// What speculative rounds take, in plain steps: a running mean that outliers move little.
#[derive(Clone, Copy, Debug, Default)]
struct RoundPrice {
    steps: Option<f64>,
    samples: u32,
}

impl RoundPrice {
    /// Takes a sample, and gives what it counts for: at most twice the mean so far. The first one
    /// counts for nothing.
    fn take(&mut self, steps: f64) -> Option<f64> {
        self.samples = self.samples.saturating_add(1);
        if self.samples == 1 {
            return None;
        }
        let steps = self.steps.map_or(steps, |mean| steps.min(2.0 * mean));
        let weight = WEIGHT.max(1.0 / f64::from(self.samples - 1));
        self.steps = Some(self.steps.map_or(steps, |mean| mean + weight * (steps - mean)));
        Some(steps)
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    On {
        /// Sum of excess in plain steps.
        excess: f64,
        /// Rounds since the last probe.
        since_probe: u32,
        /// Rounds since it went on.
        rounds: u32,
    },
    /// Plain steps until the next trial.
    Off { left: u32 },
    Trial {
        /// Rounds so far.
        rounds: u32,
        /// Their time, in plain steps.
        steps: f64,
        /// Their excess.
        excess: f64,
    },
}

const ON: State = State::On { excess: 0.0, since_probe: 0, rounds: 0 };

/// Decides round by round whether to speculate. Keep one for each way of drafting, over all
/// generations on a device.
#[derive(Clone, Debug)]
pub struct Gate {
    plain: PlainPrice,
    speculative: RoundPrice,
    state: State,
    /// Plain steps of the next rest.
    rest: f64,
    report: GateReport,
}

/// What a gate has seen and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// Whether speculation is on.
    pub on: bool,
    /// Milliseconds of a plain step, of late.
    pub plain_ms: Option<f64>,
    /// Speculative rounds, and the tokens they gave.
    pub rounds: u64,
    /// Tokens of those rounds.
    pub tokens: u64,
    /// Plain steps taken while speculation was on, to learn their price.
    pub probes: u64,
    /// Plain steps taken because speculation did not pay.
    pub plain: u64,
    /// Times it was switched off.
    pub stops: u64,
    /// Trials, and how many of them switched it on again.
    pub trials: u64,
    /// Trials that switched speculation on again.
    pub restarts: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Gate {
    /// A gate that is on. Without the milliseconds of a plain step, and the position at which they
    /// were measured, it asks for four plain rounds first.
    pub fn new(plain: Option<(f64, u64)>) -> Self {
        Self {
            plain: PlainPrice::known(plain),
            speculative: RoundPrice::default(),
            state: ON,
            rest: REST,
            report: GateReport::default(),
        }
    }

    /// What the next round is to be, with its root at `position` of the text.
    pub fn next(&self, position: u64) -> Step {
        match self.state {
            _ if self.plain.lacks(position) => Step::Plain,
            State::On { since_probe, .. } if since_probe >= PROBE_EVERY - 1 => Step::Plain,
            State::Off { .. } => Step::Plain,
            State::On { .. } | State::Trial { .. } => Step::Speculative,
        }
    }

    /// Takes what a round took, and the tokens it gave. Rounds that say nothing of speed, as the one
    /// that ends a text, may be left out; a time that is none is.
    pub fn record(&mut self, step: Step, position: u64, ms: f64, tokens: usize) {
        if !(ms.is_finite() && ms > 0.0 && tokens > 0) {
            return;
        }
        match step {
            Step::Plain => self.record_plain(position, ms / tokens as f64),
            Step::Speculative => self.record_speculative(position, ms, tokens as f64),
        }
    }

    /// Takes a round in which speculation was to be and the proposer had no guess, so that it was a
    /// plain step, which is as good as a probe, and `asking_ms` of its `ms` for nothing.
    pub fn record_without_draft(&mut self, position: u64, ms: f64, asking_ms: f64) {
        let (asking, step) = (asking_ms.max(0.0), ms - asking_ms.max(0.0));
        if !(step.is_finite() && step > 0.0) {
            return;
        }
        self.plain.take(step, position);
        self.report.rounds += 1;
        self.report.tokens += 1;
        if let State::On { since_probe, .. } = &mut self.state {
            *since_probe = 0;
        }
        if let Some(plain) = self.plain.at(position) {
            self.add(asking / plain, None);
        }
    }

    /// What it has seen and done.
    pub fn report(&self) -> GateReport {
        GateReport {
            on: matches!(self.state, State::On { .. }),
            plain_ms: self.plain.mean(),
            ..self.report
        }
    }

    fn record_plain(&mut self, position: u64, ms: f64) {
        self.plain.take(ms, position);
        match &mut self.state {
            State::On { since_probe, .. } => {
                self.report.probes += 1;
                *since_probe = 0;
            }
            State::Off { left } => {
                self.report.plain += 1;
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.report.trials += 1;
                    self.state = State::Trial { rounds: 0, steps: 0.0, excess: 0.0 };
                }
            }
            State::Trial { .. } => self.report.plain += 1,
        }
    }

    fn record_speculative(&mut self, position: u64, ms: f64, tokens: f64) {
        self.report.rounds += 1;
        self.report.tokens += tokens as u64;
        if let Some(plain) = self.plain.at(position)
            && let Some(steps) = self.speculative.take(ms / plain)
        {
            self.add(steps - tokens, Some(steps));
        }
    }

    /// Counts the excess of a round of so many plain steps, or of one without a draft, which a trial
    /// does not count.
    fn add(&mut self, more: f64, steps: Option<f64>) {
        match &mut self.state {
            State::On { excess, since_probe, rounds } => {
                *since_probe += u32::from(steps.is_some());
                *rounds += 1;
                *excess = (*excess + more).max(0.0);
                if *rounds == STEADY {
                    self.rest = REST;
                }
                if *excess > ALLOWANCE {
                    self.report.stops += 1;
                    self.state = State::Off { left: self.rest as u32 };
                    self.rest = (2.0 * self.rest).min(MAX_REST);
                }
            }
            State::Trial { rounds, steps: total, excess } => {
                *rounds += u32::from(steps.is_some());
                *total += steps.unwrap_or(0.0);
                *excess += more;
                let (rounds, total, excess) = (*rounds, *total, *excess);
                if excess > TRIAL_ALLOWANCE {
                    self.stop_trial(excess);
                } else if rounds == TRIAL && -excess > MARGIN * total {
                    self.report.restarts += 1;
                    self.state = ON;
                } else if rounds == TRIAL {
                    self.stop_trial(excess);
                }
            }
            // A round that was begun before the gate was off.
            State::Off { .. } => {}
        }
    }

    /// Off again after a trial that lost so many plain steps.
    fn stop_trial(&mut self, lost: f64) {
        let rest = self.rest.max(lost / TRIAL_SHARE);
        self.state = State::Off { left: rest as u32 };
        self.rest = (2.0 * self.rest).min(MAX_REST);
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
