//! Time of a decoding step by the number of rows it verifies.
//!
//! Speculation pays where many rows cost little more than one. Kernels are chosen by rows, so this
//! curve has steps, and some drivers have cliffs: more rows that take less time.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Spread;
use crate::{
    backend::SharedBackend,
    check::synthetic::Synthetic,
    error::Result,
    kv::Sequence,
    model::{MAX_TREE_ROWS, Want},
    ops::KvFormat,
};

/// Times of steps behind a context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The model, in words.
    pub model: String,
    /// Tokens before the step.
    pub context: usize,
    /// Rows and times.
    pub points: Vec<(usize, Spread)>,
    /// Where more rows take less time.
    pub cliffs: Vec<Cliff>,
}

/// More rows that take less time than fewer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cliff {
    /// Rows that take long.
    pub rows: usize,
    /// More rows that take less time.
    pub faster_rows: usize,
    /// Time of the former over that of the latter.
    pub factor: f64,
}

/// Passes over all numbers of rows; what disturbs the machine for a while disturbs all of them.
const PASSES: usize = 7;
/// Passes that begin later than this are left out, but for the first that counts: software drivers are
/// slow.
const BUDGET: Duration = Duration::from_secs(15);

/// A cliff is at least this high, and higher than the noise of at least so many passes.
const LEAST_FACTOR: f64 = 1.1;
const LEAST_PASSES: usize = 3;

/// Measures steps of 1 to 64 sibling rows behind a context, on a synthetic model.
///
/// # Errors
/// Those of the device.
pub fn curve(device: SharedBackend, context: usize) -> Result<Curve> {
    let synthetic = Synthetic::of_width(256);
    let capacity = context + 1 + MAX_TREE_ROWS;
    let mut model = synthetic.load(device, KvFormat::F16, capacity)?;
    let ids = synthetic.ids(context, 1);
    let mut sequence = Sequence::new(model.pool());
    let never = std::sync::atomic::AtomicBool::new(false);
    model.prefill(&mut sequence, &ids, Want::LastStats, &never)?;
    let mut times: Vec<(usize, Vec<f64>)> =
        (1..=MAX_TREE_ROWS).map(|rows| (rows, Vec::new())).collect();
    let begun = Instant::now();
    for pass in 0..=PASSES {
        if pass > 1 && begun.elapsed() > BUDGET {
            break;
        }
        for (rows, times) in &mut times {
            let nodes = synthetic.ids(*rows, 2);
            let parents: Vec<Option<usize>> =
                (0..*rows).map(|node| (node > 0).then_some(0)).collect();
            let started = Instant::now();
            drop(model.tree_step(&mut sequence, &nodes, &parents, Want::AllStats)?);
            // The first pass compiles and prepares.
            if pass > 0 {
                times.push(started.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    let points: Vec<(usize, Spread)> =
        times.into_iter().map(|(rows, times)| (rows, Spread::of(times))).collect();
    let cliffs = cliffs(&points);
    Ok(Curve { model: synthetic.describe(), context, points, cliffs })
}

/// The highest cliff at each number of rows that has one.
pub fn cliffs(points: &[(usize, Spread)]) -> Vec<Cliff> {
    let mut found: Vec<Cliff> = Vec::new();
    for (i, (rows, slow)) in points.iter().enumerate() {
        let more = points[i + 1..].iter().min_by(|a, b| a.1.median_us.total_cmp(&b.1.median_us));
        let Some((faster_rows, fast)) = more else { break };
        let factor = slow.median_us / fast.median_us;
        let measured = slow.samples.min(fast.samples) >= LEAST_PASSES;
        if measured && factor >= LEAST_FACTOR && slow.p10_us > fast.p90_us {
            found.push(Cliff { rows: *rows, faster_rows: *faster_rows, factor });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(rows: usize, us: f64) -> (usize, Spread) {
        (rows, Spread::of(vec![us * 0.99, us, us * 1.01]))
    }

    #[test]
    fn cliffs_are_where_more_rows_take_less_time() {
        let points =
            [point(1, 10.0), point(2, 11.0), point(3, 40.0), point(4, 12.0), point(8, 20.0)];
        let [cliff] = cliffs(&points)[..] else { panic!("one cliff") };
        assert_eq!((cliff.rows, cliff.faster_rows), (3, 4));
        assert!((cliff.factor - 40.0 / 12.0).abs() < 1e-9);
    }

    #[test]
    fn noise_is_no_cliff() {
        let points = [point(1, 10.0), point(2, 9.5), point(3, 10.2)];
        assert!(cliffs(&points).is_empty());
        let wide = [(1, Spread::of(vec![8.0, 12.0, 20.0])), (2, Spread::of(vec![8.0, 10.0, 12.0]))];
        assert!(cliffs(&wide).is_empty());
        let once = [(1, Spread::of(vec![20.0])), (2, Spread::of(vec![10.0]))];
        assert!(cliffs(&once).is_empty(), "seen once");
    }
}
