//! Reductions over the vocabulary.

use super::{
    Kernel, LANES, Simd, math,
    stage::{Stage, Stages},
    tensor::Tensor,
};
use crate::{
    backend::BackendResult,
    ops::{RowStats, TopK},
};

/// Logits summed in f32 before the sum goes to f64; also how finely the maximum is located.
const CHUNK: usize = 1024;

/// Maximum and sums of a row of logits.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Lowest id of the maximum.
    pub argmax: usize,
    /// `ln sum exp(l)`.
    pub log_sum_exp: f64,
    /// Of the softmax, in nats.
    pub entropy: f64,
}

/// [`Stats`] of a row.
pub struct Reduce<'a>(pub &'a [f32]);

impl Kernel for Reduce<'_> {
    type Output = Stats;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Stats {
        let (max, argmax) = largest(s, self.0);
        if max == f32::NEG_INFINITY {
            // No number at all, or no probability anywhere.
            let log_sum_exp = f64::from(f32::NEG_INFINITY);
            return Stats { argmax, log_sum_exp, entropy: f64::NAN };
        }
        let (mut total, mut weighted) = (0f64, 0f64);
        for chunk in self.0.chunks(CHUNK) {
            let mut sums = [[s.splat(0.0); 2]; 2];
            for x in chunk.chunks(2 * LANES) {
                for (sums, x) in sums.iter_mut().zip(x.chunks(LANES)) {
                    // Padding adds e^-87, below any f32 sum that has the maximum in its row.
                    // Held at -87.3 like the exponential, so that 0 * infinity does not arise.
                    let x = math::load_or(s, x, f32::NEG_INFINITY);
                    let below = s.max(s.splat(-87.3), s.sub(x, s.splat(max)));
                    let e = math::exp(s, below);
                    *sums = [s.add(sums[0], e), s.fma(e, below, sums[1])];
                }
            }
            total += f64::from(s.sum(s.add(sums[0][0], sums[1][0])));
            weighted += f64::from(s.sum(s.add(sums[0][1], sums[1][1])));
        }
        // -sum p ln p with ln p = (l - max) - ln total
        let ln_total = total.ln();
        let log_sum_exp = f64::from(max) + ln_total;
        Stats { argmax, log_sum_exp, entropy: ln_total - weighted / total }
    }
}

/// The largest number and its lowest place; NaN does not count.
#[inline(always)]
fn largest<S: Simd>(s: S, x: &[f32]) -> (f32, usize) {
    let (mut max, mut place) = (f32::NEG_INFINITY, 0);
    for (i, chunk) in x.chunks(CHUNK).enumerate() {
        let low = s.splat(f32::NEG_INFINITY);
        let mut best = [low; 2];
        for x in chunk.chunks(2 * LANES) {
            for (best, x) in best.iter_mut().zip(x.chunks(LANES)) {
                *best = s.max(math::load_or(s, x, f32::NEG_INFINITY), *best);
            }
        }
        let best = s.largest(s.max(best[0], best[1]));
        if best > max {
            max = best;
            place = i * CHUNK + chunk.iter().position(|&x| x == best).unwrap_or(0);
        }
    }
    (max, place)
}

/// Stages of [`RowStats`]: a unit is a row.
pub fn row_stats(op: &RowStats) -> BackendResult<Stages> {
    let (logits, out) = (Tensor::<f32>::new(&op.logits)?, Tensor::<u32>::new(&op.out)?);
    let stage = Stage::new(out.rows(), out.rows() * logits.width() / 2, move |context, m| {
        // SAFETY: a unit owns its row of `out`; logits are only read.
        let (logits, out) = unsafe { (logits.row(m), out.row_mut(m)) };
        let stats = context.isa.run(Reduce(logits));
        out.copy_from_slice(&[
            logits[stats.argmax].to_bits(),
            stats.argmax as u32,
            (stats.log_sum_exp as f32).to_bits(),
            (stats.entropy as f32).to_bits(),
        ]);
        Ok(())
    });
    Ok(stage.into())
}

/// The best of a row, best first and lowest id first among equals.
struct Best<'a> {
    logits: &'a [f32],
    ids: &'a mut [u32],
}

impl Kernel for Best<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let k = self.ids.len();
        let mut best: Vec<(f32, u32)> = Vec::with_capacity(k + 1);
        let mut offer = |i: usize, x: f32| {
            let x = if x.is_nan() { f32::NEG_INFINITY } else { x };
            // Ids come in ascending order, so an equal one ranks below.
            if best.len() < k || x > best[k - 1].0 {
                let at = best.partition_point(|&(y, _)| y >= x);
                best.insert(at, (x, i as u32));
                best.truncate(k);
            }
            if best.len() < k { f32::NEG_INFINITY } else { best[k - 1].0 }
        };
        let mut least = f32::NEG_INFINITY;
        for (c, chunk) in self.logits.chunks(LANES).enumerate() {
            let x = math::load_or(s, chunk, f32::NEG_INFINITY);
            let low = s.splat(f32::NEG_INFINITY);
            if c * LANES >= k && s.largest(s.max(x, low)) <= least {
                continue;
            }
            for (i, &x) in chunk.iter().enumerate() {
                least = offer(c * LANES + i, x);
            }
        }
        for (id, (_, best)) in self.ids.iter_mut().zip(best) {
            *id = best;
        }
    }
}

/// Stages of [`TopK`]: a unit is a row.
pub fn top_k(op: &TopK) -> BackendResult<Stages> {
    let (logits, ids) = (Tensor::<f32>::new(&op.logits)?, Tensor::<u32>::new(&op.ids)?);
    let logprobs = Tensor::<f32>::new(&op.logprobs)?;
    let stage = Stage::new(ids.rows(), ids.rows() * logits.width(), move |context, m| {
        // SAFETY: a unit owns its rows of the outputs; logits are only read.
        let (logits, ids, logprobs) =
            unsafe { (logits.row(m), ids.row_mut(m), logprobs.row_mut(m)) };
        context.isa.run(Best { logits, ids });
        let log_sum_exp = context.isa.run(Reduce(logits)).log_sum_exp;
        for (logprob, &id) in logprobs.iter_mut().zip(ids.iter()) {
            *logprob = (f64::from(logits[id as usize]) - log_sum_exp) as f32;
        }
        Ok(())
    });
    Ok(stage.into())
}
