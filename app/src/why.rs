//! Why it is not faster: what each part of a round costs and what would be gained without it,
//! computed from measured figures alone.
//!
//! Speed over plain decoding is `a p / t`: `a` tokens a round, `p` milliseconds of a plain step, `t`
//! of a round. Each reason changes one of them to what it would be at best and leaves the others.

use coppice::spec::policy::VerifyCurve;

use crate::trace_log::Sums;

/// Plain rounds from which a plain step's time is believed.
const ENOUGH: u64 = 3;

/// Where the time of a plain step is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainFrom {
    /// The curve measured on this device.
    Curve,
    /// Rounds without candidates among those that are looked at.
    Rounds(u64),
}

/// Figures of rounds beside a plain step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Account {
    /// The rounds.
    pub sums: Sums,
    /// Milliseconds of a plain step, and where that is from; absent where nothing says.
    pub plain: Option<(f64, PlainFrom)>,
}

/// Something that costs speed.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// In words, with figures.
    pub what: String,
    /// Speed over plain decoding if it cost nothing; absent where a plain step's time is not known.
    pub without: Option<f64>,
}

impl Account {
    /// Figures of rounds on a device whose curve is known, or not.
    pub fn new(sums: Sums, curve: Option<&VerifyCurve>) -> Self {
        let counted = (sums.plain_rounds >= ENOUGH).then(|| {
            let ms = sums.plain_ms / sums.plain_rounds as f64;
            (ms, PlainFrom::Rounds(sums.plain_rounds))
        });
        Self { sums, plain: curve.map(|curve| (curve.plain_ms(), PlainFrom::Curve)).or(counted) }
    }

    fn speed_at(&self, tokens: f64, round_ms: f64) -> Option<f64> {
        let (plain, _) = self.plain?;
        (round_ms > 0.0).then(|| tokens * plain / round_ms)
    }

    /// Speed over plain decoding.
    pub fn speed(&self) -> Option<f64> {
        self.speed_at(self.sums.tokens_a_round().value(), self.sums.round_ms())
    }

    /// The figures in a sentence.
    pub fn headline(&self) -> String {
        let (tokens, ms) = (self.sums.tokens_a_round().value(), self.sums.round_ms());
        let rounds = format!("{tokens:.2} tokens a round of {ms:.2} ms");
        let Some(((plain, from), speed)) = self.plain.zip(self.speed()) else {
            return format!(
                "{rounds}. What a plain step takes is not known here: no curve of this device, and \
                 fewer than {ENOUGH} plain rounds"
            );
        };
        let from = match from {
            PlainFrom::Curve => "measured on this device".to_owned(),
            PlainFrom::Rounds(n) => format!("mean of {n} plain rounds"),
        };
        let verdict = match speed {
            s if s >= 1.0 => format!("{s:.2} times as fast as plain decoding"),
            s => format!("{s:.2} times plain decoding: slower"),
        };
        format!("{rounds}; a plain step takes {plain:.2} ms ({from}): {verdict}")
    }

    /// What costs speed, most first.
    pub fn reasons(&self) -> Vec<Reason> {
        let sums = &self.sums;
        if sums.rounds == 0 {
            return Vec::new();
        }
        let n = sums.rounds as f64;
        let (tokens, ms) = (sums.tokens_a_round().value(), sums.round_ms());
        let [draft, verify, commit, host] =
            [sums.times.draft_ms, sums.times.verify_ms, sums.times.commit_ms, sums.times.host_ms]
                .map(|all| all / n);
        let share = |part: f64| if ms > 0.0 { 100.0 * part / ms } else { 0.0 };
        let mut reasons = Vec::new();
        let depth = sums.depths as f64 / n;
        if sums.drafted > 0 {
            let kept = sums.accepted as f64 / n;
            reasons.push(Reason {
                what: format!(
                    "Wrong guesses: {kept:.2} of {depth:.2} depths a round are kept ({})",
                    crate::panels::rate(sums.path_rate())
                ),
                without: self.speed_at(1.0 + depth, ms),
            });
            let rows = sums.drafted as f64 / n + 1.0;
            let (what, best) = match self.plain {
                Some((plain, _)) => (
                    format!(
                        "Verification: {rows:.1} rows take {verify:.2} ms, {:.2} plain steps",
                        verify / plain
                    ),
                    (ms - verify) + verify.min(plain),
                ),
                None => (format!("Verification: {rows:.1} rows take {verify:.2} ms"), ms),
            };
            reasons.push(Reason { what, without: self.speed_at(tokens, best) });
        }
        for (name, part) in [("Drafting", draft), ("Committing", commit), ("The host", host)] {
            if share(part) >= 0.5 {
                reasons.push(Reason {
                    what: format!("{name} takes {part:.2} ms, {:.0} % of a round", share(part)),
                    without: self.speed_at(tokens, ms - part),
                });
            }
        }
        if sums.plain_rounds > 0 {
            let drafting = sums.rounds - sums.plain_rounds;
            let what = format!(
                "{} of {} rounds were plain steps: nothing to guess, or the gate held drafts back",
                sums.plain_rounds, sums.rounds
            );
            let without = (drafting > 0).then(|| {
                let d = drafting as f64;
                let round_ms = (sums.times.total_ms() - sums.plain_ms) / d;
                self.speed_at((sums.tokens - sums.plain_rounds) as f64 / d, round_ms)
            });
            reasons.push(Reason { what, without: without.flatten() });
        }
        reasons.sort_by(|a, b| b.without.unwrap_or(0.0).total_cmp(&a.without.unwrap_or(0.0)));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use coppice::spec::StageTimes;

    use super::*;

    fn sums() -> Sums {
        Sums {
            rounds: 100,
            tokens: 180,
            drafted: 900,
            accepted: 80,
            tested: 200,
            depths: 300,
            plain_rounds: 0,
            plain_ms: 0.0,
            times: StageTimes {
                draft_ms: 100.0,
                verify_ms: 1800.0,
                commit_ms: 0.0,
                host_ms: 100.0,
            },
        }
    }

    #[test]
    fn each_reason_says_what_would_be_gained_without_it() {
        let account = Account { sums: sums(), plain: Some((12.0, PlainFrom::Curve)) };
        let near =
            |a: Option<f64>, b: f64| assert!((a.expect("known") - b).abs() < 1e-9, "{a:?} {b}");
        near(account.speed(), 1.8 * 12.0 / 20.0);
        let reasons = account.reasons();
        assert!(reasons[0].what.starts_with("Wrong guesses: 0.80 of 3.00 depths"), "{reasons:?}");
        near(reasons[0].without, 4.0 * 12.0 / 20.0);
        assert!(reasons[1].what.contains("10.0 rows take 18.00 ms, 1.50 plain steps"));
        near(reasons[1].without, 1.8 * 12.0 / 14.0);
        near(reasons[2].without, 1.8 * 12.0 / 19.0);
        assert_eq!(reasons.len(), 4, "a commit that takes no time is no reason: {reasons:?}");
        assert!(account.headline().contains("1.08 times as fast"), "{}", account.headline());
    }

    #[test]
    fn slower_is_said_and_unknown_is_not_guessed() {
        let slow = Account { sums: sums(), plain: Some((6.0, PlainFrom::Curve)) };
        assert!(
            slow.headline().ends_with("0.54 times plain decoding: slower"),
            "{}",
            slow.headline()
        );
        let unknown = Account::new(Sums { plain_rounds: 2, plain_ms: 8.0, ..sums() }, None);
        assert_eq!((unknown.plain, unknown.speed()), (None, None));
        assert!(unknown.headline().contains("not known here"));
        assert!(unknown.reasons().iter().all(|reason| reason.without.is_none()));
        let counted = Account::new(Sums { plain_rounds: 10, plain_ms: 40.0, ..sums() }, None);
        assert_eq!(counted.plain, Some((4.0, PlainFrom::Rounds(10))));
        let held = counted.reasons();
        let held = held.iter().find(|reason| reason.what.starts_with("10 of 100 rounds"));
        let without = held.expect("it is said").without.expect("known");
        assert!((without - (170.0 / 90.0) * 4.0 / (1960.0 / 90.0)).abs() < 1e-9);
        assert_eq!(Account::new(Sums::default(), None).reasons(), []);
    }
}
