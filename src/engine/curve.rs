//! What rounds take on this device, measured once.

use std::{
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, Instant, UNIX_EPOCH},
};

use super::{Engine, bench::filler};
use crate::{
    error::Result,
    kv::Sequence,
    model::{Candidates, DeviceRule, ROW_BUCKETS, Want},
    spec::{
        CandidateTree, TreeTemplate,
        policy::{Between, CurveKey, CurveStore, VerifyCurve},
    },
};

/// Context behind which steps are measured.
const DEPTH: usize = 128;
/// Measurements of each step, while [`BUDGET`] lasts; the least counts, as what disturbs a machine
/// only ever adds.
const PASSES: usize = 5;
/// Time that measurements after the first may take.
const BUDGET: Duration = Duration::from_millis(450);
/// Plain steps that are timed again at the end, to see whether the machine is quiet.
const CHECKS: usize = 5;
/// It is if half of the plain steps took at most so many times the least. What was measured while it
/// was busy is not kept, as it would mislead for as long as the program is not built anew.
const QUIET: f64 = 1.3;
/// Plain steps that a step may cost: what is dearer never pays, so no larger one is measured.
const DEAREST: f64 = 4.0;
/// Rows that are measured whatever they cost.
const ALWAYS: usize = 8;
/// Tokens that drafting may add before the sequence is cut back.
const ROOM: usize = 32;

impl Engine {
    /// What rounds take on this device: kept from an earlier process of the same program, or measured
    /// now in about half a second, and kept in `folder` if one is given and the machine was quiet.
    ///
    /// # Errors
    /// Those of the device. A folder that cannot be read or written costs a measurement, not the
    /// answer; a warning says so.
    pub fn curve(&mut self, folder: Option<&Path>) -> Result<&VerifyCurve> {
        let key = self.curve_key();
        if self.curve.as_ref().is_none_or(|curve| *curve.key() != key) {
            let store = folder.map(CurveStore::new);
            let kept = store.as_ref().and_then(|store| {
                store.load(&key).unwrap_or_else(|error| {
                    tracing::warn!(%error, "the kept verify curve cannot be read; measuring anew");
                    None
                })
            });
            self.curve_is_new = kept.is_none();
            let curve = match kept {
                Some(curve) => curve,
                None => {
                    let (curve, is_quiet) = self.measure(key)?;
                    let store = store.filter(|_| is_quiet);
                    if let Some(Err(error)) = store.map(|store| store.save(&curve)) {
                        tracing::warn!(%error, "the verify curve cannot be kept");
                    }
                    curve
                }
            };
            self.curve = Some(curve);
        }
        Ok(self.curve.as_ref().expect("made above"))
    }

    fn curve_key(&self) -> CurveKey {
        let adapter = self.adapter();
        let o = &self.options;
        let heads = self.model.describe_heads();
        CurveKey {
            device: format!("{} {}", adapter.selector, adapter.name),
            driver: adapter.driver.clone(),
            model: format!(
                "{} {} {:?} {}",
                self.name(),
                self.model.weights_bytes(),
                o.precision,
                o.kv_format.name()
            ),
            heads,
            threads: self.threads,
            program: program(),
        }
    }

    /// Context behind which steps are measured, in positions.
    pub(super) fn curve_depth(&self) -> usize {
        DEPTH.min(self.context() / 2).max(1)
    }

    /// Times of verification by rows, and of drafting by depth, on a sequence of their own; and
    /// whether the machine was quiet.
    fn measure(&mut self, key: CurveKey) -> Result<(VerifyCurve, bool)> {
        let started = Instant::now();
        self.reset()?;
        let ids = filler(self.vocab(), self.curve_depth());
        let mut sequence = Sequence::new(self.model.pool());
        let never = AtomicBool::new(false);
        self.model.prefill(&mut sequence, &ids, Want::LastStats, &never)?;
        let mut steps = Steps { engine: self, sequence, ids };
        let mut verify: Vec<(usize, Vec<f64>)> = Vec::new();
        for rows in ROW_BUCKETS.into_iter().filter(|&rows| rows <= Self::MAX_TREE_ROWS) {
            steps.prepare(rows)?;
            let ms = steps.verify(rows)?;
            verify.push((rows, vec![ms]));
            if rows >= ALWAYS && ms > DEAREST * verify[0].1[0] {
                break;
            }
        }
        let depths = steps.engine.model.draft_depth();
        let mut drafted = vec![Vec::new(); depths];
        for (level, times) in drafted.iter_mut().enumerate() {
            // The first one prepares the step.
            steps.draft(level + 1)?;
            times.push(steps.draft(level + 1)?);
        }
        // Size after size in each pass: what disturbs the machine for a while disturbs all sizes.
        for _ in 1..PASSES {
            if started.elapsed() > BUDGET {
                break;
            }
            for (rows, times) in &mut verify {
                times.push(steps.verify(*rows)?);
            }
            for (level, times) in drafted.iter_mut().enumerate() {
                times.push(steps.draft(level + 1)?);
            }
        }
        let checks = (0..CHECKS).map(|_| steps.verify(1)).collect::<Result<Vec<f64>>>()?;
        let is_quiet = is_quiet(&checks);
        let points: Vec<(usize, f64)> =
            verify.into_iter().map(|(rows, times)| (rows, least(&times))).collect();
        let (plain, between) = (points[0].1, Between::Padded);
        let verify = VerifyCurve::new(key.clone(), plain, points.clone(), between, Vec::new())?;
        let draft = drafted
            .iter()
            .enumerate()
            .map(|(level, times)| (least(times) - verify.verify_ms(level + 2)).max(0.0))
            .collect();
        Ok((VerifyCurve::new(key, plain, points, between, draft)?, is_quiet))
    }
}

/// Steps that are timed, as rounds take them.
struct Steps<'a> {
    engine: &'a mut Engine,
    sequence: Sequence,
    /// What the sequence begins with.
    ids: Vec<u32>,
}

impl Steps<'_> {
    /// Makes the step of so many rows ready.
    fn prepare(&mut self, rows: usize) -> Result<()> {
        let end = self.ids.len() + rows;
        let rule = (rows > 1).then_some(DeviceRule::Greedy);
        self.engine.model.warm_up(rows, end, rule)
    }

    /// Milliseconds of verifying a root and its children; of a plain step for the root alone.
    fn verify(&mut self, rows: usize) -> Result<f64> {
        let nodes = filler(self.engine.vocab(), rows);
        let parents: Vec<Option<usize>> = (0..rows).map(|node| (node > 0).then_some(0)).collect();
        let model = &mut self.engine.model;
        model.truncate(&mut self.sequence, self.ids.len())?;
        let mut tree = CandidateTree::new();
        for (&id, &parent) in nodes.iter().zip(&parents) {
            tree.push(id, parent);
        }
        let started = Instant::now();
        match rows {
            1 => drop(model.tree_step(&mut self.sequence, &nodes, &parents, Want::AllStats)?),
            _ => {
                let candidates = Candidates::Known(&tree);
                model.round(&mut self.sequence, candidates, DeviceRule::Greedy)?;
            }
        }
        Ok(ms_since(started))
    }

    /// Milliseconds of a round of a chain that heads fill.
    fn draft(&mut self, depth: usize) -> Result<f64> {
        let model = &mut self.engine.model;
        if self.sequence.len() > self.ids.len() + ROOM || !model.can_draft(&self.sequence) {
            model.truncate(&mut self.sequence, self.ids.len())?;
            // Leaves the hidden state that drafting starts from.
            model.decode(&mut self.sequence, self.ids[0], Want::LastStats)?;
        }
        let template = TreeTemplate::chain(depth)?;
        let candidates = Candidates::Heads { root: self.ids[0], template: &template };
        let started = Instant::now();
        model.round(&mut self.sequence, candidates, DeviceRule::Greedy)?;
        Ok(ms_since(started))
    }
}

fn ms_since(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

fn least(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

/// True if times of equal steps differ little.
fn is_quiet(times: &[f64]) -> bool {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).is_some_and(|&middle| middle <= QUIET * least(times))
}

/// Version of this program, and when it was built: other kernels take other times.
fn program() -> String {
    let built =
        std::env::current_exe().and_then(std::fs::metadata).and_then(|file| file.modified());
    let built = built.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let version = env!("CARGO_PKG_VERSION");
    built.map_or_else(|| version.to_owned(), |built| format!("{version} {}", built.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_known_by_times_that_differ() {
        assert!(is_quiet(&[5.0, 5.1, 5.6, 30.0, 5.2]));
        assert!(!is_quiet(&[5.0, 9.0, 14.0, 7.5, 30.0]));
        assert_eq!(least(&[8.0, 11.0, 7.0]), 7.0);
    }
}
