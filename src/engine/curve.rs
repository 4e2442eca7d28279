//! What rounds take on this device, measured once.

use std::{path::Path, sync::atomic::AtomicBool, time::Instant};

use super::Engine;
use crate::{
    error::Result,
    kv::Sequence,
    model::{Candidates, DeviceRule, ROW_BUCKETS, Want},
    spec::{
        RoundCosts, TreeTemplate,
        policy::{Between, CurveKey, CurveStore, VerifyCurve},
    },
};

/// Context behind which steps are measured.
const DEPTH: usize = 128;
/// Measurements of each step; their median counts.
const PASSES: usize = 5;

impl Engine {
    /// What rounds take on this device: kept from an earlier process, or measured now in about a
    /// second, and kept in `folder` if one is given.
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
            let curve = match kept {
                Some(curve) => curve,
                None => {
                    let curve = self.measure(key)?;
                    if let Some(Err(error)) = store.as_ref().map(|store| store.save(&curve)) {
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
        }
    }

    /// Times of verification by rows, and of drafting by depth, on a sequence of their own.
    fn measure(&mut self, key: CurveKey) -> Result<VerifyCurve> {
        self.reset()?;
        let ids = self.filler(DEPTH.min(self.context() / 2).max(1));
        let mut sequence = Sequence::new(self.model.pool());
        let never = AtomicBool::new(false);
        self.model.prefill(&mut sequence, &ids, Want::LastStats, &never)?;
        let rows = ROW_BUCKETS.into_iter().filter(|&rows| rows <= Self::MAX_TREE_ROWS);
        let mut verify: Vec<(usize, Vec<f64>)> = rows.map(|rows| (rows, Vec::new())).collect();
        let depths = 1..=self.model.draft_depth();
        let mut drafted: Vec<(usize, Vec<f64>)> = depths.map(|depth| (depth, Vec::new())).collect();
        // Size after size in each pass: what disturbs the machine for a while disturbs all sizes.
        for pass in 0..=PASSES {
            for (rows, times) in &mut verify {
                let nodes = self.filler(*rows);
                let parents: Vec<Option<usize>> =
                    (0..*rows).map(|node| (node > 0).then_some(0)).collect();
                let started = Instant::now();
                drop(self.model.tree_step(&mut sequence, &nodes, &parents, Want::AllStats)?);
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
            for (depth, times) in &mut drafted {
                let template = TreeTemplate::chain(*depth)?;
                // Leaves the hidden state that drafting starts from.
                self.model.decode(&mut sequence, ids[0], Want::LastStats)?;
                let started = Instant::now();
                let candidates = Candidates::Heads { root: ids[0], template: &template };
                self.model.round(&mut sequence, candidates, DeviceRule::Greedy)?;
                times.push(started.elapsed().as_secs_f64() * 1e3);
                self.model.truncate(&mut sequence, ids.len())?;
            }
            if pass == 0 {
                // The first pass prepared the steps.
                verify.iter_mut().chain(&mut drafted).for_each(|(_, times)| times.clear());
            }
        }
        let points: Vec<(usize, f64)> =
            verify.into_iter().map(|(rows, times)| (rows, median(times))).collect();
        let (plain, between) = (points[0].1, Between::Padded);
        let verify = VerifyCurve::new(key.clone(), plain, points.clone(), between, Vec::new())?;
        let draft = drafted
            .into_iter()
            .map(|(depth, times)| (median(times) - verify.verify_ms(depth + 1)).max(0.0))
            .collect();
        VerifyCurve::new(key, plain, points, between, draft)
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The curve as proposers that weigh single nodes want it.
pub(super) fn costs(curve: &VerifyCurve) -> Result<RoundCosts> {
    let verify = (1..=Engine::MAX_TREE_ROWS).map(|rows| match rows {
        1 => curve.plain_ms(),
        rows => curve.verify_ms(rows),
    });
    RoundCosts::new(verify.collect(), curve.draft_ms(Engine::MAX_TREE_ROWS))
}
