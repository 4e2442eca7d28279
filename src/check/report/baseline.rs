//! Two reports against each other: what became slower by more than noise.

use serde::{Deserialize, Serialize};

use super::Report;
use crate::check::perf::Level;

/// A case that both reports measured on the same device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The device.
    pub device: String,
    /// The case.
    pub case: String,
    /// Undisturbed time before; see [`Level`].
    pub before_us: f64,
    /// Undisturbed time now.
    pub after_us: f64,
    /// Now over before.
    pub ratio: f64,
    /// Slower, by more than noise explains.
    pub regressed: bool,
    /// Slower or faster by more than noise explains.
    pub matters: bool,
    /// Both times were seen in two rounds; where not, only what exceeds their disagreement counts.
    pub settled: bool,
}

/// This report against an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// When the earlier run began.
    pub started: String,
    /// Each case that both measured.
    pub changes: Vec<Change>,
    /// Cases of the earlier report that this one lacks, on devices that it has.
    pub missing: usize,
    /// One of the two runs shared its processors with others.
    #[serde(default)]
    pub busy: bool,
}

/// Changes below this are within what clocks and the placement of memory do.
const LEAST_RATIO: f64 = 1.2;

/// True if `after` is slower than `before` by more than noise: by more than [`LEAST_RATIO`], on top of
/// what the rounds of each disagree by.
fn is_slower(before: &Level, after: &Level) -> bool {
    after.us > LEAST_RATIO * (1.0 + before.apart + after.apart) * before.us
}

/// Compares the measurements of devices of the same name.
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let name = |report: &Report, selector: &str| {
        let found = report.adapters.iter().find(|t| t.adapter.selector == selector);
        found.map(|tested| (tested.adapter.api.clone(), tested.adapter.name.clone()))
    };
    let mut comparison = Comparison {
        started: before.started.clone(),
        busy: before.host.is_busy() || after.host.is_busy(),
        ..Comparison::default()
    };
    for new in &after.perf {
        let device = name(after, &new.device);
        let old = before
            .perf
            .iter()
            .find(|old| old.timing.case == new.timing.case && name(before, &old.device) == device);
        let Some(old) = old else { continue };
        let (before, after) = (&old.timing.level, &new.timing.level);
        let regressed = is_slower(before, after);
        comparison.changes.push(Change {
            device: new.device.clone(),
            case: new.timing.case.clone(),
            before_us: before.us,
            after_us: after.us,
            ratio: after.us / before.us,
            regressed,
            matters: regressed || is_slower(after, before),
            settled: before.is_settled() && after.is_settled(),
        });
    }
    let devices: Vec<_> = after.perf.iter().map(|new| name(after, &new.device)).collect();
    let same = before.perf.iter().filter(|old| devices.contains(&name(before, &old.device)));
    comparison.missing = same.count().saturating_sub(comparison.changes.len());
    comparison
}

impl Comparison {
    /// Cases that became slower.
    pub fn regressions(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.regressed)
    }

    /// Middle ratio of all cases on a device.
    pub fn drift(&self, device: &str) -> Option<f64> {
        let own = self.changes.iter().filter(|change| change.device == device);
        let mut ratios: Vec<f64> = own.map(|change| change.ratio).collect();
        ratios.sort_by(f64::total_cmp);
        (!ratios.is_empty()).then(|| ratios[ratios.len() / 2])
    }

    /// In a sentence.
    pub fn describe(&self) -> String {
        let (slower, faster) = (
            self.regressions().count(),
            self.changes.iter().filter(|change| change.matters && !change.regressed).count(),
        );
        let mut text = format!(
            "{} cases compared: {slower} slower, {faster} faster, the others within noise",
            self.changes.len()
        );
        let mut devices: Vec<&str> = self.changes.iter().map(|c| c.device.as_str()).collect();
        devices.dedup();
        for device in devices {
            let drift = self.drift(device).unwrap_or(1.0);
            text.push_str(&format!("; the middle case of {device} took {drift:.2} times as long"));
        }
        match self.changes.iter().filter(|change| !change.settled).count() {
            0 => {}
            n => text.push_str(&format!("; {n} were too unsteady for a fine comparison")),
        }
        if self.missing > 0 {
            text.push_str(&format!("; {} of the earlier report were not measured", self.missing));
        }
        text.push('.');
        if self.busy {
            text.push_str(
                " The machine was busy with other work in one of the two runs: on an idle one the answer may \
                 be another.",
            );
        }
        text
    }
}
