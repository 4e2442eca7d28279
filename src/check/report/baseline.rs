//! Two reports against each other: what became slower by more than noise.

use serde::{Deserialize, Serialize};

use super::Report;
use crate::check::perf::Spread;

/// A case that both reports measured on the same device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The device.
    pub device: String,
    /// The case.
    pub case: String,
    /// Median before.
    pub before_us: f64,
    /// Median now.
    pub after_us: f64,
    /// Now over before.
    pub ratio: f64,
    /// Slower, by more than noise explains.
    pub regressed: bool,
    /// Slower or faster by more than noise explains.
    pub matters: bool,
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
}

/// Slower than this is looked at: smaller changes are within what clocks and neighbours do.
const LEAST_RATIO: f64 = 1.2;

/// True if `after` is slower than `before` by more than noise: the medians are apart, and nine of ten
/// new times are above nine of ten old ones.
pub(super) fn is_slower(before: &Spread, after: &Spread) -> bool {
    after.median_us > LEAST_RATIO * before.median_us && after.p10_us > before.p90_us
}

/// Compares the measurements of devices of the same name.
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let name = |report: &Report, selector: &str| {
        let found = report.adapters.iter().find(|t| t.adapter.selector == selector);
        found.map(|tested| (tested.adapter.api.clone(), tested.adapter.name.clone()))
    };
    let mut comparison =
        Comparison { started: before.started.clone(), changes: Vec::new(), missing: 0 };
    for new in &after.perf {
        let device = name(after, &new.device);
        let old = before
            .perf
            .iter()
            .find(|old| old.timing.case == new.timing.case && name(before, &old.device) == device);
        let Some(old) = old else { continue };
        let (before, after) = (&old.timing.time, &new.timing.time);
        let regressed = is_slower(before, after);
        comparison.changes.push(Change {
            device: new.device.clone(),
            case: new.timing.case.clone(),
            before_us: before.median_us,
            after_us: after.median_us,
            ratio: after.median_us / before.median_us,
            regressed,
            matters: regressed || is_slower(after, before),
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
        if self.missing > 0 {
            text.push_str(&format!("; {} of the earlier report were not measured", self.missing));
        }
        text.push('.');
        text
    }
}
