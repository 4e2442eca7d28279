//! What rounds take on this device, measured once.

use std::{
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, Instant, UNIX_EPOCH},
};

use super::Engine;
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
/// Measurements of each step, while [`BUDGET`] lasts; their median counts.
const PASSES: usize = 3;
/// Time that measurements after the first may take.
const BUDGET: Duration = Duration::from_millis(450);
/// Plain steps that a step may cost: what is dearer never pays, so no larger one is measured.
const DEAREST: f64 = 4.0;
/// Rows that are measured whatever they cost.
const ALWAYS: usize = 8;
/// Tokens that drafting may add before the sequence is cut back.
const ROOM: usize = 32;

impl Engine {
    /// What rounds take on this device: kept from an earlier process of the same program, or measured
    /// now in about half a second, and kept in `folder` if one is given.
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
            program: program(),
        }
    }

    /// Times of verification by rows, and of drafting by depth, on a sequence of their own.
    fn measure(&mut self, key: CurveKey) -> Result<VerifyCurve> {
        let started = Instant::now();
        self.reset()?;
        let ids = self.filler(DEPTH.min(self.context() / 2).max(1));
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
        let points: Vec<(usize, f64)> =
            verify.into_iter().map(|(rows, times)| (rows, median(times))).collect();
        let (plain, between) = (points[0].1, Between::Padded);
        let verify = VerifyCurve::new(key.clone(), plain, points.clone(), between, Vec::new())?;
        let draft = drafted
            .into_iter()
            .enumerate()
            .map(|(level, times)| (median(times) - verify.verify_ms(level + 2)).max(0.0))
            .collect();
        VerifyCurve::new(key, plain, points, between, draft)
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
        let nodes = self.engine.filler(rows);
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

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Version of this program, and when it was built: other kernels take other times.
fn program() -> String {
    let built =
        std::env::current_exe().and_then(std::fs::metadata).and_then(|file| file.modified());
    let built = built.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let version = env!("CARGO_PKG_VERSION");
    built.map_or_else(|| version.to_owned(), |built| format!("{version} {}", built.as_secs()))
}
